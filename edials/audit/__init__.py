"""Audit of a release: attackers and their risk, utility, retention, and a report of them.

``from edials.audit import audit``: the function takes originals and anonymized images, by whatever
method, and returns an :class:`AuditReport`.
"""

from ._audit import audit
from .report.displays import FaceSheetDisplay, FrontierDisplay, RiskDisplay, TradeoffDisplay
from .report.report import AuditReport
from .scorers import excess_risk, reidentification_risk, utility_retention

__all__ = [
    "AuditReport",
    "FaceSheetDisplay",
    "FrontierDisplay",
    "RiskDisplay",
    "TradeoffDisplay",
    "audit",
    "excess_risk",
    "reidentification_risk",
    "utility_retention",
]

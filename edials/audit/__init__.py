"""Judging what an anonymizer left: attackers, their risk, utility, and what is kept to see.

``from edials.audit import audit``: the function takes originals and anonymized images, by whatever
method, and returns an :class:`AuditReport`.
"""

from ._audit import audit
from .report import AuditReport

__all__ = ["AuditReport", "audit"]

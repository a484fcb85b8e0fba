"""Pictures of an audit, in scikit-learn's convention; matplotlib is the ``plot`` extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from .comparison import PICTURE_AXIS, PRIVACY_AXIS, tradeoff_point
from .pages import picture_sheet
from .report import AuditReport


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Displays need matplotlib: pip install 'edials[plot]'.") from error
    return pyplot.subplots()[1]


class RiskDisplay:
    """Risk of every attacker with its interval, beside the attribute floor.

    Parameters
    ----------
    report : AuditReport

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, report: AuditReport):
        self.report = report

    @classmethod
    def from_report(cls, report: AuditReport, *, ax: Any = None) -> RiskDisplay:
        """Draw one report.

        Parameters
        ----------
        report : AuditReport
        ax : matplotlib Axes, optional
        """
        return cls(report).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> RiskDisplay:
        """Draw; broken attackers are grey and say so.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        """
        self.ax_ = _axes(ax)
        self.figure_ = self.ax_.figure
        for place, outcome in enumerate(self.report.outcomes):
            colour = "tab:blue" if outcome.valid else "lightgrey"
            reach = [[outcome.risk - outcome.ci_low], [outcome.ci_high - outcome.risk]]
            self.ax_.barh(place, outcome.risk, xerr=np.maximum(reach, 0), color=colour)
        names = [o.name + ("" if o.valid else " (broken)") for o in self.report.outcomes]
        self.ax_.set_yticks(range(len(names)), names)
        self.ax_.axvline(self.report.floor, color="black", linestyle="--", label="attribute floor")
        self.ax_.set(xlim=(0, 1), xlabel="risk (rank-1, attributes known)")
        self.ax_.legend()
        return self


class TradeoffDisplay:
    """Privacy against what is left of the picture, one point per report, as on the page.

    Across the structural similarity to the originals, which have 1 (dotted); up the leakage of
    the worst attacker in bits, 0 being nothing beyond the attributes (dashed), with its interval
    over people.

    Parameters
    ----------
    reports : sequence of AuditReport
    names : sequence of str

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, reports: Sequence[AuditReport], names: Sequence[str]):
        self.reports, self.names = reports, names

    @classmethod
    def from_reports(
        cls, reports: Sequence[AuditReport], *, names: Sequence[str] | None = None, ax: Any = None
    ) -> TradeoffDisplay:
        """Draw several reports.

        Parameters
        ----------
        reports : sequence of AuditReport
        names : sequence of str, optional
        ax : matplotlib Axes, optional
        """
        names = [str(place) for place in range(len(reports))] if names is None else names
        return cls(reports, names).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> TradeoffDisplay:
        """Draw; reports without a sound attacker are left out.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        """
        self.ax_ = _axes(ax)
        self.figure_ = self.ax_.figure
        for report, name in zip(self.reports, self.names, strict=True):
            point = tradeoff_point(report, name)
            if point is None:
                continue
            reach = [[point.y - point.low], [point.high - point.y]]
            self.ax_.errorbar(point.x, point.y, yerr=np.maximum(reach, 0), fmt="o")
            self.ax_.annotate(name, point[1:3], xytext=(4, 4), textcoords="offset points")
        self.ax_.axhline(0, color="black", linestyle="--")
        self.ax_.axvline(1, color="black", linestyle=":")
        self.ax_.set(xlabel=PICTURE_AXIS, ylabel=PRIVACY_AXIS)
        return self


class FrontierDisplay:
    """What calibration measured: leakage of what is given back against what is left to see.

    Parameters
    ----------
    frontier : dict of str to ndarray
        ``frontier_`` of an EDIALSAnonymizer.
    strength : float
        The one that was chosen.
    budget : float
        Bits.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, frontier: dict[str, NDArray], strength: float, budget: float):
        self.frontier, self.strength, self.budget = frontier, strength, budget

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> FrontierDisplay:
        """Draw what a fit with ``strength="auto"`` measured.

        Parameters
        ----------
        estimator : EDIALSAnonymizer
            Fitted.
        ax : matplotlib Axes, optional

        Raises
        ------
        NotFittedError
            If nothing was measured.
        """
        check_is_fitted(
            estimator,
            "frontier_",
            msg="This %(name)s has measured no frontier: fit it with strength='auto' on 20 people "
            "or more with 6 photos each.",
        )
        return cls(estimator.frontier_, estimator.strength_, estimator.risk_budget).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> FrontierDisplay:
        """Draw; the chosen strength is filled.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        """
        self.ax_ = _axes(ax)
        self.figure_ = self.ax_.figure
        seen, bits = self.frontier["ssim"], self.frontier["leakage_bits"]
        reach = bits - self.frontier["leakage_low"], self.frontier["leakage_high"] - bits
        self.ax_.errorbar(seen, bits, yerr=reach, fmt="o-", mfc="white")
        chosen = np.abs(self.frontier["strength"] - self.strength).argmin()
        self.ax_.plot(seen[chosen], bits[chosen], "o", label=f"strength {self.strength:.3g}")
        self.ax_.axhline(self.budget, color="black", linestyle="--", label="budget")
        self.ax_.set(xlabel=PICTURE_AXIS, ylabel=PRIVACY_AXIS)
        self.ax_.legend()
        return self


class FaceSheetDisplay:
    """Rows of pictures: originals above what was released.

    Parameters
    ----------
    rows : list of ndarray of shape (n, height, width, 3), dtype uint8

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, rows: list[NDArray[np.uint8]]):
        self.rows = rows

    @classmethod
    def from_images(cls, *rows: NDArray[np.uint8], ax: Any = None) -> FaceSheetDisplay:
        """Draw rows of pictures below one another.

        Parameters
        ----------
        *rows : ndarray of shape (n, height, width, 3), dtype uint8
        ax : matplotlib Axes, optional
        """
        return cls(list(rows)).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> FaceSheetDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        """
        self.ax_ = _axes(ax)
        self.figure_ = self.ax_.figure
        self.ax_.imshow(np.asarray(picture_sheet(self.rows)), interpolation="nearest")
        self.ax_.set_axis_off()
        return self

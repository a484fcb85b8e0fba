"""Charts of an audit in scikit-learn's convention: classes that draw on an Axes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..result import AuditResult
from .charts import draw_frontier, draw_risk, draw_tradeoff, picture_sheet
from .comparison import tradeoff_table

DisplayT = TypeVar("DisplayT", bound="_Display")


class _Display(ABC):
    """Chart whose class methods take ``ax``, a matplotlib Axes; None makes a figure."""

    ax_: Axes
    figure_: Any

    def plot(self: DisplayT, *, ax: Axes | None = None) -> DisplayT:
        """Draw on ``ax`` or a new figure, and set ``ax_`` and ``figure_``."""
        if ax is None:
            # Only here, since it chooses where figures are shown.
            from matplotlib import pyplot

            ax = pyplot.subplots(figsize=(10, 5), layout="constrained")[1]
        self._draw(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @abstractmethod
    def _draw(self, ax: Axes) -> None: ...


class RiskDisplay(_Display):
    """Risk of every attacker with its interval, beside the attribute floor.

    Parameters
    ----------
    report : AuditReport
    """

    def __init__(self, report: AuditResult):
        self.report = report

    @classmethod
    def from_report(cls, report: AuditResult, *, ax: Axes | None = None) -> RiskDisplay:
        """Draw one report."""
        return cls(report).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        draw_risk(ax, self.report)


class TradeoffDisplay(_Display):
    """Privacy against what is left of the picture, one point per report, as on the page.

    The horizontal axis is the structural similarity to the originals, which have 1 (dotted). The
    vertical axis is the leakage of the worst attacker in bits with its interval over people; 0 is
    nothing beyond the attributes (dashed).

    Parameters
    ----------
    reports : sequence of AuditReport
        Those without a valid attacker are left out.
    names : sequence of str
    """

    def __init__(self, reports: Sequence[AuditResult], names: Sequence[str]):
        self.reports, self.names = reports, names

    @classmethod
    def from_reports(
        cls,
        reports: Sequence[AuditResult],
        *,
        names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> TradeoffDisplay:
        """Draw several reports; without ``names``, which differ, they are counted from 0."""
        names = [str(place) for place in range(len(reports))] if names is None else names
        return cls(reports, names).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        draw_tradeoff(ax, tradeoff_table(dict(zip(self.names, self.reports, strict=True))))


class FrontierDisplay(_Display):
    """What calibration measured: leakage of the retained features against similarity.

    Parameters
    ----------
    frontier : dict of str to ndarray
        ``frontier_`` of an EDIALSAnonymizer.
    strength : float
        The chosen one; its point is filled.
    budget : float
        In bits.
    """

    def __init__(self, frontier: dict[str, NDArray], strength: float, budget: float):
        self.frontier, self.strength, self.budget = frontier, strength, budget

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None) -> FrontierDisplay:
        """Draw what a fit with ``strength="auto"`` measured; NotFittedError without any."""
        check_is_fitted(
            estimator,
            "frontier_",
            msg="This %(name)s has measured no frontier: fit it with strength='auto' on 20 people "
            "or more with 6 photos each.",
        )
        return cls(estimator.frontier_, estimator.strength_, estimator.risk_budget).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        draw_frontier(ax, self.frontier, self.strength, self.budget)


class FaceSheetDisplay(_Display):
    """Rows of pictures: originals above their released images.

    Parameters
    ----------
    rows : list of ndarray of shape (n, height, width, 3), dtype uint8
    """

    def __init__(self, rows: list[NDArray[np.uint8]]):
        self.rows = rows

    @classmethod
    def from_images(cls, *rows: NDArray[np.uint8], ax: Axes | None = None) -> FaceSheetDisplay:
        """Draw rows of pictures below one another."""
        return cls(list(rows)).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        ax.imshow(np.asarray(picture_sheet(self.rows)), interpolation="nearest")
        ax.set_axis_off()

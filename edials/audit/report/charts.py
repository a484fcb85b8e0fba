"""The charts of an audit: drawn by matplotlib on an Axes, or as SVG into a page.

The colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart. Shapes
and words say the same as the colours.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps
from sklearn.metrics import DetCurveDisplay

from ..figures import AttackFigures
from ..result import AuditResult
from .text import role

_BLUE, _VERMILION, _INK = "#0072b2", "#d55e00", "#1a1a1a"
_OTHERS = (_BLUE, "#009e73", "#cc79a7", "#56b4e9", _INK)
_DASHED: dict[str, Any] = {"color": _INK, "linestyle": "--", "linewidth": 1.5, "zorder": 1.5}
_WIDTH = 10  # inches: letters of 10 points are then a little smaller than those of the page
_SIMILARITY = "structural similarity to the originals"
_LEAKAGE = "leakage beyond the attributes (bit)"
_PAGE_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edials",
    "text.parse_math": False,  # names of attackers are no formulas
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e2e2e2",
}


def chart_svg(draw: Callable[[Axes], None], *, key: str, title: str, height: float) -> str:
    """Draw a chart as an ``<svg>`` element for a page; equal input gives equal text.

    ``key`` is a prefix of all ids, unique in the page; ``title`` is for readers who do not see the
    chart; ``height`` is in inches.
    """
    stream = io.StringIO()
    with style.context(["default", _PAGE_STYLE]), warnings.catch_warnings():
        # The text stays text, and the browser has the letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=metadata)
    svg = stream.getvalue()
    # Inside HTML an <svg> needs no declaration and no namespaces.
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg[svg.index("<svg") :])
    # Ids are those of the page; text between tags is left alone.
    svg = re.sub(r'( id="|href="#|url\(#)(?=[^<>]*>)', rf"\1{key}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)


def draw_risk(ax: Axes, result: AuditResult) -> None:
    """Risk of every attacker with its interval, beside the attribute floor.

    Rings are the success on clear photos. Broken attackers are hatched, the worst one is set off.
    """
    worst, outcomes = result.worst, result.outcomes
    ax.axvline(result.floor, label=f"attribute floor {result.floor:.1%}", **_DASHED)
    clear = [outcome.clear_accuracy for outcome in outcomes]
    ax.plot(clear, range(len(clear)), "o", color=_INK, mfc="white", zorder=4, label="clear photos")
    for place, outcome in enumerate(outcomes):
        look: dict[str, Any] = {"color": _VERMILION if outcome is worst else _BLUE}
        if not outcome.valid:
            look = {"facecolor": "#eeeeee", "edgecolor": "#999999", "hatch": "////"}
        reach = _reach(outcome.risk, outcome.ci_low, outcome.ci_high)
        ax.barh(place, outcome.risk, 0.5, xerr=reach, error_kw={"capsize": 4}, **look)
        weight = "bold" if outcome is worst or not outcome.valid else "normal"
        beside: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "fontweight": weight}
        name = textwrap.fill(outcome.name, 40)
        ax.text(-0.02, place, name, ha="right", va="bottom", **beside)
        ax.text(-0.02, place, role(outcome), ha="right", va="top", fontsize="small", **beside)
        ax.text(1.03, place, _risk_in_words(outcome), va="center", **beside)
    ax.set(xlim=(0, 1), ylim=(len(outcomes) - 0.5, -0.5), yticks=[])
    ax.set_xlabel("risk: right at the first guess, attributes known")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_axisbelow(True)
    ax.grid(axis="x")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)


def draw_tradeoff(ax: Axes, table: pd.DataFrame, *, highlight: str | None = None) -> None:
    """Leakage against similarity to the originals, a point for every row of a tradeoff_table."""
    looks = zip(cycle(_OTHERS), cycle("os^vPX"), strict=False)
    for name, row in table.iterrows():
        colour, marker = (_VERMILION, "D") if name == highlight else next(looks)
        reach = _reach(row["leakage_bits"], row["leakage_low"], row["leakage_high"])
        point = row["ssim"], row["leakage_bits"]
        ax.errorbar(*point, reach, fmt=marker, color=colour, capsize=4, label=str(name))
    ax.axhline(0, label="attribute floor", **_DASHED)
    ax.axvline(1, label="clear photos", **{**_DASHED, "linestyle": ":"})
    ax.set(xlabel=_SIMILARITY, ylabel=_LEAKAGE)
    ax.set_title("better: down and to the right ↘", loc="right", fontsize="medium")
    _legend_beside(ax)


def draw_learning_curve(ax: Axes, table: pd.DataFrame) -> None:
    """Leakage that attackers find with a part of everybody's images, and with all."""
    last = table.groupby("name", sort=False)["leakage_bits"].last()
    for name, marker in zip(last.sort_values(ascending=False).index, cycle("os^vPX")):
        curve = table[table["name"] == name]
        rising = bool(curve["still_learning"].any())
        colour = _VERMILION if rising else _BLUE
        label = textwrap.fill(f"{name}: STILL LEARNING" if rising else str(name), 40)
        ax.plot(curve["share"], curve["leakage_bits"], marker=marker, color=colour, label=label)
    ax.axhline(0, label="nothing", **_DASHED)
    ax.set(xlabel="share of everybody's images to learn from", ylabel=_LEAKAGE)
    ax.set_xticks(table["share"].unique())
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    _legend_beside(ax)


def draw_det(ax: Axes, table: pd.DataFrame) -> None:
    """Both errors of verification at every threshold, over normal deviates (Martin et al. 1997)."""
    fpr, fnr = table["fpr"].to_numpy(), table["fnr"].to_numpy()
    DetCurveDisplay(fpr=fpr, fnr=fnr).plot(ax=ax, color=_VERMILION, label="worst attacker")
    ax.axline((0, 0), slope=-1, label="guessing", **_DASHED)
    ax.set(xlabel="another person is accepted", ylabel="the person is rejected")
    ax.set_aspect("equal", anchor="W")
    ax.grid()
    _legend_beside(ax)


def draw_frontier(
    ax: Axes, frontier: dict[str, NDArray[np.float64]], strength: float, budget: float
) -> None:
    """Leakage and similarity that calibration measured; the chosen strength is filled."""
    x, bits = frontier["ssim"], frontier["leakage_bits"]
    reach = _reach(bits, frontier["leakage_low"], frontier["leakage_high"])
    ax.errorbar(x, bits, reach, fmt="o-", color=_BLUE, mfc="white", capsize=4)
    chosen = np.abs(frontier["strength"] - strength).argmin()
    ax.plot(x[chosen], bits[chosen], "o", color=_BLUE, label=f"strength {strength:.3g}")
    ax.axhline(budget, label="budget", **_DASHED)
    ax.set(xlabel=_SIMILARITY, ylabel=_LEAKAGE)
    ax.legend()


def picture_sheet(rows: Sequence[NDArray[np.uint8]], *, enlarge: int = 2) -> Image.Image:
    """Put rows of pictures (n, height, width, 3) on white, ``enlarge`` times as large."""
    gap = 4  # pixels between pictures, before they are enlarged
    margins = ((0, 0), (gap, 0), (gap, 0), (0, 0))
    padded = [np.pad(row, margins, constant_values=255) for row in rows]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in padded], axis=0)
    picture = Image.fromarray(np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=255))
    return ImageOps.scale(picture, enlarge, Image.Resampling.NEAREST)


def _reach(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """Lengths of error bars, shape (2, n); an interval may leave out its estimate."""
    value = np.atleast_1d(value)
    return np.maximum([value - low, high - value], 0)


def _risk_in_words(outcome: AttackFigures) -> str:
    if not outcome.valid:
        return "BROKEN: not evidence"
    if not np.isfinite(outcome.ci_low):
        return f"{outcome.risk:.1%}"
    return f"{outcome.risk:.1%}  [{outcome.ci_low:.1%}, {outcome.ci_high:.1%}]"


def _legend_beside(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)

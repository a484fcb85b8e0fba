"""Curves of the page as SVG text: errors of verification, and what more images would teach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from .svg import BLUE, INK, VERMILION, WIDTH, line, svg, text, ticks

_TOP, _BASE, _LEFT = 20, 290, 80
# Error rates that a DET curve is drawn between, and where its axes have numbers.
_LEAST = 0.001
_RATES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)


class Curve(NamedTuple):
    """One attacker in the learning chart.

    Attributes
    ----------
    name : str
    shares : sequence of float
        Of everybody's images to learn from, in (0, 1], ascending.
    values : sequence of float
        Leakage in bits.
    rising : bool
        Whether it is still learning: set off, and said beside its name.
    """

    name: str
    shares: Sequence[float]
    values: Sequence[float]
    rising: bool = False


def det_chart(false_match: ArrayLike, false_non_match: ArrayLike) -> str:
    """Both errors of verification at every threshold, over normal deviates; guessing is a diagonal.

    Parameters
    ----------
    false_match, false_non_match : array-like of shape (n_points,)
        In [0, 1]; drawn between 0.1 % and 99.9 %.

    Returns
    -------
    str
        One ``<svg>`` element.

    References
    ----------
    Martin et al. (1997), "The DET curve in assessment of detection task performance".
    """
    right = _LEFT + _BASE - _TOP
    reach = float(ndtri(1 - _LEAST))

    def across(rate: ArrayLike) -> NDArray[np.float64]:
        deviate = ndtri(np.clip(rate, _LEAST, 1 - _LEAST))
        return _LEFT + (deviate + reach) / (2 * reach) * (right - _LEFT)

    def down(rate: ArrayLike) -> NDArray[np.float64]:
        return _BASE - (across(rate) - _LEFT)

    parts = []
    for rate in _RATES:
        x, y = float(across(rate)), float(down(rate))
        parts += [line(x, _TOP, x, _BASE, "#e2e2e2"), line(_LEFT, y, right, y, "#e2e2e2")]
        parts.append(text(x, _BASE + 16, f"{100 * rate:g}", anchor="middle", size=10))
        parts.append(text(_LEFT - 6, y + 4, f"{100 * rate:g}", anchor="end", size=10))
    parts.append(line(_LEFT, _TOP, right, _BASE, INK, width=2, dash="7 4"))
    parts.append(_path(across(false_match), down(false_non_match), VERMILION))
    parts.append(text(right + 20, _TOP + 14, "dashed: guessing"))
    parts.append(text(right + 20, _TOP + 34, "line: the worst attacker", colour=VERMILION))
    parts += _axes(right, "wrongly taken for that person (%)", "wrongly not taken (%)")
    return svg(_BASE + 50, "Errors of verification at every threshold", parts)


def learning_chart(curves: Sequence[Curve]) -> str:
    """Leakage that attackers find with a part of everybody's images, and with all.

    Parameters
    ----------
    curves : sequence of Curve
        At least one.

    Returns
    -------
    str
        One ``<svg>`` element.
    """
    right = WIDTH - 330
    values = np.array([v for curve in curves for v in curve.values] + [0.0])
    marks = ticks(values[np.isfinite(values)])

    def down(value: ArrayLike) -> NDArray[np.float64]:
        share = (np.asarray(value, dtype=np.float64) - marks[0]) / (marks[-1] - marks[0])
        return _BASE - share * (_BASE - _TOP)

    def across(share: ArrayLike) -> NDArray[np.float64]:
        return _LEFT + np.asarray(share, dtype=np.float64) * (right - _LEFT)

    parts = []
    for mark in marks:
        y = float(down(mark))
        parts.append(line(_LEFT, y, right, y, "#e2e2e2"))
        parts.append(text(_LEFT - 8, y + 4, f"{mark:g}", anchor="end", size=12))
    for share in sorted({share for curve in curves for share in curve.shares}):
        x = float(across(share))
        parts.append(line(x, _TOP, x, _BASE, "#e2e2e2"))
        parts.append(text(x, _BASE + 18, f"{share:.0%}", anchor="middle", size=12))
    parts.append(line(_LEFT, float(down(0)), right, float(down(0)), INK, width=2, dash="7 4"))
    lowest = -np.inf
    for curve in sorted(curves, key=lambda curve: -curve.values[-1]):
        colour = VERMILION if curve.rising else BLUE
        xs, ys = across(curve.shares), down(curve.values)
        parts.append(_path(xs, ys, colour))
        parts += [
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'/>"
            for x, y in zip(xs, ys, strict=True)
        ]
        # From the top down, each name below the one before.
        lowest = max(float(ys[-1]) + 4, lowest + 16)
        said = curve.name + (": STILL LEARNING" if curve.rising else "")
        room = WIDTH - right - 24
        parts.append(text(right + 12, lowest, said, bold=curve.rising, size=12, room=room))
    parts += _axes(right, "share of everybody's images to learn from", "leakage (bit)")
    height = max(_BASE + 50, lowest + 10)
    return svg(height, "Leakage found with more and more images to learn from", parts)


def _axes(right: float, across: str, up: str) -> list[str]:
    middle = (_TOP + _BASE) / 2
    return [
        text((_LEFT + right) / 2, _BASE + 38, across, anchor="middle"),
        f"<g transform='rotate(-90 26 {middle})'>{text(26, middle, up, anchor='middle')}</g>",
    ]


def _path(xs: NDArray[np.float64], ys: NDArray[np.float64], colour: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2.5'/>"

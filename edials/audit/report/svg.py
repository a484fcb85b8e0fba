"""Charts as SVG text: no library, no script, readable without colour and on paper.

The colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; what
matters is said by shapes and words as well.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

BLUE, VERMILION, GREY, INK = "#0072b2", "#d55e00", "#999999", "#1a1a1a"
WIDTH = 800


def ticks(values: np.ndarray) -> np.ndarray:
    """Round numbers around the values, four to eight of them."""
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1e-3 * max(abs(high), 1e-3), 1e-9)
    step = 10.0 ** np.floor(np.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= 6)
    first, last = np.floor(low / step - 0.1), np.ceil(high / step + 0.1)
    return np.round(np.arange(first, last + 1) * step, 12)


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dash: str = ""
) -> str:
    """A line; ``dash`` as SVG takes it, "7 4" say."""
    dashes = f" stroke-dasharray='{dash}'" if dash else ""
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' "
        f"stroke-width='{width}'{dashes}/>"
    )


def ring(x: float, y: float) -> str:
    """A small white circle."""
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' fill='white' stroke='{INK}' stroke-width='2'/>"


def text(
    x: float,
    y: float,
    said: str,
    *,
    anchor: str = "start",
    size: int = 13,
    bold: bool = False,
    colour: str = INK,
    room: float = np.inf,
) -> str:
    """Text, escaped; narrower letters where it needs more than ``room``."""
    weight = " font-weight='bold'" if bold else ""
    # Letters are about 0.58 of their size wide; a text too long for its room is drawn narrower.
    narrow = 0.58 * size * len(said) > room
    fit = f" textLength='{room:.0f}' lengthAdjust='spacingAndGlyphs'" if narrow else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}'{weight}{fit} "
        # White around the letters, so that they can be read across lines.
        f"fill='{colour}' paint-order='stroke' stroke='white' stroke-width='3'>"
        f"{html.escape(said)}</text>"
    )


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """The whole ``<svg>`` element, :data:`WIDTH` wide; the title is for those who do not see it."""
    return (
        f"<svg viewBox='0 0 {WIDTH} {height:.0f}' role='img' "
        f"font-family='system-ui, sans-serif'><title>{html.escape(title)}</title>"
        f"{''.join(parts)}</svg>"
    )

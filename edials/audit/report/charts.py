"""The charts of risk and of privacy against what is left to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .svg import BLUE, GREY, INK, VERMILION, WIDTH, line, ring, svg, text, ticks

# The risk chart: names on the left, figures on the right, bars between.
_ROW, _LEFT, _RIGHT, _TOP, _BOTTOM = 42, 260, 165, 40, 52
_HATCH = (
    "<defs><pattern id='edials-broken' width='6' height='6' patternUnits='userSpaceOnUse' "
    "patternTransform='rotate(45)'><rect width='6' height='6' fill='#eeeeee'/>"
    f"<line x1='0' y1='0' x2='0' y2='6' stroke='{GREY}' stroke-width='2'/></pattern></defs>"
)


class Bar(NamedTuple):
    """One attacker in the risk chart; shares in [0, 1].

    Attributes
    ----------
    name, note : str
        The note is set small below the name.
    value, low, high : float
        NaN bounds leave the interval out.
    clear : float
        Success on clear photos, drawn as a ring; NaN leaves it out.
    valid, worst : bool
        A broken attacker is grey and hatched; the worst one is set off.
    """

    name: str
    note: str
    value: float
    low: float
    high: float
    clear: float
    valid: bool = True
    worst: bool = False


class Point(NamedTuple):
    """One method in the plane of privacy and utility.

    Attributes
    ----------
    name : str
    x, y : float
    low, high : float
        Interval of ``y``; NaN bounds leave it out.
    own : bool
        Whether it is the one that the page is about.
    """

    name: str
    x: float
    y: float
    low: float
    high: float
    own: bool = False


def risk_chart(bars: Sequence[Bar], floor: float) -> str:
    """Risk of every attacker with its interval, beside the floor: bars from 0 to 100 %.

    Parameters
    ----------
    bars : sequence of Bar
    floor : float
        In [0, 1]; a dashed line.

    Returns
    -------
    str
        One ``<svg>`` element.
    """
    base = _TOP + _ROW * len(bars)
    parts = [_HATCH]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(line(_across(share), _TOP, _across(share), base, "#d5d5d5"))
        parts.append(text(_across(share), base + 18, f"{share:.0%}", anchor="middle", size=12))
    for place, bar in enumerate(bars):
        parts += _bar(bar, _TOP + _ROW * place)
    parts.append(line(_across(floor), _TOP - 8, _across(floor), base, INK, width=2, dash="7 4"))
    anchor = "start" if floor < 0.5 else "end"
    label = f"attribute floor {floor:.1%}"
    parts.append(text(_across(floor), _TOP - 15, label, anchor=anchor, bold=True))
    axis = "Risk: people named at the first guess by who knows their kept attributes, too."
    parts.append(text(_LEFT, base + 40, axis, size=12))
    parts.append(ring(_LEFT - 150, base + 36))
    parts.append(text(_LEFT - 140, base + 40, "on clear photos", size=12))
    return svg(base + _BOTTOM, "Risk of every attacker beside the attribute floor", parts)


def _across(share: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * float(np.clip(share, 0, 1))


def _bar(bar: Bar, top: float) -> list[str]:
    middle = top + _ROW / 2
    colour = "url(#edials-broken)" if not bar.valid else VERMILION if bar.worst else BLUE
    length = max(_across(bar.value) - _LEFT, 1)
    ink = INK if bar.valid else "#555555"
    parts = [
        text(
            _LEFT - 10,
            middle - 2,
            bar.name,
            anchor="end",
            bold=bar.worst,
            colour=ink,
            room=_LEFT - 14,
        ),
        text(
            _LEFT - 10,
            middle + 13,
            bar.note,
            anchor="end",
            size=11,
            colour="#444444",
            room=_LEFT - 14,
        ),
        f"<rect x='{_LEFT}' y='{middle - 10:.1f}' width='{length:.1f}' height='20' "
        f"fill='{colour}'/>",
    ]
    said = f"{bar.value:.1%}"
    if np.isfinite([bar.low, bar.high]).all():
        left, right = _across(bar.low), _across(bar.high)
        parts.append(line(left, middle, right, middle, ink, width=2))
        parts += [line(x, middle - 5, x, middle + 5, ink, width=2) for x in (left, right)]
        said += f"  [{bar.low:.1%}, {bar.high:.1%}]"
    if np.isfinite(bar.clear):
        parts.append(ring(_across(bar.clear), middle))
    shown = said if bar.valid else "BROKEN: not evidence"
    parts.append(
        text(WIDTH - _RIGHT + 12, middle + 4, shown, size=12, bold=bar.worst or not bar.valid)
    )
    return parts


def tradeoff_plane(
    points: Sequence[Point], *, x_label: str, y_label: str, ceiling: float = float("nan")
) -> str:
    """Privacy against utility, a point with its interval for every method; lower right is better.

    Parameters
    ----------
    points : sequence of Point
    x_label, y_label : str
    ceiling : float, default=nan
        What clear photos reach on the horizontal axis: a dotted line.

    Returns
    -------
    str
        One ``<svg>`` element.
    """
    left, right, top, base = 80, WIDTH - 40, 30, 330
    xs = np.array([p.x for p in points] + [ceiling])
    ys = np.array([v for p in points for v in (p.y, p.low, p.high)] + [0.0])
    x_ticks, y_ticks = ticks(xs[np.isfinite(xs)]), ticks(ys[np.isfinite(ys)])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), base - up * (base - top)

    parts = []
    for tick in x_ticks:
        x = place(tick, 0)[0]
        parts.append(line(x, top, x, base, "#e2e2e2"))
        parts.append(text(x, base + 18, f"{tick:g}", anchor="middle", size=12))
    for tick in y_ticks:
        y = place(x_ticks[0], tick)[1]
        parts.append(line(left, y, right, y, "#e2e2e2"))
        parts.append(text(left - 8, y + 4, f"{tick:g}", anchor="end", size=12))
    zero = place(x_ticks[0], 0)[1]
    parts.append(line(left, zero, right, zero, INK, width=2, dash="7 4"))
    parts.append(text(left + 6, zero - 6, "at the floor", size=12))
    if np.isfinite(ceiling):
        x = place(ceiling, 0)[0]
        parts.append(line(x, top, x, base, INK, width=1.5, dash="2 4"))
        parts.append(text(x, top - 8, "clear photos", anchor="middle", size=12))
    parts += _points(points, place, right)
    parts.append(text((left + right) / 2, base + 40, x_label, anchor="middle"))
    turned = f"<g transform='rotate(-90 22 {(top + base) / 2})'>"
    parts.append(turned + text(22, (top + base) / 2, y_label, anchor="middle") + "</g>")
    parts.append(text(right, base - 8, "better: down and to the right ↘", anchor="end", size=12))
    return svg(base + 52, f"{y_label} against {x_label}", parts)


def _points(
    points: Sequence[Point], place: Callable[[float, float], tuple[float, float]], right: float
) -> list[str]:
    parts, labels = [], []
    for point in points:
        x, y = place(point.x, point.y)
        colour = VERMILION if point.own else BLUE
        if np.isfinite([point.low, point.high]).all():
            ends = [place(point.x, bound)[1] for bound in (point.low, point.high)]
            parts.append(line(x, ends[0], x, ends[1], colour, width=2))
            parts += [line(x - 5, end, x + 5, end, colour, width=2) for end in ends]
        parts.append(
            f"<rect x='{x - 6:.1f}' y='{y - 6:.1f}' width='12' height='12' fill='{colour}' "
            f"transform='rotate(45 {x:.1f} {y:.1f})'/>"
            if point.own
            else f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' fill='{colour}'/>"
        )
        labels.append((y, x, point))
    # From the top down, each label below the one before where they would overlap.
    taken: list[tuple[float, float, float]] = []
    for y, x, point in sorted(labels, key=lambda label: label[:2]):
        reach = 8.0 * len(point.name) + 12
        end = x + reach > right
        start = x - reach if end else x
        up = y - 6
        while any(abs(up - t) < 15 and start < e and s < start + reach for t, s, e in taken):
            up += 3
        taken.append((up, start, start + reach))
        anchor, shift = ("end", -12) if end else ("start", 12)
        parts.append(text(x + shift, up, point.name, anchor=anchor, bold=point.own))
    return parts

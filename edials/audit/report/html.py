"""The page of an audit: ``page.html.j2`` has its words and its form, this module the figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..disclosure import FALSE_MATCH_RATES
from ..groups import SMALL_GROUP
from ..result import AuditResult
from ..utility import group_gaps
from . import text
from .charts import (
    chart_svg,
    draw_det,
    draw_learning_curve,
    draw_risk,
    draw_tradeoff,
    picture_sheet,
)
from .comparison import tradeoff_table

_THIS_RELEASE = "this release"
_F1_COLUMNS = {
    "clear": "Clear photos (%)",
    "reconstruction": "Encoded and decoded only (%)",
    "released": "Released (%)",
    "majority": "Always the majority (%)",
    "trained on released": "Learned on released, tested on clear (%)",
}


def render_page(
    result: AuditResult,
    baselines: Mapping[str, AuditResult] | None = None,
    *,
    pictures: bool = True,
    note: str = "",
) -> str:
    """The page of :meth:`edials.audit.AuditReport.to_html`."""
    baselines = dict(baselines or {})
    differing = [n for n, r in baselines.items() if r.attribute_names != result.attribute_names]
    if differing:
        raise ValueError(
            f"baselines {differing} were audited with other attributes; expected "
            f"{result.attribute_names}, so that all have the same floor."
        )
    releases = {_THIS_RELEASE: result, **baselines}
    template = _environment().get_template("page.html.j2")
    return template.render(
        result=result,
        worst=result.worst,
        note=note,
        verdict=text.verdict(result),
        meaning=text.meaning(result),
        not_tried=text.not_tried(result),
        not_measured=text.not_measured(result),
        charts=_charts(result, releases),
        releases=releases,
        donors=_donors(result),
        f1_tables=_f1_tables(result),
        gaps=group_gaps(result.utility_groups).to_dict("records"),
        sheet=_data_uri(result) if pictures else "",
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "percent": _percent, "interval": _interval}
    return environment


def _charts(result: AuditResult, releases: dict[str, AuditResult]) -> dict[str, str]:
    """SVG of every chart that has something to show."""
    plane, curve, det = tradeoff_table(releases), result.learning_curve, result.det
    drawn = {
        "risk": chart_svg(
            partial(draw_risk, result=result),
            key="risk",
            title="Risk of every attacker beside the attribute floor",
            height=1 + 0.5 * len(result.outcomes),
        )
    }
    for key, table, draw, title in (
        (
            "tradeoff",
            plane,
            partial(draw_tradeoff, highlight=_THIS_RELEASE),
            "Leakage beyond the attributes against similarity to the originals",
        ),
        ("learning", curve, draw_learning_curve, "Leakage found with more images to learn from"),
        ("det", det, draw_det, "Errors of verification at every threshold"),
    ):
        if len(table):
            drawn[key] = chart_svg(partial(draw, table=table), key=key, title=title, height=4)
    return drawn


def _donors(result: AuditResult) -> list[tuple[Any, ...]]:
    """Name, false match rate, ratio to it and its interval, for networks that were compared."""
    rows = []
    for name, figures in result.measures.items():
        for rate in FALSE_MATCH_RATES:
            if (key := f"ratio at FMR {rate:g}") in figures:
                interval = [figures.get(f"{key}, {end}", np.nan) for end in ("low", "high")]
                rows.append((name, rate, figures[key], *interval))
    return rows


def _f1_tables(result: AuditResult) -> list[pd.DataFrame]:
    """F1 by attribute, class and group as text; nothing without attributes."""
    if not len(result.utility):
        return []
    names = {"attribute": "Attribute", "class": "Class", "by": "Among", "group": "Group"}
    by_attribute = result.utility.rename_axis("attribute").reset_index()
    tables = []
    for table in (by_attribute, result.utility_classes, result.utility_groups):
        cells = pd.DataFrame({h: table[n].astype(str) for n, h in names.items() if n in table})
        columns = list(_F1_COLUMNS)
        if "n_people" in table:
            few = np.where(table["n_people"] < SMALL_GROUP, " (too few)", "")
            cells["People"] = table["n_people"].astype(str) + few
            columns = columns[:3]
        for column in columns:
            if column in table and table[column].notna().any():
                cells[_F1_COLUMNS[column]] = table[column].map(_percent)
        tables.append(cells)
    return tables


def _data_uri(result: AuditResult) -> str:
    buffer = io.BytesIO()
    picture_sheet(result.faces).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _number(value: float, digits: int, sign: str = "") -> str:
    """A figure for the eye, a dash if it is missing."""
    if not np.isfinite(value):
        return "–"
    # Adding 0 to what is rounded turns -0.0 into 0.0.
    return f"{round(float(value), digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def _percent(share: float, digits: int = 1, sign: str = "") -> str:
    """A share in per cent, without the sign of per cent."""
    return _number(100 * share, digits, sign)


def _interval(value: float, low: float, high: float, digits: int, scale: float = 1) -> str:
    """A figure, and its interval, if there is one, on a line of its own."""
    figure, *ends = (_number(scale * v, digits) for v in (value, low, high))
    return figure if "–" in ends else f"{figure}\n[{ends[0]},\u00a0{ends[1]}]"

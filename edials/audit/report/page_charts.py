"""The parts of the page that are drawn, each with the words that say how to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..disclosure import RATES
from .charts import Bar, risk_chart, tradeoff_plane
from .comparison import PICTURE_AXIS, PRIVACY_AXIS, tradeoff_point
from .curves import Curve, det_chart, learning_chart
from .pages import html_table, number, paragraph, with_interval
from .text import HOW_TO_READ_THE_PLANE, role

if TYPE_CHECKING:
    from .report import AuditReport


def risks(report: AuditReport) -> str:
    """Risk of every attacker.

    Parameters
    ----------
    report : AuditReport
    """
    bars = [
        Bar(
            outcome.name,
            role(outcome),
            outcome.risk,
            outcome.ci_low,
            outcome.ci_high,
            outcome.clear_accuracy,
            outcome.valid,
            outcome is report.worst,
        )
        for outcome in report.outcomes
    ]
    return risk_chart(bars, report.floor)


def plane(report: AuditReport, others: dict[str, AuditReport]) -> list[str]:
    """Leakage against what is left of the picture; with other methods a table as well.

    Parameters
    ----------
    report : AuditReport
    others : dict of str to AuditReport
    """
    everyone = {"this release": report, **others}
    points = [
        point
        for name, one in everyone.items()
        if (point := tradeoff_point(one, name, own=one is report)) is not None
    ]
    if not points:
        return [paragraph("No sound attacker, so there is no privacy to draw.")]
    parts = [
        tradeoff_plane(points, x_label=PICTURE_AXIS, y_label=PRIVACY_AXIS, ceiling=1.0),
        paragraph(HOW_TO_READ_THE_PLANE, "small"),
    ]
    if others:
        rows = [
            [
                name,
                *(
                    ["no sound attacker", "–", "–"]
                    if one.worst is None
                    else [
                        with_interval(
                            100 * one.worst.risk, 100 * one.worst.ci_low, 100 * one.worst.ci_high, 1
                        ),
                        number(100 * one.worst.in_cell_excess, 1, "+"),
                        number(one.worst.leakage_bits, 2),
                    ]
                ),
                f"{100 * one.coverage:.1f}",
                number(100 * one.utility["released"].mean(), 1) if len(one.utility) else "–",
                number(one.retention.get("ssim"), 2),
            ]
            for name, one in everyone.items()
        ]
        header = [
            *("Method", "Risk (%)", "Above the floor (points)", "Leakage (bit)", "Released (%)"),
            *("Macro-F1 (%)", "SSIM"),
        ]
        kinds = ["worst" if one is report else "" for one in everyone.values()]
        parts.append(html_table(header, rows, kinds=kinds))
    return parts


def learning(report: AuditReport) -> list[str]:
    """Leakage against what attackers had to learn from; nothing if none was tried.

    Parameters
    ----------
    report : AuditReport
    """
    table = report.learning_curve
    if not len(table):
        return []
    curves = [
        Curve(
            str(name),
            one["share"].to_list(),
            one["leakage_bits"].to_list(),
            bool(one["still_learning"].any()),
        )
        for name, one in table.groupby("name", sort=False)
    ]
    return [
        "<section><h3>Would more images find more?</h3>",
        learning_chart(curves),
        paragraph(
            "A line that has levelled off has learned what there is. One that still rises at the "
            "right would find more with more images of everybody: its leakage is then a lower "
            "bound. STILL LEARNING says that the last rise is more than chance, in leakage or in "
            "the in-cell AUC.",
            "small",
        ),
        "</section>",
    ]


def errors(report: AuditReport) -> list[str]:
    """The DET curve of the worst attacker; nothing where nobody shares a cell.

    Parameters
    ----------
    report : AuditReport
    """
    points, worst = report.det, report.worst
    if worst is None or not len(points):
        return []
    return [
        "<section><h3>Is this image of that person?</h3>",
        det_chart(points["fpr"], points["fnr"]),
        paragraph(
            f"Every point of the line is a threshold of the worst attacker ({worst.name}): across, "
            f"how often an image is taken for another person with the same attributes, up, how "
            f"often it is not taken for the person it shows. A release that tells nothing lies on "
            f"the dashed line; the further below it, the more is told. Both errors are equal at "
            f"{worst.eer:.1%}; 50 % is guessing.",
            "small",
        ),
        "</section>",
    ]


def donors(report: AuditReport) -> list[str]:
    """How often outputs match enrolled photos of others; nothing if no network was asked.

    Parameters
    ----------
    report : AuditReport
    """
    rows = [
        [
            name,
            f"{100 * rate:g}",
            with_interval(
                found[f"ratio at FMR {rate:g}"],
                found.get(f"ratio at FMR {rate:g}, low", np.nan),
                found.get(f"ratio at FMR {rate:g}, high", np.nan),
                1,
            ),
        ]
        for name, found in report.measures.items()
        for rate in RATES
        if f"ratio at FMR {rate:g}" in found
    ]
    if not rows:
        return []
    header = ["Recogniser", "False match rate (%)", "Matches, in multiples of it"]
    return [
        "<h3>Does an output show somebody else?</h3>",
        html_table(header, rows),
        paragraph(
            "How often a released image matches an enrolled photo of another person, against how "
            "often photos of two people do, which is 1. Far above 1 means that faces were "
            "borrowed. Intervals are at 95 %; the people shown and the people enrolled are both "
            "resampled, the thresholds are taken as given. Without any match the upper end is "
            "Wilson's and takes pairs as independent, so it is too low.",
            "small",
        ),
    ]

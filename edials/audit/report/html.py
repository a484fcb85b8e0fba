"""The report as somebody reads it who answers for the release: verdict, charts, tables, limits."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..groups import SMALL_GROUP
from ..utility import group_gaps
from .page_charts import donors, errors, learning, plane, risks
from .pages import (
    document,
    html_picture,
    html_table,
    number,
    paragraph,
    picture_sheet,
    with_interval,
)
from .text import (
    CONFIDENTIAL,
    HOW_TO_READ,
    STAYS_PERSONAL,
    meaning,
    not_measured,
    not_tried,
    verdict,
)

if TYPE_CHECKING:
    from ..figures import AttackFigures
    from .report import AuditReport

_RETENTION = {
    "ssim": ("Structural similarity", "1 is the same picture"),
    "psnr": ("Signal to noise (dB)", "100 is the same picture"),
    "colour_histogram": ("Colour agreement", "shared part of the colour histograms; 1 is the same"),
    "diversity": (
        "Diversity of faces",
        "distance between faces against that between originals; 0 is one face for everybody",
    ),
    "yaw_correlation": (
        "Head turn",
        "correlation of a geometric proxy, no landmark detector; 1 is kept, 0 is lost or not found",
    ),
    "light_left_right_correlation": ("Light, left to right", "correlation of a brightness proxy"),
    "light_up_down_correlation": ("Light, up and down", "correlation of a brightness proxy"),
    "detection_rate": ("Faces found", "share of released pictures in which a detector finds one"),
    "detection_rate_clear": ("Faces found, clear photos", "the same detector on the originals"),
    "detection_images": ("Pictures it looked at", "pairs of original and release"),
    "landmark_distance": (
        "Eyes moved by",
        "in distances between the eyes; 0 is where they were",
    ),
    "landmark_distance_chance": (
        "Eyes moved by, by chance",
        "the same between pictures of different photos",
    ),
    "landmark_images": ("Pairs with eyes in both", "what the two rows above rest on"),
}


_SOURCE = "The three questions are those of the Article 29 Working Party, Opinion 05/2014."


def officer_page(
    report: AuditReport, baselines: Mapping[str, AuditReport] | None, *, pictures: bool
) -> str:
    """The whole page.

    Parameters
    ----------
    report : AuditReport
    baselines : dict of str to AuditReport, or None
        Other methods, audited on the same images with the same attributes.
    pictures : bool
        Whether a few originals are shown.

    Raises
    ------
    ValueError
        If a baseline was judged with other kept attributes.
    """
    others = dict(baselines or {})
    strange = [n for n, r in others.items() if r.attribute_names != report.attribute_names]
    if strange:
        raise ValueError(
            f"baselines {strange} were audited with other kept attributes; expected "
            f"{report.attribute_names}, so that all have the same floor."
        )
    title = "Audit of anonymized faces"
    parts = [
        f"<h1>{title}</h1>",
        paragraph(
            f"{report.n_people} people, {report.n_images} images, {report.coverage:.1%} of them "
            f"released. Kept on purpose: {', '.join(report.attribute_names) or 'nothing'}."
        ),
        *([paragraph(CONFIDENTIAL, "loud")] if pictures else []),
        _verdict_box(report),
        *_findings(report),
        "<h2>Risk of every attacker</h2>",
        risks(report),
        _attackers_table(report),
        paragraph(HOW_TO_READ, "small"),
        *learning(report),
        *_risk_by_group(report),
        "<h2>Privacy and what is left of the picture</h2>",
        *plane(report, others),
        "<h2>What this means</h2>",
        *(f"<h3>{name}</h3>{paragraph(said)}" for name, said in meaning(report)),
        paragraph(_SOURCE, "small"),
        *errors(report),
        *donors(report),
        *_utility(report),
        *_groups(report),
        *_retention(report),
        "<h2>What was not tried</h2>",
        _bullets(not_tried(report)),
        *_not_measured(report),
        paragraph(STAYS_PERSONAL),
    ]
    if pictures:
        parts += [
            "<section><h2>Before and after</h2>",
            paragraph("Originals above, what was released for them below."),
            html_picture(picture_sheet(report.faces), "Originals above, released images below"),
            "</section>",
        ]
    return document(title, parts)


def _verdict_box(report: AuditReport) -> str:
    headline, alarm, said = verdict(report)
    worst = report.worst
    figures = [("Attribute floor", f"{report.floor:.1%}", f"chance {report.chance:.1%}")]
    if worst is not None:
        figures = [
            ("Risk", f"{worst.risk:.1%}", f"95 %: {worst.ci_low:.1%} to {worst.ci_high:.1%}"),
            *figures,
            (
                "Above the floor",
                f"{number(100 * worst.in_cell_excess, 1, '+')} points",
                f"95 %: {number(100 * worst.excess_low, 1, '+')} to "
                f"{number(100 * worst.excess_high, 1, '+')}",
            ),
            (
                "Leakage",
                f"{number(worst.leakage_bits, 2)} bit",
                f"interval {number(worst.leakage_low, 2)} to {number(worst.leakage_high, 2)}",
            ),
        ]
    figures.append(
        ("Released", f"{report.coverage:.1%}", f"{report.n_withheld} of {report.n_images} withheld")
    )
    boxes = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}"
        f"<small>{html.escape(note)}</small></dd></div>"
        for name, value, note in figures
    )
    text = "".join(paragraph(sentence) for sentence in said)
    return (
        f'<div class="verdict{" alarm" if alarm else ""}"><h2>{html.escape(headline)}</h2>'
        f'<dl class="figures">{boxes}</dl>{text}</div>'
    )


def _findings(report: AuditReport) -> list[str]:
    """What the files tell, if anything."""
    if not report.findings:
        return []
    return ["<h2>What the files of the release tell</h2>", _bullets(report.findings)]


def _not_measured(report: AuditReport) -> list[str]:
    missing = not_measured(report)
    return ["<h3>What was not measured</h3>", _bullets(missing)] if missing else []


def _bullets(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _attackers_table(report: AuditReport) -> str:
    rows, kinds = [], []
    for o in report.outcomes:
        rows.append(
            [
                f"{o.name}\n({o.kind})" if o.kind else o.name,
                "yes" if o.valid else "BROKEN: not evidence",
                f"{100 * o.clear_accuracy:.1f}",
                with_interval(100 * o.risk, 100 * o.ci_low, 100 * o.ci_high, 1),
                with_interval(100 * o.in_cell_excess, 100 * o.excess_low, 100 * o.excess_high, 1),
                with_interval(o.leakage_bits, o.leakage_low, o.leakage_high, 2),
                number(o.in_cell_auc, 3),
                number(o.p_value, 3),
                _album(o),
            ]
        )
        kinds.append("broken" if not o.valid else "worst" if o is report.worst else "")
    header = [
        *(
            "Attacker",
            "Evidence",
            "On clear photos (%)",
            "Risk (%)",
            "Above the floor (points)",
        ),
        *("Leakage (bit)", "In-cell AUC", "p-value", "Risk, all images of a person (%)"),
    ]
    return html_table(header, rows, kinds=kinds)


def _album(outcome: AttackFigures) -> str:
    null, said = outcome.album_null, number(100 * outcome.album_risk, 1)
    return f"{said}\n(chance {number(100 * null, 1)})" if np.isfinite(null) else said


def _risk_by_group(report: AuditReport) -> list[str]:
    """Whom the worst attacker hits."""
    rows = [
        [
            *([str(part) for part in name] if isinstance(name, tuple) else [str(name), ""]),
            f"{row['n_people']}" + (" (too few)" if row["note"] else ""),
            with_interval(100 * row["in_cell_excess"], 100 * row["low"], 100 * row["high"], 1),
        ]
        for name, row in report.groups.iterrows()
    ]
    header = ["Attribute", "Group", "People", "Risk above the floor (points)"]
    return ["<h3>Whom it hits</h3>", html_table(header, rows)] if rows else []


_KINDS = {
    "clear": "Clear photos (%)",
    "reconstruction": "Encoded and decoded only (%)",
    "released": "Released (%)",
    "majority": "Always the majority (%)",
    "trained on released": "Learned on released, asked about clear (%)",
}


_BY_PEOPLE = ("clear", "reconstruction", "released")


def _kinds_of(table: pd.DataFrame) -> list[str]:
    return [k for k in _KINDS if k in table.columns and table[k].notna().any()]


def _utility(report: AuditReport) -> list[str]:
    if not len(report.utility):
        return []
    kinds = _kinds_of(report.utility)
    rows = [
        [str(name), *(number(100 * row[k], 1) for k in kinds)]
        for name, row in report.utility.iterrows()
    ]
    return [
        "<h2>What the images are still good for</h2>",
        html_table(["Attribute", *(_KINDS[k] for k in kinds)], rows),
        paragraph(
            "Macro-F1 of judges trained on clear photos of other people; always guessing the most "
            "frequent class is the bottom. A release can exceed clear photos where a method draws "
            "what it keeps more plainly than they show it.",
            "small",
        ),
    ]


def _groups(report: AuditReport) -> list[str]:
    """F1 by class, and by groups of people, for reports that have them."""
    parts = []
    classes = report.utility_classes
    if len(classes):
        kinds = [k for k in _kinds_of(classes) if k in _BY_PEOPLE]
        parts += [
            "<h3>By class</h3>",
            _by_people(classes, ["attribute", "class"], ["Attribute", "Class"], kinds, "F1"),
        ]
    groups = report.utility_groups
    if len(groups):
        kinds = [k for k in _kinds_of(groups) if k in _BY_PEOPLE]
        parts += [
            "<h3>By group of people</h3>",
            _by_people(
                groups,
                ["attribute", "by", "group"],
                ["Attribute", "Among", "Group"],
                kinds,
                "Macro-F1",
            ),
        ]
        for _, gap in group_gaps(groups, smallest=SMALL_GROUP).iterrows():
            parts.append(
                paragraph(
                    f"Gap in {gap['attribute']} between groups of {gap['by']}: "
                    f"{100 * gap['released']:.1f} points on released images, "
                    f"{100 * gap['clear']:.1f} on clear ones.",
                    "small",
                )
            )
    return parts


def _by_people(
    table: pd.DataFrame, keys: list[str], names: list[str], kinds: list[str], what: str
) -> str:
    rows = [
        [
            *(str(row[key]) for key in keys),
            f"{row['n_people']}" + (" (too few)" if row["n_people"] < SMALL_GROUP else ""),
            *(number(100 * row[k], 1) for k in kinds),
        ]
        for _, row in table.iterrows()
    ]
    return html_table([*names, "People", *(_KINDS[k] for k in kinds)], rows, caption=what)


def _retention(report: AuditReport) -> list[str]:
    rows = []
    for name, value in report.retention.items():
        said, meaning = _RETENTION.get(name, (name, ""))
        rows.append([said, number(value, 0 if name.endswith("_images") else 2), meaning])
    table = html_table(["Of the picture", "Figure", "Meaning"], rows)
    return ["<h2>What is left of the picture</h2>", f'<div class="words">{table}</div>']

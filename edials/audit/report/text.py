"""An audit in words: the verdict, what it means for the people shown, and what was not tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..detection import NOT_INSTALLED
from ..disclosure import DONORS

if TYPE_CHECKING:
    from ..figures import AttackFigures
    from .report import AuditReport

#: Withholding that goes by people is said to tell below this p-value.
WITHHOLDING_TELLS = 0.01
_LEARNS = {
    "clear": "learns from clear photos",
    "released": "learns from released images",
    "choices": "learns from the choices",
    "both": "all sound ones combined",
}
_NEVER_TRIED = (
    "attackers with other pictures of these people, more computing time, or commercial face search",
    "people who look at the pictures and know who was photographed",
    "what is known from outside the pictures: file order, time, place, accompanying data",
)
CONFIDENTIAL = "The pictures below show originals, so this page is confidential like them."
HOW_TO_READ = (
    "Risk is that of an attacker who also knows the true kept attributes; intervals are over "
    "people, at 95 %. The attacker to read was chosen on other images than those reported. Each "
    "one first plays the same role on clear photos: who fails there is BROKEN and no evidence, "
    "since a weak attacker looks like privacy. Leakage is what an image tells about the person "
    "beyond the attributes, 0 bit being nothing; the in-cell AUC is 0.5 when nothing is left."
)
HOW_TO_READ_THE_PLANE = (
    "One point for each method, with its interval over people: the further right, the more of the "
    "picture is left (1 is the original itself); the lower, the less an image tells about the "
    "person beyond the kept attributes (0 bit is nothing; 1 bit halves the people it can be). "
    "Whether the labels are still readable is in the tables of macro-F1."
)
STAYS_PERSONAL = (
    "Originals, models, keys, manifests and certificates stay personal data. An audit finds what "
    "its attackers find; it cannot show that nobody else could do better."
)


def verdict(report: AuditReport) -> tuple[str, bool, list[str]]:
    """Headline, whether it is an alarm, and sentences that say what it rests on.

    Parameters
    ----------
    report : AuditReport
    """
    worst, said = report.worst, []
    if report.copies:
        headline = f"FAILED OPEN: {report.copies} released images are nearly their originals."
    elif worst is None:
        headline = "No evidence: no attacker recognised people even on clear photos."
        said.append("This audit says nothing about how safe the release is.")
    elif report.leak_found:
        headline = "People are recognised beyond what the kept attributes give away."
        if worst.leakage_low <= 0 and worst.excess_low <= 0:
            said.append(
                "The leak is small: the intervals contain zero, but people exchanged among those "
                "with the same attributes fit the release worse than the true ones do."
            )
    elif not report.testable:
        headline = "No evidence: too few people share their attributes to find anything."
    else:
        headline = "No attacker tried here did better than the kept attributes allow."
        said.append(
            f"This is no proof that none could: the in-cell AUC, 0.5 if nothing is left, lies "
            f"between {worst.auc_low:.2f} and {worst.auc_high:.2f}."
        )
    if worst is not None:
        said.insert(0, _what_was_tried(report, worst))
    if report.floor >= 0.5 or report.singleton_share > 0:
        said.append(
            f"The kept attributes by themselves name people: {report.floor:.1%} on average, and "
            f"{report.singleton_share:.0%} of the people share theirs with nobody. No method that "
            f"keeps these attributes can do better."
        )
    if worst is not None and _album_tells(worst):
        said.append(
            f"Who takes all released images of a person together is right in "
            f"{worst.album_risk:.1%}{_album_chance(worst)}."
        )
    learning = [o.name for o in report.outcomes if o.valid and o.still_learning]
    if learning:
        said.append(f"STILL LEARNING, so more images would find more: {', '.join(learning)}.")
    broken = [outcome.name for outcome in report.outcomes if not outcome.valid]
    if broken:
        said.append(f"BROKEN, not evidence and not counted: {', '.join(broken)}.")
    if report.withheld_p_value < WITHHOLDING_TELLS:
        said.append(
            f"WITHHOLDING TELLS: which images were withheld goes by people, beyond their "
            f"attributes (p = {report.withheld_p_value:.3f})."
        )
    alarm = bool(report.copies) or worst is None or report.leak_found or report.floor >= 0.5
    alarm |= not report.testable or report.withheld_p_value < WITHHOLDING_TELLS
    return headline, alarm, said


def role(outcome: AttackFigures) -> str:
    """What an attacker learned from, and what it is asked about where that is not the release.

    Parameters
    ----------
    outcome : AttackFigures
    """
    said = _LEARNS[outcome.gallery_kind]
    if outcome.pairs_of:
        said += f", pairs of {outcome.pairs_of}"
    if outcome.probe_kind == "clear":
        said += ", is shown clear photos"
    return said


def _album_tells(worst: AttackFigures) -> bool:
    return worst.album_p_value < 0.05


def _album_chance(worst: AttackFigures) -> str:
    return f" (by chance: {worst.album_null:.1%})" if np.isfinite(worst.album_null) else ""


def _what_was_tried(report: AuditReport, worst: AttackFigures) -> str:
    sound = sum(outcome.valid and outcome.gallery_kind != "both" for outcome in report.outcomes)
    gallery = report.gallery
    shown = (
        f", with {gallery['enrol']} images to learn from and {gallery['probe']} to name"
        if {"enrol", "probe"} <= set(gallery)
        else ""
    )
    return (
        f"{sound} attackers that work on clear photos tried to name {report.n_people} people"
        f"{shown}. The one chosen beforehand, {worst.name}, is right at the first guess in "
        f"{worst.risk:.1%}, mean over people. {_floor_in_words(report)}"
    )


def _floor_in_words(report: AuditReport) -> str:
    if not report.attribute_names:
        return (
            f"No kept attributes were given, so the floor is one in the people, {report.floor:.1%}."
        )
    kept = " and ".join(report.attribute_names)
    return f"Who knows their {kept} and nothing else is right in {report.floor:.1%}: the floor."


def meaning(report: AuditReport) -> list[tuple[str, str]]:
    """Singling out, linkability and inference, each with what the audit says of it.

    Parameters
    ----------
    report : AuditReport

    References
    ----------
    Article 29 Data Protection Working Party, Opinion 05/2014 on anonymisation techniques.
    """
    worst, linkage = report.worst, report.linkage
    if worst is None:
        single = "Not known: no attacker was sound."
    else:
        single = (
            f"An image is traced to one of {report.n_people} people with {worst.risk:.1%} success, "
            f"{worst.album_risk:.1%}{_album_chance(worst)} if all released images of a person are "
            f"taken together. Who knows the kept attributes and nothing else reaches "
            f"{report.floor:.1%}."
        )
    if np.isfinite(linkage.get("linked", np.nan)):
        link = (
            f"The released image nearest to another one, among people with the same attributes, "
            f"shows the same person in {linkage['linked']:.1%}; by chance it would in "
            f"{linkage['null']:.1%}, and among clear photos in "
            f"{linkage['linked_clear']:.1%}. Telling whether two such images show one person "
            f"fails in "
            f"{linkage['eer']:.1%} (equal error rate; 50 % is guessing)."
        )
    else:
        link = "Not measured: no cell has two people with several released images."
    if report.attribute_names:
        infer = (
            f"Kept on purpose, and readable by anybody for every person shown: "
            f"{', '.join(report.attribute_names)}. Labels such as race or health are "
            f"special-category data, and keeping them needs a reason of its own. What was not "
            f"named as kept was not judged."
        )
    else:
        infer = "No attribute was kept on purpose; what can still be inferred was not judged."
    return [("Singling out", single), ("Linkability", link), ("Inference", infer)]


def not_tried(report: AuditReport) -> list[str]:
    """What no attacker of this report did, and what none here can do.

    Parameters
    ----------
    report : AuditReport
    """
    missing = []
    for said, tried in _attempts(report):
        if not tried:
            missing.append(said)
        elif not any(getattr(one, "valid", True) for one in tried):
            missing.append(f"{said}: tried, but BROKEN")
    return [*missing, *_NEVER_TRIED]


def not_measured(report: AuditReport) -> list[str]:
    """What the report has no figures of, and why.

    Parameters
    ----------
    report : AuditReport
    """
    if "detection_rate" in report.retention:
        return []
    return [f"whether faces are still found, and their eyes where they were: {NOT_INSTALLED}"]


def _attempts(report: AuditReport) -> list[tuple[str, Sequence[Any]]]:
    """What can be tried, each with the attackers, or the facts, that show it was."""
    outcomes, measures = report.outcomes, report.measures.values()

    def attempts(*kinds: str, network: bool = False) -> list[AttackFigures]:
        return [o for o in outcomes if o.kind in kinds and (o.network or not network)]

    return [
        ("what hair, clothes and background give away", attempts("context")),
        (
            "attackers who use the anonymizer's own encoder",
            [o for o in outcomes if o.uses_encoder and o.probe_kind != "clear"],
        ),
        ("recognisers of clear photos", attempts("naive", "unseen")),
        ("attackers who learn from released images", attempts("parrot")),
        ("networks retrained on released images", attempts("parrot", network=True)),
        ("a recogniser that no part of the method knew", attempts("unseen")),
        (
            "recognisers trained on released images and asked about clear photos",
            attempts("reverse"),
        ),
        (
            "attackers who learn from pairs how the method changes photos",
            attempts("adaptive", "inversion"),
        ),
        ("networks that undo the anonymization", attempts("inversion")),
        (
            "attackers who anonymize photos of these people by themselves",
            [True] * report.n_fresh,
        ),
        (
            "whether a released image shows another enrolled person",
            [True for found in measures if any(name.startswith(DONORS) for name in found)],
        ),
        (
            "whether what was changed or withheld names anybody",
            [*attempts("choices"), *([True] if np.isfinite(report.withheld_p_value) else [])],
        ),
    ]

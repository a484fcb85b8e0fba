"""An audit in words: summary, verdict, what it means for people, and what was not tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..detection import NOT_INSTALLED
from ..disclosure import DONOR_SHARE
from ..figures import AttackFigures
from ..groups import SMALL_GROUP
from ..result import AuditResult

_GALLERIES = {
    "clear": "learns from clear photos",
    "released": "learns from released images",
    "choices": "learns from the choices",
    "both": "all valid ones combined",
}
_NEVER_TRIED = (
    "attackers with other pictures of these people, more computing time, or commercial face search",
    "people who look at the pictures and know who was photographed",
    "what is known from outside the pictures: file order, time, place, accompanying data",
)


class Verdict(NamedTuple):
    """Headline, whether the release or the audit has a fault, and what that rests on."""

    headline: str
    alarm: bool
    sentences: list[str]


def summary(result: AuditResult) -> str:
    """About ten lines of plain text."""
    worst = result.worst
    lines = [
        f"{result.n_people} people, {result.n_images} images, {result.coverage:.1%} released; "
        f"attributes: {', '.join(result.attribute_names) or 'NONE, so the floor is 1 / people'}",
        f"attribute floor {result.floor:.1%} (chance {result.chance:.1%}); "
        f"{result.singleton_share:.0%} of the people are alone in their cell; the smallest cell "
        f"has {result.smallest_cell}"
        + (", too few to report on its people" if result.smallest_cell < SMALL_GROUP else ""),
    ]
    if worst is None:
        lines.append("No attacker recognised people on clear photos: this audit is no evidence.")
    else:
        lowest = min((o for o in result.outcomes if o.valid), key=lambda o: o.p_value)
        outcome = "TOO FEW people share their attributes to find anything"
        if result.leak_found or result.testable:
            outcome = "a leak beyond the attributes" if result.leak_found else "nothing found"
        lines += [
            f"worst attacker, chosen on validation images: {worst.name}",
            f"risk {worst.risk:.1%} [{worst.ci_low:.1%}, {worst.ci_high:.1%}], "
            f"excess over the floor {100 * worst.in_cell_excess:.1f} points",
            f"leakage {worst.leakage_bits:.3f} bit [{worst.leakage_low:.3f}, "
            f"{worst.leakage_high:.3f}], in-cell AUC {worst.in_cell_auc:.3f}, p = "
            f"{worst.p_value:.3f}; album risk {worst.album_risk:.1%} (chance "
            f"{worst.album_null:.1%})",
            f"all attackers: p = {result.p_value_any:.3f}, {outcome}; lowest p "
            f"{lowest.p_value:.3f}, {lowest.name}",
        ]
    lines += _warnings(result)
    if result.copies:
        lines.append(f"FAILED OPEN: {result.copies} released images are nearly their originals")
    lines += [f"FILES TELL: {finding}" for finding in result.findings]
    for name, figures in result.measures.items():
        if "psnr_inverted" in figures:
            lines.append(
                f"{name}: PSNR {figures['psnr_released']:.1f} dB released, "
                f"{figures['psnr_inverted']:.1f} dB inverted"
            )
    donors = next((m for m in result.measures.values() if "ratio at FMR 0.001" in m), None)
    if donors is not None:
        lines.append(
            f"outputs match enrolled photos of others {donors['ratio at FMR 0.01']:.1f} and "
            f"{donors['ratio at FMR 0.001']:.1f} times as often as FMR 1e-2 and 1e-3 say"
        )
    linkage = result.linkage
    lines.append(
        f"linked inside the release {linkage['linked']:.1%} (null {linkage['null']:.1%}, clear "
        f"photos {linkage['linked_clear']:.1%}); SSIM {result.retention['ssim']:.2f}"
    )
    for attribute, row in result.utility.iterrows():
        scores = ", ".join(f"{kind} {value:.1%}" for kind, value in row.dropna().items())
        lines.append(f"macro-F1 {attribute}: {scores}")
    return "\n".join(lines)


def verdict(result: AuditResult) -> Verdict:
    """The result, from the gravest fault to the mildest."""
    worst = result.worst
    sentences = [] if worst is None else [_attempt(result, worst)]
    if result.copies:
        headline = f"FAILED OPEN: {result.copies} released images are nearly their originals."
    elif worst is None:
        headline = "No evidence: no attacker recognised people even on clear photos."
        sentences.append("This audit says nothing about how safe the release is.")
    elif result.leak_found:
        headline = "People are recognised beyond what the attributes give away."
        if worst.leakage_low <= 0 and worst.excess_low <= 0:
            sentences.append(
                f"The leak is small: the intervals of this attacker contain zero. But over all "
                f"attackers the scores fit the true people better than a permutation of people "
                f"with the same attributes (p = {result.p_value_any:.3f})."
            )
    elif not result.testable:
        headline = "No evidence: too few people share their attributes to find anything."
    else:
        headline = "No attacker tried here did better than the attributes allow."
        sentences.append(
            f"This is no proof that none could: the in-cell AUC, 0.5 if nothing is left, lies "
            f"between {worst.auc_low:.2f} and {worst.auc_high:.2f}."
        )
    if result.floor >= 0.5 or result.singleton_share > 0:
        sentences.append(
            f"The attributes by themselves name people: {result.floor:.1%} on average, and "
            f"{result.singleton_share:.0%} of the people share theirs with nobody. No method that "
            f"preserves these attributes can do better."
        )
    if worst is not None and worst.album_p_value < 0.05:
        sentences.append(
            f"With all released images of a person pooled, it names {_album(worst)} of the people."
        )
    sentences += [f"{warning}." for warning in _warnings(result)]
    alarm = bool(result.copies) or worst is None or result.leak_found or result.floor >= 0.5
    return Verdict(headline, alarm or not result.testable or result.withholding_leaks, sentences)


def role(outcome: AttackFigures) -> str:
    """What an attacker learns from, and its probes where these are not the release."""
    text = _GALLERIES[outcome.gallery_kind]
    if outcome.pairs_of:
        text += f", pairs of {outcome.pairs_of}"
    if outcome.probe_kind == "clear":
        text += ", probes are clear photos"
    return text


def meaning(result: AuditResult) -> list[tuple[str, str]]:
    """The three questions of the Article 29 Working Party (Opinion 05/2014), and the answers."""
    worst, linkage = result.worst, result.linkage
    single = "Not known: no attacker was valid."
    if worst is not None:
        single = (
            f"An image is traced to one of {result.n_people} people with {worst.risk:.1%} success, "
            f"or {_album(worst)} with all released images of the person pooled. The attributes "
            f"alone reach {result.floor:.1%}."
        )
    link = "Not measured: no cell has two people with several released images."
    if np.isfinite(linkage.get("linked", np.nan)):
        link = (
            f"The nearest other released image, among people with the same attributes, shows the "
            f"same person in {linkage['linked']:.1%} of the cases (by chance "
            f"{linkage['null']:.1%}, among clear photos {linkage['linked_clear']:.1%}). Deciding "
            f"whether two such images show one person has an equal error rate of "
            f"{linkage['eer']:.1%}; 50 % is guessing."
        )
    infer = "No attribute was declared; what can still be inferred was not measured."
    if result.attribute_names:
        infer = (
            f"Preserved on purpose, and readable by anybody for every person shown: "
            f"{', '.join(result.attribute_names)}. Labels such as race or health are "
            f"special-category data, and releasing them needs a reason of its own. Other "
            f"attributes were not measured."
        )
    return [("Singling out", single), ("Linkability", link), ("Inference", infer)]


def not_tried(result: AuditResult) -> list[str]:
    """Attacks that no attacker of this audit made, and those that none here can make."""
    missing = []
    for attack, attempts in _attacks(result):
        if not attempts:
            missing.append(attack)
        elif not any(getattr(attempt, "valid", True) for attempt in attempts):
            missing.append(f"{attack}: tried, but BROKEN")
    return [*missing, *_NEVER_TRIED]


def not_measured(result: AuditResult) -> list[str]:
    """Figures that are missing, and why."""
    if "detection_rate" in result.retention:
        return []
    return [f"whether faces are still found, and their eyes where they were: {NOT_INSTALLED}"]


def _warnings(result: AuditResult) -> list[str]:
    """What limits the evidence, and withholding that depends on the person."""
    lines = []
    learning = [outcome.name for outcome in result.outcomes if outcome.still_learning]
    if learning:
        lines.append(f"STILL LEARNING, more images would find more: {', '.join(learning)}")
    broken = [outcome.name for outcome in result.outcomes if not outcome.valid]
    if broken:
        lines.append(f"BROKEN, not evidence: {', '.join(broken)}")
    if result.withholding_leaks:
        lines.append(
            f"WITHHOLDING TELLS: which images were withheld depends on the person, beyond the "
            f"attributes (p = {result.withheld_p_value:.3f})"
        )
    return lines


def _album(worst: AttackFigures) -> str:
    chance = f" (by chance {worst.album_null:.1%})" if np.isfinite(worst.album_null) else ""
    return f"{worst.album_risk:.1%}{chance}"


def _attempt(result: AuditResult, worst: AttackFigures) -> str:
    n_valid = sum(outcome.valid and outcome.gallery_kind != "both" for outcome in result.outcomes)
    gallery, images = result.gallery, ""
    if {"enrol", "probe"} <= set(gallery):
        images = f", with {gallery['enrol']} images to learn from and {gallery['probe']} to name"
    floor = f"Without attributes, the floor is one in the people, {result.floor:.1%}."
    if result.attribute_names:
        floor = (
            f"The floor is {result.floor:.1%}: the success of an attacker who knows "
            f"{' and '.join(result.attribute_names)} and nothing else."
        )
    return (
        f"{n_valid} attackers that work on clear photos tried to name {result.n_people} people"
        f"{images}. The one chosen beforehand, {worst.name}, is right at the first guess in "
        f"{worst.risk:.1%}, mean over people. {floor}"
    )


def _attacks(result: AuditResult) -> list[tuple[str, Sequence[Any]]]:
    """Every attack, with the attackers, or the facts, that show it was tried."""
    outcomes, measures = result.outcomes, result.measures.values()

    def of_kind(*kinds: str) -> list[AttackFigures]:
        return [outcome for outcome in outcomes if outcome.kind in kinds]

    return [
        ("what hair, clothes and background give away", of_kind("context")),
        (
            "attackers who use the anonymizer's own encoder",
            [o for o in outcomes if o.uses_encoder and o.probe_kind != "clear"],
        ),
        ("recognisers of clear photos", of_kind("naive", "unseen")),
        ("attackers who learn from released images", of_kind("parrot")),
        ("networks retrained on released images", [o for o in of_kind("parrot") if o.network]),
        ("a recogniser that no part of the method knew", of_kind("unseen")),
        ("recognisers trained on released images and asked about clear photos", of_kind("reverse")),
        (
            "attackers who learn from pairs how the method changes photos",
            of_kind("adaptive", "inversion"),
        ),
        ("networks that undo the anonymization", of_kind("inversion")),
        ("attackers who anonymize photos of these people by themselves", [True] * result.n_fresh),
        (
            "whether a released image shows another enrolled person",
            [True for figures in measures if any(n.startswith(DONOR_SHARE) for n in figures)],
        ),
        (
            "whether what was changed or withheld names anybody",
            [*of_kind("choices"), *([True] if np.isfinite(result.withheld_p_value) else [])],
        ),
    ]

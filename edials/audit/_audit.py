"""The audit of any anonymizer's output: split, attack, calibrate, judge, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._labels import Labels, check_attributes, encode_labels
from .._random import stage_seeds
from ..exceptions import InvalidLabelsError
from ..metrics.permutation import max_t_p_value, permute_within_cells
from ..metrics.retention import picture_retention
from ..metrics.risk import attribute_cells, attribute_floor, singleton_share
from .attackers.base import ChoiceAttacker, check_choices
from .attackers.cell_reader import read_cells
from .attackers.registry import make_attackers
from .detection import detection_retention
from .disclosure import withheld_p_value
from .figures import People, attribute_rank_floor, predicted_floor
from .groups import people_table
from .inputs.files import file_findings
from .inputs.pairs import Pairs, read_pairs
from .learning_curve import learning_curve
from .linkage import copies_of_originals, link_release
from .report.report import AuditReport
from .runner import ENSEMBLE, AttackData, attack_all, fresh_releases, pairs_to_learn_from
from .utility import LinearJudge, f1_by_attribute, f1_by_class, f1_by_group, predict_all

_SPLITS = ("enrol", "validation", "probe")
_SHOWN = 8
# Releases of every enrolled photo that parrots make for themselves where the method is public.
_FRESH = {"quick": 1, "standard": 3, "thorough": 3}


def audit(
    original: Any,
    anonymized: Any,
    *,
    identity: Any,
    attributes: Any = None,
    split: Any = None,
    attackers: str | Sequence[Any] = "standard",
    anonymizer: Any = None,
    judges: Any = None,
    choices: Any = None,
    size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> AuditReport:
    """Judge what an anonymizer left of who is on the images, whatever anonymizer it was.

    Parameters
    ----------
    original, anonymized : array-like of shape (n_samples, height, width, 3), list of paths, folder
        Pairs, one to one and in the same order. Folders are paired by relative file name without
        its ending; labels come in the order of :func:`edials.datasets.load_image_folder`. Blank
        images, missing files of a folder and None in a list count as withheld.
    identity : array-like of shape (n_samples,)
        Who is on each image; missing where unknown, and these rows are left out of the attacks.
    attributes : DataFrame, dict of columns, or array-like, optional
        The kept attributes; a missing label counts as one of its own. None is one cell: the floor
        is then 1 / people.
    split : array-like of shape (n_samples,), optional
        "enrol" (attackers learn), "validation" (they are chosen and calibrated) and "probe"
        (reported once); None deals every person's images 60 : 15 : 25.
    attackers : {"quick", "standard", "thorough"} or sequence of these, default="standard"
        "quick" are the linear ones; "standard" adds networks, static and retrained; "thorough" a
        second retrained one of another shape and loss, and "inversion". A sequence names single
        attackers as the report does, or holds objects that follow
        :mod:`edials.audit.attackers.base`.
    anonymizer : EDIALSAnonymizer, optional
        Fitted: the method is public, so attackers then use its latents, and those that retrain
        anonymize the enrolled photos themselves, once more for "quick" and three times else.
    judges : AttributeClassifier, optional
        Fitted on other people's clear images, with ``predict_table``. None takes linear ones,
        trained on people apart from those they judge.
    choices : array-like of shape (n_samples, n_choices), optional
        What was decided for every image and can be seen in the release, such as which regions
        were changed: numbers, which are attacked like pixels.
    size : int, optional
        Pictures read from files are cropped to a centred square and resized to this many pixels, a
        multiple of 16. None takes the commonest of the released ones, at most 128.
    random_state : int, RandomState instance or None, default=None
    n_jobs : int, optional
        Processes that the attackers are shared among.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    AuditReport

    Raises
    ------
    InvalidImageError, InvalidLabelsError
        If images and labels cannot be paired, or nobody has images in all three splits.
    """
    pairs = read_pairs(original, anonymized, size)
    before, after, withheld = pairs.before, pairs.after, pairs.withheld
    table = check_attributes(_as_table(attributes), len(before))
    if judges is not None and not hasattr(judges, "predict_table"):
        raise ValueError(f"judges={judges!r}; expected a fitted AttributeClassifier.")
    labels = encode_labels(identity, name="identity", n_samples=len(before))
    seeds = stage_seeds(random_state, "split", "attackers", "resamples", "fresh", "leaks")
    parts = _split(labels.codes, withheld, split, seeds["split"])
    cell_names = attribute_cells(labels.codes, table)
    rows, people, cells = _people_in_all_parts(labels.codes, cell_names, parts)
    groups = {name: rows[parts[rows] == name] for name in _SPLITS}
    enrol, probe = groups["enrol"], groups["probe"]
    everybody = {name: People(people[group], cells) for name, group in groups.items()}

    attacker_list = make_attackers(attackers, anonymizer, seeds["attackers"])
    shown: dict[str, NDArray] = {"clear": before, "released": after}
    if choices is not None:
        shown["choices"] = check_choices(choices, len(before))
        attacker_list = [*attacker_list, ChoiceAttacker()]
    n_fresh = _FRESH.get(attackers, 3) if isinstance(attackers, str) else 3
    fresh = fresh_releases(anonymizer, before[enrol], n_fresh, seeds["fresh"])
    others = np.flatnonzero((people < 0) & (labels.codes >= 0) & ~withheld)
    images = {
        kind: {name: side[group] for name, group in groups.items()} for kind, side in shown.items()
    }
    material = AttackData(
        images=images,
        people=everybody,
        log_cells=read_cells(images["released"], everybody),
        fresh=fresh,
        **pairs_to_learn_from(before, after, enrol, others, labels.codes[others], fresh),
    )
    encoder = getattr(anonymizer, "autoencoder_", None)
    outcomes, measures = attack_all(
        attacker_list, material, seeds["resamples"], n_jobs, verbose, encoder
    )
    curve, outcomes = learning_curve(attacker_list, outcomes, material, seeds["resamples"], n_jobs)
    known = rows[~withheld[rows]]
    told = np.flatnonzero((people >= 0) & ((parts != "none") | withheld))
    faces = _some_of_each(people[probe])
    return AuditReport(
        n_people=len(cells),
        n_images=len(before),
        n_withheld=int(withheld.sum()),
        chance=1 / len(cells),
        floor=attribute_floor(np.arange(len(cells)), cells),
        floor_rank_5=attribute_rank_floor(everybody["probe"], 5),
        singleton_share=singleton_share(np.arange(len(cells)), cells),
        attribute_names=[] if table is None else [str(name) for name in table.columns],
        smallest_cell=int(np.bincount(cells).min()),
        outcomes=outcomes,
        copies=copies_of_originals(before[~withheld], after[~withheld]),
        linkage=link_release(images, everybody, encoder),
        retention={
            **picture_retention(before[known], after[known]),
            **detection_retention(before[known], after[known]),
        },
        faces=[before[probe][faces], after[probe][faces]],
        gallery={name: len(group) for name, group in groups.items()},
        findings=_findings(pairs, labels, seeds["leaks"]),
        measures=measures,
        withheld_p_value=withheld_p_value(
            withheld,
            labels.codes,
            np.unique(cell_names, return_inverse=True)[1],
            seed=seeds["leaks"],
        ),
        n_fresh=len(fresh),
        people=people_table(table, people, cells),
        p_value_any=max_t_p_value(
            # The test adds them up by itself, and without the choices of validation.
            [o.person_scores for o in outcomes if o.valid and o.name != ENSEMBLE],
            permute_within_cells(cells, seed=seeds["resamples"]),
        ),
        floor_predicted_cell=predicted_floor(material.log_cells, everybody["probe"]),
        learning_curve=curve,
        **_utility(before, after, withheld, table, labels.codes, told, anonymizer, judges),
    )


def _as_table(attributes: Any) -> Any:
    if not isinstance(attributes, dict):
        return attributes
    try:
        return pd.DataFrame(attributes)
    except ValueError as error:
        raise InvalidLabelsError(
            f"attributes cannot be put into one table ({error}); expected columns of one length, "
            f"an entry per image."
        ) from error


def _findings(pairs: Pairs, labels: Labels, seed: int) -> list[str]:
    if pairs.files is None:
        return pairs.findings
    return pairs.findings + file_findings(
        pairs.files,
        labels.codes,
        labels.classes,
        origins=pairs.origins,
        root=pairs.root,
        seed=seed,
    )


def _split(
    codes: NDArray[np.int64], withheld: NDArray[np.bool_], split: Any, seed: int
) -> NDArray[np.str_]:
    """Part of every image; withheld and unknown ones belong to none."""
    usable = (codes >= 0) & ~withheld
    parts = np.full(len(codes), "none", dtype="U10")
    if split is not None:
        given = np.asarray(split).astype(str)
        unknown = sorted(set(given.tolist()) - {*_SPLITS, "none"})
        if given.shape != codes.shape or unknown:
            raise InvalidLabelsError(
                f"split has {len(given)} entries for {len(codes)} images and the values "
                f"{sorted(set(given.tolist()))}; expected one of {_SPLITS} (or 'none') per image."
            )
        parts[usable] = given[usable]
        return parts
    generator = np.random.default_rng(seed)
    for person in np.unique(codes[usable]):
        own = generator.permutation(np.flatnonzero(usable & (codes == person)))
        # At least one for each of the latter two, as far as they go.
        validation, probe = max(1, round(0.15 * len(own))), max(1, round(0.25 * len(own)))
        parts[own[:validation]] = "validation"
        parts[own[validation : validation + probe]] = "probe"
        parts[own[validation + probe :]] = "enrol"
    return parts


def _people_in_all_parts(
    codes: NDArray[np.int64], cell_names: NDArray, parts: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of people with images in every part, their new codes (-1 elsewhere), and their cells."""
    several = [set(codes[parts == name].tolist()) for name in _SPLITS]
    present = np.array(sorted(set.intersection(*several)), dtype=np.int64)
    if len(present) < 2:
        raise InvalidLabelsError(
            f"{len(present)} people have images to enrol, to validate and to probe; expected at "
            f"least two. Give at least three images of each person, of which few are withheld "
            f"(blank or missing)."
        )
    people = np.full(len(codes), -1, dtype=np.int64)
    for code, person in enumerate(present):
        people[codes == person] = code
    rows = np.flatnonzero((people >= 0) & (parts != "none"))
    own = [cell_names[people == code][0] for code in range(len(present))]
    return rows, people, np.unique(own, return_inverse=True)[1]


def _some_of_each(people: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of a few images, of as many people as there are, spread evenly."""
    first = np.unique(people, return_index=True)[1]
    return first[np.linspace(0, len(first) - 1, min(_SHOWN, len(first))).round().astype(int)]


def _utility(
    before: NDArray,
    after: NDArray,
    withheld: NDArray[np.bool_],
    table: pd.DataFrame | None,
    codes: NDArray[np.int64],
    rows: NDArray,
    anonymizer: Any,
    judges: Any,
) -> dict[str, pd.DataFrame]:
    """Macro-F1 on clear, reconstructed and released images, by attribute, class and group.

    A withheld image counts as wrong.
    """
    if table is None:
        return {"utility": pd.DataFrame()}
    kinds = {"clear": before[rows]}
    if hasattr(anonymizer, "autoencoder_"):
        kinds["reconstruction"] = anonymizer.autoencoder_.reconstruct(before[rows])
    kinds["released"] = after[rows]
    table = table.iloc[rows].reset_index(drop=True)
    said = predict_all(kinds, table, codes[rows], judges or LinearJudge(), withheld[rows])
    return {
        "utility": f1_by_attribute(said, table),
        "utility_classes": f1_by_class(said, table, codes[rows]),
        "utility_groups": f1_by_group(said, table, codes[rows]),
    }

"""The audit of any anonymizer's output: split, attack, calibrate, evaluate, report."""

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
from .attack_data import AttackData, make_fresh_releases, select_pairs
from .attackers.base import ChoiceAttacker, check_choices
from .attackers.registry import make_attackers
from .cells import predict_cells
from .copies import find_copies
from .detection import detection_retention
from .disclosure import withheld_p_value
from .figures import attribute_rank_floor, predicted_floor
from .groups import people_table
from .inputs.files import file_findings
from .inputs.pairs import Pairs, read_pairs
from .learning_curve import learning_curve
from .linkage import link_release
from .report.report import AuditReport
from .runner import ENSEMBLE, attack_all
from .splits import GallerySplit, split_gallery
from .utility import (
    LinearAttributeClassifier,
    f1_by_attribute,
    f1_by_class,
    f1_by_group,
    predict_all,
)

_N_FACES = 8  # pairs of pictures in a report


def audit(
    original: Any,
    anonymized: Any,
    *,
    identity: Any,
    attributes: Any = None,
    split: Any = None,
    attackers: str | Sequence[Any] = "standard",
    anonymizer: Any = None,
    attribute_classifier: Any = None,
    choices: Any = None,
    size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> AuditReport:
    """Measure how much of the identity any anonymizer left in its output.

    Parameters
    ----------
    original, anonymized : array-like of shape (n_samples, height, width, 3), list of paths, folder
        Pairs, one to one and in the same order. Folders are paired by relative file name without
        its ending; labels come in the order of :func:`edials.datasets.load_image_folder`. Blank
        images, missing files of a folder and None in a list count as withheld.
    identity : array-like of shape (n_samples,)
        Person on each image; missing where unknown, and the attacks leave these rows out.
    attributes : DataFrame, dict of columns, or array-like, optional
        A missing label counts as a label. None is one cell: the floor is then 1 / people.
    split : array-like of shape (n_samples,), optional
        "enrol" (attackers learn), "validation" (they are selected and calibrated) and "probe"
        (reported once); None splits every person's images 60 : 15 : 25.
    attackers : {"quick", "standard", "thorough"} or sequence of these, default="standard"
        "quick" are the linear ones; "standard" adds networks, naive and parrots; "thorough" a
        second parrot of another architecture and loss, and "inversion". A sequence names single
        attackers as the report does, or holds objects that follow
        :mod:`edials.audit.attackers.base`.
    anonymizer : EDIALSAnonymizer, optional
        Fitted: the method is public, so attackers then use its latents, and parrots anonymize the
        enrolled photos themselves, once more for "quick" and three times else.
    attribute_classifier : AttributeClassifier, optional
        Fitted on other people's clear images, with ``predict_table``: it measures utility. None
        takes linear ones, trained on people apart from those they are applied to.
    choices : array-like of shape (n_samples, n_choices), optional
        What was decided for every image and can be seen in the release, such as which regions
        were changed: numbers, which are attacked like pixels.
    size : int, optional
        Pictures read from files are cropped to a centred square and resized to this many pixels, a
        multiple of 16. None takes the commonest of the released ones, at most 128.
    random_state : int, RandomState instance or None, default=None
    n_jobs : int, optional
        Processes that run the attackers.
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
    before, after, withheld = pairs.original, pairs.released, pairs.withheld
    table = check_attributes(_as_table(attributes), len(before))
    if attribute_classifier is not None and not hasattr(attribute_classifier, "predict_table"):
        raise ValueError(
            f"attribute_classifier={attribute_classifier!r}; expected a fitted AttributeClassifier."
        )
    labels = encode_labels(identity, name="identity", n_samples=len(before))
    # Seeds are hashed from these names.
    seeds = stage_seeds(random_state, "split", "attackers", "resamples", "fresh", "leaks")
    cell_names = attribute_cells(labels.codes, table)
    gallery = split_gallery(labels.codes, cell_names, withheld, split, seeds["split"])
    cells, rows = gallery.cells, gallery.all_rows

    attacker_list = make_attackers(attackers, anonymizer, seeds["attackers"])
    choice_rows = None if choices is None else check_choices(choices, len(before))
    if choice_rows is not None:
        attacker_list = [*attacker_list, ChoiceAttacker()]
    # Each takes a transform of all enrolled photos.
    n_fresh = 1 if isinstance(attackers, str) and attackers == "quick" else 3
    enrolled = before[gallery.rows["enrol"]]
    fresh_releases = make_fresh_releases(anonymizer, enrolled, n_fresh, seeds["fresh"])
    data = _attack_data(pairs, gallery, labels.codes, choice_rows, fresh_releases)
    encoder, seed = getattr(anonymizer, "autoencoder_", None), seeds["resamples"]
    outcomes, measures = attack_all(
        attacker_list, data, seed=seed, n_jobs=n_jobs, verbose=verbose, encoder=encoder
    )
    curve, outcomes = learning_curve(attacker_list, outcomes, data, seed, n_jobs)
    probe = data.people["probe"]
    return AuditReport(
        n_people=len(cells),
        n_images=len(before),
        n_withheld=int(withheld.sum()),
        chance=1 / len(cells),
        floor=attribute_floor(np.arange(len(cells)), cells),
        floor_rank_5=attribute_rank_floor(probe, 5),
        singleton_share=singleton_share(np.arange(len(cells)), cells),
        attribute_names=[] if table is None else [str(name) for name in table.columns],
        smallest_cell=int(np.bincount(cells).min()),
        outcomes=outcomes,
        copies=int(find_copies(before[~withheld], after[~withheld]).sum()),
        linkage=link_release(data.images, data.people, encoder),
        retention={
            **picture_retention(before[rows], after[rows]),
            **detection_retention(before[rows], after[rows]),
        },
        faces=_example_faces(data),
        gallery={name: len(split_rows) for name, split_rows in gallery.rows.items()},
        findings=_findings(pairs, labels, seeds["leaks"]),
        measures=measures,
        withheld_p_value=withheld_p_value(
            withheld, labels.codes, pd.factorize(cell_names, sort=True)[0], seed=seeds["leaks"]
        ),
        n_fresh=len(fresh_releases),
        people=people_table(table, gallery.people, cells),
        p_value_any=max_t_p_value(
            # The test sums the attackers itself, over validation and probe images.
            [o.person_scores for o in outcomes if o.valid and o.name != ENSEMBLE],
            permute_within_cells(cells, seed=seed),
        ),
        floor_predicted_cell=predicted_floor(data.log_cells, probe),
        learning_curve=curve,
        **_utility(pairs, gallery, table, labels.codes, anonymizer, attribute_classifier),
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


def _attack_data(
    pairs: Pairs,
    gallery: GallerySplit,
    codes: NDArray[np.int64],
    choices: NDArray[np.float32] | None,
    fresh_releases: list[NDArray[np.uint8]],
) -> AttackData:
    before, after = pairs.original, pairs.released
    images = {"clear": gallery.take(before), "released": gallery.take(after)}
    if choices is not None:
        images["choices"] = gallery.take(choices)
    people = gallery.people_by_split()
    outsiders = np.flatnonzero((gallery.people < 0) & (codes >= 0) & ~pairs.withheld)
    return AttackData(
        images=images,
        people=people,
        log_cells=predict_cells(images["released"], people),
        fresh_releases=fresh_releases,
        **select_pairs(
            (images["clear"]["enrol"], images["released"]["enrol"]),
            (before[outsiders], after[outsiders]),
            codes[outsiders],
            fresh_releases,
        ),
    )


def _example_faces(data: AttackData) -> list[NDArray[np.uint8]]:
    """Originals and releases of a few people, spread evenly."""
    first = np.unique(data.people["probe"].codes, return_index=True)[1]
    chosen = first[np.linspace(0, len(first) - 1, min(_N_FACES, len(first))).round().astype(int)]
    return [data.images[kind]["probe"][chosen] for kind in ("clear", "released")]


def _findings(pairs: Pairs, labels: Labels, seed: int) -> list[str]:
    if pairs.files is None:
        return pairs.findings
    return pairs.findings + file_findings(
        pairs.files,
        labels.codes,
        labels.classes,
        original_files=pairs.original_files,
        root=pairs.root,
        seed=seed,
    )


def _utility(
    pairs: Pairs,
    gallery: GallerySplit,
    table: pd.DataFrame | None,
    codes: NDArray[np.int64],
    anonymizer: Any,
    classifier: Any,
) -> dict[str, pd.DataFrame]:
    """F1 on clear, reconstructed and released images; a withheld image counts as wrong."""
    if table is None:
        return {"utility": pd.DataFrame()}
    rows = np.union1d(gallery.all_rows, np.flatnonzero((gallery.people >= 0) & pairs.withheld))
    clear = pairs.original[rows]
    kinds = {"clear": clear}
    if hasattr(anonymizer, "autoencoder_"):
        kinds["reconstruction"] = anonymizer.autoencoder_.reconstruct(clear)
    kinds["released"] = pairs.released[rows]
    table = table.iloc[rows].reset_index(drop=True)
    classifier = LinearAttributeClassifier() if classifier is None else classifier
    predicted = predict_all(kinds, table, codes[rows], classifier, pairs.withheld[rows])
    return {
        "utility": f1_by_attribute(predicted, table),
        "utility_classes": f1_by_class(predicted, table, codes[rows]),
        "utility_groups": f1_by_group(predicted, table, codes[rows]),
    }

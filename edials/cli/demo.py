"""The demonstration: made-up people, fitted, anonymized, attacked and judged in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._random import stage_seeds
from ..anonymizer import EDIALSAnonymizer
from ..audit.attackers.base import NaiveAttacker, PixelAttacker
from ..audit.report.pages import picture_sheet, write_report
from ..audit.utility import macro_f1
from ..datasets import make_faces
from ..metrics.linear_attack import LatentAttacker
from ..metrics.retention import picture_retention
from ..metrics.risk import attribute_floor, rank_1
from ..models.attribute_classifier import AttributeClassifier
from ..models.autoencoder import AdversarialAutoencoder
from ..models.identity_classifier import IdentityClassifier
from ..models.surrogate_decoder import SurrogateDecoder
from ..release.certification import WITHHELD

# What a person with two slow cores waits for in less than four minutes.
_PEOPLE, _PHOTOS, _HELD_OUT, _CROWD, _JUDGED, _SIZE = 54, 24, 6, 1000, 1000, 48
_SHOWN = 10
_ATTRIBUTES = ("age", "gender", "race")
_NOTES = (
    "The people are made up: this shows what edials does, not how safe real faces are.",
    "Risk is rank-1 re-identification on held-out photos, in per cent, mean over people. Each "
    "figure has its attacker: the recogniser of clear photos, used as it is; and two linear ones "
    "retrained on anonymized photos of the same people, on the anonymizer's own latents and on "
    "pixels. Beside them stands the attribute floor: what an attacker who knows the kept "
    "attributes, and nothing else, gets right.",
    "Macro-F1, in per cent, is read by a judge trained on clear photos of other people. The "
    "reconstruction is the ceiling: nothing removed, only encoded and decoded.",
    "One run, no intervals: an audit has them. Attackers below the floor are not proof of safety.",
)


def run_demo(folder: Path, *, random_state: int = 0, verbose: int = 1) -> pd.DataFrame:
    """Make faces, fit, anonymize held-out photos, measure, and write the report.

    Parameters
    ----------
    folder : Path
        Where ``report.csv``, ``report.html`` and ``pictures.png`` go.
    random_state : int, default=0
    verbose : int, default=1

    Returns
    -------
    DataFrame
        One row each for clear, reconstructed and anonymized photos; shares in per cent.
    """
    seeds = stage_seeds(random_state, "faces", "crowd", "others", "anonymizer", "judge")
    faces = make_faces(_PEOPLE, _PHOTOS, size=_SIZE, random_state=seeds["faces"])
    crowd = make_faces(_CROWD, 1, size=_SIZE, random_state=seeds["crowd"])
    others = make_faces(_JUDGED, 1, size=_SIZE, random_state=seeds["others"])
    held_out = np.arange(len(faces.images)) % _PHOTOS >= _PHOTOS - _HELD_OUT

    # People nobody named teach what faces look like; identity None marks them.
    anonymizer = _small_anonymizer(seeds["anonymizer"], verbose).fit(
        np.concatenate([faces.images[~held_out], crowd.images]),
        identity=np.concatenate([faces.identity[~held_out], np.full(_CROWD, None, dtype=object)]),
        attributes=pd.concat([faces.attributes[~held_out], crowd.attributes]),
    )
    judge = AttributeClassifier("tiny", max_epochs=30, random_state=seeds["judge"], verbose=verbose)
    judge.fit(others.images, others.attributes)

    table, released = _measure(anonymizer, judge, faces, held_out)
    chosen = np.flatnonzero(held_out)[:: _HELD_OUT * (_PEOPLE // _SHOWN)][:_SHOWN]
    before, restored = (
        faces.images[chosen],
        anonymizer.autoencoder_.reconstruct(faces.images[chosen]),
    )
    sheet = picture_sheet([before, restored, released[chosen]])
    write_report(folder, title="edials demo", table=table, notes=list(_NOTES), sheet=sheet)
    return table


def _small_anonymizer(seed: int, verbose: int) -> EDIALSAnonymizer:
    seeds = stage_seeds(seed, "autoencoder", "identity", "attributes", "draws")
    return EDIALSAnonymizer(
        AdversarialAutoencoder(
            "small",
            latent_dim=256,
            max_epochs=10,
            random_state=seeds["autoencoder"],
            verbose=verbose,
        ),
        identity_classifier=IdentityClassifier(
            "tiny", max_epochs=40, random_state=seeds["identity"], verbose=verbose
        ),
        attribute_classifier=AttributeClassifier(
            "tiny", max_epochs=30, random_state=seeds["attributes"], verbose=verbose
        ),
        surrogate_decoder=SurrogateDecoder("small", max_epochs=10, verbose=verbose),
        strength=1.0,
        random_state=seeds["draws"],
    )


def _measure(
    anonymizer: EDIALSAnonymizer, judge: AttributeClassifier, faces: Bunch, held_out: NDArray
) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    people = np.unique(faces.identity, return_inverse=True)[1]
    cells = faces.attributes.groupby(list(_ATTRIBUTES)).ngroup().to_numpy()
    result = anonymizer.anonymize(faces.images)
    released = np.full_like(faces.images, 128)
    released[result.kept_indices] = result.images
    withheld = result.verdicts == WITHHELD
    kinds = {
        "clear": faces.images,
        "reconstruction": anonymizer.autoencoder_.reconstruct(faces.images),
        "anonymized": released,
    }
    attackers: list[Any] = [
        NaiveAttacker(anonymizer.identity_classifier_),
        LatentAttacker(anonymizer.autoencoder_),
        PixelAttacker(),
    ]
    rows = {}
    for kind, images in kinds.items():
        row: dict[str, float] = {}
        for attacker in attackers:
            scores = attacker.fit(images[~held_out], people[~held_out]).scores(images[held_out])
            row[f"risk: {attacker.name}"] = 100 * rank_1(scores, people[held_out])
        row["attribute floor"] = 100 * attribute_floor(people, cells)
        lost = withheld[held_out] if kind == "anonymized" else None
        f1 = macro_f1(judge, images[held_out], faces.attributes[held_out], lost)
        row |= {f"macro-F1: {name}": 100 * f1[name] for name in _ATTRIBUTES}
        row["SSIM"] = picture_retention(faces.images[held_out], images[held_out])["ssim"]
        rows[kind] = row
    return pd.DataFrame(rows).T, released

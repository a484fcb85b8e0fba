"""Data and trained networks of ``benchmark_faces.py``: who is fitted on what, and cached.

Nothing here ever sees a validation or probe image, nor the people kept for the unseen figures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score

from edials.datasets import load_lfw, load_mtf, load_utkface
from edials.models.attribute_classifier import AttributeClassifier
from edials.models.autoencoder import AdversarialAutoencoder
from edials.models.identity_classifier import IdentityClassifier

ATTRIBUTES = ("age", "gender", "race")
AGE_GROUPS = ("young", "middle", "older")
# Fine enough to cut anywhere sensible, coarse enough to be learned as classes.
AGE_EDGES = (0, 12, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 75, 200)


@dataclass
class Faces:
    """Images with identity and attributes, row by row."""

    images: np.ndarray
    identity: np.ndarray
    attributes: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> Faces:
        return Faces(
            self.images[rows],
            self.identity[rows],
            self.attributes.iloc[rows].reset_index(drop=True),
        )


@dataclass
class BenchmarkData:
    """Who is fitted on, chosen on and reported on.

    Attributes
    ----------
    enrol, validation, probe : Faces
        The labelled people, by their fixed split.
    others : Faces
        Further people to train the recogniser and the autoencoder on; no attributes.
    crowd : Faces
        People without identity but with attributes, for autoencoder and attribute classifier.
    judged : Faces
        Other people again, with attributes, for the utility judges alone.
    unseen : Faces
        People who enter no fit.
    """

    name: str
    enrol: Faces
    validation: Faces
    probe: Faces
    others: Faces
    crowd: Faces
    judged: Faces
    unseen: Faces
    notes: dict[str, Any] = field(default_factory=dict)


def _table(frame: pd.DataFrame, n: int) -> pd.DataFrame:
    table = pd.DataFrame({name: np.full(n, None, dtype=object) for name in ATTRIBUTES})
    for name in ATTRIBUTES:
        if name in frame:
            column = frame[name].to_numpy(dtype=object)
            table[name] = np.where(pd.isna(column), None, column)
    return table


def load_benchmark(dataset: str, path: Path, *, size: int, quick: bool) -> BenchmarkData:
    """Read a data set and split it; no random re-splitting for LFW."""
    return (_load_lfw if dataset == "lfw" else _load_mtf)(path, size, quick)


def _load_lfw(path: Path, size: int, quick: bool) -> BenchmarkData:
    labels = pd.read_csv(path / "lfw89.csv")
    everyone = pd.read_csv(path / "lfw.csv")
    if quick:
        keep = labels["identity"].drop_duplicates().iloc[::4]
        labels = labels[labels["identity"].isin(keep)]
    counts = everyone["identity"].value_counts()
    named = set(pd.read_csv(path / "lfw89.csv")["identity"])
    kept_out = [p for p in counts.index[counts >= 10] if p not in named]
    free = everyone[~everyone["identity"].isin([*named, *kept_out])]
    if quick:
        free = free[free["identity"].isin(counts.index[counts >= 5])]

    def lfw(table: pd.DataFrame) -> Faces:
        data = load_lfw(path / "lfw128.zip", labels=table, size=size)
        return Faces(data.images, data.identity, _table(data.attributes, len(data.images)))

    labelled = lfw(labels)
    split = labels["split"].to_numpy()
    crowd = load_utkface(
        path / "utkface96.zip",
        labels=pd.read_csv(path / "utkface.csv").iloc[:: 8 if quick else 1],
        size=size,
    )
    attributes = _table(crowd.attributes, len(crowd.images))
    attributes["age"] = crowd.attributes["age_years"].to_numpy(dtype=object)
    crowd_faces = Faces(crowd.images, crowd.identity, attributes)
    # Even rows teach the anonymizer, odd rows the judges: nobody marks their own work.
    even = np.arange(len(crowd.images)) % 2 == 0
    return BenchmarkData(
        "lfw",
        *(
            labelled.take(np.flatnonzero(split == part))
            for part in ("enrol", "validation", "probe")
        ),
        others=lfw(free.drop(columns="gender")),
        crowd=crowd_faces.take(np.flatnonzero(even)),
        judged=crowd_faces.take(np.flatnonzero(~even)),
        unseen=lfw(everyone[everyone["identity"].isin(kept_out)].drop(columns="gender")),
    )


def _load_mtf(path: Path, size: int, quick: bool) -> BenchmarkData:
    data = load_mtf(path, size=size)
    faces = Faces(data.images, np.asarray(data.identity), _table(data.attributes, len(data.images)))
    generator = np.random.default_rng(0)
    people = generator.permutation(np.unique(faces.identity))
    third = max(1, len(people) // 4)
    judged, unseen, main = people[:third], people[third : third + third // 2], people[third:]
    main = np.setdiff1d(main, unseen)
    part = np.full(len(faces), "none", dtype=object)
    for person in main:
        rows = generator.permutation(np.flatnonzero(faces.identity == person))
        cuts = np.round(np.array([0.6, 0.75]) * len(rows)).astype(int)
        for name, chosen in zip(
            ("enrol", "validation", "probe"), np.split(rows, cuts), strict=True
        ):
            part[chosen] = name
    nobody = faces.take(np.array([], dtype=int))
    return BenchmarkData(
        "mtf",
        *(faces.take(np.flatnonzero(part == name)) for name in ("enrol", "validation", "probe")),
        others=nobody,
        crowd=nobody,
        judged=faces.take(np.flatnonzero(np.isin(faces.identity, judged))),
        unseen=faces.take(np.flatnonzero(np.isin(faces.identity, unseen))),
    )


class Judge:
    """Attribute models trained on other people's clear images; years are cut into groups."""

    def __init__(self, classifier: AttributeClassifier, cuts: tuple[int, int] | None):
        self.classifier, self.cuts = classifier, cuts

    def predict_table(self, images: np.ndarray) -> pd.DataFrame:
        table = self.classifier.predict_table(images)
        if self.cuts is not None:
            probabilities = _age_probabilities(self.classifier, images)
            groups = _group_of_bins(self.cuts)
            mass = np.stack([probabilities[:, groups == k].sum(axis=1) for k in range(3)], axis=1)
            table["age"] = np.array(AGE_GROUPS, dtype=object)[mass.argmax(axis=1)]
        return table


def _age_probabilities(classifier: AttributeClassifier, images: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    column = classifier.attribute_names_.index("age")
    scores = softmax(classifier.logits(images)[column].astype(float), axis=1)
    bins = np.asarray(classifier.classes_per_attribute_["age"], dtype=int)
    probabilities = np.zeros((len(scores), len(AGE_EDGES) - 1))
    probabilities[:, bins] = scores
    return probabilities


def _group_of_bins(cuts: tuple[int, int]) -> np.ndarray:
    starts = np.array(AGE_EDGES[:-1])
    return (starts >= cuts[0]).astype(int) + (starts >= cuts[1]).astype(int)


def choose_age_cuts(judge: AttributeClassifier, enrol: Faces) -> tuple[int, int]:
    """The two ages at which cut years agree best with the enrolled people's hand labels."""
    probabilities = _age_probabilities(judge, enrol.images)
    best = (-1.0, (0, 0))
    for first in AGE_EDGES[1:-2]:
        for second in (edge for edge in AGE_EDGES[2:-1] if edge > first):
            groups = _group_of_bins((first, second))
            mass = np.stack([probabilities[:, groups == k].sum(axis=1) for k in range(3)], axis=1)
            guess = np.array(AGE_GROUPS)[mass.argmax(axis=1)]
            score = f1_score(enrol.attributes["age"].astype(str), guess, average="macro")
            best = max(best, (float(score), (first, second)))
    return best[1]


def cut_ages(faces: Faces, cuts: tuple[int, int] | None) -> Faces:
    """Turn years into the three age groups; a table that has groups already stays."""
    if cuts is None or not len(faces):
        return faces
    table = faces.attributes.copy()
    years = table["age"].astype(float).to_numpy()
    group = (years >= cuts[0]).astype(int) + (years >= cuts[1]).astype(int)
    table["age"] = np.array(AGE_GROUPS, dtype=object)[group]
    return Faces(faces.images, faces.identity, table)


def together(*parts: Faces) -> Faces:
    """Put faces below one another; parts without rows are left out."""
    parts = tuple(part for part in parts if len(part))
    return Faces(
        np.concatenate([part.images for part in parts]),
        np.concatenate([np.asarray(part.identity, dtype=object) for part in parts]),
        pd.concat([part.attributes for part in parts], ignore_index=True),
    )


# --- the networks, each cached under its name ------------------------------------------------


class Cache:
    """Fitted parts on disk, with the minutes each took; a second run only evaluates."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, build: Any) -> Any:
        path = self.folder / f"{name}.joblib"
        if path.exists():
            return joblib.load(path)["value"]
        start = time.perf_counter()
        value = build()
        minutes = (time.perf_counter() - start) / 60
        joblib.dump({"value": value, "minutes": minutes}, path)
        print(f"  {name}: {minutes:.1f} minutes", flush=True)
        return value

    def minutes(self) -> dict[str, float]:
        return {
            path.stem: round(joblib.load(path)["minutes"], 2)
            for path in sorted(self.folder.glob("*.joblib"))
        }


def train_attributes_track(data: BenchmarkData, cache: Cache, quick: bool) -> None:
    """Judge, age cuts, autoencoder, attribute classifier: one core, in this order."""
    torch.set_num_threads(1)
    judged = data.judged
    if data.name == "lfw":
        table = judged.attributes.copy()
        years = table["age"].astype(float)
        table["age"] = np.digitize(years, AGE_EDGES[1:-1]).astype(object)
        judged = Faces(judged.images, judged.identity, table)
    judge = cache.get(
        "judge",
        lambda: AttributeClassifier(depth=2, max_epochs=3 if quick else 15, random_state=100).fit(
            judged.images, judged.attributes
        ),
    )
    cuts = None
    if data.name == "lfw":
        cuts = cache.get("age_cuts", lambda: choose_age_cuts(judge, data.enrol))
    crowd = cut_ages(data.crowd, cuts)

    everyone = together(data.enrol, data.others, crowd, cut_ages(data.judged, cuts))
    kept = everyone.attributes.copy()
    kept.iloc[len(everyone) - len(data.judged) :] = None  # the judges' people teach no attribute
    labelled = together(data.enrol, crowd)
    classifier = cache.get(
        "attribute_classifier",
        lambda: AttributeClassifier(max_epochs=3 if quick else 20, random_state=1).fit(
            labelled.images, labelled.attributes
        ),
    )
    cache.get("autoencoder", lambda: _train_autoencoder(everyone.images, kept, classifier))


def _train_autoencoder(images: np.ndarray, kept: pd.DataFrame, classifier: Any) -> Any:
    """First the picture as a whole, then, more slowly, what the attributes are seen by."""
    model = AdversarialAutoencoder(
        max_epochs=4,
        validation_fraction=0.01,
        feature_classifier=FrozenEstimator(classifier),
        random_state=0,
    ).fit(images, kept)
    model.set_params(warm_start=True, max_epochs=4, learning_rate=1.5e-4, feature_weight=0.5)
    return model.fit(images, kept)


def train_identity_track(data: BenchmarkData, cache: Cache, quick: bool) -> None:
    """The recogniser's recogniser and a second one with another seed, depth and margin."""
    torch.set_num_threads(1)
    people = data.enrol
    weights = None
    if len(data.others):
        counts = pd.Series(data.others.identity).value_counts()
        several = np.flatnonzero(counts[data.others.identity].to_numpy() >= 4)
        people = together(data.enrol, data.others.take(several))
        enrolled = np.arange(len(people)) < len(data.enrol)
        rarity = pd.Series(people.identity).value_counts()[people.identity].to_numpy() ** -0.5
        # Half of the draws for the gallery, half for the others who teach what a face is.
        weights = np.where(
            enrolled, rarity / rarity[enrolled].sum(), rarity / rarity[~enrolled].sum()
        )
    settings = {"max_epochs": 8 if quick else 24, "validation_fraction": 0.03, "patience": 99}
    for name, model in (
        ("recogniser", IdentityClassifier(random_state=2, **settings)),
        ("second_recogniser", IdentityClassifier(depth=1, margin=0.2, random_state=3, **settings)),
    ):
        cache.get(
            name,
            lambda model=model: model.fit(
                people.images, people.identity.astype(str), sample_weight=weights
            ).enrol(data.enrol.images, data.enrol.identity.astype(str)),
        )


def train_networks(data: BenchmarkData, cache: Cache, quick: bool) -> None:
    """Both tracks side by side, one core each."""
    joblib.Parallel(n_jobs=2)(
        joblib.delayed(track)(data, cache, quick)
        for track in (train_attributes_track, train_identity_track)
    )

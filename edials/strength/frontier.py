"""The frontier of ``strength="auto"``: leakage, and what stays visible, by retained features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from .._splits import sample_across_people
from .._validation import to_tensor
from ..fitting.data import Encoding, TrainingData
from ..fitting.latent_model import attribute_labels, fit_features
from ..metrics.head_pose import yaw_proxy
from ..metrics.risk import attribute_cells, attribute_floor
from ..metrics.ssim import structural_similarity
from ..release.attribute_reader import AttributeReader
from ..release.generation import SurrogateGenerator
from .capacity import RetainedFeatures
from .leakage import measure
from .splits import CalibrationSplit, random_half_splits


@dataclass(frozen=True, eq=False)
class FeatureTrial:
    """What would be retained of photos, by features that are fitted without these photos.

    Attributes
    ----------
    autoencoder : fitted autoencoder
    encoding : Encoding
    data : TrainingData
        Of the same rows.
    order : ndarray of shape (n_features,)
        Order of replacement.
    basis : {"identity", "raw"}
    """

    autoencoder: Any
    encoding: Encoding
    data: TrainingData
    order: NDArray[np.int64]
    basis: str

    def retained(
        self, first: NDArray[np.int64], second: NDArray[np.int64], names: NDArray[np.int64]
    ) -> tuple[RetainedFeatures, RetainedFeatures]:
        """Features of two sets of rows, fitted on all other rows; people as indices of names."""
        others = np.setdiff1d(np.arange(len(self.data.images)), np.concatenate([first, second]))
        features = fit_features(
            self.autoencoder,
            self.encoding.take(others),
            self.data.take(others),
            np.arange(len(others)),
            self.basis,
        )
        yaw = yaw_proxy(self.data.images)
        covariates = (yaw[:, None] / (yaw.std() or 1.0)).astype(np.float32)

        def of(rows: NDArray[np.int64]) -> RetainedFeatures:
            photos = self.encoding.take(rows)
            coordinates = features.residual_coordinates(photos.latents, photos.embeddings)
            people = np.searchsorted(names, self.data.people.codes[rows])
            return RetainedFeatures(coordinates[:, self.order], people, covariates[rows])

        return of(first), of(second)


def fit_frontier(
    trial: FeatureTrial, split: CalibrationSplit, reader: AttributeReader, seed: int
) -> dict[str, NDArray]:
    """Measure the leakage when the last 0, 1, 2, ... features are retained.

    To the columns of :func:`edials.strength.leakage.measure` it adds ``strength``, ``leakage_low``
    and ``leakage_high`` (95 %, the latter also for attackers with any number of photos) and
    ``floor``.
    """
    probe = trial.data.take(split.probe)
    names, first_photo, people = np.unique(
        probe.people.codes, return_index=True, return_inverse=True
    )
    predicted_codes = reader.codes(probe.images)
    predicted_cells = np.unique(predicted_codes, axis=0, return_inverse=True)[1].ravel()
    table = None if probe.attributes is None else probe.attributes.table()
    cells = np.unique(attribute_cells(people, table)[first_photo], return_inverse=True)[1]
    halves = random_half_splits(trial.data.people.codes, split, seed)
    # The first half of the first pair is the gallery.
    gallery_and_probe, *more = [
        trial.retained(half, split.probe, names) for pair in halves for half in pair
    ]
    frontier = measure(
        *gallery_and_probe,
        predicted_cells,
        cells,
        seed,
        pairs=more,
        training_pairs=[trial.retained(*pair, names) for pair in halves],
    )
    margin = norm.ppf(0.975) * frontier["leakage_error"]
    capacity_high = frontier["capacity_bits"] + norm.ppf(0.975) * frontier["capacity_error"]
    frontier["strength"] = 1 - frontier["n_retained"] / len(trial.order)
    frontier["leakage_low"] = frontier["leakage_bits"] - margin
    frontier["leakage_high"] = np.maximum(frontier["leakage_bits"] + margin, capacity_high)
    frontier["floor"] = np.full(len(margin), attribute_floor(np.arange(len(cells)), cells))
    return frontier


def evaluate_visual_utility(
    generator: SurrogateGenerator,
    reader: AttributeReader,
    probe: TrainingData,
    masks: list[NDArray[np.bool_]],
    seed: int,
) -> dict[str, NDArray]:
    """Measure what releases still show of up to 128 photos that no network saw, for every mask.

    ``ssim`` with the originals, and ``utility``: the attribute classifier's balanced accuracy, NaN
    without attributes.
    """
    sample = probe.take(sample_across_people(probe.people.codes, seed, 128))
    predictions = reader.recogniser.predictions(sample.images)
    codes = reader.codes(sample.images, predictions)
    originals = to_tensor(sample.images)
    ssim, utility = [], []
    for mask in masks:
        pictures = generator.replace(predictions, codes, mask)
        ssim.append(float(structural_similarity(originals, to_tensor(pictures)).mean()))
        score = float("nan")
        if sample.attributes is not None:
            score = float(reader.classifier.score(pictures, attribute_labels(sample.attributes)))
        utility.append(score)
    return {"ssim": np.array(ssim), "utility": np.array(utility)}

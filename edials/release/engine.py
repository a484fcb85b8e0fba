"""The engine: a batch of originals in, pictures that may leave and their verdicts out.

Everything is fixed by then: networks, latent model, the features to replace, and the secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._random import torch_defaults
from ..exceptions import IdentityLeakWarning, warn_caller
from .attribute_reader import AttributeReader
from .certification import (
    CERTIFIED,
    STRENGTHENED,
    UNCERTIFIED,
    WITHHELD,
    CachedPredictions,
    RecogniserAdapter,
    is_blank,
    is_original,
)
from .evasion import evade
from .explanation import LatentExplainer
from .generation import SurrogateGenerator
from .result import Outcome

_BLANK = 128
# Gradients per image that evasion follows.
_EVADE_SAMPLES = 8
# Below strength 1, certificates rest on the recogniser. It should match two photos of one person at
# least this often at a false match rate of 1 %.
_MIN_MATCH_RATE = 0.1


@dataclass(frozen=True, eq=False)
class Engine:
    """What a fitted anonymizer applies to a batch.

    Attributes
    ----------
    generator : SurrogateGenerator
    reader : AttributeReader
    explainer : LatentExplainer
        For evasion.
    mask : ndarray of bool, shape (n_features,)
        Features to replace, the same for every image.
    perturbation : {"surrogate", "evade"}
    """

    generator: SurrogateGenerator
    reader: AttributeReader
    explainer: LatentExplainer
    mask: NDArray[np.bool_]
    perturbation: str

    @property
    def recogniser(self) -> RecogniserAdapter:
        """The identity classifier that certifies."""
        return self.reader.recogniser

    @property
    def autoencoder(self) -> Any:
        """The fitted autoencoder."""
        return self.generator.autoencoder

    def warn_of_known_leaks(self, true_match_rate: float) -> None:
        """Warn if the settings leave a known way to the person."""
        message = None
        if self.perturbation == "evade":
            message = (
                "perturbation='evade' fools the classifier it was fitted with; an attacker who "
                "retrains on its output recognises people again. Use 'surrogate' to release."
            )
        elif not self.mask.any():
            message = "strength=0 removes nothing: the output is the plain reconstruction."
        elif not self.mask.all() and true_match_rate < _MIN_MATCH_RATE:
            message = (
                f"The identity classifier matches two photos of one person in "
                f"{true_match_rate:.0%} of pairs: below strength 1 its certificates mean little. "
                f"Train it longer or on more people, or use strength=1."
            )
        if message:
            warn_caller(message, IdentityLeakWarning)

    @torch_defaults()
    def run(self, originals: NDArray[np.uint8], scored: bool = True) -> Outcome:
        """Anonymize and certify a batch; nothing uncertified leaves.

        A picture that is not certified is generated again at strength 1; if that fails, too, it is
        blanked.
        """
        predictions = self.recogniser.predictions(originals)
        if self.perturbation == "surrogate" and not self.mask.any():
            outcome = self._reconstruct(originals)
        else:
            outcome = self._anonymize(predictions)
        if scored:
            similarity = self.recogniser.similarity(
                predictions.embeddings, self.recogniser.predictions(outcome.pictures)
            )
            outcome = outcome._replace(scores=similarity)
        outcome.pictures[outcome.verdicts == WITHHELD] = _BLANK
        return outcome

    def _reconstruct(self, originals: NDArray[np.uint8]) -> Outcome:
        """Strength 0: nothing is certified, and near copies of the original are withheld."""
        pictures = self.autoencoder.decode(self.autoencoder.encode(originals))
        verdicts = np.full(len(originals), UNCERTIFIED, dtype="U12")
        verdicts[is_original(originals, pictures)] = WITHHELD
        steps = np.zeros(len(originals), dtype=np.int64)
        return Outcome(pictures, steps, np.full(len(originals), np.nan), verdicts)

    def _anonymize(self, predictions: CachedPredictions) -> Outcome:
        """Perturb, certify, and generate the uncertified again at strength 1."""
        originals = predictions.pictures
        codes = self.reader.codes(originals, predictions)
        if self.perturbation == "evade":
            pictures, steps = self._evade(predictions)
            certified = steps > 0
        else:
            pictures = self.generator.replace(predictions, codes, self.mask)
            steps = np.zeros(len(originals), dtype=np.int64)
            certified = ~self._is_recognised(predictions, pictures)
        certified &= ~is_original(originals, pictures)
        verdicts = np.full(len(originals), CERTIFIED, dtype="U12")
        rows = np.flatnonzero(~certified)
        if len(rows):
            everything = np.ones_like(self.mask)
            again = self.recogniser.predictions(originals[rows])
            pictures[rows] = self.generator.replace(again, codes[rows], everything)
            verdicts[rows], steps[rows] = STRENGTHENED, 0
            copies = is_original(originals[rows], pictures[rows])
            verdicts[rows[copies]] = WITHHELD
        verdicts[is_blank(pictures)] = WITHHELD
        return Outcome(pictures, steps, np.full(len(originals), np.nan), verdicts)

    def _is_recognised(
        self, predictions: CachedPredictions, pictures: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Whether the recogniser matches surrogates with their originals.

        At strength 1 no picture depends on the person, and rejecting one would only tell who
        happens to resemble a random draw: nobody counts as recognised.
        """
        if self.mask.all():
            return np.zeros(len(pictures), dtype=bool)
        released = self.recogniser.predictions(pictures)
        if self.recogniser.verifies:
            return self.recogniser.matches(predictions.embeddings, released)
        return self.recogniser.names_any(released, self.recogniser.candidates(predictions))

    def _evade(self, predictions: CachedPredictions) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Push every image until the recogniser neither names a candidate nor matches it.

        Steps are -1 where it still does.
        """
        explanation = self.explainer(predictions, n_samples=_EVADE_SAMPLES, values_only=True)
        candidates = self.recogniser.candidates(predictions)
        model = self.generator.model
        pictures = np.full_like(predictions.pictures, _BLANK)

        def recognised(coordinates: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            decoded = self.autoencoder.decode(model.features.latents(coordinates.numpy()))
            released, originals = self.recogniser.predictions(decoded), rows.numpy()
            is_recognised = self.recogniser.names_any(released, candidates[originals])
            is_recognised |= self.recogniser.matches(predictions.embeddings[originals], released)
            # The bytes that leave are those that were certified; the last certified are the least
            # distorted.
            pictures[originals[~is_recognised]] = decoded[~is_recognised]
            return torch.from_numpy(is_recognised)

        steps = evade(
            torch.from_numpy(explanation.data),
            torch.from_numpy(explanation.values.astype(np.float32)),
            torch.from_numpy(model.mean),
            torch.from_numpy(model.std),
            recognised,
        )
        return pictures, steps[1].numpy()

"""SHAP values of the identity decision over the latent features of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._validation import to_pictures
from ..explain.attribution import make_explainer
from ..explain.identity_score import IdentityScore, RecogniserLogits, RotatedDecoder
from ..latent.model import LatentModel
from ..networks.inference import inference_batch_size
from .attribute_reader import AttributeReader
from .certification import CachedPredictions

if TYPE_CHECKING:
    import shap

# Gradients are taken of this many inference batches together, which is fastest for small networks.
_GRADIENT_BATCHES = 4


@dataclass(frozen=True, eq=False)
class LatentExplainer:
    """Explains the log-odds of the person that a recogniser sees.

    Attributes
    ----------
    autoencoder : fitted autoencoder
    reader : AttributeReader
    model : LatentModel
        Its background are synthetic draws; an image's own are those of its predicted attributes.
    kind : as :func:`edials.explain.attribution.make_explainer` takes it
    precision : {"auto", "float32", "bfloat16"}
    """

    autoencoder: Any
    reader: AttributeReader
    model: LatentModel
    kind: Any
    precision: str

    def __call__(
        self,
        predictions: CachedPredictions,
        *,
        n_samples: int,
        seed: int = 0,
        n_targets: int | None = None,
        values_only: bool = False,
    ) -> shap.Explanation:
        """Explain the images of predictions, with ``n_samples`` gradients each.

        The score sums over the ``n_targets`` most likely people; None takes a quarter of all.
        """
        gradients = self.kind == "gradient"
        candidates = predictions.recogniser.candidates(predictions)[:, :n_targets]
        score = self._score(predictions.recogniser, candidates, gradients)
        settings: dict[str, Any] = {
            "device": self.autoencoder.net_.device,
            "random_state": seed,
        }
        kind = self.kind
        if not isinstance(score.logits, torch.nn.Module):
            kind = "permutation"  # the only one that needs no gradient
        if kind == "gradient":
            images = predictions.pictures
            sizes = self.model.prior.sizes
            at_once = inference_batch_size(self.autoencoder.batch_size, images.shape[1:])
            settings |= {
                "n_samples": n_samples,
                "values_only": values_only,
                "batch_size": _GRADIENT_BATCHES * at_once,
                "groups": _cells(self.reader.codes(images, predictions), sizes),
                "background_groups": _cells(self.model.background_codes, sizes),
            }
        latents = self.autoencoder.encode(predictions.pictures)
        coordinates = self.model.features.coordinates(latents)
        return make_explainer(kind, score, self.model.background, **settings)(coordinates)

    def _score(self, recogniser: Any, candidates: NDArray, gradients: bool) -> IdentityScore:
        classifier = recogniser.classifier
        decoder = RotatedDecoder(self.autoencoder.module_.decoder, self.model.features.basis)
        if hasattr(classifier, "logits_tensor"):
            logits: Any = RecogniserLogits(classifier)
        else:
            gradients = False

            def logits(images: torch.Tensor) -> torch.Tensor:
                return torch.from_numpy(recogniser.logits(to_pictures(images))).float()

        if gradients:  # the other explainers hook the modules themselves
            decoder.decoder = self.autoencoder.net_.inference_copy(self.precision).decoder
            logits.network = classifier.net_.inference_copy(self.precision)
        return IdentityScore(
            decoder,
            logits,
            torch.from_numpy(np.ascontiguousarray(candidates)),
            # The other explainers hook modules, or subtract what hardly differs.
            precision=self.precision if gradients else "float32",
        )


def _cells(codes: NDArray[np.int64], sizes: list[int]) -> NDArray[np.int64]:
    """One number for every combination of attribute codes, shape (n,)."""
    if not sizes:
        return np.zeros(len(codes), dtype=np.int64)
    return np.ravel_multi_index(tuple(codes.T), tuple(sizes))

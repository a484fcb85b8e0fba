"""The engine: a batch of originals in, what may leave and what became of each out.

Everything here is fixed by then: networks, basis, surrogate distribution, which features are
replaced, and the key of the draws.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._random import image_keys, keyed_normal
from .._validation import to_pictures
from ..exceptions import IdentityLeakWarning
from ..explain.attribution import make_explainer
from ..explain.identity_score import IdentityScore, RecogniserLogits, RotatedDecoder
from ..latent.identity_basis import IdentityBasis
from ..latent.identity_regression import IdentityRegression
from ..latent.surrogates import ConditionalDraw, SurrogatePrior
from ..metrics.head_pose import yaw_proxy
from ..models.surrogate_decoder import MOST_GIVEN_BACK
from ..networks.inference import autocast, for_input_gradients, inference_batch_size
from .attribute_reader import AttributeReader
from .certification import (
    CERTIFIED,
    STRENGTHENED,
    UNCERTIFIED,
    WITHHELD,
    RecogniserAdapter,
    View,
    is_blank,
    is_original,
)
from .evasion import evade
from .result import Outcome

if TYPE_CHECKING:
    import shap

_BLANK = 128
# Gradients per image that evasion is led by; and how many batches of images they are taken of at a
# time, which small networks are quickest with.
_EVADE_SAMPLES, _GRADIENT_BATCHES = 8, 4
# Below strength 1 the door leans on the recogniser, which should match a person's photos at least
# this often where strangers match once in a hundred times.
_USEFUL_MATCH_RATE = 0.1


@dataclass(frozen=True)
class Engine:
    """Everything that is fitted, as a batch needs it.

    Attributes
    ----------
    autoencoder : fitted estimator
    decoder : fitted SurrogateDecoder or None
        None while it is not fitted.
    reader : AttributeReader
    recogniser : RecogniserAdapter
    basis : IdentityBasis
    identity_regression : IdentityRegression
        Taken off what is given back.
    prior : SurrogatePrior
    centre, spread : ndarray of shape (n_features,)
        Mean and standard deviation of every feature.
    background : ndarray of shape (n_background, n_features)
        Synthetic draws that attributions start from.
    background_codes : ndarray of shape (n_background, n_attributes)
        The attributes they were drawn for.
    mask : ndarray of bool, shape (n_features,)
        Features to replace, the same for every image.
    secret : bytes
    temperature : float
        How far draws spread, see :meth:`edials.latent.surrogates.SurrogatePrior.given`.
    perturbation : {"surrogate", "evade"}
    explainer : as :func:`edials.explain.attribution.make_explainer` takes it
    precision : {"auto", "float32", "bfloat16"}
        What explanations compute in.
    """

    autoencoder: Any
    decoder: Any
    reader: AttributeReader
    recogniser: RecogniserAdapter
    basis: IdentityBasis
    identity_regression: IdentityRegression
    prior: SurrogatePrior
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    background: NDArray[np.float32]
    background_codes: NDArray[np.int64]
    mask: NDArray[np.bool_]
    secret: bytes
    temperature: float
    perturbation: str
    explainer: Any
    precision: str

    def warn_of_known_ways(self, true_match_rate: float, stacklevel: int) -> None:
        """Warn if what is asked for leaves a known way to the person.

        Parameters
        ----------
        true_match_rate : float
            How often the recogniser matches two photos of one person.
        stacklevel : int
            Where the user's call is, as :func:`warnings.warn` counts.
        """
        said = None
        if self.perturbation == "evade":
            said = (
                "perturbation='evade' fools the classifier it was fitted with; an attacker who "
                "retrains on its output recognises people again. Use 'surrogate' to release."
            )
        elif not self.mask.any():
            said = "strength=0 removes nothing: the output is the plain reconstruction."
        elif not self.mask.all() and true_match_rate < _USEFUL_MATCH_RATE:
            said = (
                f"The identity classifier matches two photos of one person in "
                f"{true_match_rate:.0%} of pairs: below strength 1 its certificates mean little. "
                f"Train it longer or on more people, or use strength=1."
            )
        if said:
            warnings.warn(said, IdentityLeakWarning, stacklevel=stacklevel)

    def run(self, originals: NDArray[np.uint8], scored: bool = True) -> Outcome:
        """Anonymize a batch and judge it at the door; nothing uncertified leaves.

        What does not pass is made again at strength 1, and what fails even so is blanked.

        Parameters
        ----------
        originals : ndarray of shape (n, height, width, 3), dtype uint8
        scored : bool, default=True
            Whether to compare what was made with its original in the recogniser's eyes, for the
            record; else scores are NaN. The door does not need them.
        """
        view = self.recogniser.view(originals)
        outcome = self._made(originals, view)
        if scored:
            similarity = self.recogniser.similarity(
                view.embeddings, self.recogniser.view(outcome.pictures)
            )
            outcome = outcome._replace(scores=similarity)
        withheld = outcome.verdicts == WITHHELD
        outcome.pictures[withheld] = _BLANK
        return outcome

    def _made(self, originals: NDArray[np.uint8], view: View) -> Outcome:
        if self.perturbation == "surrogate" and not self.mask.any():
            return self._reconstruct(originals)
        codes = self.reader.codes(originals, view)
        pictures, steps, passed = self._attempt(originals, codes, view)
        passed &= ~is_original(originals, pictures)
        verdicts = np.full(len(originals), CERTIFIED, dtype="U12")
        again = np.flatnonzero(~passed)
        if len(again):
            pictures[again] = self.replace(originals[again], codes[again], self.full_draw)
            verdicts[again], steps[again] = STRENGTHENED, 0
            still = is_original(originals[again], pictures[again])
            verdicts[again[still]] = WITHHELD
        verdicts[is_blank(pictures)] = WITHHELD
        return Outcome(pictures, steps, np.full(len(originals), np.nan), verdicts)

    def _reconstruct(self, originals: NDArray[np.uint8]) -> Outcome:
        """Strength 0: nothing is certified, and what is nearly the original is blanked."""
        pictures = self.autoencoder.decode(self.autoencoder.encode(originals))
        verdicts = np.full(len(originals), UNCERTIFIED, dtype="U12")
        verdicts[is_original(originals, pictures)] = WITHHELD
        steps = np.zeros(len(originals), dtype=np.int64)
        return Outcome(pictures, steps, np.full(len(originals), np.nan), verdicts)

    def _attempt(
        self, originals: NDArray[np.uint8], codes: NDArray[np.int64], view: View
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """Pictures, steps, and who passes the recogniser."""
        if self.perturbation == "evade":
            pictures, steps = self.evade(originals, codes, view)
            return pictures, steps, steps > 0
        pictures = self.replace(originals, codes, self.draw, view)
        steps = np.zeros(len(originals), dtype=np.int64)
        # At strength 1 nothing of the person is in the picture, and a check that looks at the
        # person would only tell who happens to resemble a chance draw.
        if self.mask.all():
            passed = np.ones(len(originals), dtype=bool)
        elif self.recogniser.verifies:
            passed = ~self.recogniser.matches(view.embeddings, self.recogniser.view(pictures))
        else:
            candidates = self.recogniser.candidates(view)
            passed = ~self.recogniser.names_any(self.recogniser.view(pictures), candidates)
        return pictures, steps, passed

    @cached_property
    def draw(self) -> ConditionalDraw:
        """What replaces the marked features."""
        return self.prior.given(self.mask, temperature=self.temperature)

    @cached_property
    def full_draw(self) -> ConditionalDraw:
        """What replaces all features, at strength 1."""
        return self.prior.given(np.ones_like(self.mask), temperature=self.temperature)

    def replace(
        self,
        originals: NDArray[np.uint8],
        codes: NDArray[np.int64],
        draw: ConditionalDraw,
        view: View | None = None,
    ) -> NDArray[np.uint8]:
        """Draw a surrogate for every image.

        Parameters
        ----------
        originals : ndarray of shape (n, height, width, 3), dtype uint8
        codes : ndarray of shape (n, n_attributes)
        draw : ConditionalDraw
        view : View, optional
            The recogniser's, if it has looked at the originals already.

        Returns
        -------
        ndarray of the shape and dtype of ``originals``
        """
        noise = keyed_normal(image_keys(self._key(draw.mask), originals), (len(draw.mask),))
        own, turns = np.zeros_like(noise), None
        if not draw.mask.all():
            own, turns = self._given_back(originals, view), yaw_proxy(originals)
        drawn = torch.from_numpy(draw(own, codes, noise, turns))
        near = (~draw.mask).mean() > MOST_GIVEN_BACK
        decoder = self.autoencoder if near else self.decoder
        return decoder.decode(self.basis.unrotate(drawn).numpy())

    def _given_back(self, originals: NDArray[np.uint8], view: View | None) -> NDArray[np.float32]:
        """Coordinates without the person's part, shape (n, n_features)."""
        seen = (self.recogniser.view(originals) if view is None else view).embeddings
        latents = self.identity_regression.residualize(self.autoencoder.encode(originals), seen)
        return self.basis.rotate(torch.from_numpy(latents)).numpy()

    def _key(self, mask: NDArray[np.bool_]) -> bytes:
        """The draws' key for this mask and distribution.

        Releases at two strengths, or by two models of one secret, must not share their draws: what
        the weaker one leaks would be linked to the stronger.
        """
        drawn_from = self._digest_of_distribution + np.packbits(mask).tobytes()
        return hashlib.blake2b(drawn_from, key=self.secret, digest_size=32).digest()

    @cached_property
    def _digest_of_distribution(self) -> bytes:
        digest = hashlib.blake2b(key=self.secret, digest_size=32)
        prior, basis = self.prior, self.basis
        fitted = (prior.mean, prior.effects, prior.yaw_effect, prior.covariance, basis.forward)
        for part in fitted:
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(repr((prior.emphasis, self.temperature)).encode())
        return digest.digest()

    def evade(
        self, originals: NDArray[np.uint8], codes: NDArray[np.int64], view: View
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Push every image until the recogniser neither names a candidate nor matches the original.

        Steps are -1 where it still does.
        """
        explanation = self._explained(
            originals, codes, view, n_samples=_EVADE_SAMPLES, values_only=True
        )
        candidates = self.recogniser.candidates(view)

        pictures = np.full_like(originals, _BLANK)

        def recognised(moved: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            made = self.autoencoder.decode(self.basis.unrotate(moved).numpy())
            seen, of = self.recogniser.view(made), rows.numpy()
            still = self.recogniser.names_any(seen, candidates[of])
            still |= self.recogniser.matches(view.embeddings[of], seen)
            # The bytes that leave are those that were judged. The last that pass are the least
            # distorted.
            pictures[of[~still]] = made[~still]
            return torch.from_numpy(still)

        steps = evade(
            torch.from_numpy(explanation.data),
            torch.from_numpy(explanation.values.astype(np.float32)),
            torch.from_numpy(self.centre),
            torch.from_numpy(self.spread),
            recognised,
        )
        return pictures, steps[1].numpy()

    def coordinates(self, originals: NDArray[np.uint8]) -> torch.Tensor:
        """Latent features in the basis, shape (n, n_features), on the CPU."""
        return self.basis.rotate(torch.from_numpy(self.autoencoder.encode(originals)))

    def explain(self, originals: NDArray[np.uint8], **settings: Any) -> shap.Explanation:
        """SHAP values of the log-odds of the person that the recogniser sees.

        The background of an image are synthetic draws for its own predicted attributes.

        Parameters
        ----------
        originals : ndarray of shape (n, height, width, 3), dtype uint8
        **settings
            ``n_samples``, ``seed=0`` and ``feature_names=None`` of the explainer, and ``targets``:
            how many of the most likely people are taken together (None: a quarter).
        """
        view = self.recogniser.view(originals)
        return self._explained(originals, self.reader.codes(originals, view), view, **settings)

    def _explained(
        self,
        originals: NDArray[np.uint8],
        codes: NDArray[np.int64],
        view: View,
        *,
        n_samples: int,
        seed: int = 0,
        targets: int | None = None,
        feature_names: list[str] | None = None,
        values_only: bool = False,
    ) -> shap.Explanation:
        classifier, network = self.recogniser.classifier, self.autoencoder.module_
        explainer: Any = self.explainer
        decoder = RotatedDecoder(network.decoder, self.basis)
        if hasattr(classifier, "logits_tensor"):
            logits: Any = RecogniserLogits(classifier)
        else:
            logits = self._plain_logits
            explainer = "permutation"  # the only one that needs no gradient
        if explainer == "gradient":  # the others hook the modules
            with autocast(torch.device(self.autoencoder.net_.device), self.precision):
                decoder.decoder = for_input_gradients(decoder.decoder)
                logits.network = for_input_gradients(logits.network)
        score = IdentityScore(
            decoder,
            logits,
            torch.from_numpy(np.ascontiguousarray(self.recogniser.candidates(view)[:, :targets])),
            # The other explainers hook modules, or subtract what hardly differs.
            precision=self.precision if explainer == "gradient" else "float32",
        )
        settings: dict[str, Any] = {
            "device": self.autoencoder.net_.device,
            "random_state": seed,
            "feature_names": feature_names,
        }
        if explainer == "gradient":
            settings |= {
                "n_samples": n_samples,
                "values_only": values_only,
                "batch_size": _GRADIENT_BATCHES
                * inference_batch_size(self.autoencoder.batch_size, originals.shape[1:]),
                "groups": _as_cells(codes, self.prior.sizes),
                "background_groups": _as_cells(self.background_codes, self.prior.sizes),
            }
        coordinates = self.coordinates(originals).numpy()
        return make_explainer(explainer, score, self.background, **settings)(coordinates)

    def _plain_logits(self, images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.recogniser.logits(to_pictures(images))).float()


def _as_cells(codes: NDArray[np.int64], sizes: list[int]) -> NDArray[np.int64]:
    """One number for every combination of attribute codes, shape (n,)."""
    if not sizes:
        return np.zeros(len(codes), dtype=np.int64)
    return np.ravel_multi_index(tuple(codes.T), tuple(sizes))

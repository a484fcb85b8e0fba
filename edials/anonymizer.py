"""EDIALSAnonymizer: images in, images without the person out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.validation import check_is_fitted

from ._random import keyed_normal, new_secret, stage_seeds
from ._targets import AttributeTargets, encode_attributes
from ._validation import (
    ImageFormat,
    Labels,
    check_batch_size,
    check_images,
    encode_labels,
    resolve_device,
    to_pictures,
    to_uint8,
)
from .attributes import AttributeClassifier
from .attribution import IdentityScore, make_explainer, mean_absolute
from .autoencoder import AdversarialAutoencoder
from .certification import (
    CERTIFIED,
    STRENGTHENED,
    UNCERTIFIED,
    WITHHELD,
    Panel,
    as_input,
    is_blank,
    is_original,
)
from .exceptions import IdentityLeakWarning, InvalidLabelsError, WithheldImageError
from .identity_basis import fit_identity_basis, raw_basis
from .perturbation import choose, evade, fit_prior, surrogate
from .recognizer import IdentityClassifier

if TYPE_CHECKING:
    import shap

# Synthetic draws per image, of which the one that shows the attributes best is kept. The choice
# looks at the attributes alone, never at who is replaced.
_CANDIDATES = 8
_EXPLAINED_ROWS, _BACKGROUND_ROWS, _FIT_SAMPLES = 128, 200, 16
# The door lets two pictures match as often as two different people do by chance.
_DOOR_FMR = 0.01


@dataclass(frozen=True)
class AnonymizationResult:
    """What became of every image. All but ``images`` is confidential: never part of a release.

    Attributes
    ----------
    images : ndarray of shape (n_certified, ...)
        Certified images only, in the layout and dtype of the input.
    kept_indices : ndarray of shape (n_certified,)
        Which input each of them belongs to.
    steps : ndarray of shape (n_samples,)
        Steps of ``perturbation="evade"``, from 1; 0 where a surrogate was drawn instead.
    scores : ndarray of shape (n_samples,)
        Cosine of what was made with its original in the panel's eyes; NaN if it cannot embed.
    verdicts : ndarray of shape (n_samples,)
        ``"certified"``, ``"strengthened"`` (replaced by its strength-1 version), ``"withheld"``
        or, at strength 0, ``"uncertified"``; the last two are not among ``images``.
    """

    images: NDArray
    kept_indices: NDArray[np.int64]
    steps: NDArray[np.int64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]


class EDIALSAnonymizer(TransformerMixin, BaseEstimator):
    """Remove who from face images and keep what they are used for.

    Images are encoded into latent features; a share ``strength`` of these, chosen once per fit by
    the SHAP values of the identity decision, is replaced by a synthetic draw that depends on the
    kept attributes alone; the result is decoded and leaves through a door that checks it.

    At strength 1 the output depends on the image only through its predicted attributes. Below it
    there is no guarantee, only what an audit measures.

    Parameters
    ----------
    autoencoder : AdversarialAutoencoder, optional
        Cloned and fitted, unless wrapped in a FrozenEstimator. None takes the default.
    identity_classifier : classifier, optional
        As above; with ``fit``, ``predict``, ``classes_``; optionally ``predict_proba``, ``embed``.
    attribute_classifier : AttributeClassifier, optional
        As above; predicts the attributes of an image at transform.
    explainer : {"gradient", "deep", "permutation"} or one of shap's classes, default="gradient"
    perturbation : {"surrogate", "evade"}, default="surrogate"
        ``"evade"`` is the published loop, which stops when the classifier no longer names the
        person. It ignores ``strength`` and does not resist attackers who retrain: it warns.
    strength : float in [0, 1], default=1.0
        Share of latent features replaced. 0 is plain reconstruction, and warns.
    basis : {"identity", "raw"}, default="identity"
        Features are coordinates of the identity basis, or the latents themselves.
    attribute_weight : float, default=1.0
        How far the kept attributes enter the autoencoder's training, relative to its own
        ``attribute_weight``; 0 leaves them out.
    on_failure : {"blank", "raise"}, default="blank"
        What ``transform`` does when an image cannot be certified even at strength 1.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    device : str, default="auto"
    batch_size : int, default=64
        The same images give the same bytes in any order and company; another batch size may
        change the last bit of a pixel.
    random_state : int, RandomState instance or None, default=None
        None draws the key of the surrogates from the operating system: what a release needs. With
        an integer everything is reproducible, also by whoever learns it.
    n_jobs : int, optional
        Processes that ``transform`` shares the images among.
    verbose : int, default=0

    Attributes
    ----------
    image_shape_ : tuple (height, width, 3)
    autoencoder_, identity_classifier_, attribute_classifier_ : fitted estimators
        ``attribute_classifier_`` is None if no attribute is kept.
    attribute_names_ : list of str
    basis_ : IdentityBasis
    importance_ : ndarray of shape (latent_dim,)
        Mean |SHAP| over people.
    prior_ : SurrogatePrior
    n_features_in_ : int
        Numbers per image.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images": why an
    attacker who retrains is the one to measure.
    """

    # Requested by default, so that routing brings them without set_fit_request.
    __metadata_request__fit = {"identity": True, "attributes": True}  # noqa: RUF012
    __metadata_request__score = {"identity": True}  # noqa: RUF012

    def __init__(
        self,
        autoencoder: Any = None,
        *,
        identity_classifier: Any = None,
        attribute_classifier: Any = None,
        explainer: Any = "gradient",
        perturbation: str = "surrogate",
        strength: float = 1.0,
        basis: str = "identity",
        attribute_weight: float = 1.0,
        on_failure: str = "blank",
        image_shape: tuple[int, int, int] | None = None,
        device: str = "auto",
        batch_size: int = 64,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.autoencoder = autoencoder
        self.identity_classifier = identity_classifier
        self.attribute_classifier = attribute_classifier
        self.explainer = explainer
        self.perturbation = perturbation
        self.strength = strength
        self.basis = basis
        self.attribute_weight = attribute_weight
        self.on_failure = on_failure
        self.image_shape = image_shape
        self.device = device
        self.batch_size = batch_size
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # --- fit ---------------------------------------------------------------------------------

    def fit(
        self, X: ArrayLike, y: Any = None, *, identity: ArrayLike, attributes: Any = None
    ) -> EDIALSAnonymizer:
        """Learn from labelled faces what gives people away.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            uint8 or float in [0, 1].
        y : array-like of shape (n_samples,), optional
            Kept as the only attribute if ``attributes`` is None.
        identity : array-like of shape (n_samples,)
            Who is on each image; None, NaN, or -1 among integers, where unknown.
        attributes : DataFrame, or array-like of shape (n_samples,) or (n_samples, n_attributes)
            What is to stay predictable; entries may be missing.

        Returns
        -------
        self

        Raises
        ------
        InvalidImageError, InvalidLabelsError
            If images or labels cannot be used.
        ValueError
            If a parameter is out of range.
        """
        images, _ = check_images(X, image_shape=self.image_shape, min_samples=2)
        self._check_parameters()
        people = encode_labels(identity, name="identity", n_samples=len(images))
        if len(people.classes) < 2:
            raise InvalidLabelsError("identity holds 1 class; expected at least two people.")
        kept = encode_attributes(y if attributes is None else attributes, len(images))
        seeds = stage_seeds(self.random_state, "autoencoder", "identity", "attributes", "explain")
        self.image_shape_ = images.shape[1:]
        self.n_features_in_ = int(np.prod(self.image_shape_))
        self._fit_parts(images, people, kept, seeds)
        kept = self._in_classifiers_order(kept)
        self._fit_basis_and_prior(images, people, kept)
        self.importance_ = self._explain_people(images, people, seeds["explain"])
        # Last and apart: refitting with None must not repeat the draws of the fit before.
        self._secret = new_secret(
            None if self.random_state is None else stage_seeds(self.random_state, "draws")["draws"]
        )
        return self

    def _check_parameters(self) -> None:
        choose(np.zeros(1), self.strength)
        check_batch_size(self.batch_size)
        for name, possible in (
            ("perturbation", ("surrogate", "evade")),
            ("basis", ("identity", "raw")),
            ("on_failure", ("blank", "raise")),
        ):
            if getattr(self, name) not in possible:
                raise ValueError(f"{name}={getattr(self, name)!r}; expected one of {possible}.")

    def _fit_parts(
        self,
        images: NDArray,
        people: Labels,
        kept: AttributeTargets | None,
        seeds: dict[str, int],
    ) -> None:
        common: dict[str, Any] = {
            "device": self.device,
            "batch_size": self.batch_size,
            "verbose": self.verbose,
        }
        table = _decoded(kept)
        autoencoder = self.autoencoder
        if autoencoder is None:
            autoencoder = AdversarialAutoencoder(random_state=seeds["autoencoder"], **common)
            autoencoder.set_params(
                attribute_weight=self.attribute_weight * autoencoder.attribute_weight
            )
        self.autoencoder_ = clone(autoencoder).fit(images, table if self.attribute_weight else None)
        recogniser = self.identity_classifier
        if recogniser is None:
            recogniser = IdentityClassifier(random_state=seeds["identity"], **common)
        recogniser = clone(recogniser)
        named = images[people.known]
        if not hasattr(recogniser, "margin"):  # not one of ours: flat rows
            named = as_input(to_uint8(named), False)
        self.identity_classifier_ = recogniser.fit(
            named, people.classes[people.codes[people.known]]
        )
        self.attribute_classifier_: Any = None
        self.attribute_names_ = [] if kept is None else list(kept.classes)
        if kept is not None:
            classifier = self.attribute_classifier
            if classifier is None:
                classifier = AttributeClassifier(random_state=seeds["attributes"], **common)
            self.attribute_classifier_ = clone(classifier).fit(images, table)

    def _in_classifiers_order(self, kept: AttributeTargets | None) -> AttributeTargets | None:
        """The kept attributes in the codes of the attribute classifier, which transform will use.

        A frozen classifier may know classes that are absent here, or other columns first.
        """
        if kept is None:
            return None
        known = self.attribute_classifier_.classes_per_attribute_
        if set(known) != set(kept.classes):
            raise InvalidLabelsError(
                f"The attribute classifier knows {sorted(known)}, but the kept attributes are "
                f"{sorted(kept.classes)}; expected the same. Fit it on these, or pass None."
            )
        table = _decoded(kept)
        assert table is not None
        self.attribute_names_ = list(known)
        return encode_attributes(table[list(known)], len(table), known)

    def _fit_basis_and_prior(
        self, images: NDArray, people: Labels, kept: AttributeTargets | None
    ) -> None:
        latents = self.autoencoder_.encode(images)
        if self.basis == "raw":
            self.basis_ = raw_basis(latents)
        else:
            indicators = None if kept is None else kept.one_hot()
            self.basis_ = fit_identity_basis(latents, people.codes, indicators)
        coordinates = self.basis_.rotate(torch.from_numpy(latents)).numpy()
        weights = np.ones(len(images))
        known = people.known
        weights[known] = 1 / np.bincount(people.codes[known])[people.codes[known]]
        codes = np.empty((len(images), 0), np.int64) if kept is None else kept.codes
        self.prior_ = fit_prior(coordinates, codes, [] if kept is None else kept.sizes, weights)
        self._spread = coordinates.std(axis=0)
        rows = np.linspace(0, len(images) - 1, min(len(images), _BACKGROUND_ROWS)).astype(int)
        self._background = coordinates[rows]
        self._background_cells = self._cells(images[rows])

    def _explain_people(self, images: NDArray, people: Labels, seed: int) -> NDArray[np.float64]:
        generator = np.random.default_rng(seed)
        rows = generator.permutation(np.flatnonzero(people.known))
        # One photo of everybody before a second one of anybody.
        turn = pd.Series(people.codes[rows]).groupby(people.codes[rows]).cumcount().to_numpy()
        rows = rows[np.argsort(turn, kind="stable")][:_EXPLAINED_ROWS]
        values = self._attributions(images[rows], n_samples=_FIT_SAMPLES, seed=seed, targets=1)
        return mean_absolute(values.values, people.codes[rows])

    # --- transform ---------------------------------------------------------------------------

    def transform(self, X: ArrayLike) -> NDArray:
        """Anonymize images, one out for one in and in order.

        What cannot be certified is replaced by its strength-1 version, and what fails even so by
        a grey blank; never by the original.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of the shape and dtype of ``X``

        Raises
        ------
        InvalidImageError
            If the images are not of the size seen in fit.
        WithheldImageError
            If ``on_failure="raise"`` and an image had to be withheld.
        """
        pictures, _, _, verdicts, image_format = self._run(X)
        withheld = int((verdicts == WITHHELD).sum())
        if withheld:
            message = f"{withheld} of {len(verdicts)} images could not be certified"
            if self.on_failure == "raise":
                raise WithheldImageError(f"{message}; anonymize(X) returns the others.")
            warnings.warn(f"{message} and were blanked.", IdentityLeakWarning, stacklevel=2)
        return image_format.restore(pictures)

    def anonymize(self, X: ArrayLike) -> AnonymizationResult:
        """Anonymize images and return the certified ones only, with what became of each.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        AnonymizationResult
        """
        pictures, steps, scores, verdicts, image_format = self._run(X)
        kept = np.flatnonzero(np.isin(verdicts, (CERTIFIED, STRENGTHENED)))
        return AnonymizationResult(
            image_format.restore(pictures[kept]), kept, steps, scores, verdicts
        )

    def _run(
        self, X: ArrayLike
    ) -> tuple[NDArray[np.uint8], NDArray, NDArray, NDArray, ImageFormat]:
        check_is_fitted(self, "prior_")
        self._check_parameters()
        images, image_format = check_images(X, image_shape=self.image_shape_)
        if self.perturbation == "evade":
            warnings.warn(
                "perturbation='evade' fools the classifier it was fitted with; an attacker who "
                "retrains on its output recognises people again. Use 'surrogate' to release.",
                IdentityLeakWarning,
                stacklevel=3,
            )
        elif not self._mask().any():
            warnings.warn(
                "strength=0 removes nothing: the output is the plain reconstruction.",
                IdentityLeakWarning,
                stacklevel=3,
            )
        starts = range(0, len(images), self.batch_size)
        chunks = (images[start : start + self.batch_size] for start in starts)
        if self.n_jobs in (None, 1):
            results = [self._anonymize_batch(to_uint8(chunk)) for chunk in chunks]
        else:
            results = Parallel(n_jobs=self.n_jobs)(
                delayed(self._anonymize_batch)(to_uint8(chunk)) for chunk in chunks
            )
        pictures, steps, scores, verdicts = (
            np.concatenate(part) for part in zip(*results, strict=True)
        )
        return pictures, steps, scores, verdicts, image_format

    def _anonymize_batch(
        self, originals: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray, NDArray, NDArray]:
        panel = Panel(self.identity_classifier_, _DOOR_FMR)
        codes, mask = self._attribute_codes(originals), self._mask()
        everything = np.ones_like(mask)
        steps = np.zeros(len(originals), dtype=np.int64)
        if self.perturbation == "evade":
            pictures, steps = self._evade(originals, panel)
            passed = steps > 0
        elif not mask.any():
            pictures = self.autoencoder_.decode(self.autoencoder_.encode(originals))
            verdicts = np.full(len(originals), UNCERTIFIED, dtype="U12")
            same = is_original(originals, pictures)
            verdicts[same] = WITHHELD
            scores = panel.similarity(originals, pictures)
            pictures[same] = 128
            return pictures, steps, scores, verdicts
        else:
            pictures = self._replace(originals, codes, mask)
            # At strength 1 nothing of the person is in the picture, and a check that looks at the
            # person would only tell who happens to resemble a chance draw.
            passed = np.ones(len(originals), dtype=bool)
            if not mask.all() and panel.verifies:
                passed = panel.similarity(originals, pictures) <= panel.threshold
            elif not mask.all():
                passed = ~panel.names_any(pictures, panel.candidates(originals))
        passed &= ~is_original(originals, pictures)

        verdicts = np.full(len(originals), CERTIFIED, dtype="U12")
        if not passed.all():
            again = ~passed
            pictures = pictures.copy()
            pictures[again] = self._replace(originals[again], codes[again], everything)
            verdicts[again], steps[again] = STRENGTHENED, 0
        withheld = is_original(originals, pictures) | is_blank(pictures)
        verdicts[withheld] = WITHHELD
        scores = panel.similarity(originals, pictures)
        pictures[withheld] = 128
        return pictures, steps, scores, verdicts

    def _mask(self) -> NDArray[np.bool_]:
        return choose(self.importance_, self.strength)

    def _attribute_codes(self, originals: NDArray[np.uint8]) -> NDArray[np.int64]:
        if self.attribute_classifier_ is None:
            return np.empty((len(originals), 0), dtype=np.int64)
        return self.attribute_classifier_.predict_codes(originals)

    def _cells(self, images: NDArray) -> NDArray[np.int64]:
        """One code for each combination of predicted attributes, shape (n,)."""
        codes = self._attribute_codes(to_uint8(images))
        cells = np.zeros(len(images), dtype=np.int64)
        for column, size in enumerate(self.prior_.sizes):
            cells = cells * size + codes[:, column]
        return cells

    def _replace(
        self, originals: NDArray[np.uint8], codes: NDArray[np.int64], mask: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """Draw surrogates for the marked features; the most typical of the candidates is kept."""
        n, d = len(originals), len(mask)
        count = _CANDIDATES if self.prior_.sizes else 1
        noise = keyed_normal(self._secret, originals, (count, d))
        draws = self.prior_.draw(codes, torch.from_numpy(noise))
        if not mask.all():
            latents = torch.from_numpy(self.autoencoder_.encode(originals))
            own = self.basis_.rotate(latents)[:, None].expand(n, count, d)
            draws = surrogate(own, draws, mask)
        decoded = self.basis_.unrotate(draws.reshape(n * count, d))
        pictures = self.autoencoder_.decode(decoded.numpy())
        if self.attribute_classifier_ is None:
            return pictures
        fit = np.zeros(n * count)
        for column, logits in enumerate(self.attribute_classifier_.logits(pictures)):
            wanted = np.repeat(codes[:, column], count)
            scores = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
            fit += scores[np.arange(len(wanted)), wanted]
        best = fit.reshape(n, count).argmax(axis=1)
        return pictures.reshape(n, count, *self.image_shape_)[np.arange(n), best]

    def _evade(
        self, originals: NDArray[np.uint8], panel: Panel
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        explanation = self._attributions(originals, n_samples=_FIT_SAMPLES, seed=0)
        coordinates = torch.from_numpy(explanation.data)
        candidates = panel.candidates(originals)

        def recognised(moved: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            pictures = self.autoencoder_.decode(self.basis_.unrotate(moved).numpy())
            return torch.from_numpy(panel.names_any(pictures, candidates[rows.numpy()]))

        moved, steps = evade(
            coordinates,
            torch.from_numpy(explanation.values.astype(np.float32)),
            torch.from_numpy(self._background.mean(axis=0)),
            torch.from_numpy(self._spread.astype(np.float32)),
            recognised,
        )
        pictures = self.autoencoder_.decode(self.basis_.unrotate(moved).numpy())
        # The bytes that leave are what is judged, not the numbers they were rounded from.
        taken = steps.numpy()
        taken[panel.names_any(pictures, candidates)] = -1
        return pictures, taken

    # --- explain and score -------------------------------------------------------------------

    def explain(self, X: ArrayLike) -> shap.Explanation:
        """SHAP values of the identity decision over the latent features.

        The decision is the log-odds of the person that the recogniser sees; the background are
        other images of the same predicted attributes.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        shap.Explanation
            Values of shape (n_samples, latent_dim), in the anonymizer's basis.
        """
        check_is_fitted(self, "prior_")
        images, _ = check_images(X, image_shape=self.image_shape_)
        return self._attributions(images, n_samples=50, seed=0, targets=1)

    def _attributions(
        self, images: NDArray, *, n_samples: int, seed: int, targets: int | None = None
    ) -> shap.Explanation:
        originals = to_uint8(images)
        panel = Panel(self.identity_classifier_, _DOOR_FMR)
        candidates = panel.candidates(originals)[:, :targets]
        latents = torch.from_numpy(self.autoencoder_.encode(originals))
        coordinates = self.basis_.rotate(latents).numpy()
        device = resolve_device(self.device)
        decoder, basis = self.autoencoder_.module_.decoder, self.basis_
        explainer = self.explainer
        if not hasattr(self.identity_classifier_, "logits_tensor"):
            explainer = "permutation"  # the only one that needs no gradient
        score = IdentityScore(
            _RotatedDecoder(decoder, basis), self._recogniser_logits(panel), _long(candidates)
        )
        settings: dict[str, Any] = {
            "device": device,
            "random_state": seed,
            "feature_names": [f"{self.basis} {k}" for k in range(coordinates.shape[1])],
        }
        if explainer == "gradient":
            settings |= {
                "n_samples": n_samples,
                "groups": self._cells(originals),
                "background_groups": self._background_cells,
            }
        return make_explainer(explainer, score, self._background, **settings)(coordinates)

    def _recogniser_logits(self, panel: Panel) -> Any:
        if hasattr(self.identity_classifier_, "logits_tensor"):
            return _Logits(self.identity_classifier_)
        return lambda images: torch.from_numpy(panel.logits(to_pictures(images))).float()

    def score(
        self, X: ArrayLike, y: Any, *, identity: ArrayLike, sample_weight: Any = None
    ) -> float:
        """Utility minus excess risk; higher is better, and at most 1.

        Utility is the balanced accuracy of ``y`` read off the anonymized images by the attribute
        classifier. Excess risk is what a linear attacker, retrained on half of the anonymized
        images, recognises of the other half above the floor that the attributes ``y`` set; mean
        over people.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : array-like of shape (n_samples,)
            Labels of the first kept attribute.
        identity : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
        """
        check_is_fitted(self, "prior_")
        if self.attribute_classifier_ is None:
            raise InvalidLabelsError("score needs a kept attribute; fit with y or attributes.")
        released = self.transform(X)
        predicted = self.attribute_classifier_.predict_table(released).iloc[:, 0].to_numpy()
        labels = np.asarray(y)
        utility = balanced_accuracy_score(labels, predicted, sample_weight=sample_weight)
        people = encode_labels(identity, name="identity", n_samples=len(labels))
        latents = self.autoencoder_.encode(released)
        hit, turn = np.zeros(len(labels)), np.arange(len(labels)) % 2
        for half in (0, 1):
            gallery, probes = turn == half, turn != half
            attacker = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
            attacker.fit(latents[gallery], people.codes[gallery])
            hit[probes] = attacker.predict(latents[probes]) == people.codes[probes]
        risk = pd.Series(hit).groupby(people.codes).mean().mean()
        cells = pd.Series(labels).groupby(people.codes).first()
        floor = cells.nunique() / len(cells)
        return float(utility - max(0.0, risk - floor))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _RotatedDecoder(torch.nn.Module):
    """From coordinates of the basis to pictures."""

    def __init__(self, decoder: torch.nn.Module, basis: Any):
        super().__init__()
        self.decoder, self.basis = decoder, basis

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.basis.unrotate(coordinates))


class _Logits(torch.nn.Module):
    """A recogniser's logits as a module, for explainers that hook modules."""

    def __init__(self, classifier: Any):
        super().__init__()
        self.network, self.head = classifier.module_, classifier.head_

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.network.embed(images))


def _long(codes: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes))


def _decoded(kept: AttributeTargets | None) -> pd.DataFrame | None:
    """The checked attributes as labels again, None where missing."""
    if kept is None:
        return None
    columns = {}
    for column, (name, classes) in enumerate(kept.classes.items()):
        values = np.full(len(kept.codes), None, dtype=object)
        known = kept.codes[:, column] >= 0
        values[known] = classes[kept.codes[known, column]]
        columns[name] = values
    return pd.DataFrame(columns, dtype=object)

"""EDIALSAnonymizer: images in, images without the person out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from ._labels import Labels, encode_attributes
from ._random import KeyedMixin, new_secret, stage_seeds
from ._validation import ImageFormat, check_batch_size, check_images, to_uint8
from .exceptions import IdentityLeakWarning, WithheldImageError
from .explain.attribution import check_explainer
from .fitting.attributes import check_kept, check_people, in_order_of, varied
from .fitting.latent_model import (
    EXPLAINED_SAMPLES,
    embeddings_of,
    fit_surrogate_decoder,
    fit_surrogates,
    importance_of_features,
    match_rate,
    turns_of,
)
from .fitting.networks import Networks, fit_networks, shared_params
from .latent.identity_regression import fit_identity_regression
from .latent.surrogates import choose
from .metrics.utility_risk import check_scorable, utility_minus_excess_risk
from .networks.inference import check_precision
from .release.attribute_reader import AttributeReader, attribute_records
from .release.certification import DOOR_FMR, WITHHELD, RecogniserAdapter
from .release.engine import Engine
from .release.result import AnonymizationResult, Outcome
from .release.streaming import joined, outcomes_of, parts_of, results_of
from .strength.frontier import evaluate_visual_utility, fit_frontier
from .strength.selection import spend, warn_of_too_few
from .strength.splits import shares_of

if TYPE_CHECKING:
    import shap


# What is done once for all of them costs little, and evasion, which leaves few images active in its
# late steps, keeps its batches full.
_BATCHES = 8


class EDIALSAnonymizer(KeyedMixin, TransformerMixin, BaseEstimator):
    """Remove who from face images and keep what they are used for.

    Images are encoded into latent features; a share ``strength`` of these, chosen once per fit, is
    replaced by a synthetic draw that depends on the kept attributes and on the other features
    alone. From the features that stay, what the recogniser foretells of the person is subtracted
    first, and what people with five fitted photos or more are known to differ by. The result is
    decoded and leaves through a door that checks it.

    At strength 1 the output depends on the image only through its predicted attributes. Below it,
    where the turn of the head is kept as well (:mod:`edials.metrics.head_pose`), there is no
    guarantee, only what is measured: by ``strength="auto"`` in ``fit``, by an audit afterwards.

    Parameters
    ----------
    autoencoder : AdversarialAutoencoder, optional
        Cloned and fitted, unless wrapped in a FrozenEstimator. None takes the default.
    identity_classifier : classifier, optional
        As above; with ``fit``, ``predict``, ``classes_``; optionally ``predict_proba``, ``embed``.
    attribute_classifier : AttributeClassifier, optional
        As above; predicts the attributes of an image at transform.
    surrogate_decoder : SurrogateDecoder, optional
        As above; makes pictures of the draws. None takes the autoencoder's size.
    explainer : {"gradient", "deep", "permutation"} or one of shap's classes, default="gradient"
    perturbation : {"surrogate", "evade"}, default="surrogate"
        ``"evade"`` is the published loop, which stops when the classifier no longer names the
        person. It ignores ``strength`` and does not resist attackers who retrain: it warns.
    strength : "auto" or float in [0, 1], default="auto"
        Share of latent features replaced. 0 is plain reconstruction, and warns. "auto" gives back
        as many features as stay within ``risk_budget``, measured in ``fit`` on a quarter of the
        photos, kept from the networks; 1 where too few people are there to measure, with a warning.
    risk_budget : float, default=0.05
        Leakage to accept for ``strength="auto"``: bits about the person beyond the kept attributes,
        per photo, mean over the people of the fit who share their attributes with others. What
        attackers find stays within it, its upper end (one-sided, 95 %) within twice; the upper end
        of what there is for attackers with any number of photos within it, as far as the networks
        know new photos as well as their own.
    temperature : float in (0, 1], default=0.15
        How far draws spread: 1 as far as people do, so that who trains on releases meets a variety;
        less for faces that are more like photos and more alike. It tells nothing about the person
        and can be set after ``fit``.
    basis : {"identity", "raw"}, default="identity"
        Features are coordinates of the identity basis, or the latents themselves.
    attribute_weight : float, default=1.0
        How far the kept attributes enter the autoencoder's training: a factor on its own
        ``attribute_weight``; 0 also leaves out the attribute classifier's features.
    on_failure : {"blank", "raise"}, default="blank"
        What ``transform`` does when an image cannot be certified even at strength 1.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    device : str, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the networks that it makes compute in: bfloat16 where the device has it, by default.
    batch_size : int, default=64
        The same images give the same bytes in any order and company; another batch size may
        change the last bit of a pixel.
    random_state : int, RandomState instance or None, default=None
        None draws the key of the surrogates from the operating system: what a release needs. With
        an integer everything is reproducible, also by whoever learns it.
    n_jobs : int, optional
        Workers that the images are shared among, each with the model once; None follows
        ``joblib.parallel_config``, which also names other backends, such as dask's. In ``fit``, two
        or more train the identity classifier beside the other networks. Each then has fewer
        threads, and sums over another number of these may differ in their last bit, so that a fit
        is the same, and draws the same, for the same seed, ``n_jobs`` and number of threads alone.
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
    order_ : ndarray of shape (latent_dim,)
        Features in the order of replacement: as the identity basis has them, the last showing most
        for what they tell; in the raw basis by ``importance_``.
    strength_ : float
        Of ``strength="auto"``.
    frontier_ : dict of str to ndarray of shape (n_steps,)
        What ``strength="auto"`` measured, by number of features given back; see
        :func:`edials.strength.frontier.fit_frontier` and
        :func:`edials.strength.frontier.evaluate_visual_utility`. Absent where too few people are
        there to measure.
    true_match_rate_ : float
        How often the identity classifier matches two photos of one person, fitted ones, where
        strangers match once in a hundred times; NaN if it does not verify.
    prior_ : SurrogatePrior
    surrogate_decoder_ : SurrogateDecoder
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
        surrogate_decoder: Any = None,
        explainer: Any = "gradient",
        perturbation: str = "surrogate",
        strength: float | str = "auto",
        risk_budget: float = 0.05,
        temperature: float = 0.15,
        basis: str = "identity",
        attribute_weight: float = 1.0,
        on_failure: str = "blank",
        image_shape: tuple[int, int, int] | None = None,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 64,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.autoencoder = autoencoder
        self.identity_classifier = identity_classifier
        self.attribute_classifier = attribute_classifier
        self.surrogate_decoder = surrogate_decoder
        self.explainer = explainer
        self.perturbation = perturbation
        self.strength = strength
        self.risk_budget = risk_budget
        self.temperature = temperature
        self.basis = basis
        self.attribute_weight = attribute_weight
        self.on_failure = on_failure
        self.image_shape = image_shape
        self.device = device
        self.precision = precision
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
        check_parameters(self)
        # A fit that fails must not leave half of the old model usable
        for name in ("prior_", "strength_", "frontier_", "_secret"):
            self.__dict__.pop(name, None)
        people = check_people(identity, len(images))
        kept = varied(encode_attributes(y if attributes is None else attributes, len(images)))
        check_kept(people, kept)
        stages = ("autoencoder", "identity", "attributes", "decoder", "background", "explain")
        seeds = stage_seeds(self.random_state, *stages, "calibrate")
        self.image_shape_ = images.shape[1:]
        self.n_features_in_ = int(np.prod(self.image_shape_))
        calibrates = self.strength == "auto" and self.perturbation == "surrogate"
        shares = shares_of(people, kept, seeds["calibrate"]) if calibrates else None
        # What is judged in calibration is kept from the networks.
        fitted_on = np.arange(len(images))
        if shares is not None:
            fitted_on = np.delete(fitted_on, shares.judged)
        parts = fit_networks(
            Networks(self.attribute_classifier, self.autoencoder, self.identity_classifier),
            images[fitted_on],
            Labels(people.codes[fitted_on], people.classes),
            None if kept is None else kept.take(fitted_on),
            attribute_weight=self.attribute_weight,
            seeds=seeds,
            n_jobs=self.n_jobs,
            **shared_params(self),
        )
        self.attribute_classifier_, self.autoencoder_, self.identity_classifier_ = parts
        if kept is not None:
            kept = in_order_of(kept, self.attribute_classifier_.classes_per_attribute_)
        self.attribute_names_ = [] if kept is None else list(kept.classes)
        classes = self.identity_classifier_.classes_
        self._records = [] if kept is None else attribute_records(kept, people, classes)
        latents = self.autoencoder_.encode(images)
        turns = turns_of(images)
        seen = embeddings_of(self, images)
        self._person_part = fit_identity_regression(
            latents[fitted_on], seen[fitted_on], people.codes[fitted_on]
        )
        given = self._person_part.residualize(latents, seen)
        surrogates = fit_surrogates(
            parts, latents, given, people.codes, kept, turns, self.basis, seeds["background"]
        )
        self.basis_, self.prior_, self._centre, self._spread = surrogates[:4]
        self._background, self._background_codes = surrogates[4:]
        engine = engine_of(self, mask=False)
        self.importance_ = importance_of_features(
            engine, images[fitted_on], people.codes[fitted_on], seeds["explain"]
        )
        self.order_ = np.arange(len(self.importance_))
        if self.basis == "raw":
            self.order_ = np.argsort(-self.importance_, kind="stable")
        if shares is not None:
            self._spent, n_retained = self.risk_budget, 0
            if len(shares.judged):
                found = (images, latents, seen, turns, people, kept, shares)
                self.frontier_ = fit_frontier(
                    engine, *found, self.order_, self.basis, seeds["calibrate"]
                )
                n_retained = spend(self.frontier_, self.risk_budget)
            else:
                warn_of_too_few()
            self.strength_ = 1 - n_retained / len(self.order_)
        back = int((~_chosen(self)).sum()) if self.perturbation == "surrogate" else 0
        self.surrogate_decoder_ = fit_surrogate_decoder(
            self, engine, images, given, turns, people.codes, fitted_on, back, seeds["decoder"]
        )
        engine = engine_of(self, mask=False)
        self.true_match_rate_ = match_rate(
            engine.recogniser, images[fitted_on], people.codes[fitted_on], seeds["explain"]
        )
        if shares is not None and len(shares.judged):
            self.frontier_ |= evaluate_visual_utility(
                engine,
                images[shares.judged],
                people.codes[shares.judged],
                None if kept is None else kept.take(shares.judged),
                self.order_,
                self.frontier_["strength"],
                seeds["calibrate"],
            )
        # Last and apart: refitting with None must not repeat the draws of the fit before.
        self._secret = new_secret(self.random_state)
        return self

    # --- release -------------------------------------------------------------------------------

    def transform(self, X: ArrayLike) -> NDArray:
        """Anonymize images, one out for one in and in order.

        What cannot be certified is replaced by its strength-1 version, and what fails even so by
        a grey blank; never by the original.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            Also a memory map, of which one batch is read at a time; a list of paths, read as
            :class:`~edials.images.ImageReader` does; or an iterator of images, of arrays of them,
            or of paths.

        Returns
        -------
        ndarray of the shape and dtype of ``X``

        Raises
        ------
        InvalidImageError, UnreadableImageError
            If the images are not of the size seen in fit, or cannot be read.
        WithheldImageError
            If ``on_failure="raise"`` and an image had to be withheld.
        """
        outcome, image_format = self._run(X, scored=False)
        withheld = int((outcome.verdicts == WITHHELD).sum())
        if withheld:
            message = f"{withheld} of {len(outcome.verdicts)} images could not be certified"
            if self.on_failure == "raise":
                raise WithheldImageError(f"{message}; anonymize(X) returns the others.")
            warnings.warn(f"{message} and were blanked.", IdentityLeakWarning, stacklevel=2)
        return image_format.restore(outcome.pictures)

    def anonymize(self, X: ArrayLike) -> AnonymizationResult:
        """Anonymize images and return the certified ones only, with what became of each.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        AnonymizationResult
        """
        return AnonymizationResult.of(*self._run(X, scored=True))

    def anonymize_stream(
        self, X: ArrayLike | Iterator[Any], *, chunk_size: int = 1024
    ) -> Iterator[AnonymizationResult]:
        """Anonymize any number of images, chunk by chunk, with the memory of one chunk.

        Parameters
        ----------
        X : array, memory map, list of paths, or iterator of images, of arrays of them, or of paths
            As :meth:`transform` takes it.
        chunk_size : int, default=1024
            Images in a chunk, which ``n_jobs`` workers share; at least so many of an iterator of
            arrays.

        Yields
        ------
        AnonymizationResult
            Of one chunk; ``kept_indices`` count from the first image of all.

        Raises
        ------
        InvalidImageError, UnreadableImageError
            If images cannot be used or read; the chunks before are out by then.
        """
        engine, rows = self._ready(), check_batch_size(chunk_size, "chunk_size")
        engine.warn_of_known_ways(self.true_match_rate_, stacklevel=3)
        parts = parts_of(X, self.image_shape_, rows)
        return results_of(outcomes_of(engine, parts, self._rows(), self.n_jobs, scored=True))

    def _run(self, X: Any, scored: bool) -> tuple[Outcome, ImageFormat]:
        engine = self._ready()
        engine.warn_of_known_ways(self.true_match_rate_, stacklevel=4)
        parts = parts_of(X, self.image_shape_, None)
        told = outcomes_of(engine, parts, self._rows(), self.n_jobs, scored)
        outcomes, formats = zip(*told, strict=True)
        return joined(outcomes), formats[0]

    def _rows(self) -> int:
        """How many images the engine takes at a time."""
        return self.batch_size * _BATCHES

    def _ready(self) -> Engine:
        check_is_fitted(self, ["prior_", "_secret"])
        check_parameters(self)
        return engine_of(self)

    # --- explain and score -------------------------------------------------------------------

    def explain(self, X: ArrayLike) -> shap.Explanation:
        """SHAP values of the identity decision over the latent features.

        The decision is the log-odds of the person that the recogniser sees. The background are
        synthetic draws: with ``explainer="gradient"`` for the image's own predicted attributes,
        with the others for all.

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
        names = [f"{self.basis} {feature}" for feature in range(len(self.importance_))]
        return engine_of(self).explain(
            to_uint8(images), n_samples=EXPLAINED_SAMPLES, targets=1, feature_names=names
        )

    def score(
        self, X: ArrayLike, y: Any, *, identity: Any = None, sample_weight: Any = None
    ) -> float:
        """Utility minus excess risk; higher is better, and at most 1.

        Utility is the balanced accuracy of ``y`` read off the anonymized images by the attribute
        classifier. Excess risk is what a linear attacker, retrained on half of the anonymized
        images and knowing the kept attributes, recognises of the other half above what these alone
        give; mean over people.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : array-like of shape (n_samples,)
            Labels of a kept attribute, missing ones allowed: a Series of its name, or, without a
            name, of the first one.
        identity : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
        """
        check_is_fitted(self, "prior_")
        check_scorable(self.attribute_classifier_, identity)
        images, _ = check_images(X, image_shape=self.image_shape_)
        return utility_minus_excess_risk(
            self.transform(X),
            y,
            identity=identity,
            autoencoder=self.autoencoder_,
            attribute_classifier=self.attribute_classifier_,
            read=engine_of(self).reader.codes(to_uint8(images)),
            sample_weight=sample_weight,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def check_parameters(model: Any) -> None:
    """Refuse what an anonymizer's parameters cannot be, before anything is fitted."""
    if model.strength != "auto":
        choose(np.arange(1), model.strength)
    if not model.risk_budget > 0:
        raise ValueError(f"risk_budget={model.risk_budget!r}; expected bits, more than 0.")
    if not 0 < model.temperature <= 1:
        raise ValueError(f"temperature={model.temperature!r}; expected more than 0, at most 1.")
    check_batch_size(model.batch_size)
    check_precision(model.precision)
    check_explainer(model.explainer)
    if not model.attribute_weight >= 0:
        raise ValueError(f"attribute_weight={model.attribute_weight!r}; expected 0 or more.")
    for name, possible in (
        ("perturbation", ("surrogate", "evade")),
        ("basis", ("identity", "raw")),
        ("on_failure", ("blank", "raise")),
    ):
        if getattr(model, name) not in possible:
            raise ValueError(f"{name}={getattr(model, name)!r}; expected one of {possible}.")


def engine_of(model: Any, mask: bool = True) -> Engine:
    """A fitted anonymizer's parts together; ``mask=False`` while nothing is chosen yet."""
    recogniser = RecogniserAdapter(model.identity_classifier_, DOOR_FMR)
    return Engine(
        autoencoder=model.autoencoder_,
        decoder=getattr(model, "surrogate_decoder_", None),
        reader=AttributeReader(model.attribute_classifier_, recogniser, model._records),
        recogniser=recogniser,
        basis=model.basis_,
        identity_regression=model._person_part,
        prior=model.prior_,
        centre=model._centre,
        spread=model._spread,
        background=model._background,
        background_codes=model._background_codes,
        mask=_chosen(model) if mask else np.zeros(0, dtype=bool),
        secret=model._secret if mask else b"",
        temperature=model.temperature,
        perturbation=model.perturbation,
        explainer=model.explainer,
        precision=model.precision,
    )


def _chosen(model: Any) -> NDArray[np.bool_]:
    if model.perturbation == "evade":
        return choose(model.order_, 1.0)
    if model.strength != "auto":
        return choose(model.order_, model.strength)
    if not hasattr(model, "strength_"):
        raise NotFittedError(
            f"strength='auto' is measured in fit, and this {type(model).__name__} was fitted "
            f"without; fit it again, or set a number."
        )
    if model.risk_budget != model._spent:
        raise ValueError(
            f"risk_budget={model.risk_budget}, but {model._spent} was spent in fit; fit again."
        )
    return choose(model.order_, model.strength_)

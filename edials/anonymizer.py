"""EDIALSAnonymizer: images in, images without the person out."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from ._random import KeyedMixin, new_secret, stage_seeds, torch_defaults
from ._splits import sample_across_people, sample_whole_people
from ._validation import (
    Accepted,
    ImageFormat,
    Interval,
    check_images,
    check_parameters,
    check_value,
    to_uint8,
)
from .exceptions import IdentityLeakWarning, WithheldImageError, warn_caller
from .explain.attribution import check_explainer, mean_absolute
from .fitting.attributes import align_to_classes
from .fitting.data import Encoding, TrainingData, check_training_data
from .fitting.latent_model import fit_features, fit_latent_model
from .fitting.networks import Networks, clone_networks, encode, fit_networks
from .fitting.surrogate_decoder import fit_surrogate_decoder
from .latent.surrogates import replacement_mask
from .metrics.utility_risk import check_scorable, utility_minus_excess_risk
from .networks.inference import PRECISIONS
from .release.attribute_reader import AttributeReader, attribute_records
from .release.certification import WITHHELD, RecogniserAdapter
from .release.engine import Engine
from .release.explanation import LatentExplainer
from .release.generation import SurrogateGenerator
from .release.result import AnonymizationResult, Outcome
from .release.streaming import (
    concatenate_outcomes,
    iterate_chunks,
    iterate_results,
    run_chunks,
)
from .strength.frontier import FeatureTrial, evaluate_visual_utility, fit_frontier
from .strength.selection import select_n_retained, warn_of_too_few
from .strength.splits import CalibrationSplit, no_split, split_photos

if TYPE_CHECKING:
    import shap

_STAGES = (
    "autoencoder",
    "identity",
    "attributes",
    "decoder",
    "background",
    "explain",
    "calibrate",
)
# Batches that the engine takes at a time. Evasion, which leaves few images active in its late
# steps, keeps its batches full that way.
_BATCHES = 8
# Photos explained and matched for the figures of a fit; more take minutes on two cores.
_EXPLAIN_ROWS, _MATCH_ROWS = 128, 500
# Gradients per image: on LFW their ranking of the features agrees with that of 2,000 by a rank
# correlation of 0.88.
_EXPLAIN_SAMPLES = 16


class EDIALSAnonymizer(KeyedMixin, TransformerMixin, BaseEstimator):
    """Remove who from face images and keep what they are used for.

    Images are encoded into latent features. A share ``strength`` of these, the same for every image
    of a fit, is drawn anew, given the predicted attributes and the retained features. The part of
    the retained features that a recogniser's embedding predicts is subtracted first. The result is
    decoded and certified before it leaves.

    At strength 1 the output depends on the image only through its predicted attributes. Below it,
    where yaw is retained as well (:mod:`edials.metrics.head_pose`), there is no guarantee, only
    measurement: by ``strength="auto"`` in ``fit``, and by an audit afterwards.

    Parameters
    ----------
    autoencoder : AdversarialAutoencoder, optional
        Cloned and fitted, unless wrapped in a FrozenEstimator. None takes the default.
    identity_classifier : classifier, optional
        As above; with ``fit``, ``predict``, ``classes_``; optionally ``predict_proba``, ``embed``.
    attribute_classifier : AttributeClassifier, optional
        As above; predicts the attributes of an image at transform.
    surrogate_decoder : SurrogateDecoder, optional
        As above; decodes draws. None takes the autoencoder's size.
    explainer : {"gradient", "deep", "permutation"} or one of shap's classes, default="gradient"
    perturbation : {"surrogate", "evade"}, default="surrogate"
        ``"evade"`` is the published loop, which stops when the classifier no longer names the
        person. It ignores ``strength`` and does not resist attackers who retrain: it warns.
    strength : "auto" or float in [0, 1], default="auto"
        Share of latent features replaced. 0 is plain reconstruction, and warns. "auto" retains as
        many features as ``risk_budget`` allows, measured in ``fit`` on a quarter of the photos,
        which no network sees. It is 1, with a warning, if too few people are there to measure.
    risk_budget : float, default=0.05
        Accepted leakage for ``strength="auto"``: bits about the person beyond the attributes, per
        photo, mean over the people who share theirs with others. Three limits hold: the estimated
        leakage is at most the budget, its upper 95 % bound at most twice the budget, and the upper
        bound of the channel capacity at most the budget.
    temperature : float in (0, 1], default=0.15
        Factor on the standard deviation of the draws. 1 matches real variation (for training data);
        smaller values look more realistic and more alike. Can be set after ``fit``.
    basis : {"identity", "raw"}, default="identity"
        Features are coordinates of the identity basis, or the latents themselves.
    attribute_weight : float, default=1.0
        Factor on the autoencoder's own ``attribute_weight``. 0 also leaves out the features of the
        attribute classifier.
    on_failure : {"blank", "raise"}, default="blank"
        What ``transform`` does if an image cannot be certified even at strength 1.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    device : str, default="auto"
        Of all networks, unless "auto". Templates with ``device="auto"`` follow it; others must
        have the same.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of default networks and of explanations; "auto" is bfloat16 where the device computes in it.
    batch_size : int, default=64
        The same images give the same bytes in any order and company. Another batch size may change
        the last bit of a pixel.
    random_state : int, RandomState instance or None, default=None
        None draws the key of the surrogates from the operating system: what a release needs. With
        an integer everything is reproducible, also for those who learn it.
    n_jobs : int, optional
        Workers that share the images; None follows ``joblib.parallel_config``, which also names
        other backends, such as dask's. In ``fit``, with two or more, the identity classifier trains
        beside the other networks. A fit is reproducible for the same number of jobs and threads.
    verbose : int, default=0

    Attributes
    ----------
    image_shape_ : tuple (height, width, 3)
    n_features_in_ : int
        Numbers per image.
    autoencoder_, identity_classifier_, attribute_classifier_ : fitted estimators
        ``attribute_classifier_`` is None without attributes.
    attribute_names_ : list of str
    latent_model_ : LatentModel
        Basis and distribution of the features.
    importance_ : ndarray of shape (latent_dim,)
        Mean |SHAP| over people.
    order_ : ndarray of shape (latent_dim,)
        Replacement order. With ``basis="identity"`` the features with the best ratio of picture to
        identity come last; with "raw" those of least ``importance_``.
    strength_ : float
        Chosen by ``strength="auto"``.
    frontier_ : dict of str to ndarray of shape (n_steps,)
        What ``strength="auto"`` measured, by number of retained features; see
        :func:`edials.strength.frontier.fit_frontier` and
        :func:`edials.strength.frontier.evaluate_visual_utility`. Absent if nothing was measured.
    surrogate_decoder_ : SurrogateDecoder
    true_match_rate_ : float
        How often the identity classifier matches two training photos of one person at a false match
        rate of 1 %; NaN if it does not verify.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images": why an
    attacker who retrains is the one to measure.
    """

    _constraints: ClassVar[dict[str, Accepted]] = {
        "perturbation": ("surrogate", "evade"),
        "strength": ("auto", Interval(Real, 0, 1)),
        "risk_budget": (Interval(Real, 0, closed="right"),),
        "temperature": (Interval(Real, 0, 1, closed="right"),),
        "basis": ("identity", "raw"),
        "attribute_weight": (Interval(Real, 0),),
        "on_failure": ("blank", "raise"),
        "precision": PRECISIONS,
        "image_shape": (None, tuple, list),
        "batch_size": (Interval(Integral, 1),),
        "n_jobs": (None, Integral),
        "verbose": (bool, Interval(Integral, 0)),
    }
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

    @torch_defaults()
    def fit(
        self, X: ArrayLike, y: Any = None, *, identity: ArrayLike, attributes: Any = None
    ) -> EDIALSAnonymizer:
        """Learn from labelled faces which features identify people.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            uint8 or float in [0, 1].
        y : array-like of shape (n_samples,), optional
            The only attribute if ``attributes`` is None.
        identity : array-like of shape (n_samples,)
            Person on each image; None, NaN, or -1 among integers, where unknown.
        attributes : DataFrame, or array-like of shape (n_samples,) or (n_samples, n_attributes)
            Labels that must stay predictable; entries may be missing.

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
        self._check_parameters()
        labels = y if attributes is None else attributes
        data = check_training_data(X, identity, labels, self.image_shape)
        seeds = stage_seeds(self.random_state, *_STAGES)
        networks = clone_networks(self._templates(), self._shared_params(), seeds)
        self._start_fit(data)
        split = split_photos(data, seeds["calibrate"]) if self._is_auto() else no_split(data)
        training = data.take(split.training) if len(split.probe) else data
        networks = fit_networks(networks, training, self.attribute_weight, self.n_jobs)
        self._set_networks(networks)
        data = self._align(data)
        encoding = encode(networks, data.images)
        features = fit_features(networks.autoencoder, encoding, data, split.training, self.basis)
        self.latent_model_ = fit_latent_model(
            networks, features, encoding, data, seeds["background"]
        )
        self._explain_features(training, seeds["explain"])
        self._choose_strength(encoding, data, split, seeds["calibrate"])
        self._fit_decoder(networks, encoding.take(split.training), training)
        self._evaluate(data, split, seeds)
        # Last and apart: refitting with None must not repeat the draws of the fit before.
        self._secret = new_secret(self.random_state)
        return self

    def _check_parameters(self) -> None:
        check_parameters(self, self._constraints)
        check_explainer(self.explainer)

    def _is_auto(self) -> bool:
        return self.strength == "auto" and self.perturbation == "surrogate"

    def _templates(self) -> Networks:
        return Networks(
            self.attribute_classifier,
            self.autoencoder,
            self.identity_classifier,
            self.surrogate_decoder,
        )

    def _shared_params(self) -> dict[str, Any]:
        """Parameters that default networks take over."""
        names = ("device", "batch_size", "precision", "verbose")
        return {name: getattr(self, name) for name in names}

    def _start_fit(self, data: TrainingData) -> None:
        """Forget the last fit: one that breaks off must leave nothing to use."""
        private = {"_secret", "_records", "_enrolled", "_fitted_risk_budget"}
        for name in [n for n in vars(self) if n in private or n.endswith("_")]:
            delattr(self, name)
        self.image_shape_ = data.images.shape[1:]
        self.n_features_in_ = int(np.prod(self.image_shape_))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_secret")  # which fit makes last

    def _set_networks(self, networks: Networks) -> None:
        self.attribute_classifier_, self.autoencoder_, self.identity_classifier_, _ = networks
        # Records are by the people of now: enrolling others would misplace them.
        self._enrolled = np.array(self.identity_classifier_.classes_)

    def _align(self, data: TrainingData) -> TrainingData:
        """Give the attributes the codes of the classifier, and record those of the people."""
        self._records: list[NDArray[np.float64]] = []
        self.attribute_names_: list[str] = []
        if data.attributes is None:
            return data
        classes = self.attribute_classifier_.classes_per_attribute_
        attributes: Any = align_to_classes(data.attributes, classes)
        self.attribute_names_ = list(classes)
        self._records = attribute_records(attributes, data.people, self._enrolled)
        return TrainingData(data.images, data.people, attributes)

    def _explain_features(self, training: TrainingData, seed: int) -> None:
        """Mean |SHAP| of every feature over people, and the order of replacement."""
        rows = sample_across_people(training.people.codes, seed, _EXPLAIN_ROWS)
        predictions = self._reader().recogniser.predictions(training.images[rows])
        explanation = self._explainer()(
            predictions, n_samples=_EXPLAIN_SAMPLES, seed=seed, n_targets=1
        )
        self.importance_ = mean_absolute(explanation.values, training.people.codes[rows])
        self.order_ = np.arange(len(self.importance_))
        if self.basis == "raw":
            self.order_ = np.argsort(-self.importance_, kind="stable")

    def _choose_strength(
        self, encoding: Encoding, data: TrainingData, split: CalibrationSplit, seed: int
    ) -> None:
        """Choose ``strength_`` from a measured frontier, for ``strength="auto"``."""
        if not self._is_auto():
            return
        self._fitted_risk_budget, n_retained = self.risk_budget, 0
        if len(split.probe):
            trial = FeatureTrial(self.autoencoder_, encoding, data, self.order_, self.basis)
            self.frontier_ = fit_frontier(trial, split, self._reader(), seed)
            n_retained = select_n_retained(self.frontier_, self.risk_budget)
        else:
            warn_of_too_few()
        self.strength_ = 1 - n_retained / len(self.order_)

    def _fit_decoder(self, networks: Networks, encoding: Encoding, training: TrainingData) -> None:
        """Fit the decoder of surrogates for the strength that is set."""
        self.surrogate_decoder_ = fit_surrogate_decoder(
            networks.surrogate_decoder,
            self.autoencoder_,
            self.latent_model_,
            training,
            encoding,
            self._reader(),
            order=self.order_,
            n_retained=int((~self._mask()).sum()) if self.perturbation == "surrogate" else 0,
        )

    def _evaluate(self, data: TrainingData, split: CalibrationSplit, seeds: dict[str, int]) -> None:
        """How well the recogniser verifies, and what releases show at every step."""
        reader, codes = self._reader(), data.people.codes[split.training]
        rows = split.training[sample_whole_people(codes, seeds["explain"], _MATCH_ROWS)]
        self.true_match_rate_ = reader.recogniser.true_match_rate(
            data.images[rows], data.people.codes[rows]
        )
        if len(split.probe):
            steps = self.frontier_["strength"]
            masks = [replacement_mask(self.order_, strength) for strength in steps]
            self.frontier_ |= evaluate_visual_utility(
                self._generator(b""), reader, data.take(split.probe), masks, seeds["calibrate"]
            )

    # --- what is fitted, put together --------------------------------------------------------

    def _reader(self) -> AttributeReader:
        if not np.array_equal(self._enrolled, self.identity_classifier_.classes_):
            raise ValueError(
                "The identity classifier has enrolled other people since fit; expected those of "
                "the fit. Fit the anonymizer again, or enrol them in a copy."
            )
        recogniser = RecogniserAdapter(self.identity_classifier_)
        return AttributeReader(self.attribute_classifier_, recogniser, self._records)

    def _explainer(self) -> LatentExplainer:
        return LatentExplainer(
            self.autoencoder_, self._reader(), self.latent_model_, self.explainer, self.precision
        )

    def _generator(self, secret: bytes) -> SurrogateGenerator:
        return SurrogateGenerator(
            self.autoencoder_,
            self.surrogate_decoder_,
            self.latent_model_,
            self.temperature,
            secret,
        )

    def _mask(self) -> NDArray[np.bool_]:
        """Features to replace, by the parameters of now."""
        if self.perturbation == "evade":
            return replacement_mask(self.order_, 1.0)
        if self.strength != "auto":
            return replacement_mask(self.order_, self.strength)  # type: ignore[arg-type]
        if not hasattr(self, "strength_"):
            raise NotFittedError(
                f"strength='auto' is measured in fit, and this {type(self).__name__} was fitted "
                f"without; fit it again, or set a number."
            )
        if self.risk_budget != self._fitted_risk_budget:
            raise ValueError(
                f"risk_budget={self.risk_budget}, but fit used {self._fitted_risk_budget}; fit "
                f"again, or set it back."
            )
        return replacement_mask(self.order_, self.strength_)

    def _engine(self) -> Engine:
        """The engine for the parameters of now."""
        check_is_fitted(self)
        self._check_parameters()
        generator = self._generator(self._secret)
        return Engine(generator, self._reader(), self._explainer(), self._mask(), self.perturbation)

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
            warn_caller(f"{message} and were blanked.", IdentityLeakWarning)
        return image_format.restore(outcome.pictures)

    def anonymize(self, X: ArrayLike) -> AnonymizationResult:
        """Anonymize images and return the certified ones only, with a verdict for each.

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
        engine = self._engine()
        check_value("chunk_size", chunk_size, Interval(Integral, 1))
        engine.warn_of_known_leaks(self.true_match_rate_)
        chunks = iterate_chunks(X, self.image_shape_, chunk_size)
        outcomes = run_chunks(engine, chunks, self._engine_rows(), self.n_jobs, scored=True)
        return iterate_results(outcomes)

    def _run(self, X: Any, scored: bool) -> tuple[Outcome, ImageFormat]:
        """Anonymize everything at once."""
        engine = self._engine()
        engine.warn_of_known_leaks(self.true_match_rate_)
        chunks = iterate_chunks(X, self.image_shape_, None)
        results = run_chunks(engine, chunks, self._engine_rows(), self.n_jobs, scored)
        outcomes, formats = zip(*results, strict=True)
        return concatenate_outcomes(outcomes), formats[0]

    def _engine_rows(self) -> int:
        return self.batch_size * _BATCHES

    # --- explain and score -------------------------------------------------------------------

    @torch_defaults()
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
        check_is_fitted(self)
        images, _ = check_images(X, image_shape=self.image_shape_)
        predictions = self._reader().recogniser.predictions(to_uint8(images))
        explanation = self._explainer()(predictions, n_samples=_EXPLAIN_SAMPLES, n_targets=1)
        explanation.feature_names = [
            f"{self.latent_model_.features.kind} {i}" for i in range(len(self.importance_))
        ]
        return explanation

    @torch_defaults()
    def score(
        self, X: ArrayLike, y: Any, *, identity: Any = None, sample_weight: Any = None
    ) -> float:
        """Utility minus excess risk; higher is better, and at most 1.

        Utility is the balanced accuracy of ``y``, predicted by the attribute classifier from the
        released images. Excess risk is the success of a linear attacker who knows the attributes,
        less what these alone give. The attacker is trained on one half of the release and names the
        other; mean over people.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : array-like of shape (n_samples,)
            Labels of an attribute, missing ones allowed: a Series of its name, or, without a name,
            of the first one.
        identity : array-like of shape (n_samples,)
            Required; a default only lets routing without it say what is missing.
        sample_weight : array-like of shape (n_samples,), optional
            Of the utility.

        Returns
        -------
        float

        Raises
        ------
        InvalidLabelsError
            Without attributes or ``identity``, or if ``y`` is not one of the attributes.
        """
        check_is_fitted(self)
        check_scorable(self.attribute_classifier_, identity)
        images, _ = check_images(X, image_shape=self.image_shape_)
        return utility_minus_excess_risk(
            self.transform(X),
            y,
            identity=identity,
            autoencoder=self.autoencoder_,
            attribute_classifier=self.attribute_classifier_,
            attribute_codes=self._reader().codes(to_uint8(images)),
            sample_weight=sample_weight,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

"""Attackers: each learns from a gallery of known people and scores the people for probe images.

The contract is ``fit(images, people)`` and ``scores(images) -> (n_samples, n_people)``, people
being codes 0, 1, ...; a higher score means more likely. An attacker says of itself:

- ``name``: how a report calls it.
- ``gallery_kind``: which gallery it is given, "released" (it retrains, and is called a parrot),
  "clear" (it is static), or "choices"; "released" without the attribute.
- ``shown``: which probes it is asked about, "released" (also without the attribute), "clear"
  (then its gallery is poisoned), or "choices".
- ``kind``: what it tries, one of :data:`KINDS`; a report lists the kinds that nobody tried. Without
  the attribute, or if it is None, it follows from the gallery and the probes: see :func:`kind_of`.

It may say more:

- ``times_chance``: the bar it states for itself on clear photos, as a multiple of 1 / people.
  Without it the bar is a share of the best attacker's success.
- ``network``: whether it is a neural network; False without the attribute.
- ``encode``: the encoder that it uses, if any. If that is the ``autoencoder_`` of the audit's
  ``anonymizer``, or a method of it, the report says that the anonymizer's own encoder was used.
- ``learner``: the attacker that does the work, if this one is another role of it. Attackers with
  one learner are run together: it proves itself on clear photos once and learns every gallery once.
  Then ``fit``, ``scores`` and ``fit_pairs`` are the learner's.
- ``cheap``: whether to train it twice more, on a quarter and on half of the gallery, for the
  learning curve (a shallow copy is fitted again). Without it only the linear ones here are cheap.

and may have more methods:

- ``fit_pairs(clear, released)``, called before ``fit`` with photos and what was released for them.
- ``measures(clear, released)``, called at the end with probes: figures for the report, by name.
- ``embed(images)``, unit rows of shape (n_samples, n_features), or None if it cannot: asked of who
  learns from clear photos whether outputs match other enrolled people
  (:func:`edials.audit.disclosure.donor_matches`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet

from ..._validation import check_images, to_rows
from ...exceptions import InvalidLabelsError
from ...metrics.linear_attack import LatentAttacker
from ...models.identity_classifier import IdentityClassifier

#: What an attacker can try, in the words of the report. All but "unseen", "context" and "inversion"
#: follow from what it learns from, what it is shown and whether it learns from pairs.
KINDS = {
    "naive": "a recogniser of clear photos, asked about the release",
    "unseen": "a static one that no part of the method knew",
    "parrot": "learns from released images of the same people",
    "reverse": "learns released images and is asked about clear photos",
    "adaptive": "learns from pairs how the method changes photos",
    "context": "sees hair, clothes and background only",
    "inversion": "undoes the release first",
    "choices": "looks at what was decided for every image",
}


# Principal components need no more rows than this, and rows of floats are large.
_ROWS_OF_COMPONENTS, _ROWS_AT_ONCE = 4000, 1024


# Of the greatest component's variance: what has less is rounding in single precision.
_ROUNDING = 1e-10


def kind_of(attacker: Any) -> str:
    """What an attacker tries: its ``kind``, or what follows from its gallery and its probes.

    Parameters
    ----------
    attacker : attacker

    Raises
    ------
    ValueError
        If its ``kind`` is none of :data:`KINDS`.
    """
    gallery_kind = getattr(attacker, "gallery_kind", "released")
    shown = getattr(attacker, "probe_kind", "released")
    kind = getattr(attacker, "kind", None)
    if kind is not None:
        if kind not in KINDS:
            raise ValueError(
                f"The attacker {attacker.name!r} has kind={kind!r}; expected one of "
                f"{sorted(KINDS)}, or None to follow from what it learns from and is shown."
            )
        return kind
    if "choices" in (gallery_kind, shown):
        return "choices"
    if shown == "clear":
        return "reverse"
    if hasattr(getattr(attacker, "learner", attacker), "fit_pairs"):
        return "adaptive"
    return "naive" if gallery_kind == "clear" else "parrot"


class PixelAttacker(LatentAttacker):
    """Linear discriminant analysis on principal components of the pixels: Fisherfaces.

    Parameters
    ----------
    n_components : int, default=200
        At most a third of the gallery's images are used.
    shrinkage : float, default=0.05
    random_state : int, default=0

    References
    ----------
    Belhumeur, Hespanha and Kriegman (1997), "Eigenfaces vs. Fisherfaces".
    """

    name = "LDA on the pixels"

    def __init__(self, n_components: int = 200, shrinkage: float = 0.05, random_state: int = 0):
        self.n_components, self.shrinkage = n_components, shrinkage
        self.random_state = random_state

    def rows(self, images: NDArray) -> NDArray[np.float32]:
        """Pixels as rows in [0, 1]."""
        return to_rows(check_images(images)[0])

    def features(self, images: NDArray) -> NDArray[np.float32]:
        # In parts: several releases of everybody's photos are too large to be floats at once.
        parts = range(0, len(images), _ROWS_AT_ONCE)
        found = [
            self.components_.transform(self.rows(images[start : start + _ROWS_AT_ONCE]))
            for start in parts
        ]
        return np.concatenate(found)

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> PixelAttacker:
        self.fit_components(images)
        super().fit(images, people)
        return self

    def fit_components(self, images: NDArray) -> PixelAttacker:
        """Learn the principal components alone, from every part of the images evenly."""
        every = max(1, len(images) // _ROWS_OF_COMPONENTS)
        rows = self.rows(images[::every])
        count = max(1, min(self.n_components, len(rows) // 3, rows.shape[1]))
        analysis = PCA(
            count, svd_solver="randomized", whiten=True, random_state=self.random_state
        ).fit(rows)
        # Whitened, the rounding errors of pictures that differ in little would drown that little.
        variance = analysis.explained_variance_
        real = max(1, int((variance > _ROUNDING * variance[0]).sum()))
        if real < count:
            analysis = analysis.set_params(n_components=real).fit(rows)
        self.components_: Any = analysis
        return self


class ContextAttacker(PixelAttacker):
    """What hair, clothes and background give away: an ellipse over the face is blackened first.

    Parameters
    ----------
    n_components, shrinkage, random_state
        As for :class:`PixelAttacker`.
    """

    # What only sees the surroundings is not expected to recognise faces: its bar is chance.
    name, times_chance, kind = "LDA on the surroundings", 3.0, "context"

    def rows(self, images: NDArray) -> NDArray[np.float32]:
        height, width = images.shape[1:3]
        down = (np.arange(height)[:, None] + 0.5) / height - 0.52
        across = (np.arange(width) + 0.5) / width - 0.5
        face = (down / 0.42) ** 2 + (across / 0.34) ** 2 < 1
        return super().rows(np.where(face[..., None], images.dtype.type(0), images))


class LogisticAttacker(LatentAttacker):
    """Logistic regression on the anonymizer's own latents, another bias than LDA's.

    Parameters
    ----------
    encode : as for :class:`LatentAttacker`
    regularization : float, default=0.003
        Inverse strength of the penalty, scikit-learn's ``C``.
    """

    name = "logistic regression on the latents"

    def __init__(self, encode: Any, regularization: float = 0.003):
        self.encode, self.regularization = encode, regularization

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> LogisticAttacker:
        model = LogisticRegression(C=self.regularization, class_weight="balanced", max_iter=200)
        self.model_ = make_pipeline(StandardScaler(), model)
        self.model_.fit(self.features(images), people)
        return self

    def scores(self, images: NDArray) -> NDArray[np.float32]:
        scores = self.model_.decision_function(self.features(images))
        # Two people: scikit-learn gives the difference of their logits.
        return scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)


class ClassifierAttacker:
    """Any scikit-learn classifier of images as an attacker; networks among them retrain.

    Parameters
    ----------
    classifier : classifier
        With ``decision_function`` or ``predict_proba``. Cloned for every gallery; one of ours that
        is fitted already goes on from its weights.
    name : str
    gallery_kind : {"released", "clear"}, default="released"
    kind : str, optional
        None makes it "parrot" or "naive", by what it learns from.
    """

    shown = "released"

    def __init__(
        self,
        classifier: Any,
        name: str,
        gallery_kind: str = "released",
        kind: str | None = None,
    ):
        self.classifier, self.name, self.gallery_kind = classifier, name, gallery_kind
        self.kind, self.network = kind, _is_network(classifier)

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> ClassifierAttacker:
        """Learn the gallery."""
        goes_on = getattr(self.classifier, "warm_start", False)
        model = copy.deepcopy(self.classifier) if goes_on else clone(self.classifier)
        self.classifier_ = model.fit(images, people)
        return self

    def scores(self, images: NDArray) -> NDArray:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return _scores_of(self.classifier_, images)

    @property
    def embed(self) -> Callable[[NDArray], NDArray] | None:
        """The classifier's unit embedding of images, where it has one."""
        return getattr(self.classifier_, "embed", None)


class NaiveAttacker:
    """A recogniser trained on clear images, used as it is: the published number.

    Parameters
    ----------
    recogniser : classifier
        Fitted; with ``predict_proba`` or ``decision_function`` over images.
    kind : str, default="naive"
        "unseen" if no part of the method knew it.
    """

    name, gallery_kind, probe_kind = "recogniser of clear photos", "clear", "released"

    def __init__(self, recogniser: Any, kind: str = "naive"):
        self.recogniser, self.kind = recogniser, kind
        self.network = _is_network(recogniser)

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> NaiveAttacker:
        """Nothing is learned: the gallery are the clear photos the recogniser was trained on."""
        return self

    def scores(self, images: NDArray) -> NDArray:
        """Score every person the recogniser knows, in the order of its ``classes_``."""
        return _scores_of(self.recogniser, images)

    @property
    def embed(self) -> Callable[[NDArray], NDArray] | None:
        """The recogniser's unit embedding of images, where it has one."""
        return getattr(self.recogniser, "embed", None)


class RoleAttacker:
    """Another role of an attacker: the audit trains one learner once for all of its roles.

    Parameters
    ----------
    learner : attacker
    name : str
    gallery_kind, shown : {"released", "clear"}, default="released"
        See :mod:`edials.audit.attackers.base`.
    kind : str, optional
        None follows from the two.
    """

    def __init__(
        self,
        learner: Any,
        name: str,
        gallery_kind: str = "released",
        probe_kind: str = "released",
        kind: str | None = None,
    ):
        self.learner, self.name, self.kind = learner, name, kind
        self.gallery_kind, self.probe_kind = gallery_kind, probe_kind
        self.network = getattr(learner, "network", False)
        self.encode = getattr(learner, "encode", None)

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> RoleAttacker:
        """Learn the gallery."""
        self.learner.fit(images, people)
        return self

    def scores(self, images: NDArray) -> NDArray:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return self.learner.scores(images)


class ReverseAttacker(RoleAttacker):
    """An attacker with a poisoned gallery: it learns released images and is shown clear photos.

    The other reading of the published number: who is named if the released images are taken for
    photos of the people?

    Parameters
    ----------
    learner : attacker
        Any that learns from images.
    """

    def __init__(self, learner: Any):
        super().__init__(learner, f"reverse: {learner.name}", probe_kind="clear", kind="reverse")


def _is_network(classifier: Any) -> bool:
    return isinstance(classifier, (IdentityClassifier, NeuralNet))


def _scores_of(classifier: Any, images: NDArray) -> NDArray:
    if hasattr(classifier, "decision_function"):
        scores = classifier.decision_function(images)
        return scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
    return np.log(np.clip(classifier.predict_proba(images), 1e-12, 1))


class ChoiceAttacker(PixelAttacker):
    """What was decided for every image (a mask, say), attacked by linear discriminant analysis.

    Parameters
    ----------
    n_components : int, default=200
    shrinkage : float, default=0.05
    random_state : int, default=0
    """

    name, gallery_kind, shown, kind = "the choices", "choices", "choices", "choices"

    def rows(self, images: NDArray) -> NDArray[np.float32]:
        """Choices as they are; images, on which it proves itself, as pixels."""
        return super().rows(images) if images.ndim == 4 else images.astype(np.float32)

    def fit_components(self, images: NDArray) -> ChoiceAttacker:
        """Learn no more components than the choices have: many may be the same for all."""
        if images.ndim == 4:
            super().fit_components(images)
            return self
        rank = int(np.linalg.matrix_rank(images - images.mean(axis=0)))
        # Without any variation there are no components; standardised, they are zeros.
        count = min(self.n_components, rank, max(1, len(images) // 3))
        kind = PCA(count, whiten=True, random_state=self.random_state) if rank else StandardScaler()
        self.components_ = kind.fit(images)
        return self


def check_choices(choices: object, n_samples: int) -> NDArray[np.float32]:
    """Choices as rows of numbers.

    Raises
    ------
    InvalidLabelsError
        If they are not one row of finite numbers per image.
    """
    rows = np.asarray(choices)
    if rows.ndim < 1 or len(rows) != n_samples or rows.dtype.kind not in "buif":
        raise InvalidLabelsError(
            f"choices has shape {rows.shape} and dtype {rows.dtype} for {n_samples} images; "
            f"expected numbers of shape (n_samples, n_choices). Encode names as 0 and 1 first."
        )
    rows = rows.reshape(n_samples, -1).astype(np.float32)
    if not np.isfinite(rows).all():
        raise InvalidLabelsError("choices holds NaN or infinity; expected finite numbers.")
    return rows

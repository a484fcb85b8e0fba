"""Attackers: each learns a gallery of known people and scores these people for probe images.

An attacker has ``fit(images, people)`` and ``scores(images) -> (n_samples, n_people)``. People are
codes 0, 1, ...; a higher score means more likely. It declares:

- ``name``: its name in a report.
- ``gallery_kind``: images that it learns: "released" (the default; the attacker is a parrot),
  "clear" (it is naive), or "choices".
- ``probe_kind``: images that it names: "released" (the default), "clear" (a reverse attack), or
  "choices".
- ``kind``: one of :data:`KINDS`; a report lists the kinds that no attacker tried. Without it, or if
  it is None, it follows from the gallery and the probes, see :func:`kind_of`.

It may also declare:

- ``threshold_over_chance``: clear accuracy, as a multiple of 1 / people, that makes it evidence.
  Without it the threshold is a share of the best attacker's clear accuracy.
- ``network``: whether it is a neural network; False by default.
- ``encode``: the encoder that it uses, if any. A report says so if that is the ``autoencoder_`` of
  the audited ``anonymizer``, or a method of it.
- ``learner``: the attacker that does the work, if this one is another role of it. Attackers with
  one learner run together: it is validated on clear photos once and learns every gallery once.
  Then ``fit``, ``scores`` and ``fit_pairs`` are the learner's.
- ``cheap``: whether to train a shallow copy of it on a quarter and on half of the gallery, for the
  learning curve. By default only the linear ones here are cheap.

It may have more methods:

- ``fit_pairs(clear, released)``, called before ``fit`` with photos and what was released for them.
- ``measures(clear, released)``, called at the end with probes: figures for the report, by name.
- ``embed(images)``: unit rows of shape (n_samples, n_features), or None. With a clear gallery it
  serves to find outputs that match other enrolled people, see
  :func:`edials.audit.disclosure.donor_matches`.
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
from ...metrics.retention import face_ellipse
from ...models.identity_classifier import IdentityClassifier

#: Kinds of attack, in the words of the report. All but "unseen", "context" and "inversion" follow
#: from the gallery, the probes, and whether the attacker learns pairs.
KINDS = {
    "naive": "a recogniser of clear photos names released images",
    "unseen": "naive, and no part of the method knew the recogniser",
    "parrot": "learns released images of the same people",
    "reverse": "learns released images and names clear photos",
    "adaptive": "learns from pairs how the method changes photos",
    "context": "sees hair, clothes and background only",
    "inversion": "reconstructs the photos first",
    "choices": "learns what was decided for every image",
}


def gallery_kind_of(attacker: Any) -> str:
    """Images that an attacker learns."""
    return getattr(attacker, "gallery_kind", "released")


def probe_kind_of(attacker: Any) -> str:
    """Images that an attacker names."""
    return getattr(attacker, "probe_kind", "released")


def learner_of(attacker: Any) -> Any:
    """The attacker that does the work: itself, unless it is a role of another one."""
    return getattr(attacker, "learner", attacker)


def kind_of(attacker: Any) -> str:
    """Kind of attack: its ``kind``, or what follows from its gallery and its probes."""
    gallery_kind, probe_kind = gallery_kind_of(attacker), probe_kind_of(attacker)
    kind = getattr(attacker, "kind", None)
    if kind is not None:
        if kind not in KINDS:
            raise ValueError(
                f"The attacker {attacker.name!r} has kind={kind!r}; expected one of "
                f"{sorted(KINDS)}, or None to follow from its gallery and its probes."
            )
        return kind
    if "choices" in (gallery_kind, probe_kind):
        return "choices"
    if probe_kind == "clear":
        return "reverse"
    if hasattr(learner_of(attacker), "fit_pairs"):
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
        # In batches: as floats, several releases of everybody's photos may not fit into memory.
        batches = (images[start : start + 1024] for start in range(0, len(images), 1024))
        return np.concatenate([self.components_.transform(self.rows(batch)) for batch in batches])

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> PixelAttacker:
        self.fit_components(images)
        super().fit(images, people)
        return self

    def fit_components(self, images: NDArray) -> PixelAttacker:
        """Learn the principal components alone, from at most 8,000 images spread evenly."""
        rows = self.rows(images[:: max(1, len(images) // 4000)])
        count = max(1, min(self.n_components, len(rows) // 3, rows.shape[1]))
        pca = PCA(count, svd_solver="randomized", whiten=True, random_state=self.random_state)
        variance = pca.fit(rows).explained_variance_
        # Rounding errors of single precision, once whitened, would drown small differences.
        above_rounding = max(1, int((variance > 1e-10 * variance[0]).sum()))
        if above_rounding < count:
            pca.set_params(n_components=above_rounding).fit(rows)
        self.components_: Any = pca
        return self


class ContextAttacker(PixelAttacker):
    """LDA on hair, clothes and background: an ellipse over the face is blackened first.

    Settings are those of :class:`PixelAttacker`.
    """

    # Surroundings need not identify people, so any success above chance makes it evidence.
    name, threshold_over_chance, kind = "LDA on the surroundings", 3.0, "context"

    def rows(self, images: NDArray) -> NDArray[np.float32]:
        face = face_ellipse(images.shape[1:3], 0.42, 0.34)
        return super().rows(np.where(face[..., None], images.dtype.type(0), images))


class LogisticAttacker(LatentAttacker):
    """Logistic regression on the anonymizer's latents, biased otherwise than LDA.

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

    def scores(self, images: NDArray) -> NDArray:
        return _class_scores(self.model_, self.features(images))


class ClassifierAttacker:
    """Any scikit-learn classifier of images as an attacker.

    Parameters
    ----------
    classifier : classifier
        With ``decision_function`` or ``predict_proba``. Cloned for every gallery; a fitted one with
        ``warm_start=True`` is copied and continues from its weights.
    name : str
    gallery_kind : {"released", "clear"}, default="released"
    kind : str, optional
        None makes it "parrot" or "naive", by its gallery.
    """

    def __init__(
        self,
        classifier: Any,
        name: str,
        gallery_kind: str = "released",
        kind: str | None = None,
    ):
        self.classifier, self.name, self.gallery_kind = classifier, name, gallery_kind
        self.kind = kind
        self.network = isinstance(classifier, (IdentityClassifier, NeuralNet))

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> ClassifierAttacker:
        """Learn the gallery."""
        warm_start = getattr(self.classifier, "warm_start", False)
        model = copy.deepcopy(self.classifier) if warm_start else clone(self.classifier)
        self.classifier_ = model.fit(images, people)
        return self

    def scores(self, images: NDArray) -> NDArray:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return _class_scores(self.classifier_, images)

    @property
    def embed(self) -> Callable[[NDArray], NDArray] | None:
        """The classifier's unit embedding of images, where it has one."""
        return getattr(self.classifier_, "embed", None)


class NaiveAttacker(ClassifierAttacker):
    """A recogniser trained on clear images, used as it is: the published number.

    Parameters
    ----------
    recogniser : classifier
        Fitted; with ``predict_proba`` or ``decision_function`` over images.
    kind : str, default="naive"
        "unseen" if no part of the method knew it.
    """

    def __init__(self, recogniser: Any, kind: str = "naive"):
        super().__init__(recogniser, "recogniser of clear photos", "clear", kind)
        self.classifier_ = recogniser

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> NaiveAttacker:
        """Do nothing: the gallery are the clear photos that the recogniser was trained on."""
        return self


class RoleAttacker:
    """Another role of an attacker: the audit trains one learner once for all of its roles.

    Parameters
    ----------
    learner : attacker
    name : str
    gallery_kind, probe_kind : {"released", "clear"}, default="released"
        See :mod:`edials.audit.attackers.base`.
    """

    def __init__(
        self, learner: Any, name: str, gallery_kind: str = "released", probe_kind: str = "released"
    ):
        self.learner, self.name = learner_of(learner), name
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
    """An attacker that learns released images and names clear photos: the reverse attack.

    Who is named if the released images are taken for photos of the people?

    Parameters
    ----------
    learner : attacker
        Any that learns from images.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images".
    """

    def __init__(self, learner: Any):
        super().__init__(learner, f"reverse: {learner.name}", probe_kind="clear")


def _class_scores(classifier: Any, X: NDArray) -> NDArray:
    """One score per class; scikit-learn has one column for two classes."""
    if hasattr(classifier, "decision_function"):
        scores = classifier.decision_function(X)
        return scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
    return np.log(np.clip(classifier.predict_proba(X), 1e-12, 1))


class ChoiceAttacker(PixelAttacker):
    """Linear discriminant analysis on what was decided for every image, such as a mask.

    Settings are those of :class:`PixelAttacker`.
    """

    name, gallery_kind, probe_kind, kind = "the choices", "choices", "choices", "choices"

    def rows(self, images: NDArray) -> NDArray[np.float32]:
        """Choices unchanged; clear photos, on which it is validated, as pixels."""
        return super().rows(images) if images.ndim == 4 else images.astype(np.float32)

    def fit_components(self, images: NDArray) -> ChoiceAttacker:
        """Learn at most as many components as the choices have; some may be constant."""
        if images.ndim == 4:
            super().fit_components(images)
            return self
        rank = int(np.linalg.matrix_rank(images - images.mean(axis=0)))
        count = min(self.n_components, rank, max(1, len(images) // 3))
        # Choices that are all equal have no components; standardized, they are zeros.
        pca = PCA(count, whiten=True, random_state=self.random_state)
        self.components_ = (pca if rank else StandardScaler()).fit(images)
        return self


def check_choices(choices: object, n_samples: int) -> NDArray[np.float32]:
    """Choices as rows of finite numbers, shape (n_samples, n_choices)."""
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

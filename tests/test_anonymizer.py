"""The anonymizer's contract and what it must never do."""

import copy
import inspect
import subprocess
import sys
import warnings
from dataclasses import replace
from unittest.mock import Mock

import joblib
import numpy as np
import pytest
import sklearn
import torch
from conftest import make_anonymizer
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetClassifier
from threadpoolctl import threadpool_limits

from edials import (
    AdversarialAutoencoder,
    AttributeClassifier,
    EDIALSAnonymizer,
    IdentityClassifier,
    save,
)
from edials._random import forked_torch
from edials._validation import to_tensor
from edials.anonymizer import _STAGES
from edials.exceptions import (
    IdentityLeakWarning,
    InvalidImageError,
    InvalidLabelsError,
    WithheldImageError,
)
from edials.fitting.networks import clone_networks
from edials.metrics.head_pose import yaw_proxy
from edials.metrics.ssim import structural_similarity
from edials.models.surrogate_decoder import SurrogateDecoder, training_counts
from edials.release.certification import WITHHELD, RecogniserAdapter, as_input

# Ten people and fewer are alone with their attributes, and hardly recognised by a tiny network.
FEW = pytest.mark.filterwarnings("ignore::edials.exceptions.IdentityLeakWarning")


def test_same_shape_dtype_and_order(faces, fitted):
    released = fitted.transform(faces.images)
    assert released.shape == faces.images.shape
    assert released.dtype == np.uint8
    for dtype in (np.float32, np.float64):
        as_float = fitted.transform((faces.images[:9] / 255).astype(dtype))
        assert as_float.dtype == dtype
        np.testing.assert_allclose(as_float, released[:9] / 255, atol=1e-6)
    flat = copy.copy(fitted).set_params(image_shape=(32, 32, 3))
    rows = flat.transform(faces.images[:9].reshape(9, -1))
    np.testing.assert_array_equal(rows, released[:9].reshape(9, -1))


@pytest.mark.filterwarnings("ignore:perturbation='evade' fools")
def test_an_image_does_not_depend_on_its_company(faces, fitted):
    released = fitted.transform(faces.images)
    np.testing.assert_array_equal(fitted.transform(faces.images[13:17]), released[13:17])
    sharded = copy.copy(fitted).set_params(n_jobs=2, batch_size=64).transform(faces.images)
    np.testing.assert_array_equal(sharded, released)
    evading = copy.copy(fitted).set_params(perturbation="evade", batch_size=4)
    evaded = evading.transform(faces.images[:21])
    np.testing.assert_array_equal(evading.transform(faces.images[13:17]), evaded[13:17])


def test_warmer_draws_are_more_varied(faces, fitted):
    alike, varied = (
        copy.copy(fitted).set_params(temperature=t).transform(faces.images) for t in (0.3, 1.0)
    )
    cells = faces.labels.groupby(list(faces.labels)).ngroup().to_numpy()
    spread = [
        np.mean([images[cells == cell].std(axis=0).mean() for cell in np.unique(cells)])
        for images in (alike, varied)
    ]
    assert spread[1] > 1.2 * spread[0]
    with pytest.raises(ValueError, match="temperature=0"):
        copy.copy(fitted).set_params(temperature=0).transform(faces.images)


@pytest.mark.parametrize("backend", ["loky", "threading"])
@FEW
def test_networks_fitted_side_by_side_are_the_same(faces, backend):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    data = {"identity": faces.identity, "attributes": faces.labels}
    # One thread each, as joblib's processes have.
    with threadpool_limits(1):
        alone = make_anonymizer().fit(faces.images, **data)
        with joblib.parallel_config(backend, n_jobs=2):
            together = make_anonymizer().fit(faces.images, **data)
    torch.set_num_threads(threads)
    for part in ("autoencoder_", "identity_classifier_", "attribute_classifier_"):
        ours, theirs = (getattr(m, part).module_.state_dict() for m in (together, alone))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(state, torch.random.get_rng_state())


def test_no_original_leaves(faces, fitted):
    released = fitted.transform(faces.images).astype(float)
    distance = np.abs(released[:, None] - faces.images[None]).mean(axis=(2, 3, 4))
    assert distance.min() > 4


def test_at_strength_1_only_predicted_attributes_and_the_key_enter(faces, fitted, monkeypatch):
    """Two photos of one predicted cell, given one key, become equal bytes."""
    engine = fitted._engine()
    codes = engine.reader.codes(faces.images)
    cells = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    # Nothing else of a photo reaches the pictures.
    assert list(inspect.signature(engine.generator.generate).parameters) == [
        "codes",
        "retained",
        "keys",
        "mask",
    ]
    assert engine.generator.retain(engine.recogniser.predictions(faces.images), engine.mask) is None
    monkeypatch.setattr(
        "edials.release.generation.image_keys",
        lambda secret, images: np.zeros((len(images), 16), np.uint8),
    )
    released = fitted.transform(faces.images)
    for cell in np.unique(cells):
        assert (released[cells == cell] == released[cells == cell][0]).all()
    assert np.bincount(cells).max() > 5, "several photos share a predicted cell"


def test_strength_0_is_plain_reconstruction(faces, fitted):
    plain = copy.copy(fitted).set_params(strength=0.0)
    with pytest.warns(IdentityLeakWarning, match="removes nothing"):
        released = plain.transform(faces.images[:5])
    np.testing.assert_array_equal(released, fitted.autoencoder_.reconstruct(faces.images[:5]))


def test_strength_0_is_never_certified(faces, fitted, monkeypatch):
    plain = copy.copy(fitted).set_params(strength=0.0)
    with pytest.warns(IdentityLeakWarning, match="removes nothing"):
        result = plain.anonymize(faces.images[:5])
    assert not len(result.images)
    assert set(result.verdicts) == {"uncertified"}
    monkeypatch.setattr("edials.release.engine.is_original", lambda a, b: np.ones(len(a), bool))
    with pytest.warns(IdentityLeakWarning):
        assert (plain.transform(faces.images[:5]) == 128).all()


@FEW
def test_certification_holds_for_a_recogniser_that_cannot_embed(faces, fitted):
    model = EDIALSAnonymizer(
        FrozenEstimator(fitted.autoencoder_),
        identity_classifier=LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        strength=0.02,
        random_state=0,
    )
    rows = [0, 1, 10, 11, 20, 21]
    model.fit(faces.images[rows], identity=faces.identity[rows], attributes=faces.labels.iloc[rows])
    verdicts = model.anonymize(faces.images[rows]).verdicts
    assert (verdicts == "strengthened").any()


def test_a_frozen_classifier_must_know_the_attributes(faces, fitted):
    model = make_anonymizer(attribute_classifier=FrozenEstimator(fitted.attribute_classifier_))
    with pytest.raises(InvalidLabelsError, match=r"knows \['age', 'gender'\]"):
        model.fit(faces.images, identity=faces.identity, attributes=faces.labels[["age"]])


def test_retrained_attacker_finds_less_as_strength_grows(faces, fitted):
    def risk(images):
        latents = fitted.autoencoder_.encode(images)
        people, fold = faces.identity, np.arange(len(images)) % 2
        attacker = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        return attacker.fit(latents[fold == 0], people[fold == 0]).score(
            latents[fold == 1], people[fold == 1]
        )

    clear = risk(faces.images)
    released = risk(fitted.transform(faces.images))
    floor = faces.attributes.drop_duplicates().shape[0] / len(np.unique(faces.identity))
    assert clear > 0.6, "a broken attacker is not evidence"
    assert released < clear
    assert released <= floor + 0.1


def test_evade_fools_its_classifier_and_warns(faces, fitted):
    evading = copy.copy(fitted).set_params(perturbation="evade")
    with pytest.warns(IdentityLeakWarning, match="retrains"):
        result = evading.anonymize(faces.images)
    named = fitted.identity_classifier_.predict(faces.images[result.kept_indices])
    evaded = result.steps[result.kept_indices] > 0
    assert evaded.any()
    assert (fitted.identity_classifier_.predict(result.images)[evaded] != named[evaded]).all()


def test_withheld_images_are_blank_listed_and_counted(faces, fitted, monkeypatch):
    monkeypatch.setattr(
        "edials.release.engine.is_original",
        lambda first, second: (
            (first[:, None] == faces.images[:5:2]).all(axis=(2, 3, 4)).any(axis=1)
        ),
    )
    with pytest.warns(IdentityLeakWarning, match="3 of 5 images could not be certified"):
        released = fitted.transform(faces.images[:5])
    assert (released[::2] == 128).all()
    result = fitted.anonymize(faces.images[:5])
    np.testing.assert_array_equal(result.kept_indices, [1, 3])
    assert list(result.verdicts[::2]) == [WITHHELD] * 3
    with pytest.raises(WithheldImageError, match="3 of 5"):
        copy.copy(fitted).set_params(on_failure="raise").transform(faces.images[:5])


def test_seeds(faces):
    first, second, other = (
        make_anonymizer(random_state=seed).fit(
            faces.images, faces.attributes["gender"], identity=faces.identity
        )
        for seed in (1, 1, 2)
    )
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    released = first.transform(faces.images[:4])
    np.testing.assert_array_equal(released, second.transform(faces.images[:4]))
    assert (released != other.transform(faces.images[:4])).any()
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.random.get_rng_state())


def test_missing_labels(faces):
    identity = faces.identity.astype(object).copy()
    identity[::10] = None
    table = faces.attributes.copy()
    table.loc[1::10, "age"] = None
    model = make_anonymizer().fit(faces.images, identity=identity, attributes=table)
    assert sorted(model.identity_classifier_.classes_) == sorted(set(faces.identity))
    ages = model.attribute_classifier_.classes_per_attribute_["age"]
    assert ages.tolist() == sorted(set(faces.attributes["age"]))
    assert np.abs(model.transform(faces.images[:3]).astype(float) - faces.images[:3]).mean() > 4


@FEW
def test_pipeline_cross_validation_and_persistence(faces, tmp_path):
    age = faces.attributes["age"]
    pipeline = Pipeline(
        [
            ("anonymize", make_anonymizer()),
            ("age", AttributeClassifier("tiny", max_epochs=2, random_state=0)),
        ]
    )
    clone(pipeline).fit(faces.images, age, anonymize__identity=faces.identity)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            pipeline,
            faces.images,
            age,
            cv=2,
            params={"identity": faces.identity, "attributes": faces.labels},
            error_score="raise",
        )
        pipeline.fit(faces.images, age, identity=faces.identity, attributes=faces.labels)
    assert np.isfinite(scores["test_score"]).all()
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    np.save(tmp_path / "images.npy", faces.images[:8])
    code = (
        "import joblib, numpy as np; p = joblib.load('pipeline.joblib');"
        "np.save('out.npy', p['anonymize'].transform(np.load('images.npy')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), pipeline["anonymize"].transform(faces.images[:8])
    )


@FEW
def test_grid_search_over_strength_sees_privacy(faces, fitted):
    model = EDIALSAnonymizer(
        FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        strength=1.0,
        random_state=0,
    )
    folds = [(np.flatnonzero(np.arange(100) % 10 < 5), np.flatnonzero(np.arange(100) % 10 >= 5))]
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            Pipeline([("anonymize", model)]), {"anonymize__strength": [0.03, 1.0]}, cv=folds
        )
        search.fit(
            faces.images,
            faces.attributes["age"],
            identity=faces.identity,
            attributes=faces.labels,
        )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["anonymize__strength"] == 1.0


def test_plain_classifiers_after_a_flattener(faces, fitted):
    flatten = FunctionTransformer(lambda images: images.reshape(len(images), -1))
    pipeline = make_pipeline(FrozenEstimator(fitted), flatten, RidgeClassifier())
    pipeline.fit(faces.images, faces.attributes["gender"])
    assert set(pipeline.predict(faces.images[:5])) <= {"female", "male"}
    assert "EDIALSAnonymizer" in fitted._repr_html_()


def test_frozen_parts_are_not_fitted_again(faces, fitted):
    again = EDIALSAnonymizer(
        FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        strength=1.0,
        random_state=0,
    ).fit(faces.images, identity=faces.identity, attributes=faces.labels)
    np.testing.assert_array_equal(
        again.transform(faces.images[:4]), fitted.transform(faces.images[:4])
    )


def test_score_is_utility_at_most(faces, fitted):
    """A release that tells nothing scores its utility; the plain reconstruction loses its risk."""
    gender = faces.attributes["gender"]
    predicted = fitted.attribute_classifier_.predict_table(fitted.transform(faces.images))["gender"]
    utility = balanced_accuracy_score(gender, predicted)
    score = fitted.score(faces.images, gender, identity=faces.identity)
    assert utility - 0.15 < score <= utility
    plain = copy.copy(fitted).set_params(strength=0.0)
    with pytest.warns(IdentityLeakWarning, match="removes nothing"):
        assert plain.score(faces.images, gender, identity=faces.identity) < score - 0.2


def test_explanations_name_their_features_and_repeat(faces, fitted):
    explanation = fitted.explain(faces.images[:3])
    assert explanation.values.shape == explanation.data.shape == (3, 48)
    assert explanation.feature_names[:2] == ["identity 0", "identity 1"]
    # By the basis of the fit, whatever the parameter says now.
    again = copy.copy(fitted).set_params(basis="raw").explain(faces.images[:1])
    assert again.feature_names[0] == "identity 0"
    again = fitted.explain(faces.images[:3])
    np.testing.assert_array_equal(again.values, explanation.values)
    assert np.isfinite(explanation.base_values).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": 1.5}, "strength=1.5"),
        ({"basis": "odd"}, "basis='odd'"),
        ({"on_failure": "keep"}, "on_failure='keep'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"image_shape": 32}, "image_shape=32"),
        ({"verbose": "no"}, "verbose='no'"),
        ({"attribute_classifier": IdentityClassifier()}, "has no logits, predict_codes; expected"),
        ({"surrogate_decoder": PCA(3)}, r"surrogate_decoder=PCA\(.*\) has no decode; expected"),
    ],
)
def test_bad_parameters(faces, settings, message):
    with pytest.raises(ValueError, match=message):
        make_anonymizer(**settings).fit(faces.images, identity=faces.identity)


def test_bad_input(faces, fitted):
    with pytest.raises(InvalidImageError, match="Resize them"):
        fitted.transform(np.zeros((2, 48, 48, 3), np.uint8))
    with pytest.raises(InvalidImageError, match="Divide by 255"):
        fitted.transform(faces.images[:2].astype(np.float32))
    with pytest.raises(InvalidLabelsError, match="9 entries for 100"):
        make_anonymizer().fit(faces.images, identity=faces.identity[:9])
    with pytest.raises(InvalidLabelsError, match="is a dict"):
        make_anonymizer().fit(faces.images, identity=faces.identity, attributes={"age": [1]})


def test_an_attribute_that_names_people_is_refused(faces):
    with pytest.raises(InvalidLabelsError, match="keeping it would keep who they are"):
        make_anonymizer().fit(faces.images, faces.identity, identity=faces.identity)
    named = faces.attributes.assign(email=faces.identity)
    with pytest.raises(InvalidLabelsError, match="'email' is different for each of 10 people"):
        make_anonymizer().fit(faces.images, identity=faces.identity, attributes=named)
    table, model = faces.attributes.assign(one="x"), make_anonymizer()
    with (
        pytest.warns(IdentityLeakWarning, match="alone with their attributes"),
        pytest.warns(UserWarning, match=r"\['one'\] are the same on every image"),
    ):
        model.fit(faces.images, identity=faces.identity, attributes=table)
    assert model.attribute_names_ == ["age", "gender", "race"]


def test_releases_at_two_strengths_share_no_draws(faces, fitted):
    engine = fitted._engine()
    half, key = np.arange(48) < 24, engine.generator.draw_key
    assert key(engine.mask) == key(engine.mask.copy())
    assert key(engine.mask) != key(half)


def test_a_failed_fit_loses_nothing_or_everything(faces, fitted, monkeypatch, tmp_path):
    """Bad input leaves the old fit as it was; a fit that breaks off leaves none."""
    model = copy.deepcopy(fitted)
    with pytest.raises(InvalidLabelsError):
        model.fit(faces.images, identity=np.zeros(100, int))
    np.testing.assert_array_equal(
        model.transform(faces.images[:2]), fitted.transform(faces.images[:2])
    )
    # The last training of a fit: by then everything else of it is there.
    broken = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("edials.anonymizer.fit_surrogate_decoder", broken)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(autoencoder=FrozenEstimator(fitted.autoencoder_)).fit(
            faces.images, identity=faces.identity, attributes=faces.labels
        )
    for use in (model.transform, model.anonymize, model.explain, lambda X: save(model, tmp_path)):
        with pytest.raises(NotFittedError):
            use(faces.images[:2])
    with pytest.raises(NotFittedError):
        model.score(faces.images, faces.labels["age"], identity=faces.identity)


def test_given_parts_are_seeded(faces):
    def released():
        model = EDIALSAnonymizer(
            AdversarialAutoencoder("tiny", max_epochs=1),
            identity_classifier=IdentityClassifier("tiny", max_epochs=1),
            strength=1.0,
            random_state=3,
        )
        return model.fit(faces.images, identity=faces.identity).transform(faces.images[:3])

    np.testing.assert_array_equal(released(), released())


def test_score_finds_its_attribute_and_its_labels(faces, fitted):
    def score(y):
        return fitted.score(faces.images, y, identity=faces.identity)

    gender = faces.attributes["gender"]
    some = gender.where(np.arange(100) % 3 > 0)
    assert score(gender) > 0.2
    assert abs(score(some) - score(gender)) < 0.2
    assert score(faces.attributes["age"].to_numpy()) == score(faces.attributes["age"])
    with pytest.raises(InvalidLabelsError, match="y is named 'race'"):
        score(faces.attributes["race"])
    with pytest.raises(InvalidLabelsError, match="not seen in fit"):
        score(np.arange(100))
    # A class that fit has not seen, as a fold may hold, is never predicted rightly.
    strange = gender.where(np.arange(100) % 4 > 0, "other")
    assert score(strange) < score(gender.where(np.arange(100) % 4 > 0))
    with pytest.raises(InvalidLabelsError, match="y has shape"):
        score(faces.labels)
    with pytest.raises(InvalidLabelsError, match="Nobody has two images"):
        fitted.score(faces.images[::10], gender[::10], identity=faces.identity[::10])
    with pytest.raises(InvalidLabelsError, match="switch metadata routing on"):
        fitted.score(faces.images, gender)


def test_a_recogniser_that_tells_nothing_certifies_nothing(faces, fitted):
    model = copy.deepcopy(fitted).set_params(strength=0.1)
    torch.nn.init.zeros_(model.identity_classifier_.module_.backbone.norm.weight)
    torch.nn.init.zeros_(model.identity_classifier_.module_.backbone.norm.bias)
    model.identity_classifier_.impostor_similarities_[:] = 0.0
    model.true_match_rate_ = 1.0
    assert set(model.anonymize(faces.images[:9]).verdicts) == {"strengthened"}
    model.true_match_rate_ = 0.0
    with pytest.warns(IdentityLeakWarning, match="its certificates mean little"):
        model.transform(faces.images[:2])


@pytest.mark.filterwarnings("ignore:perturbation='evade' fools")
def test_evasion_does_not_depend_on_order(faces, fitted):
    model = copy.copy(fitted).set_params(perturbation="evade")
    forwards = model.transform(faces.images[:24])
    backwards = model.transform(faces.images[:24][::-1])
    result = model.anonymize(faces.images[:24])
    same = (forwards == backwards[::-1]).all(axis=(1, 2, 3))
    assert same.mean() > 0.9  # gradients of another batch may round otherwise
    certified = result.scores[result.verdicts == "certified"]
    assert (certified < fitted.identity_classifier_.threshold(0.01)).all()


def test_a_skorch_recogniser(faces, fitted):
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(32 * 32 * 3, 2)

        def forward(self, X):
            return self.layer(X.flatten(1))

    rows = [0, 1, 10, 11]  # explanations of a foreign recogniser take seconds per photo
    codes = np.unique(faces.identity[rows], return_inverse=True)[1]
    with forked_torch(0):
        net = NeuralNetClassifier(Flat, max_epochs=2, verbose=0, train_split=None)
        model = EDIALSAnonymizer(
            FrozenEstimator(fitted.autoencoder_),
            identity_classifier=net,
            strength=1.0,
            random_state=0,
        ).fit(faces.images[rows], identity=codes)
    released = model.transform(faces.images[:3])
    assert released.shape == (3, 32, 32, 3)
    assert np.abs(released.astype(float) - faces.images[:3]).mean() > 4


def test_surrogate_decoder_learns_from_draws(fitted, faces):
    """It shows photos better than the autoencoder's decoder shows draws for them."""
    engine, images = fitted._engine(), faces.images
    latents, yaw = fitted.autoencoder_.encode(images), yaw_proxy(images)
    people = np.unique(faces.identity, return_inverse=True)[1]
    model = fitted.latent_model_
    features = model.features.coordinates(latents)
    codes = np.zeros_like(engine.reader.codes(images))

    def taught(people):
        decoder = SurrogateDecoder("tiny", max_epochs=30, batch_size=32, random_state=0)
        return decoder.fit(
            images,
            features,
            codes,
            yaw,
            people,
            decoder=fitted.autoencoder_.module_.decoder,
            basis=model.features.basis,
            prior=model.prior,
            order=fitted.order_,
        )

    def similarity(decoder):
        generator = replace(engine.generator, decoder=decoder, temperature=0.3)
        predictions = engine.recogniser.predictions(images)
        pictures = generator.replace(predictions, codes, np.arange(48) < 44)
        return structural_similarity(to_tensor(pictures), to_tensor(images)).mean()

    few, many = taught(people % 3), taught(people)
    assert similarity(many) > similarity(few) + 0.02
    np.testing.assert_array_equal(many.decode(latents), taught(people).decode(latents))
    # Taught nothing, since too few people share a reading, it is the decoder it started from.
    np.testing.assert_array_equal(few.decode(latents), fitted.autoencoder_.decode(latents))
    assert many.net_.drawer is None
    with pytest.raises(ValueError, match="expected \\(n_samples, 48\\)"):
        many.decode(latents[:, :5])


def test_own_surrogate_decoder_is_cloned_seeded_and_kept_when_frozen(fitted, faces):
    def refit(decoder):
        model = make_anonymizer(surrogate_decoder=decoder).set_params(
            autoencoder=FrozenEstimator(fitted.autoencoder_),
            identity_classifier=FrozenEstimator(fitted.identity_classifier_),
            attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        )
        model.fit(faces.images, identity=faces.identity, attributes=faces.labels)
        return model.surrogate_decoder_

    own = SurrogateDecoder("tiny", max_epochs=1)
    first, second = refit(own), refit(own)
    assert not hasattr(own, "module_")
    # The anonymizer's seed is passed on, so that everything can be made again.
    assert first.random_state == second.random_state is not None
    frozen = FrozenEstimator(first)
    assert refit(frozen) is frozen


def test_surrogate_decoder_is_trained_mostly_on_what_will_be_retained(faces, fitted):
    class Noting(SurrogateDecoder):
        def fit(self, *data, n_retained, **parts):
            type(self).requested = n_retained
            return super().fit(*data, n_retained=n_retained, **parts)

    model = make_anonymizer(surrogate_decoder=Noting("tiny", max_epochs=1)).set_params(
        autoencoder=FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        strength=1 - 3 / 48,
    )
    model.fit(faces.images, identity=faces.identity, attributes=faces.labels)
    assert Noting.requested == 3
    numbers = training_counts(3, 48)
    assert numbers.count(3) == 7
    assert numbers.count(0) == numbers.count(4) == 1
    assert max(numbers) == 4
    # Of more, pictures are made by the autoencoder's decoder.
    assert set(training_counts(40, 48)) == {0, 1, 2, 4}


@pytest.mark.filterwarnings("ignore::edials.exceptions.IdentityLeakWarning")
def test_a_raw_basis_retains_latents_as_they_are(faces, fitted):
    model = make_anonymizer(basis="raw", strength=0.5, random_state=0).set_params(
        autoencoder=FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
    )
    model.fit(faces.images, identity=faces.identity, attributes=faces.labels)
    engine, images = model._engine(), faces.images[:4]
    retained = engine.generator.retain(engine.recogniser.predictions(images), engine.mask)
    latents = model.autoencoder_.encode(images)
    np.testing.assert_array_equal(retained.coordinates, latents[:, ~engine.mask])
    assert np.argsort(model.importance_)[:24].tolist() == sorted(
        np.flatnonzero(~engine.mask), key=lambda feature: model.importance_[feature]
    )


@pytest.mark.parametrize("attributes", ["one", "alone"])
def test_warnings_of_the_attributes_point_at_the_call_of_fit(faces, attributes):
    table = faces.labels.assign(one="x") if attributes == "one" else faces.attributes
    model = make_anonymizer()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1
        model.fit(faces.images, identity=faces.identity, attributes=table)
    places = {(w.filename, w.lineno) for w in caught if issubclass(w.category, UserWarning)}
    assert places == {(__file__, line)}


def test_one_device_for_all_networks(faces, fitted):
    """Templates follow the anonymizer's device; one elsewhere is refused before training."""
    model = make_anonymizer(device="meta")
    networks = clone_networks(model._templates(), model._shared_params(), dict.fromkeys(_STAGES, 0))
    assert {network.device for network in networks} == {"meta"}
    frozen = FrozenEstimator(fitted.autoencoder_)  # on "cpu", which is "cpu:0"
    model = make_anonymizer(device="cpu:0").set_params(autoencoder=frozen)
    seeds = dict.fromkeys(_STAGES, 0)
    assert clone_networks(model._templates(), model._shared_params(), seeds)[1] is frozen
    elsewhere = AdversarialAutoencoder("tiny", device="meta")
    model = make_anonymizer(device="cpu").set_params(autoencoder=elsewhere)
    with pytest.raises(ValueError, match=r"AdversarialAutoencoder has device='meta'; expected one"):
        model.fit(faces.images, identity=faces.identity)
    model = make_anonymizer(device="meta").set_params(autoencoder=frozen)
    with pytest.raises(ValueError, match=r"device='cpu'; expected one device"):
        model.fit(faces.images, identity=faces.identity)


def test_a_recogniser_inside_a_search_takes_images_as_it_is(faces):
    images = faces.images[:2]
    assert as_input(GridSearchCV(IdentityClassifier(), {}), images) is images
    assert as_input(FrozenEstimator(IdentityClassifier()), images) is images
    assert as_input(RidgeClassifier(), images).shape == (2, 32 * 32 * 3)


def test_every_release_at_strength_0_warns_at_its_own_line(faces, fitted):
    """Although scikit-learn wraps methods: a second warning elsewhere is no repetition."""
    plain = copy.copy(fitted).set_params(strength=0.0)
    pipeline = make_pipeline(FrozenEstimator(plain))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        first = inspect.currentframe().f_lineno + 1
        plain.transform(faces.images[:1])
        pipeline.transform(faces.images[:1])
        next(plain.anonymize_stream(faces.images[:1]))
    assert [(w.filename, w.lineno - first) for w in caught] == [(__file__, n) for n in range(3)]


def test_scores_that_are_not_numbers_certify_nothing():
    pictures = np.zeros((3, 32, 32, 3), np.uint8)

    class Silent:
        classes_ = np.arange(8)

        def embed(self, rows):
            return np.full((len(rows), 4), np.nan)

        def threshold(self, fmr):
            return 0.5

        def decision_function(self, rows):
            return np.full((len(rows), 8), np.nan)

    recogniser = RecogniserAdapter(Silent())
    predictions = recogniser.predictions(pictures)
    assert recogniser.matches(np.ones((3, 4)), predictions).all()
    assert recogniser.names_any(predictions, np.full((3, 2), 7)).all()


def test_people_enrolled_after_fit_are_no_people_of_the_anonymizer(faces, fitted):
    model = copy.deepcopy(fitted)
    others = np.char.add(faces.identity, "-other")
    model.identity_classifier_.enrol(faces.images, others)
    with pytest.raises(ValueError, match="enrolled other people since fit"):
        model.transform(faces.images[:2])

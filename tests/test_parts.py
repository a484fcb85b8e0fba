"""The networks, their trainers, and the order of the rooms."""

import ast
import hashlib
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import OUTER_TORCH_STATES, make_anonymizer
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from torch import nn

import edials
from edials import AdversarialAutoencoder, AttributeClassifier, IdentityClassifier
from edials._labels import encode_labels
from edials._random import image_keys, keyed_normal, torch_defaults
from edials._validation import to_tensor
from edials.exceptions import InvalidImageError, InvalidLabelsError, UnreadableImageError
from edials.explain.expected_gradients import path_gradients
from edials.explain.identity_score import IdentityScore, RecogniserLogits, RotatedDecoder
from edials.images import ImageReader, write_image
from edials.latent.identity_basis import raw_basis
from edials.metrics.ssim import dissimilarity_metric, structural_similarity
from edials.networks.adversarial import AdversarialNet, LossWeights, frozen_backbone
from edials.networks.inference import has_bfloat16, inference_copy, map_in_batches
from edials.networks.losses import AttributeLoss
from edials.networks.modules import AutoencoderNetwork, Backbone, Decoder, LongLinear, Recogniser
from edials.networks.training import FaceNet, TrainingLength, _Batches


def test_no_device_is_named():
    """Only ``resolve_device`` may name an accelerator; everything else follows ``device=``."""
    found = []
    for path in Path(edials.__file__).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name != "resolve_device":
                for node in ast.walk(function):
                    literal = isinstance(node, ast.Constant) and node.value in ("cuda", "mps")
                    if literal or getattr(node, "attr", "") == "cuda":
                        found.append(f"{path.name}:{node.lineno}")
    assert not found


def test_everything_follows_its_device():
    """On a meta device a tensor left on the processor is an error: no accelerator is needed."""
    device = torch.device("meta")
    with device:
        network = AutoencoderNetwork((32, 32, 3), 8, 16, 4)
        recogniser = Recogniser((32, 32, 3), 5, 8, 16)
        images, codes = torch.empty(4, 3, 32, 32), torch.empty(4, 2, dtype=torch.int64)
        weights = [torch.ones(2), torch.ones(2)]
    net = AdversarialNet(
        network,
        loss_weights=LossWeights(10.0, 0.2, 0.01, 0.05, 0.2),
        features=frozen_backbone(SimpleNamespace(module_=recogniser), device),
        criterion=AttributeLoss,
        criterion__sizes=[2, 2],
        criterion__class_weights=weights,
        device=device,
    ).initialize()
    assert net.train_step((images, codes))["loss"].is_meta
    assert network.encoder.linear.weight.grad.is_meta

    basis = raw_basis(np.zeros((1, 16), np.float32))
    with device:
        head = nn.Linear(16, 5)
        candidates, rows = torch.empty(4, 2, dtype=torch.int64), torch.empty(4, dtype=torch.int64)
    logits = RecogniserLogits(SimpleNamespace(module_=recogniser, head_=head))
    score = IdentityScore(RotatedDecoder(network.decoder, basis), logits, candidates)
    coordinates = basis.rotate(network.encoder(images)).detach()
    products = path_gradients(score, coordinates, coordinates, coordinates[:, 0], rows)
    assert products.is_meta
    assert to_tensor(np.zeros((2, 32, 32, 3), np.uint8), device).is_meta
    with pytest.raises(RuntimeError, match="meta"):  # so a mixed-up device is found
        AutoencoderNetwork((32, 32, 3), 8, 16)(images)


@pytest.mark.parametrize("shape", [(32, 32, 3), (48, 64, 3), (128, 128, 3)])
def test_any_multiple_of_16(shape):
    network = AutoencoderNetwork(shape, 8, 16)
    assert network(torch.rand(2, 3, *shape[:2])).shape == (2, 3, *shape[:2])


def test_classifiers_see_large_pictures_smaller():
    pictures = torch.rand(2, 3, 256, 288)
    large = Backbone((256, 288, 3), 8, 16).eval()
    small = Backbone((128, 144, 3), 8, 16).eval()
    small.load_state_dict(large.state_dict())
    shrunk = nn.functional.avg_pool2d(pictures, 2)
    torch.testing.assert_close(large(pictures), small(shrunk))
    for ours, theirs in zip(large.feature_maps(pictures), small.feature_maps(shrunk), strict=True):
        torch.testing.assert_close(ours, theirs)
    # Half of 272 cannot be halved four times, so it is seen whole.
    assert Backbone((272, 272, 3), 8, 16).eval()(torch.rand(1, 3, 272, 272)).shape == (1, 16)


@pytest.mark.parametrize("n_rows", [31, 32])
def test_long_linear_is_linear(n_rows, monkeypatch):
    long = LongLinear(12, 5)
    plain = nn.Linear(12, 5)
    plain.load_state_dict(long.state_dict())
    rows = torch.rand(n_rows, 12)
    expected, seen, multiply = plain(rows), [], nn.functional.linear
    monkeypatch.setattr(
        nn.functional, "linear", lambda x, *rest: seen.append(len(x)) or multiply(x, *rest)
    )
    torch.testing.assert_close(long(rows), expected)
    assert seen == [31 if n_rows == 31 else 33]  # never 32
    assert type(Backbone((32, 32, 3), 8, 16).project) is nn.Linear
    assert type(Backbone((368, 368, 3), 8, 16).project) is LongLinear


def test_weights_converted_for_inference_serve_gradients():
    network, rows = nn.Linear(4, 3), torch.rand(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        map_in_batches(
            network,
            rows.numpy(),
            device=rows.device,
            batch_size=2,
            precision="bfloat16",
            as_tensor=lambda part, device: torch.from_numpy(part),
        )
        asked = rows.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(asked).sum(), asked)
    assert gradient.shape == rows.shape


def test_features_are_those_of_the_classifier():
    network = Backbone((32, 32, 3), 8, 16)
    images = torch.rand(8, 3, 32, 32)
    for _ in range(3):  # so that batch normalisation has something to say
        network(images)
        nn.init.normal_(network.stages[3].body[-1].weight)
    network.eval()
    classifier = SimpleNamespace(module_=SimpleNamespace(backbone=network))
    features = frozen_backbone(classifier, torch.device("cpu"))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in features.stages.modules())
    pairs = zip(features.feature_maps(images), network.feature_maps(images), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "rows"),
    [
        (Recogniser((32, 32, 3), 5, 8, 16), torch.rand(4, 3, 32, 32)),
        (Recogniser((256, 288, 3), 5, 8, 16), torch.rand(4, 3, 256, 288)),
        (Decoder((32, 32, 3), 8, 16), torch.randn(4, 16)),
    ],
)
def test_inference_copies_evaluate_without_what_can_be_fused(network, rows):
    for weight in [*network.parameters(), *network.buffers()]:
        if weight.is_floating_point():
            nn.init.uniform_(weight, 0.1, 0.3)
    network.eval()
    with torch.inference_mode():
        copied = inference_copy(network)
        torch.testing.assert_close(copied(rows), network(rows))
    kinds = [type(part) for part in copied.modules()]
    assert nn.AvgPool2d not in kinds
    assert kinds.count(nn.BatchNorm2d) == (type(network) is Decoder)  # that of its first features
    asked = rows.requires_grad_()
    gradients = [torch.autograd.grad(net(asked).sum(), asked)[0] for net in (copied, network)]
    torch.testing.assert_close(*gradients)
    low = inference_copy(network, bfloat16=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(low(rows), network(rows), rtol=0.05, atol=0.05)
        torch.autograd.grad(low(asked).sum(), asked)
    assert {w.dtype for w in low.parameters() if w.ndim == 4} == {torch.bfloat16}
    assert not any(w.requires_grad for net in (copied, low) for w in net.parameters())


def test_a_net_makes_inference_copies_once_per_weights_and_stores_none():
    network = Decoder((32, 32, 3), 4, 8)
    net = FaceNet(network).initialize()
    network.eval()
    copied = net.inference_copy("float32")
    assert net.inference_copy("float32") is copied
    assert net.inference_copy("bfloat16") is net.inference_copy("bfloat16") is not copied
    again = pickle.loads(pickle.dumps(net))
    assert not again.inference_copies_
    rows = torch.rand(2, 8)
    torch.testing.assert_close(again.inference_copy("float32")(rows), copied(rows))
    # A certificate by older weights than the network's would be none.
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1)
    renewed = net.inference_copy("float32")
    torch.testing.assert_close(renewed(rows), network(rows), atol=1e-5, rtol=1e-5)
    assert (renewed(rows) != copied(rows)).any()


def test_an_inference_copy_of_any_network_shares_its_weights():
    class AtFullPrecision(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))

        def forward(self, rows):
            with torch.autocast("cpu", enabled=False):
                return self.layers(rows.float())

    network, rows = AtFullPrecision().eval(), torch.randn(5, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        copied = inference_copy(network, bfloat16=True)
        gradients = [torch.autograd.grad(net(rows).sum(), rows)[0] for net in (network, copied)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert copied.layers[0].weight.data_ptr() == network.layers[0].weight.data_ptr()
    assert all(weight.requires_grad for weight in network.parameters())
    assert not any(weight.requires_grad for weight in copied.parameters())
    network.lock = threading.Lock()
    assert inference_copy(network) is network


def test_training_is_as_long_as_the_data_ask():
    length = TrainingLength(steps=1000, min_epochs=6, max_epochs=80)
    assert length.epochs(64 * 20, 64) == 50
    assert length.epochs(10, 64) == 80
    assert length.epochs(10**6, 64) == 6
    assert not has_bfloat16(torch.device("meta"))


def test_progress_only_when_asked(faces, capfd):
    model = AttributeClassifier("tiny", max_epochs=1, random_state=0)
    model.fit(faces.images, faces.attributes["age"])
    assert capfd.readouterr() == ("", "")
    clone(model).set_params(verbose=1).fit(faces.images, faces.attributes["age"])
    assert "attribute classifier: 100%" in capfd.readouterr().err


def test_autoencoder(faces):
    model = AdversarialAutoencoder("tiny", max_epochs=3, random_state=0)
    model.fit(faces.images, faces.attributes)
    assert model.score(faces.images) > 18
    assert abs(model.encode(faces.images).mean()) < 0.5
    again = clone(model).fit(faces.images, faces.attributes)
    np.testing.assert_array_equal(again.encode(faces.images), model.encode(faces.images))
    with pytest.raises(ValueError, match="expected \\(n_samples, 48\\)"):
        model.decode(np.zeros((2, 3)))
    assert model.transform(faces.images[:2]).shape == (2, 48)
    identical = np.full((8, 32, 32, 3), 255, np.uint8)
    assert clone(model).fit(identical).reconstruct(identical).min() > 200


def test_recogniser_knows_people_and_enrols_new_ones(faces):
    training = np.arange(100) % 10 < 7
    model = IdentityClassifier("tiny", max_epochs=40, patience=99, random_state=0)
    model.fit(faces.images[training], faces.identity[training])
    assert model.score(faces.images[~training], faces.identity[~training]) > 0.5
    norms = np.linalg.norm(model.embed(faces.images[:5]), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(faces.images[:5]).sum(axis=1), 1)
    assert model.threshold(0.001) >= model.threshold(0.1)
    model.enrol(faces.images[:20], faces.identity[:20])
    assert len(model.classes_) == 2
    with pytest.raises(ValueError, match=r"fmr=2; expected a number in \(0, 1\)"):
        model.threshold(2)
    with pytest.raises(InvalidLabelsError, match="at least two people"):
        clone(model).fit(faces.images[:5], np.zeros(5, int))


def test_attribute_classifier(faces):
    model = AttributeClassifier("tiny", max_epochs=2, random_state=0)
    model.fit(faces.images, faces.attributes["gender"].to_numpy())
    assert model.predict_proba(faces.images[:3]).shape == (3, 2)
    assert set(model.predict(faces.images)) <= set(model.classes_)
    assert 0 <= model.score(faces.images, faces.attributes["gender"]) <= 1
    with pytest.raises(InvalidLabelsError, match="continuous"):
        model.fit(faces.images, np.linspace(0, 1, 100))
    with pytest.raises(InvalidLabelsError, match="at least two classes"):
        model.fit(faces.images, np.zeros(100, int))


ESTIMATORS = {
    "autoencoder": (AdversarialAutoencoder, AdversarialAutoencoder.encode),
    "identity": (IdentityClassifier, IdentityClassifier.embed),
    "attributes": (AttributeClassifier, lambda model, X: np.hstack(model.logits(X))),
}


def labels_for(name, faces, step=1):
    """What an estimator learns from every image, or from every so many."""
    labels = {"identity": faces.identity, "attributes": faces.attributes}
    return labels[name][::step] if name in labels else None


def interrupt_second_epoch(monkeypatch):
    epochs, batches = [], _Batches.__iter__

    def interrupted(self):
        epochs.append(self.training)
        if sum(epochs) == 2:
            raise KeyboardInterrupt
        return batches(self)

    monkeypatch.setattr(_Batches, "__iter__", interrupted)


def test_ctrl_c_in_the_surrogate_decoder_ends_the_fit_of_the_anonymizer(faces, fitted, monkeypatch):
    model = make_anonymizer().set_params(
        autoencoder=FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
    )
    interrupt_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        model.fit(faces.images, identity=faces.identity)
    with pytest.raises(NotFittedError):
        model.transform(faces.images)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_ctrl_c_is_raised_and_leaves_no_half_trained_estimator(name, faces, monkeypatch):
    kind, use = ESTIMATORS[name]
    images, labels = faces.images[::5], labels_for(name, faces, 5)
    model = kind("tiny", max_epochs=3, random_state=0).fit(images, labels)
    expected = use(model, images)
    interrupt_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        model.fit(images, labels)
    with pytest.raises(NotFittedError):
        use(model, images)
    assert not [attribute for attribute in vars(model) if attribute.endswith("_")]
    again = use(model.fit(images, labels), images)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("outer", OUTER_TORCH_STATES)
def test_torch_states_of_the_caller_have_no_effect(name, outer, faces):
    kind, use = ESTIMATORS[name]
    images, labels = faces.images[::5], labels_for(name, faces, 5)
    model = kind("tiny", max_epochs=1, random_state=0)

    def used():
        results = [use(model, images)]
        if name == "autoencoder":
            results.append(model.decode(results[0]))
        if name == "identity":
            results.append(model.enrol(images, labels).decision_function(images))
        return results

    model.fit(images, labels)
    expected = used()
    with OUTER_TORCH_STATES[outer]():
        inside = used()
        model = clone(model).fit(images, labels)
        fitted_inside = used()
    for results in (inside, fitted_inside, used()):
        for result, reference in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, reference)
    assert torch.zeros(1).dtype == torch.float32


def test_training_stops_early_and_keeps_the_best_weights(faces):
    model = AdversarialAutoencoder("tiny", max_epochs=20, patience=1, learning_rate=1.0)
    model.fit(faces.images)
    losses = model.net_.history[:, "valid_loss"]
    assert len(losses) < 20
    assert losses.index(min(losses)) == len(losses) - 2


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_warm_start_goes_on_from_the_weights_before(name, faces):
    kind, _ = ESTIMATORS[name]
    model = kind("tiny", max_epochs=1, learning_rate=1e-12, warm_start=True, random_state=0)
    before = model.fit(faces.images, labels_for(name, faces)).module_.state_dict()
    model.set_params(random_state=1).fit(faces.images, labels_for(name, faces))
    for key, weight in model.module_.state_dict().items():
        if weight.is_floating_point() and "running" not in key:
            equal = torch.allclose(weight, before[key], atol=1e-6)
            assert equal == (key != "directions"), key
    # Another network has other shapes, and starts anew.
    smaller = model.fit(faces.images[:, :16, :16], labels_for(name, faces))
    assert smaller.image_shape_ == (16, 16, 3)


def test_all_faults_of_the_parameters_are_named_at_once(faces):
    model = IdentityClassifier("huge", max_epochs=0, batch_size=2.5, margin=-1, precision="half")
    with pytest.raises(
        ValueError, match=r"size='huge'; expected 'tiny', 'small' or 'base'"
    ) as error:
        model.fit(faces.images, faces.identity)
    for fault in (
        "max_epochs=0; expected None or an integer of at least 1.",
        "batch_size=2.5; expected an integer of at least 1.",
        "margin=-1; expected a finite number of at least 0.",
        "precision='half'; expected 'auto', 'float32' or 'bfloat16'.",
    ):
        assert fault in str(error.value)
    with pytest.raises(ValueError, match="device='nowhere'"):
        AttributeClassifier("tiny", device="nowhere").fit(faces.images, faces.attributes)

    model = AdversarialAutoencoder(
        "tiny", image_shape=32, warm_start="yes", verbose=-1, feature_classifier="resnet"
    )
    with pytest.raises(
        ValueError, match="image_shape=32; expected None, a tuple or a list"
    ) as error:
        model.fit(faces.images)
    for fault in (
        "warm_start='yes'; expected a bool.",
        "verbose=-1; expected a bool or an integer of at least 0.",
        "feature_classifier='resnet'; expected None or a BaseEstimator.",
    ):
        assert fault in str(error.value)
    fitted = AdversarialAutoencoder("tiny", max_epochs=1).fit(faces.images)
    for without_backbone in (AttributeClassifier(), FrozenEstimator(fitted)):
        model = AdversarialAutoencoder("tiny", feature_classifier=without_backbone)
        with pytest.raises(ValueError, match="expected None or a fitted AttributeClassifier"):
            model.fit(faces.images)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *((IdentityClassifier, name) for name in ("predict", "predict_proba", "embed")),
        *((AttributeClassifier, name) for name in ("predict", "predict_proba", "predict_table")),
        *((AdversarialAutoencoder, name) for name in ("transform", "reconstruct", "score")),
    ],
)
def test_what_is_not_fitted_says_so(kind, method, faces):
    with pytest.raises(NotFittedError):
        getattr(kind("tiny"), method)(faces.images)


@pytest.mark.parametrize(
    ("weights", "fault"),
    [
        (np.ones(11), r"has shape \(11,\); expected \(10,\)"),
        (np.ones(9), r"has shape \(9,\); expected \(10,\)"),
        (np.ones((10, 1)), r"has shape \(10, 1\)"),
        (np.r_[np.ones(9), -1], "holds -1.0; expected finite numbers of at least 0"),
        (np.r_[np.ones(9), np.nan], "holds nan"),
        (np.zeros(10), "holds only zeros"),
    ],
)
def test_weights_are_checked(weights, fault, faces):
    images, people = faces.images[:20:2], faces.identity[:20:2]
    for kind in (IdentityClassifier, AttributeClassifier):
        with pytest.raises(ValueError, match=f"sample_weight {fault}"):
            kind("tiny", max_epochs=1).fit(images, people, sample_weight=weights)
    model = AttributeClassifier("tiny", max_epochs=1).fit(images, people)
    with pytest.raises(ValueError, match=f"sample_weight {fault}"):
        model.score(images, people, sample_weight=weights)


def test_two_people_have_one_score(faces):
    images, people = faces.images[:20], faces.identity[:20]
    model = IdentityClassifier("tiny", max_epochs=1, random_state=0).fit(images, people)
    scores, logits = model.decision_function(images), model.logits_of(model.embed(images))
    assert logits.shape == (20, 2)
    np.testing.assert_array_equal(scores, logits[:, 1] - logits[:, 0])
    np.testing.assert_array_equal(model.predict(images), model.classes_[(scores > 0).astype(int)])
    assert cross_val_score(model, images, people, scoring="roc_auc", cv=2).shape == (2,)


def test_tables_of_one_kind_of_label_are_predicted_as_it(faces):
    images, parity = faces.images[:20], np.arange(20) % 2
    model = AttributeClassifier("tiny", max_epochs=1, random_state=0)
    numbers = np.column_stack([parity, parity[::-1]])
    predicted = model.fit(images, numbers).predict(images)
    assert predicted.dtype.kind == "i"
    assert 0 <= accuracy_score(numbers, predicted) <= 1
    mixed = pd.DataFrame({"number": parity, "name": np.array(["a", "b"])[parity]})
    assert model.fit(images, mixed).predict(images).dtype == object


def test_labels_are_required_and_may_be_any_array():
    class ArrayLike:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3)

        def __array_function__(self, function, types, arguments, settings):
            raise TypeError(function)

    np.testing.assert_array_equal(encode_labels(ArrayLike(), name="y").codes, [0, 1, 2])
    with pytest.raises(InvalidLabelsError, match="identity is required; got None"):
        encode_labels(None, name="identity", n_samples=48)
    with pytest.raises(
        InvalidLabelsError, match=r"identity has shape \(\); expected \(n_samples,\)"
    ):
        encode_labels(3, name="identity")


def test_torch_defaults_in_overlapping_threads():
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    dtypes = []

    def first():
        with torch_defaults():
            first_in.set()
            second_in.wait(60)
        first_out.set()

    def second():
        first_in.wait(60)
        with torch_defaults():
            second_in.set()
            first_out.wait(60)
            dtypes.append(torch.get_default_dtype())

    with OUTER_TORCH_STATES["float64"]():
        threads = [threading.Thread(target=target) for target in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert dtypes == [torch.float32]


def test_structural_similarity_limits():
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(structural_similarity(images, images), torch.ones(3))
    assert structural_similarity(images, 1 - images).max() < 0


def test_dissimilarity_metric_is_what_similarity_loses():
    generator = np.random.default_rng(0)
    pictures = torch.from_numpy(generator.random((1, 3, 24, 20)))
    changes = torch.from_numpy(generator.standard_normal((4, 3, 24, 20)))
    mixture = torch.from_numpy(generator.standard_normal(4))
    metric = dissimilarity_metric(changes, pictures)
    changed = pictures + 1e-4 * torch.einsum("i,ichw->chw", mixture, changes)
    lost = (1 - structural_similarity(pictures, changed)) / 1e-8
    torch.testing.assert_close(mixture @ metric @ mixture, lost[0], rtol=1e-3, atol=0)
    # Weights are averaged over pictures, a black one among them.
    black = torch.zeros_like(pictures)
    both = dissimilarity_metric(changes, torch.cat([pictures, black]))
    torch.testing.assert_close(both, (metric + dissimilarity_metric(changes, black)) / 2)


def test_an_image_has_the_numbers_of_a_generator_of_its_own():
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    drawn = keyed_normal(image_keys(b"key", images), (2, 3))
    for row in (0, 3):
        digest = hashlib.blake2b(images[row].tobytes(), key=b"key", digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
        np.testing.assert_array_equal(drawn[row], generator.standard_normal((2, 3), np.float32))


def test_files(faces, tmp_path):
    path = write_image(faces.images[0], tmp_path)
    images = ImageReader(size=32).fit([path]).transform([path])
    np.testing.assert_array_equal(images[0], faces.images[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        ImageReader().transform([path, tmp_path / "bad.png"])
    with pytest.raises(InvalidImageError, match="size=0"):
        ImageReader(size=0).fit([])

import hashlib
import importlib
import importlib.util
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.evaluation import pretrained
from sagan.evaluation.features import EXTRACTORS, load_extractor
from sagan.evaluation.measures import METRICS
from sagan.evaluation.pretrained import import_torchvision
from sagan.images import to_float
from sagan.system.extras import install

needs_eval = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite_pytorch") is None, reason="extra eval"
)
needs_fidelity = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None, reason="extra fidelity"
)


@pytest.fixture(scope="module")
def efficientnet():
    return load_extractor()


def extract(extractor, images):
    return extractor(torch.tensor(images))[0].numpy()


@pytest.fixture
def images():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    pictures[4] = 255
    return pictures


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Torch hub's folder, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub"


def trust(monkeypatch, name, path):
    """Lets a file pass for the weights of an extractor."""
    monkeypatch.setitem(
        pretrained.WEIGHTS_SHA256, name, hashlib.sha256(path.read_bytes()).hexdigest()
    )


@needs_eval
def test_extractor_states_what_a_record_needs(efficientnet, images):
    vectors, logits = efficientnet(torch.from_numpy(images))
    assert vectors.shape == (5, efficientnet.feature_dim)
    assert logits.shape == (5, efficientnet.logit_dim)
    assert vectors.dtype == logits.dtype == torch.float32
    assert len(efficientnet.weights_sha256) == 64
    assert METRICS["fd"].names(efficientnet) == ["FD (EfficientNet-Lite0)"]


@needs_eval
def test_features_do_not_depend_on_the_batch_and_tell_pictures_apart(efficientnet, images):
    together = extract(efficientnet, images)
    np.testing.assert_array_equal(extract(efficientnet, images), together)
    np.testing.assert_allclose(
        extract(replace(efficientnet, batch_size=1), images), together, atol=1e-4
    )
    assert np.abs(together[0] - together[4]).max() > 0.1


@needs_eval
def test_pictures_beyond_one_pass_keep_their_order(efficientnet, images):
    many = np.tile(images, (12, 1, 1, 1))
    assert len(many) > 2 * efficientnet.batch_size
    expected = np.tile(extract(efficientnet, images), (12, 1))
    np.testing.assert_allclose(extract(efficientnet, many), expected, atol=1e-4)


@needs_eval
def test_efficientnet_is_the_plain_network_on_bilinear_pictures(efficientnet, images):
    from efficientnet_lite_pytorch import EfficientNet

    specification = pretrained.PRETRAINED["efficientnet-lite0"]
    weights = specification.weights_folder() / specification.weights_file
    plain = EfficientNet.from_name("efficientnet-lite0")
    plain.load_state_dict(torch.load(weights, weights_only=True))
    plain = plain.eval().requires_grad_(False)
    resized = F.interpolate(to_float(torch.from_numpy(images)), size=(96, 96), mode="bilinear")
    vectors, logits = efficientnet(torch.from_numpy(images))
    expected = plain.extract_features(resized).mean(dim=(2, 3))
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, plain(resized), rtol=1e-4, atol=1e-4)


@needs_eval
def test_large_pictures_are_averaged_and_not_sampled(efficientnet):
    """A chequered field of single pixels is grey from afar."""
    field = (np.indices((384, 384)).sum(axis=0) % 2 * 255).astype(np.uint8)
    chequered = np.broadcast_to(field, (1, 3, 384, 384))
    grey = np.full_like(chequered, 128)
    black = np.zeros_like(chequered)
    near = np.abs(extract(efficientnet, chequered) - extract(efficientnet, grey)).mean()
    far = np.abs(extract(efficientnet, black) - extract(efficientnet, grey)).mean()
    assert near < far / 10


def test_unknown_name_is_answered_by_the_nearest():
    with pytest.raises(SaganError, match=r"did you mean inception\?.*clip-vit-b-32"):
        load_extractor("inceptoin")


@pytest.mark.parametrize(("name", "extra"), [(EXTRACTORS[0], "eval"), (EXTRACTORS[1], "fidelity")])
def test_missing_packages_are_named(monkeypatch, name, extra):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SaganError, match=install(extra)):
        load_extractor(name)


@needs_fidelity
@pytest.mark.parametrize("name", EXTRACTORS[1:])
def test_missing_weights_are_named_with_their_source_and_never_fetched(hub, name):
    file = pretrained.PRETRAINED[name].weights_file
    with pytest.raises(SaganError, match=r"get them from https://.*--weights") as raised:
        load_extractor(name)
    assert str(hub / "checkpoints" / file) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not hub.exists()


@needs_eval
def test_truncated_weights_are_refused_with_both_hashes(tmp_path):
    specification = pretrained.PRETRAINED["efficientnet-lite0"]
    whole = specification.weights_folder() / specification.weights_file
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(whole.read_bytes()[:-1])
    found = hashlib.sha256(damaged.read_bytes()).hexdigest()
    with pytest.raises(SaganError, match=f"{found} instead of 57934424.*get the file again"):
        load_extractor(weights=damaged)
    with pytest.raises(SaganError, match="cannot read the weights"):
        load_extractor(weights=tmp_path)


@needs_fidelity
def test_weights_of_another_network_are_refused(hub):
    path = hub / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another network")
    with pytest.raises(SaganError, match=r"weights of Inception.*instead of 6726825d"):
        load_extractor("inception")


@needs_fidelity
def test_sources_and_hashes_are_those_of_torch_fidelity():
    assert import_torchvision()
    from torch_fidelity import feature_extractor_clip, feature_extractor_inceptionv3

    known = pretrained.PRETRAINED
    assert known["inception"].weights_source == feature_extractor_inceptionv3.URL_INCEPTION_V3
    for name in ("clip-vit-b-32", "clip-vit-l-14"):
        assert known[name].weights_source == feature_extractor_clip.MODEL_URLS[name]
        assert (
            pretrained.WEIGHTS_SHA256[name] == feature_extractor_clip.MODEL_METADATA[name]["hash"]
        )


@needs_fidelity
def test_inception_is_that_of_torch_fidelity(inception_weights, images):
    from torch_fidelity import FeatureExtractorInceptionV3

    ours = load_extractor("inception", weights=inception_weights)
    outputs = ["2048", "logits_unbiased"]
    theirs = FeatureExtractorInceptionV3("inception", outputs, str(inception_weights))
    pictures = torch.from_numpy(images[:2])
    for found, expected in zip(ours(pictures), theirs(pictures), strict=True):
        assert found.std() > 0
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (ours.feature_dim, ours.logit_dim) == (2048, 1008)
    assert METRICS["intra"].names(ours) == ["intra-class FID", "intra-class FID over spread"]


class _Parameters(nn.Module):
    """A module that holds parameters at their places and computes nothing."""

    def __init__(self, state):
        super().__init__()
        for head in dict.fromkeys(name.partition(".")[0] for name in state):
            if head in state:
                self.register_parameter(head, nn.Parameter(state[head]))
            else:
                start = f"{head}."
                inner = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
                self.add_module(head, _Parameters(inner))


@needs_fidelity
def test_clip_is_that_of_torch_fidelity(tmp_path, monkeypatch, images):
    assert import_torchvision()
    from torch_fidelity import FeatureExtractorCLIP
    from torch_fidelity.feature_extractor_clip import CLIPVisual

    tiny = CLIPVisual(8, 32, 1, 64, 16)
    state = dict(tiny.state_dict()) | {"text_projection": torch.zeros(1, 8)}
    path = tmp_path / "clip.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Parameters(state)).save(str(path))
    trust(monkeypatch, "clip-vit-b-32", path)

    vectors, logits = load_extractor("clip-vit-b-32", weights=path)(torch.from_numpy(images))
    theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(path))
    torch.testing.assert_close(vectors, theirs(torch.from_numpy(images))[0])
    assert logits.shape == (5, 0)


HUBCONF = """
import warnings
from torch import nn

def dinov2_vitb14(pretrained=True):
    assert not pretrained
    warnings.warn("xFormers is not available (Attention)")
    return nn.Sequential(nn.Conv2d(3, 4, 14, 14), nn.Flatten(), nn.Linear(1024, 6))
"""


@needs_fidelity
def test_dinov2_is_that_of_torch_fidelity_without_asking_the_network(hub, monkeypatch, images):
    assert import_torchvision()
    from torch_fidelity import FeatureExtractorDinoV2

    model = nn.Sequential(nn.Conv2d(3, 4, 14, 14), nn.Flatten(), nn.Linear(1024, 6))
    path = hub / "checkpoints" / "dinov2_vitb14_pretrain.pth"
    path.parent.mkdir(parents=True)
    torch.save(model.state_dict(), path)
    trust(monkeypatch, "dinov2-vit-b-14", path)
    with pytest.raises(SaganError, match=r"git clone https://github.com/facebookresearch/dinov2 /"):
        load_extractor("dinov2-vit-b-14")

    code = hub / "facebookresearch_dinov2_main" / "hubconf.py"
    code.parent.mkdir()
    code.write_text(HUBCONF)
    vectors, logits = load_extractor("dinov2-vit-b-14")(torch.from_numpy(images))
    monkeypatch.setattr("torch.hub.load", lambda *_: model)
    theirs = FeatureExtractorDinoV2("dinov2-vit-b-14", ["dinov2"])
    torch.testing.assert_close(vectors, theirs(torch.from_numpy(images))[0])
    assert logits.shape == (5, 0)


def test_torchvision_that_is_absent_or_broken_otherwise(monkeypatch):
    def fails_with(error):
        def fail(name):
            raise error

        monkeypatch.setattr(importlib, "import_module", fail)

    fails_with(ModuleNotFoundError("no torchvision"))
    assert not import_torchvision()
    fails_with(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        import_torchvision()

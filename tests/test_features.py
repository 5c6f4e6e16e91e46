import numpy as np
import pytest

from sagan.errors import SaganError
from sagan.features import efficientnet_lite0, extract


def test_features_do_not_depend_on_the_batch_and_tell_pictures_apart():
    pytest.importorskip("efficientnet_lite_pytorch")
    extractor = efficientnet_lite0()
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    images[2] = 255
    together = extract(extractor, images)
    assert together.shape == (3, 1280)
    np.testing.assert_allclose(extract(extractor, images, batch_size=1), together, atol=1e-3)
    assert np.abs(together[0] - together[2]).max() > 0.1


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SaganError, match=r"pip install .*eval"):
        efficientnet_lite0()

import pytest
import torch

from sagan.device import autocast, pick_device
from sagan.errors import SaganError


def test_auto_finds_a_device_and_names_are_taken():
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu:"])
def test_absent_devices_are_refused(name):
    with pytest.raises(SaganError, match=name):
        pick_device(name)


def test_precision():
    cpu = torch.device("cpu")
    product = torch.randn(4, 4)
    with autocast("float32", cpu):
        assert (product @ product).dtype == torch.float32
    with autocast("bfloat16", cpu):
        assert (product @ product).dtype == torch.bfloat16

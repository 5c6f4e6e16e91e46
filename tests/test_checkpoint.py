import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny
from safetensors import safe_open
from safetensors.torch import save_file

from sagan.errors import SaganError
from sagan.nn.residual import Generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.digests import first_not_finite


def example(value=1.0):
    return Checkpoint(
        config=tiny(),
        class_names=("cat", "naïve dog"),
        step=3,
        parts={
            "generator": {"a.weight": torch.full((2, 3), value), "count": torch.tensor(7)},
            "discriminator": {"b": torch.zeros(1)},
        },
        dataset_fingerprint="abc",
    )


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "c.safetensors"
    checkpoints.save(example(), path)
    loaded = checkpoints.load(path)
    assert loaded.config == tiny().with_channels(3)  # which are what it does not state
    assert loaded.class_names == ("cat", "naïve dog")
    assert (loaded.step, loaded.dataset_fingerprint) == (3, "abc")
    assert loaded.parts["generator"].keys() == {"a.weight", "count"}
    assert torch.equal(loaded.parts["generator"]["a.weight"], torch.ones(2, 3))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    names = ("cat", "naïve dog", 'a "b"', "back\\slash", "🐈")
    wanted = replace(example(), class_names=names)
    controls = "".join(map(chr, range(160))) + "\u2028"
    notes = {f"{name} {controls}": controls for name in names}
    files = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for file in files:
        checkpoints.save(wanted, file, notes)
        assert checkpoints.load(file).class_names == names
    assert len({file.read_bytes() for file in files}) == 1


def test_a_failed_save_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(1.0), path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sagan.system.files.os.fsync", full)
    with pytest.raises(SaganError, match=r"No space left.*free space"):
        checkpoints.save(example(2.0), path)
    assert checkpoints.load(path).parts["generator"]["a.weight"][0, 0] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SaganError, match=r"damaged.*earlier"):
        checkpoints.load(path)


@pytest.mark.skipif(os.name != "posix", reason="other rights")
def test_others_may_read_what_the_system_lets_them(tmp_path):
    path, text = tmp_path / "c.safetensors", tmp_path / "text"
    text.touch()
    checkpoints.save(example(), path)
    assert path.stat().st_mode == text.stat().st_mode
    path.chmod(0o600)
    checkpoints.save(example(), path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(), path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SaganError, match=r"you may not read .*chmod") as caught:
        checkpoints.load(path)
    assert not isinstance(caught.value, checkpoints.DamagedError)


@pytest.mark.parametrize("name", ["model.onnx", "cat.jpg"])
def test_other_kinds_of_files_are_not_called_damaged(tmp_path, name):
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(SaganError, match=f"{name} is no checkpoint .*; give a run folder"):
        checkpoints.load(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'step\\": 3', b'stup\\": 3'), (b"version", b"vErsion"), (b'\\": 3', b'\\": x')],
)
def test_garbled_header(tmp_path, old, new):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(), path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(checkpoints.DamagedError, match=r"c.safetensors is damaged.*earlier"):
        checkpoints.load(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(SaganError, match="no checkpoint"):
        checkpoints.load(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(
        SaganError, match=r"foreign.safetensors: this is no checkpoint of this program"
    ):
        checkpoints.load(foreign)


def test_file_of_a_newer_version(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 99)
    checkpoints.save(example(), tmp_path / "c.safetensors")
    monkeypatch.undo()
    with pytest.raises(SaganError, match="newer version"):
        checkpoints.load(tmp_path / "c.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("out.bias"), r"generator.out.bias is missing in the checkpoint"),
        (lambda t: t.update(extra=torch.zeros(1)), r"generator.extra is missing in the network"),
        (lambda t: t.update({"out.bias": torch.zeros(4)}), r"out.bias has shape \(4,\).*\(3,\)"),
    ],
)
def test_other_architectures_name_the_difference(change, words):
    network = Generator(tiny().generator, resolution=32, num_classes=2)
    tensors = dict(network.state_dict())
    change(tensors)
    checkpoint = Checkpoint(
        config=tiny(), class_names=("a", "b"), step=0, parts={"generator": tensors}
    )
    with pytest.raises(SaganError, match=words):
        checkpoints.restore_network(network, checkpoint.parts, "generator")


def test_absent_part():
    network = Generator(tiny().generator, resolution=32, num_classes=2)
    with pytest.raises(SaganError, match="no generator_ema, only generator, discriminator"):
        checkpoints.restore_network(network, example().parts, "generator_ema")


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(), path)
    content = path.read_bytes()
    bits = 8 * len(content)
    rng = np.random.default_rng(0)
    last = 8 * (len(content) - 36)  # the numbers of the three tensors
    for bit in [*rng.choice(last, 600, replace=False), *range(last, bits)]:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(checkpoints.DamagedError):
            checkpoints.load(path)


def test_a_changed_tensor_is_named(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(), path)
    content = bytearray(path.read_bytes())
    place = content.rindex(torch.full((6,), 1.0).numpy().tobytes())
    content[place + 9] ^= 1
    path.write_bytes(content)
    for read in (checkpoints.load, checkpoints.require_good):
        with pytest.raises(checkpoints.DamagedError, match=r"generator.a.weight is not what was"):
            read(path)


def test_files_without_digests_are_read(tmp_path):
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    checkpoints.save(example(), new)
    with safe_open(new, framework="pt") as file:
        metadata = {"sagan": file.metadata()["sagan"]}
        save_file({key: file.get_tensor(key) for key in file.keys()}, old, metadata)  # noqa: SIM118
    assert torch.equal(checkpoints.load(old).parts["generator"]["a.weight"], torch.ones(2, 3))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path, value):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(value), path)
    with pytest.raises(checkpoints.DamagedError, match=r"not finite, in generator.a.weight; take"):
        checkpoints.load(path)


def test_large_numbers_are_finite():
    largest = torch.full((4,), torch.finfo(torch.float32).max)
    tensors = {"a": largest, "b": torch.tensor([1, 2]), "c": torch.zeros(0)}
    assert first_not_finite(tensors) is None
    assert first_not_finite(tensors | {"d": torch.tensor([1.0, float("nan")])}) == "d"
    opposite = torch.tensor([float("inf"), float("-inf")])
    assert first_not_finite({"half": opposite.half()}) == "half"


def test_a_file_can_be_judged_without_keeping_it(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoints.save(example(), path)
    found = checkpoints.require_good(path)
    assert found.step == 3
    assert {name: t.shape for name, t in found.parts["generator"].items()} == {
        "a.weight": (2, 3),
        "count": (),
    }
    assert all(tensor.is_meta for part in found.parts.values() for tensor in part.values())

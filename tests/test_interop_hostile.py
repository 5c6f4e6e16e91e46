"""Bad files for ``sagan convert``: each ends in one line with exit code 2, and writes nothing."""

import os
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_weights import whole
from safetensors.torch import load_file, save_file
from test_interop import golden, run
from test_tensor_bundle import entry, written

from sagan.errors import SaganError
from sagan.interop.conversion import convert_files

HERE = Path(__file__).parent / "golden"


@pytest.fixture
def told(tmp_path, capsys):
    """What the command says of files that it must refuse."""

    def convert(*paths):
        output = tmp_path / "converted.safetensors"
        assert run("convert", *paths, "-o", output) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert not output.exists()
        return line

    return convert


def variables():
    """The authors' small networks, as their code names them."""
    with np.load(HERE / "tensorflow" / "baseline_variables.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if "Adam" not in name}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_read_as_they_are(dtype, tmp_path):
    exact = {
        name: tensor.to(dtype) for name, tensor in load_file(golden("mimicry_32")["G"]).items()
    }
    torch.save(exact, tmp_path / "G.pth")
    checkpoint, _ = convert_files([tmp_path / "G.pth"])
    found = checkpoint.parts["generator"]["blocks.0.conv1.weight"]
    assert found.dtype == torch.float32
    assert torch.equal(found, exact["block2.c1.weight_orig"].float())


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_what_is_no_float_is_no_weight(dtype, tmp_path, told):
    tensors = load_file(golden("mimicry_32")["G"])
    tensors["block2.c1.weight_orig"] = torch.zeros(16, 16, 3, 3, dtype=dtype)
    torch.save(tensors, tmp_path / "G.pth")
    line = told(tmp_path / "G.pth")
    assert "block2.c1.weight_orig" in line
    assert "weights are floats" in line


def test_a_folder_without_a_checkpoint(tmp_path, told):
    assert "is a folder without a TensorFlow checkpoint" in told(tmp_path)


def test_sparse_tensors_and_tensors_without_numbers(tmp_path, told):
    for strange in (torch.eye(4).to_sparse(), torch.zeros(4, 4, device="meta")):
        torch.save({"l1.weight_orig": strange}, tmp_path / "G.pth")
        assert "l1.weight_orig" in told(tmp_path / "G.pth")


def test_a_few_bytes_repeated_without_end(tmp_path, told):
    tensors = load_file(golden("mimicry_32")["G"])
    tensors["l1.weight_orig"] = torch.zeros(1).expand(2**30, 2**20)
    torch.save(tensors, tmp_path / "G.pth")
    assert "larger than what is stored" in told(tmp_path / "G.pth")


def test_many_views_of_one_storage(tmp_path, told, monkeypatch):
    """A thousand names of the same numbers are a thousand times as much."""
    one = torch.zeros(2**16)
    torch.save({f"layer{n}.weight_orig": one for n in range(1000)}, tmp_path / "G.pth")
    asked = []
    place = "sagan.interop.foreign_files.require_free"
    monkeypatch.setattr(place, lambda size, *_: asked.append(size))
    told(tmp_path / "G.pth")
    assert asked == [1000 * 4 * 2**16]


def test_compressed_pytorch_files(tmp_path, told):
    torch.save(load_file(golden("mimicry_32")["G"]), tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "G.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "is compressed" in told(tmp_path / "G.pth")


def test_a_biggan_an_optimiser_and_half_a_network(tmp_path, told):
    whole_network = load_file(golden("biggan_32")["G"])
    torch.save(whole_network | {"shared.weight": torch.zeros(5, 8)}, tmp_path / "biggan.pth")
    assert "is a BigGAN" in told(tmp_path / "biggan.pth")
    layer = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.zeros(1, 2)).sum().backward()
    optimiser.step()
    torch.save(optimiser.state_dict(), tmp_path / "G_optim.pth")
    assert "holds an optimiser" in told(tmp_path / "G_optim.pth")
    names = sorted(whole_network)
    for half in (names[: len(names) // 2], names[len(names) // 2 :], names[::2]):
        torch.save({name: whole_network[name] for name in half}, tmp_path / "half.pth")
        assert "lacks" in told(tmp_path / "half.pth") or "blocks" in told(tmp_path / "half.pth")


def npy(descr, shape, content=b""):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


MEMBERS = {
    "objects": npy("'|O'", (1,), b"cos\nsystem\n."),
    "bfloat16, as NumPy knows no name for it": npy("'|V2'", (4,), bytes(8)),
    "text": npy("'<U4'", (1,), bytes(16)),
    "records": npy("[('a', '<f4')]", (2,), bytes(8)),
    "2^60 numbers": npy("'<f4'", (2**60,)),
    "a product beyond 64 bits": npy("'<f4'", (2**40, 2**40), bytes(4)),
    "a negative size": npy("'<f4'", (-1, -4), bytes(16)),
    "brackets without end": npy("'<f4'", "(" * 9000),
    "code for a header": npy("__import__('os')", (1,), bytes(4)),
    "another version": b"\x93NUMPY\x09\x00" + bytes(40),
    "nothing": b"",
}


@pytest.mark.parametrize("name", MEMBERS)
def test_arrays_that_are_none(name, tmp_path, told):
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr("model/g_snh0/Matrix.npy", MEMBERS[name])
    assert "model.npz" in told(tmp_path / "model.npz")


def test_a_zip_that_states_more_than_any_memory(tmp_path, told):
    """The directory says 2^60 bytes; nothing is unpacked before that is compared."""
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr("g_snh0/Matrix.npy", npy("'<f4'", (2,), bytes(8)))
        archive.infolist()[0].file_size = 2**60
    assert "of memory" in told(tmp_path / "model.npz")


def test_a_bomb_of_zeros_is_judged_by_its_size(tmp_path, told, monkeypatch):
    with zipfile.ZipFile(tmp_path / "model.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(4):
            archive.writestr(f"g_block{n}/w.npy", npy("'<f4'", (2**22,), bytes(2**24)))
    assert (tmp_path / "model.npz").stat().st_size < 2**17
    asked = []
    monkeypatch.setattr("sagan.interop.variables.require_free", lambda size, *_: asked.append(size))
    assert "model.npz" in told(tmp_path / "model.npz")
    assert asked[0] >= 2 * 4 * 2**24


def test_names_that_stand_for_the_same(tmp_path, told):
    arrays = variables()
    name = "model/g_snh0/Matrix"
    np.savez(tmp_path / "model.npz", **arrays, **{f"{name}:0": arrays[name]})
    assert "g_snh0/Matrix twice" in told(tmp_path / "model.npz")
    np.savez(tmp_path / "model.npz", **arrays, **{"tower_1/g_snh0/Matrix": arrays[name]})
    assert "g_snh0/Matrix twice" in told(tmp_path / "model.npz")
    tensors = load_file(golden("biggan_32")["G"])
    torch.save(tensors | {"module.linear.bias": tensors["linear.bias"]}, tmp_path / "G.pth")
    assert "linear.bias twice" in told(tmp_path / "G.pth")


def narrower(arrays, letter):
    """The networks of a letter with the first half of their channels in one block alone."""
    return {
        name: array[..., : array.shape[-1] // 2]
        if f"/{letter}_block2/" in name and array.ndim
        else array
        for name, array in arrays.items()
    }


def test_an_npz_that_mixes_widths_resolutions_or_classes(tmp_path, told):
    arrays, path = variables(), tmp_path / "model.npz"
    for letter in "gd":
        np.savez(path, **narrower(arrays, letter))
        assert f"{letter}_block2" in told(path)
    # The last block, which halves nothing and has no shortcut, is left out: as deep as for 64.
    last = {name: array for name, array in arrays.items() if "/d_block6/" not in name}
    np.savez(path, **last)
    line = told(path)
    assert "has 128 pixels but" in line
    assert "has 64 pixels" in line
    for end, words in (("gamma", "cbn_0/"), ("embedding_map", "d_embedding")):
        fewer = {
            name: array[1:] if name.endswith(end) and array.ndim == 2 else array
            for name, array in arrays.items()
        }
        np.savez(path, **fewer)
        assert words in told(path)


def test_an_npz_that_mixes_numbers_of_classes(tmp_path, told):
    def is_table(name):
        return "/cbn_" in name and name.endswith(("gamma", "beta"))

    arrays = {k: v[1:] if is_table(k) else v for k, v in variables().items()}
    np.savez(tmp_path / "model.npz", **arrays)
    line = told(tmp_path / "model.npz")
    assert "classes but" in line
    assert "give networks that belong together" in line


def test_partitioned_variables(tmp_path, told):
    arrays, name = variables(), "model/g_block1/snconv1/w"
    halves = np.split(arrays.pop(name), 2, axis=3)
    parts = {f"{name}/part_{n}": half for n, half in enumerate(halves)}
    np.savez(tmp_path / "model.npz", **arrays, **parts)
    assert "g_block1/snconv1/w/part_0" in told(tmp_path / "model.npz")


BUNDLES = {
    "beyond its shard": {"offset": 2**60},
    "too long": {"size": 2**60},
    "in no shard": {"shard": 1},
    "integers": {"dtype": 9, "shape": [1], "data": bytes(8)},
    "a string": {"dtype": 7},
    "quantised": {"dtype": 12},
}


@pytest.mark.parametrize("name", BUNDLES)
def test_checkpoints_of_tensorflow_that_lie(name, tmp_path, told):
    settings = {"dtype": 1, "shape": [2], "data": bytes(8)} | BUNDLES[name]
    dtype, shape, data = (settings.pop(key) for key in ("dtype", "shape", "data"))
    entries = {"model/g_snh0/Matrix": entry(dtype, shape, data, **settings)}
    told(written(tmp_path, entries, data))


def test_a_shard_that_leads_to_itself(tmp_path, told):
    prefix = written(tmp_path, {"g_snh0/Matrix": entry(1, [1], b"abcd")}, b"abcd")
    shard = tmp_path / "model.ckpt-7.data-00000-of-00001"
    shard.unlink()
    shard.symlink_to(shard)
    assert f"{shard.name} is missing" in told(prefix)
    shard.unlink()
    os.mkfifo(shard)
    assert f"{shard.name} is missing" in told(prefix)


def test_a_checkpoint_file_that_names_itself(tmp_path, told):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "checkpoint"\n')
    assert "names checkpoint" in told(tmp_path)
    assert "names checkpoint" in told(tmp_path / "checkpoint")


def test_numbers_of_blocks_without_end(tmp_path, told):
    tensors = load_file(golden("studiogan_32")["G"])
    for number in ("99999999999", "9" * 5000):
        more = {f"blocks.{number}.0.conv2d1.weight_orig": torch.zeros(1)}
        save_file(tensors | more, tmp_path / "G.safetensors")
        assert "has no place for blocks.999" in told(tmp_path / "G.safetensors")


def misshapen(tensor, chance):
    """The same tensor with axes gone, added, swapped, empty or of other lengths."""
    shape = list(tensor.shape)
    return chance.choice(
        [
            torch.zeros(()),
            tensor.flatten().clone(),
            tensor[None].clone(),
            torch.zeros([0, *shape[1:]]),
            torch.zeros([*shape[:-1], 0]),
            tensor.mT.contiguous() if tensor.ndim > 1 else torch.zeros(3),
            torch.zeros([chance.randrange(1, 5) for _ in range(chance.randrange(5))]),
            torch.zeros([max(size // 2, 1) for size in shape]),
        ]
    )


@pytest.mark.parametrize(
    "name", ["biggan_32", "studiogan_32", "mmgen_sn_32", "mimicry_32", "mmgen_64_ajbrock"]
)
def test_a_shape_that_does_not_fit_is_refused_wherever_it_is(name, tmp_path):
    chance = random.Random(name)
    if name == "mmgen_64_ajbrock":
        paths, _ = whole(HERE / "sizes" / f"{name}.safetensors", tmp_path)
    else:
        paths = [golden(name)["G"], golden(name)["D"]]
    refused = 0
    for path in paths:
        tensors = load_file(path)
        for key in chance.sample(sorted(tensors), 25):
            changed = misshapen(tensors[key], chance)
            save_file({**tensors, key: changed}, tmp_path / "changed.safetensors")
            try:
                convert_files([tmp_path / "changed.safetensors"])
            except SaganError:
                refused += 1
    assert refused > 30

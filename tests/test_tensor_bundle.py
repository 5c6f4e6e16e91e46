"""TensorFlow's checkpoints: what its saver writes is read to the bit, all else is refused."""

import random
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import torch

from sagan.errors import SaganError
from sagan.interop.tensor_bundle import bundle_prefix, read_bundle

GOLDEN = Path(__file__).parent / "golden" / "tensorflow"
PREFIX = GOLDEN / "baseline_checkpoint" / "model.ckpt-12345"
MAGIC = 0xDB4775248B80FB57


def everything(_):
    return True


def varint(number):
    written = b""
    while number >= 0x80:
        written += bytes([number & 0x7F | 0x80])
        number >>= 7
    return written + bytes([number])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def masked(data):
    found = google_crc32c.value(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def entry(dtype, shape, data, *, shard=0, offset=0, size=None, checksum=None, more=b""):
    dimensions = b"".join(field(2, field(1, size)) for size in shape)
    checksum = masked(data) if checksum is None else checksum
    return (
        field(1, dtype)
        + field(2, dimensions)
        + field(3, shard)
        + field(4, offset)
        + field(5, len(data) if size is None else size)
        + varint(6 << 3 | 5)
        + struct.pack("<I", checksum)
        + more
    )


def index_of(entries, shards=1, *, compression=0, handle=None, header=b""):
    """An index file with two blocks, the keys cut where the one before begins alike."""
    table = b""

    def block(pairs):
        nonlocal table
        content, before = b"", b""
        for key, value in pairs:
            shared = 0
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
            content += varint(shared) + varint(len(key) - shared) + varint(len(value))
            content += key[shared:] + value
            before = key
        content += struct.pack("<II", 0, 1)
        place = varint(len(table)) + varint(len(content))
        end = content + bytes([compression])
        table += end + struct.pack("<I", masked(end))
        return place

    pairs = [(b"", field(1, shards) + header)]
    pairs += sorted((name.encode(), value) for name, value in entries.items())
    half = len(pairs) // 2
    blocks = [(pairs[half - 1][0] + b"~", block(pairs[:half])), (b"~~~", block(pairs[half:]))]
    footer = block([]) + (handle or block(blocks))
    return table + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def written(folder, entries, *data, **options):
    prefix = folder / "model.ckpt-7"
    (folder / "model.ckpt-7.index").write_bytes(index_of(entries, len(data), **options))
    for shard, content in enumerate(data):
        (folder / f"model.ckpt-7.data-{shard:05d}-of-{len(data):05d}").write_bytes(content)
    return prefix


def test_what_tensorflow_wrote_is_read_to_the_bit():
    found = read_bundle(PREFIX, everything)
    with np.load(GOLDEN / "baseline_variables.npz") as arrays:
        assert found.keys() == set(arrays.files)
        assert len(found) == 344
        for name, tensor in found.items():
            np.testing.assert_array_equal(tensor.numpy(), arrays[name])


def test_several_shards_and_other_numbers(tmp_path):
    numbers = {
        "first/a": torch.randn(2, 3, dtype=torch.float32),
        "first/b": torch.randn(5).double(),
        "second/c": torch.tensor(2**40),
        "second/d": torch.randn(4).bfloat16(),
        "second/e": torch.randn(3, 1).half(),
        "second/none": torch.zeros(0, 4),
    }
    kinds = {"a": 1, "b": 2, "c": 9, "d": 14, "e": 19, "none": 1}
    data, entries = [b"", b"left out"], {}
    for name, tensor in numbers.items():
        shard = int(name.startswith("second"))
        content = tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        kind = kinds[name.rpartition("/")[2]]
        entries[name] = entry(kind, tensor.shape, content, shard=shard, offset=len(data[shard]))
        data[shard] += content
    found = read_bundle(written(tmp_path, entries, *data), everything)
    assert found.keys() == numbers.keys()
    for name, tensor in numbers.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_only_what_is_wanted_is_read(tmp_path):
    entries = {"a": entry(1, [1], b"abcd"), "text": entry(7, [1], b"efgh", offset=4)}
    prefix = written(tmp_path, entries, b"abcdefgh")
    assert list(read_bundle(prefix, lambda name: name == "a")) == ["a"]
    with pytest.raises(SaganError, match="text is of TensorFlow's type 7"):
        read_bundle(prefix, everything)


WRONG = {
    "beyond the end": ({"offset": 4}, "lies beyond the end"),
    "far beyond": ({"offset": 2**60}, "lies beyond the end"),
    "too long": ({"size": 2**60}, "has 1,152,921,504,606,846,976 bytes|more memory|would take"),
    "another shape": ({"shape": [3]}, r"of shape \(3,\) has 4 bytes"),
    "a huge shape": ({"shape": [2**50]}, "a dimension is"),
    "huge in all": ({"shape": [2**39, 2**39]}, "of shape"),
    "axes by the thousand": ({"shape": [2**39] * 5000}, "more than 254 axes"),
    "a negative size": ({"shape": [2**64 - 1]}, "a dimension is"),
    "another checksum": ({"checksum": 1}, "its checksum differs"),
    "a shard that is none": ({"shard": 3}, "beyond its 1"),
    "partitioned": ({"more": field(7, b"")}, "is partitioned"),
    "cut off": ({"more": b"\x12\xff"}, "garbled|damaged"),
    "a number without end": ({"more": b"\x08" + b"\xff" * 11}, "more than 64 bits"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_entry_that_lies_is_refused(name, tmp_path):
    changes, message = WRONG[name]
    prefix = written(
        tmp_path, {"w": entry(1, **{"shape": [1], "data": b"abcd"} | changes)}, b"abcd"
    )
    with pytest.raises(SaganError, match=message):
        read_bundle(prefix, everything)


INDICES = {
    "compressed": ({"compression": 1}, "compressed"),
    "a block elsewhere": ({"handle": varint(2**60) + varint(9)}, "beyond its end"),
    "itself as a block": ({"handle": varint(0) + varint(9)}, "damaged"),
    "another byte order": ({"header": field(2, 1)}, "order of another processor"),
    "data files without number": ({"header": field(1, 2**31)}, "data files"),
}


@pytest.mark.parametrize("name", INDICES)
def test_an_index_that_lies_is_refused(name, tmp_path):
    options, message = INDICES[name]
    prefix = written(tmp_path, {"w": entry(1, [1], b"abcd")}, b"abcd", **options)
    with pytest.raises(SaganError, match=message):
        read_bundle(prefix, everything)


def test_a_missing_shard_is_named(tmp_path):
    prefix = written(tmp_path, {"w": entry(1, [1], b"abcd")}, b"abcd")
    (tmp_path / "model.ckpt-7.data-00000-of-00001").unlink()
    with pytest.raises(SaganError, match=r"model\.ckpt-7\.data-00000-of-00001 is missing"):
        read_bundle(prefix, everything)


def test_a_changed_byte_is_found_wherever_it_is(tmp_path):
    """In the index, in the data, and where either is cut off: one line, never another number."""
    chance, right = random.Random(0), read_bundle(PREFIX, everything)
    parts = [Path(f"{PREFIX}{end}") for end in (".index", ".data-00000-of-00001")]
    contents = [path.read_bytes() for path in parts]
    prefix = tmp_path / PREFIX.name
    for trial in range(60):
        for path, content in zip(parts, contents, strict=True):
            (tmp_path / path.name).write_bytes(content)
        number = trial % 2
        broken = bytearray(contents[number])
        place = chance.randrange(len(broken))
        if trial % 3:
            broken[place] ^= 1 << chance.randrange(8)
        else:
            del broken[place:]
        (tmp_path / parts[number].name).write_bytes(broken)
        try:
            found = read_bundle(prefix, everything)
        except SaganError:
            continue
        assert all(torch.equal(found[name], tensor) for name, tensor in right.items())


def test_the_newest_is_found_and_nothing_outside_the_folder(tmp_path):
    assert bundle_prefix(tmp_path) is None
    for step in (1, 2):
        (tmp_path / f"model.ckpt-{step}.index").touch()
    with pytest.raises(SaganError, match="holds several checkpoints"):
        bundle_prefix(tmp_path)
    record = tmp_path / "checkpoint"
    record.write_text('model_checkpoint_path: "/elsewhere/model.ckpt-1"\n')
    assert bundle_prefix(tmp_path) == tmp_path / "model.ckpt-1"
    record.write_text('model_checkpoint_path: "../../etc/passwd"\n')
    with pytest.raises(SaganError, match=r"names passwd, of which there is no \.index"):
        bundle_prefix(tmp_path)

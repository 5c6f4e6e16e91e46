"""One picture of any kind to arrays: formats, modes, profiles, depth, crops, frames, bad input."""

import io
import math
import os
import pickle
import struct
import time
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.Image import Resampling, Transpose

from sagan.data import colour, cropping, picture_files
from sagan.data import pixels as pixels_module
from sagan.data.facts import FACTS, difference_hashes
from sagan.data.picture_files import UnreadableError
from sagan.data.pixels import pixels, read_pixels
from sagan.data.rules import Rules
from sagan.errors import SaganError

RULES = Rules(size=(16, 16), channels=3)


def rules(height=16, width=16, channels=3, **others):
    return Rules(size=(height, width), channels=channels, **others)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def one(content, rule=RULES, name="a"):
    [picture], facts = pixels(content, rule, name=name)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.shape[0] == rule.channels
    np.array([facts], dtype=FACTS)  # fits a row
    return picture, facts


def refusal(content, rule):
    """The reason why a picture cannot be used; None if it can. Any other error is a fault."""
    try:
        pixels(content, rule, name="a")
    except UnreadableError as error:
        return str(error)
    return None


def smooth(height=24, width=32, channels=3):
    """A picture that survives JPEG: slow waves of colour."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(3 * x + 2 * y * c + c) for c in range(1, channels + 1)]
    return (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def plainly(image, size=16):
    """Centre square by Pillow's Lanczos, or bicubic, as ever."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    method = Resampling.LANCZOS if side > size else Resampling.BICUBIC
    square = image.crop((left, top, left + side, top + side)).resize((size, size), method)
    return np.asarray(square.convert("RGB")).transpose(2, 0, 1)


def off(one, other):
    return np.abs(one.astype(int) - other.astype(int)).max()


# --- ICC profiles, written down from the standard (ICC.1:2010) ---


def icc(space, tags, connection=b"XYZ ", device=b"mntr"):
    data = b"".join(content + b"\0" * (-len(content) % 4) for content in tags.values())
    table, offset = struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, offset, len(content))
        offset += len(content) + -len(content) % 4
    size = 128 + len(table) + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, device, space, connection)
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28
    return head + xyz(0.9642, 1, 0.8249)[8:] + b"\0" * 48 + table + data


def xyz(*values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))


def curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))


def text(words):
    return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" * 80


BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
D50, D65 = np.array([0.9642, 1, 0.8249]), np.array([0.9505, 1, 1.0891])


def primaries(*chromaticities, white=D65):
    """XYZ (adapted to D50) of the primaries of a space, as columns."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in chromaticities]).T
    columns = columns * np.linalg.solve(columns, white)
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ white)) @ BRADFORD
    return adapt @ columns


SRGB = primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
SPACES = {
    "Display P3 at 2.2": (primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.2),
    "Adobe RGB": (primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256),
    "ProPhoto": (
        primaries((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), white=D50),
        1.8,
    ),
}


def rgb_profile(matrix, gamma):
    tags = {b"desc": text(b"test"), b"wtpt": xyz(*D50)}
    for name, column in zip("rgb", matrix.T, strict=True):
        tags[f"{name}XYZ".encode()] = xyz(*column)
        tags[f"{name}TRC".encode()] = curve(gamma)
    return icc(b"RGB ", tags)


def grey_profile(gamma):
    return icc(b"GRAY", {b"desc": text(b"grey"), b"wtpt": xyz(*D50), b"kTRC": curve(gamma)})


def cmyk_profile():
    """Ink takes away from L alone, K twice as much as C; M and Y do nothing."""
    table = bytearray()
    for node in range(16):
        c, k = node >> 3 & 1, node & 1
        table += bytes((255 - 85 * c - 170 * k, 128, 128))
    identity = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0))
    head += struct.pack(">9i", *(65536 * (i in (0, 4, 8)) for i in range(9)))
    lut = head + 4 * identity + bytes(table) + 3 * identity
    tags = {b"desc": text(b"ink"), b"wtpt": xyz(*D50), b"A2B0": lut, b"A2B1": lut}
    return icc(b"CMYK", tags, connection=b"Lab ", device=b"prtr")


def as_stored(rgb, matrix, gamma):
    """What a space stores for a colour of sRGB: floats, 0 to 255."""
    encoded = np.array(rgb) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return 255 * np.linalg.solve(matrix, SRGB @ linear).clip(0, 1) ** (1 / gamma)


def flat(value, mode="RGB", size=(20, 20)):
    return Image.new(mode, size, value)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("rgb", [(30, 200, 30), (200, 120, 60), (255, 255, 255), (0, 0, 0)])
def test_profiles_become_srgb(space, rgb):
    stored = tuple(np.rint(as_stored(rgb, *SPACES[space])).astype(int).tolist())
    content = encoded(flat(stored), icc_profile=rgb_profile(*SPACES[space]))
    picture, facts = one(content)
    # One level of a wide space may be two or three of sRGB.
    assert np.abs(picture[:, 0, 0].astype(int) - rgb).max() <= 3
    assert facts.profile
    assert not facts.broken_profile


def test_a_green_of_display_p3():
    """As in the finding: without its profile it was (95, 197, 66)."""
    matrix = SPACES["Display P3 at 2.2"][0]
    tags = {b"desc": text(b"Display P3"), b"wtpt": xyz(*D50)}
    steps = np.arange(1024) / 1023
    linear = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    table = struct.pack(">I1024H", 1024, *np.rint(65535 * linear).astype(int))
    for name, column in zip("rgb", matrix.T, strict=True):
        tags[f"{name}XYZ".encode()] = xyz(*column)
        tags[f"{name}TRC".encode()] = b"curv\0\0\0\0" + table
    profile = icc(b"RGB ", tags)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        picture, _ = one(encoded(flat((95, 197, 66)), kind, icc_profile=profile, **options))
        assert np.abs(picture[:, 5, 5].astype(int) - (30, 200, 30)).max() <= 3
    plain, _ = one(encoded(flat((95, 197, 66))))
    assert plain[:, 5, 5].tolist() == [95, 197, 66]


def test_an_srgb_profile_changes_nothing_and_is_none():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(noise(16, 16))
    for content in (encoded(image, icc_profile=profile), encoded(image)):
        picture, facts = one(content)
        assert (picture == noise(16, 16).transpose(2, 0, 1)).all()
        assert not facts.profile


def test_a_profile_keeps_transparency():
    profile = rgb_profile(*SPACES["Adobe RGB"])
    stored = tuple(np.rint(as_stored((30, 200, 30), *SPACES["Adobe RGB"])).astype(int).tolist())
    content = encoded(flat((*stored, 128), "RGBA"), icc_profile=profile)
    picture, _ = one(content, rules(channels=4))
    assert np.abs(picture[:, 0, 0].astype(int) - (30, 200, 30, 128)).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_profiles(channels):
    content = encoded(flat(100, "L"), icc_profile=grey_profile(1.0))  # linear light
    linear = 100 / 255
    right = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    picture, facts = one(content, rules(channels=channels))
    assert np.abs(picture - right).max() <= 1
    assert facts.profile
    assert facts.grey


def test_a_grey_picture_with_a_profile_for_colours():
    content = encoded(flat(100, "L"), icc_profile=rgb_profile(SRGB, 1.0))
    picture, facts = one(content)
    assert np.abs(picture - 255 * (1.055 * (100 / 255) ** (1 / 2.4) - 0.055)).max() <= 1
    assert facts.grey


def test_cmyk_profiles():
    """With black point compensation, paper is white and the darkest ink nearly black."""
    levels = {}
    for ink in ((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (255, 0, 0, 255)):
        content = encoded(flat(ink, "CMYK"), "TIFF", icc_profile=cmyk_profile())
        picture, facts = one(content)
        levels[ink] = picture[:, 0, 0].astype(int)
        assert facts.profile
        assert facts.mode == "CMYK"
    assert levels[0, 0, 0, 0].min() >= 253
    assert levels[0, 255, 255, 0].min() >= 253  # without the profile this is red
    assert levels[255, 0, 0, 255].max() <= 3
    lightness = 100 * 170 / 255  # L*a*b* of C alone, neutral
    luminance = ((lightness + 16) / 116) ** 3
    right = 255 * (1.055 * luminance ** (1 / 2.4) - 0.055)
    assert np.abs(levels[255, 0, 0, 0] - right).max() <= 4


@pytest.mark.parametrize(
    "profile",
    [b"no profile", grey_profile(2.2), cmyk_profile(), rgb_profile(SRGB, 1.0)[:200], b"x" * 2**23],
    ids=["text", "grey", "CMYK", "cut off", "huge"],
)
def test_broken_profiles_are_ignored_and_told(profile):
    picture, facts = one(encoded(flat((95, 197, 66)), "TIFF", icc_profile=profile))
    assert picture[:, 0, 0].tolist() == [95, 197, 66]
    assert facts.broken_profile
    assert not facts.profile


# --- formats and modes ---

EXACT = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
FORMATS = ("JPEG", *EXACT)
OPTIONS = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def stored(image, kind, **options):
    """Encodes as well as the format can; skips what it cannot hold."""
    try:
        return encoded(image, kind, **OPTIONS.get(kind, {}), **options)
    except (OSError, ValueError, KeyError) as error:
        pytest.skip(f"{kind} holds no {image.mode}: {error}")


@pytest.mark.parametrize("kind", FORMATS)
class TestEveryFormat:
    near = 4

    def test_rgb(self, kind):
        image = Image.fromarray(smooth())
        picture, facts = one(stored(image, kind))
        assert off(picture, plainly(image)) <= (40 if kind == "GIF" else self.near)
        assert (facts.height, facts.width, facts.frames) == (24, 32, 1)
        assert not facts.grey
        assert not facts.transparent

    def test_grey(self, kind):
        image = Image.fromarray(smooth()[..., 0])
        content = stored(image, kind)
        picture, facts = one(content)
        assert off(picture, plainly(image)) <= self.near
        assert facts.grey
        single, _ = one(content, rules(channels=1))
        assert off(single[0], picture[0]) <= 1

    def test_one_bit(self, kind):
        image = Image.fromarray(smooth()[..., 0] > 127)
        picture, facts = one(stored(image, kind))
        assert off(picture, plainly(image.convert("L"))) <= self.near
        assert facts.grey

    def test_rgba(self, kind):
        values = np.dstack([smooth(), smooth(channels=4)[..., 3]])
        image = Image.fromarray(values)
        content = stored(image, kind)
        if Image.open(io.BytesIO(content)).mode != "RGBA":
            pytest.skip("stored without alpha")
        alpha = values[..., 3:] / 255
        blended = Image.fromarray(np.rint(values[..., :3] * alpha + 255 * (1 - alpha)).astype("u1"))
        picture, facts = one(content)
        assert off(picture, plainly(blended)) <= self.near
        assert facts.transparent
        kept, _ = one(content, rules(channels=4))
        assert kept.shape == (4, 16, 16)
        assert off(kept[3], plainly(Image.fromarray(values[..., 3]))[0]) <= self.near

    def test_palette_with_transparency(self, kind):
        image = Image.new("P", (20, 20), 0)
        image.putpalette([0, 255, 0, 255, 0, 0, 0, 0, 255])
        image.paste(1, (10, 0, 20, 20))
        content = stored(image, kind, transparency=0)
        if not Image.open(io.BytesIO(content)).has_transparency_data:
            pytest.skip("stored without transparency")
        picture, facts = one(content, rules(20, 20, background="#000080"))
        assert picture[:, 0, 0].tolist() == [0, 0, 128]
        assert picture[:, 0, 19].tolist() == [255, 0, 0]
        assert facts.transparent

    def test_16_bits(self, kind):
        ramp = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
        content = stored(Image.fromarray(ramp), kind)
        if pixels(content, RULES, name="a")[1].mode != "I;16":
            pytest.skip("stored with 8 bits")
        picture, facts = one(content, rules(20, 20, channels=1))
        assert (picture[0] == np.rint(ramp / 257)).all()
        assert (facts.lowest, facts.highest) == (0, 65535)
        assert facts.grey

    def test_cmyk(self, kind):
        image = Image.fromarray(smooth()).convert("CMYK")
        content = stored(image, kind)
        picture, _ = one(content)
        assert off(picture, plainly(image.convert("RGB"))) <= self.near

    def test_turned_by_exif(self, kind):
        upright = Image.fromarray(smooth(24, 36))
        for orientation, method in {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            content = stored(upright.transpose(Transpose(method)), kind, exif=exif)
            if 0x0112 not in Image.open(io.BytesIO(content)).getexif():
                pytest.skip("holds no EXIF")
            picture, facts = one(content)
            assert off(picture, plainly(upright)) <= self.near, orientation
            assert facts.rotated
            assert (facts.height, facts.width) == (24, 36)

    def test_profiled(self, kind):
        space = SPACES["Adobe RGB"]
        stored_colour = np.rint(as_stored((120, 160, 90), *space)).astype(int)
        content = stored(flat(tuple(stored_colour.tolist())), kind, icc_profile=rgb_profile(*space))
        if "icc_profile" not in Image.open(io.BytesIO(content)).info:
            pytest.skip("holds no profile")
        picture, facts = one(content)
        assert np.abs(picture[:, 8, 8].astype(int) - (120, 160, 90)).max() <= 4
        assert facts.profile

    def test_animated(self, kind):
        colours = ((250, 0, 0), (0, 250, 0), (0, 0, 250))
        first, *others = (flat(colour) for colour in colours)
        content = stored(first, kind, save_all=True, append_images=others)
        if pixels(content, RULES, name="a")[1].frames == 1:
            pytest.skip("holds one picture")
        near = 6
        [picture], facts = pixels(content, RULES, name="a")
        assert facts.frames == 3
        assert np.abs(picture[:, 3, 3].astype(int) - colours[0]).max() <= near
        every, _ = pixels(content, rules(frame="all"), name="a")
        for frame, colour_of_frame in zip(every, colours, strict=True):
            assert np.abs(frame[:, 3, 3].astype(int) - colour_of_frame).max() <= near
        [last], _ = pixels(content, rules(frame="2"), name="a")
        assert (last == every[2]).all()
        with pytest.raises(UnreadableError, match=r"3 frames, so .* no --data\.frame 3"):
            pixels(content, rules(frame="3"), name="a")

    @pytest.mark.parametrize("crop", ["centre", "random", "pad", "stretch"])
    def test_one_pixel_wide(self, kind, crop):
        content = stored(flat((200, 40, 40), size=(1, 50)), kind)
        picture, facts = one(content, rules(crop=crop, background="red"))
        assert (facts.width, facts.height) == (1, 50)
        assert np.abs(picture[:, 8, 8].astype(int) - (200, 40, 40)).max() <= 60

    def test_cut_off_anywhere(self, kind):
        content = stored(Image.fromarray(noise(40, 40)), kind)
        lengths = range(1, len(content) - 1, max(1, len(content) // 40))
        reasons = {refusal(content[:length], RULES) for length in lengths}
        assert any(reasons)
        if kind in ("JPEG", "PNG"):
            assert reasons - {None} <= {"cut off", "no picture"}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, compressed"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits(kind, channels):
    """Pillow gives the upper 8 bits, of which 12-bit values leave nothing."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4096, (12, 12, channels), dtype=np.uint16)
    values[..., 3:] = 65535
    content = png_of_16_bits(values)
    if kind != "PNG":
        content = tiff_of_16_bits(values, compressed=kind != "TIFF")
    picture, facts = one(content, rules(12, 12, range=(0, 4095)))
    assert (picture == np.floor(values[..., :3] / 4095 * 255 + 0.5).transpose(2, 0, 1)).all()
    assert facts.mode == ("RGB;16" if channels == 3 else "RGBA;16")
    assert facts.lowest == values.min()
    assert facts.highest == values.max()
    plain, _ = one(content, rules(12, 12))
    assert off(plain, (values[..., :3] / 257).transpose(2, 0, 1)) <= 1


def png_of_16_bits(values):
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff_of_16_bits(values, *, compressed=False):
    height, width, channels = values.shape
    data = values.astype("<u2").tobytes()
    if compressed:
        data = zlib.compress(data)
    place = 8 + len(data)
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, place),
        (259, 3, 1, 8 if compressed else 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        *([(338, 3, 1, 2)] if channels == 4 else []),
    ]
    directory = struct.pack("<H", len(entries))
    for entry in entries:
        directory += struct.pack("<HHII", *entry)
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    return struct.pack("<2sHI", b"II", 42, place + len(bits)) + data + bits + directory + b"\0" * 4


def test_a_colour_or_level_that_stands_for_transparency():
    image = Image.fromarray(np.array([[0, 200], [200, 0]], np.uint8))
    content = encoded(image, transparency=0)
    picture, facts = one(content, rules(2, 2, background="red"))
    assert picture[:, 0, 0].tolist() == [255, 0, 0]
    assert picture[:, 0, 1].tolist() == [200, 200, 200]
    assert facts.transparent
    assert not facts.grey
    deep = Image.fromarray(np.array([[7, 60000], [60000, 7]], np.uint16))
    picture, _ = one(encoded(deep, transparency=7), rules(2, 2, background="red"))
    assert picture[:, 0, 0].tolist() == [255, 0, 0]


# --- arrays ---


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_of_8_bits(channels):
    values = noise(16, 16, channels)
    picture, facts = one(values, rules(channels=channels))
    assert (picture == values.reshape(16, 16, channels).transpose(2, 0, 1)).all()
    assert facts.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    assert math.isnan(facts.lowest)
    assert (one(values.reshape(16, 16, channels), rules(channels=channels))[0] == picture).all()


@pytest.mark.parametrize(
    ("dtype", "limits", "mode"),
    [
        (np.uint16, (), "I;16"),
        (">u2", (0, 1000), "I;16"),
        (np.float32, (-1, 1), "F"),
        (np.float16, (0, 1), "F"),
        (np.float64, (0, 1), "F"),
        (np.int16, (-1000, 1000), "I"),
        (np.int64, (0, 10), "I"),
    ],
)
def test_deep_arrays_by_their_range(dtype, limits, mode):
    low, high = limits or (0, 65535)
    share = np.linspace(0, 1, 256).reshape(16, 16)
    values = (low + share * (high - low)).astype(dtype)
    picture, facts = one(values, rules(channels=1, range=limits))
    right = (values.astype(float) - low) / (high - low) * 255
    assert np.abs(picture[0] - right).max() <= 0.51
    assert (facts.lowest, facts.highest) == (values.min(), values.max())
    assert facts.mode == mode


def test_values_beyond_the_range_are_cut_off_and_no_number_is_black():
    values = np.array([[-5, 0.5], [7, np.nan]], np.float32)
    picture, facts = one(values, rules(2, 2, channels=1, range=(0, 1)))
    assert picture[0].tolist() == [[0, 128], [255, 0]]
    assert (facts.lowest, facts.highest) == (-5, 7)
    empty, facts = one(np.full((2, 2), np.nan), rules(2, 2, channels=1, range=(0, 1)))
    assert not empty.any()
    assert math.isnan(facts.highest)


def test_true_is_white():
    picture, facts = one(np.eye(4, dtype=bool), rules(4, 4, channels=1))
    assert (picture[0] == 255 * np.eye(4)).all()
    assert facts.mode == "1"


@pytest.mark.parametrize("content", ["float", "int32", "tiff"])
def test_without_a_range_deep_values_are_refused(content):
    if content == "tiff":
        content = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    else:
        content = np.ones((4, 4), content)
    with pytest.raises(UnreadableError, match=r"--data\.range"):
        pixels(content, RULES, name="a")


def test_12_bits_in_16_are_told():
    values = (noise(8, 8, 1).astype(np.uint16) * 16).clip(0, 4095)
    for content in (
        values,
        encoded(Image.fromarray(values)),
        encoded(Image.fromarray(values), "TIFF"),
    ):
        picture, facts = one(content, rules(8, 8, channels=1))
        assert facts.highest == values.max() <= 4095
        assert picture.max() <= 16
        right, _ = one(content, rules(8, 8, channels=1, range=(0, 4095)))
        assert off(right[0], values / 4095 * 255) <= 1


def test_a_deep_pgm_uses_its_own_maximum():
    content = b"P5 2 1 1000\n" + struct.pack(">2H", 0, 1000)
    picture, _ = one(content, rules(1, 1, channels=1, crop="stretch"))
    assert picture.shape == (1, 1, 1)
    picture, _ = one(content, Rules(size=None, channels=1))
    assert picture[0].tolist() == [[0, 255]]


@pytest.mark.parametrize("shape", [(3,), (4, 4, 2), (4, 4, 5), (0, 4), (2, 4, 4, 3), ()])
def test_arrays_that_are_no_pictures(shape):
    with pytest.raises(UnreadableError, match="of shape"):
        pixels(np.zeros(shape, np.uint8), RULES, name="a")
    with pytest.raises(UnreadableError, match="no pixels"):
        pixels(np.zeros((4, 4), complex), RULES, name="a")


# --- crops and sizes ---


def halves(height, width):
    """Red left, green middle, blue right; darker downwards."""
    values = np.zeros((height, width, 3), np.uint8)
    third = width // 3
    for channel in range(3):
        values[:, channel * third : (channel + 1) * third, channel] = 255
    return values


def test_the_centre_is_cut_out():
    picture, _ = one(halves(20, 60), rules(20, 20))
    assert (picture[1] == 255).all()
    assert not picture[[0, 2]].any()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (16, 8), (30, 7)])
@pytest.mark.parametrize("crop", ["centre", "random", "pad", "stretch"])
def test_every_shape(height, width, crop):
    for shape in ((20, 60), (60, 20), (5, 5), (1, 1)):
        picture, _ = one(noise(*shape), rules(height, width, crop=crop))
        assert picture.shape == (3, height, width)


def test_a_wide_result_of_a_square_picture_takes_its_middle_rows():
    values = np.zeros((40, 40), np.uint8)
    values[10:30] = 255
    picture, _ = one(values, rules(10, 20, channels=1))
    assert (picture == 255).all()


def test_random_crops_are_drawn_once_per_name():
    values = halves(20, 200)
    results = {name: one(values, rules(20, 20, crop="random"), name)[0] for name in "abcdefgh"}
    for name, picture in results.items():
        assert (picture == one(values, rules(20, 20, crop="random"), name)[0]).all()
    assert len({picture.tobytes() for picture in results.values()}) >= 3
    places = [cropping.fit(120, 20, rules(crop="random"), str(i)).box[0] for i in range(500)]
    assert min(places) <= 3
    assert max(places) >= 97
    assert abs(np.mean(places) - 50) < 8


def test_padding_fits_the_whole_inside():
    picture, _ = one(np.full((10, 30), 200, np.uint8), rules(30, 30, crop="pad", background="blue"))
    assert (picture[:, 10:20] == 200).all()
    for margin in (picture[:, :9], picture[:, 21:]):
        assert (margin[2] == 255).all()
        assert not margin[:2].any()
    see_through, _ = one(np.full((10, 30, 3), 200, np.uint8), rules(30, 30, 4, crop="pad"))
    assert not see_through[3, :10].any()
    assert (see_through[3, 10:20] == 255).all()
    grey, facts = one(np.full((10, 30), 200, np.uint8), rules(30, 30, 1, crop="pad"))
    assert grey[0, 0, 0] == 255
    assert facts.grey


def test_stretching_keeps_every_part():
    picture, _ = one(halves(20, 60), rules(20, 20, crop="stretch"))
    assert [picture[:, 10, x].argmax() for x in (1, 10, 18)] == [0, 1, 2]


def test_a_box_is_cut_out():
    values = noise(30, 40)
    picture, _ = one(values, rules(10, 10, crop="box", box=(5, 7, 15, 17)))
    assert (picture == values[7:17, 5:15].transpose(2, 0, 1)).all()
    with pytest.raises(UnreadableError, match=r"40 x 30 pixels, so that data\.box reaches"):
        pixels(values, rules(crop="box", box=(5, 7, 41, 17)), name="a")


def test_a_box_belongs_to_the_upright_picture():
    upright = Image.fromarray(noise(30, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(upright.transpose(Transpose.ROTATE_90), exif=exif)
    picture, _ = one(content, rules(10, 10, crop="box", box=(5, 7, 15, 17)))
    assert (picture == np.asarray(upright)[7:17, 5:15].transpose(2, 0, 1)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("height", "width"), [(13, 24), (24, 13), (9, 9)])
def test_turned_pictures_equal_upright_ones(orientation, height, width):
    """Also where the middle lies half a pixel off."""
    method = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    upright = Image.fromarray(100 + noise(height, width) // 5)
    turned = upright if method is None else upright.transpose(Transpose(method))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(turned, exif=exif)
    for rule in (rules(8, 8), rules(6, 10), rules(8, 8, crop="pad"), Rules(size=None, channels=3)):
        assert off(one(content, rule)[0], one(encoded(upright), rule)[0]) <= 1


def test_without_a_size_pictures_stay_as_stored():
    values = noise(7, 11)
    for crop in ("centre", "random", "pad", "stretch"):
        picture, _ = one(encoded(Image.fromarray(values)), Rules(size=None, channels=3, crop=crop))
        assert (picture == values.transpose(2, 0, 1)).all()


# --- quality ---


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (10, 10), (16, 16), (300, 200)])
def test_ordinary_pictures_are_as_ever(shape):
    image = Image.fromarray(noise(*shape))
    assert (one(encoded(image))[0] == plainly(image)).all()


def test_strips_are_exactly_the_whole(monkeypatch):
    image = Image.fromarray(noise(301, 200, 4))
    grey = Image.fromarray(noise(301, 200, 1).astype(np.uint16) * 256)
    whole = [one(encoded(picture), rule)[0] for picture in (image, grey) for rule in shapes()]
    monkeypatch.setattr(cropping, "_PIECE", 5000)
    strips = [one(encoded(picture), rule)[0] for picture in (image, grey) for rule in shapes()]
    for left, right in zip(whole, strips, strict=True):
        assert (left == right).all()


def shapes():
    return [
        rules(16, 16, 4),
        rules(16, 48),
        rules(400, 16, crop="stretch"),
        rules(9, 9, crop="pad"),
    ]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG"])
def test_reducing_leaves_no_false_patterns(kind):
    """Stripes too fine for the result become even grey, however they are turned."""
    y, x = np.mgrid[:512, :512]
    for angle in (0, 0.3, 0.8, 1.2, 1.57):
        phase = (x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi * 0.2
        stripes = Image.fromarray((127.5 + 60 * np.sin(phase)).astype(np.uint8))
        picture, _ = one(encoded(stripes, kind), rules(64, 64, 1))
        lanczos = np.asarray(stripes.resize((64, 64), Resampling.LANCZOS)).astype(float)
        inner = picture[0, 4:-4, 4:-4].astype(float)
        assert inner.std() <= lanczos[4:-4, 4:-4].std() + 1


@pytest.mark.parametrize("size", [(500, 400), (501, 399), (1003, 777), (130, 2000)])
def test_jpegs_decoded_smaller_look_the_same(size):
    content = encoded(Image.fromarray(smooth(size[1], size[0])), "JPEG", quality=92)
    full = Image.open(io.BytesIO(content)).convert("RGB")
    for side in (16, 48, 64):
        picture, facts = one(content, rules(side, side))
        assert (facts.width, facts.height) == size
        error = picture.astype(float) - plainly(full, side)
        assert 10 * math.log10(255**2 / max(1e-9, np.mean(error**2))) > 50


def test_jpegs_are_decoded_at_three_times_the_size_or_more():
    assert cropping.draft_scale((0, 0, 500, 400), (64, 64)) == 2
    assert cropping.draft_scale((0, 0, 1536, 1536), (64, 64)) == 8
    assert cropping.draft_scale((0, 0, 380, 380), (64, 64)) == 1


def test_colours_that_cannot_be_seen_do_not_bleed():
    values = np.zeros((64, 64, 4), np.uint8)
    values[..., 0] = 255  # red that cannot be seen
    values[:, 32:] = (0, 0, 255, 255)
    content = encoded(Image.fromarray(values))
    over_white, _ = one(content, rules(7, 7))
    assert over_white[2].min() == 255  # blue or white, and what is between them
    kept, _ = one(content, rules(7, 7, 4))
    assert not kept[0][kept[3] > 20].any()


def test_grey_is_luma():
    picture, _ = one(noise(16, 16), rules(channels=1))
    red, green, blue = noise(16, 16).astype(float).transpose(2, 0, 1)
    assert np.abs(picture[0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51


# --- facts ---


def test_grey_is_judged_by_the_result():
    even = np.repeat(noise(16, 16, 1)[..., None], 3, axis=2)
    assert one(even)[1].grey
    assert one(even, rules(channels=1))[1].grey
    assert one(np.dstack([even, noise(16, 16, 1)]), rules(channels=4))[1].grey
    spot = even.copy()
    spot[3, 5] = (255, 0, 0)
    assert not one(spot)[1].grey
    assert not one(spot, rules(channels=1))[1].grey
    assert not one(even, rules(24, 30, crop="pad", background="red"))[1].grey


def test_transparent_means_that_something_can_be_seen_through():
    solid = Image.fromarray(noise(16, 16)).convert("RGBA")
    assert not one(encoded(solid))[1].transparent
    solid.putpixel((3, 3), (0, 0, 0, 254))
    assert one(encoded(solid))[1].transparent


def test_pictures_that_look_alike_have_like_hashes():
    image = Image.fromarray(smooth(90, 90)).convert("RGB")
    mark = one(encoded(image))[1].hash
    others = {
        "smaller": image.resize((40, 40), Resampling.LANCZOS),
        "brighter": image.point(lambda level: min(255, level + 10)),
    }
    for other in others.values():
        assert (mark ^ one(encoded(other, "JPEG", quality=80))[1].hash).bit_count() <= 6
    mirrored = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    assert (mark ^ one(encoded(mirrored))[1].hash).bit_count() > 16
    rising = np.tile(20 * np.arange(9, dtype=np.uint8), (8, 1))
    levels = noise(8, 9, 1) // 2 * 2
    bits = "".join("01"[a < b] for row in levels.tolist() for a, b in pairwise(row))
    hashes = difference_hashes(np.stack([rising, levels])[:, None])
    assert hashes.tolist() == [2**64 - 1, int(bits, 2)]


@pytest.mark.parametrize("shape", [(20, 30), (90, 91), (8, 4)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_hashes_are_those_of_pillows_box_filter(shape, mode):
    small = [Image.fromarray(noise(5, 5, 4, seed)).convert(mode) for seed in range(30)]
    pictures = [picture.resize(shape, Resampling.BICUBIC) for picture in small]
    together = np.stack([np.atleast_3d(np.asarray(picture)) for picture in pictures])
    hashes = difference_hashes(together.transpose(0, 3, 1, 2))
    for picture, found in zip(pictures, hashes.tolist(), strict=True):
        white = Image.new("RGBA", picture.size, "white")
        flat = Image.alpha_composite(white, picture.convert("RGBA")).convert("L")
        levels = np.asarray(flat.resize((9, 8), Resampling.BOX)) >> 1
        bits = "".join("01"[a < b] for row in levels.tolist() for a, b in pairwise(row))
        assert (found ^ int(bits, 2)).bit_count() <= 8  # rounded elsewhere


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", ["centre", "random", "pad", "stretch"])
def test_arrays_that_are_right_already_skip_pillow(channels, crop, monkeypatch):
    grey = np.repeat(noise(12, 20, 1)[..., None], 3, axis=2)
    arrays = [noise(12, 20, 1), noise(12, 20, 1)[..., None], grey, noise(12, 20)]
    wanted = [rules(12, 20, channels, crop=crop), Rules(size=None, channels=channels, crop=crop)]
    found = [one(values, rule) for values in arrays for rule in wanted]
    monkeypatch.setattr(pixels_module, "_is_as_wanted", lambda *_: False)
    plain = [one(values, rule) for values in arrays for rule in wanted]
    for (picture, facts), (expected, expected_facts) in zip(found, plain, strict=True):
        np.testing.assert_array_equal(picture, expected)
        assert repr(facts) == repr(expected_facts)


def test_colour_names():
    assert colour.background_of("white") == (255, 255, 255)
    assert colour.background_of("#102030") == (16, 32, 48)
    for wrong in ("", "wihte", "#12345", "#1234567", "rgb(1,2,3)", "#12345g"):
        with pytest.raises(SaganError, match=r"data\.background is .*; give the name of a colour"):
            pixels(noise(4, 4), rules(background=wrong), name="a")


# --- bad input ---


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"GIF89a", "no picture"),
        (b"just a note", "no picture"),
        (b"\xef\xbb\xbf  <!DOCTYPE html><html>", "a web page"),
        (b"<?xml version='1.0'?><svg xmlns=''/>", "an SVG drawing"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a film"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file"),
    ],
)
def test_what_is_no_picture_is_named(content, reason):
    with pytest.raises(UnreadableError, match=reason):
        pixels(content, RULES, name="a")


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, reason in {
        "pipe.png": "no regular file",
        "empty.png": "an empty file",
        "none.png": "it is gone",
        "loop.png": "symbolic links",
        ".": "no regular file|directory",
    }.items():
        with pytest.raises(UnreadableError, match=reason):
            pixels(tmp_path / name, RULES, name=name)


def test_a_file_is_judged_by_its_content(tmp_path):
    path = tmp_path / "photo.jpg"
    image = Image.fromarray(noise(16, 16))
    path.write_bytes(encoded(image))
    assert (one(path)[0] == plainly(image)).all()
    assert (read_pixels(path, RULES) == plainly(image)).all()


def test_large_files_are_read_from_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "_SHORT", 10)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(noise(16, 16))))
    assert (one(path)[0] == plainly(Image.fromarray(noise(16, 16)))).all()


def test_one_picture_is_refused_by_name(tmp_path):
    path = tmp_path / "note.png"
    path.write_bytes(b"a note")
    with pytest.raises(
        SaganError, match=r"cannot read the picture .*note\.png: no picture; repair"
    ):
        read_pixels(path, RULES)


def huge_png(width, height):
    content = bytearray(encoded(flat(0, "L", (8, 8))))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def test_enormous_pictures_are_judged_before_they_take_memory():
    for content in (
        huge_png(60_000, 60_000),
        b"P5 60000 60000 255\n",
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 99999, 99999, 1, 24, 0, 0, 0, 0, 0, 0),
    ):
        start = time.perf_counter()
        with pytest.raises(UnreadableError, match="more than 500 million pixels"):
            pixels(content, RULES, name="a")
        assert time.perf_counter() - start < 2


def test_memory_is_asked_for_first(monkeypatch):
    def refuse(size, what, remedy):
        raise SaganError(f"{what} would take {size}; {remedy}")

    monkeypatch.setattr(picture_files, "require_free", refuse)
    monkeypatch.setattr(picture_files, "_SMALL", 100)
    with pytest.raises(UnreadableError, match="256 pixels would take 4096"):
        pixels(encoded(Image.fromarray(noise(16, 16))), RULES, name="a")


def test_large_pictures_are_no_bombs(monkeypatch):
    """Pillow warns of more than 90 million pixels, and refuses twice as many."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    content = encoded(Image.fromarray(noise(16, 16)))
    assert (one(content)[0] == noise(16, 16).transpose(2, 0, 1)).all()


def test_films_are_bounded(monkeypatch):
    first, *others = (flat(level, "L") for level in range(0, 200, 20))
    content = encoded(first, "GIF", save_all=True, append_images=others)
    monkeypatch.setattr(picture_files, "MOST_FRAMES", 5)
    with pytest.raises(UnreadableError, match="more than 5 frames"):
        pixels(content, rules(frame="all"), name="a")
    assert len(pixels(content, rules(frame="3"), name="a")[0]) == 1
    monkeypatch.setattr(picture_files, "MOST_FRAMES", 100)
    monkeypatch.setattr(picture_files, "MOST_PIXELS_OF_ALL_FRAMES", 3000)
    with pytest.raises(UnreadableError, match="billion pixels"):
        pixels(content, rules(frame="all"), name="a")


def test_layers_and_previews_are_no_frames():
    content = encoded(flat("red"), "MPO", save_all=True, append_images=[flat("blue")])
    assert pixels(content, RULES, name="a")[1].frames == 1
    assert len(pixels(content, rules(frame="all"), name="a")[0]) == 1


def test_heic_without_its_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(UnreadableError, match="HEIC, which needs: pip install pillow-heif"):
        pixels(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", RULES, name="a")


def test_heic():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    image = Image.fromarray(smooth(64, 64))
    picture, facts = one(encoded(image, "HEIF", quality=100, chroma=444))
    assert off(picture, plainly(image)) <= 6
    assert facts.frames == 1


def test_no_program_is_run(monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("ran Ghostscript"))
    content = encoded(Image.fromarray(noise(16, 16)), "EPS")
    with pytest.raises(UnreadableError, match="PostScript"):
        pixels(content, RULES, name="a")


def test_hostile_files_raise_nothing_else():
    """Real files with bytes changed, cut out and put in."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(noise(24, 24, 4))
    profile = rgb_profile(*SPACES["Adobe RGB"])
    seeds = [
        encoded(image.convert("RGB"), "JPEG", exif=exif, icc_profile=profile),
        encoded(image, "PNG", icc_profile=profile),
        png_of_16_bits(noise(12, 12).astype(np.uint16)),
        tiff_of_16_bits(noise(12, 12, 4).astype(np.uint16)),
        *(encoded(image.convert("RGB"), kind) for kind in ("BMP", "JPEG2000", "AVIF", "PPM")),
        *(encoded(image, kind) for kind in ("TGA", "ICO", "DDS")),
        encoded(image.convert("RGB"), "TIFF", compression="tiff_lzw"),
        *(
            encoded(image, kind, save_all=True, append_images=[image])
            for kind in ("GIF", "WEBP", "TIFF", "PNG")
        ),
    ]
    unreadable = 0
    for number in range(25 * len(seeds)):
        content = bytearray(seeds[number % len(seeds)])
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(min(len(content), int(rng.choice([64, 100_000])))))
            change = rng.integers(4)
            if change == 0:
                content[place] = rng.integers(256)
            elif change == 1:
                content[place : place + 4] = rng.bytes(4)
            elif change == 2:
                del content[place : place + int(rng.integers(1, 9))]
            else:
                content[place:place] = b"\xff" * int(rng.integers(1, 9))
        for rule in (RULES, rules(frame="all", channels=4)):
            unreadable += refusal(bytes(content), rule) is not None
    assert unreadable > 100


def test_reasons_are_alike_for_alike_causes():
    reasons = set()
    for seed in range(3):
        content = encoded(Image.fromarray(noise(40, 40, seed=seed)))
        with pytest.raises(UnreadableError) as caught:
            pixels(content[: 1000 + 300 * seed], RULES, name="a")
        reasons.add(str(caught.value))
    assert reasons == {"cut off"}


def test_errors_and_facts_travel_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableError("cut off")))
    assert isinstance(error, UnreadableError)
    assert str(error) == "cut off"
    facts = one(noise(4, 4))[1]
    assert pickle.loads(pickle.dumps(facts))[:2] == facts[:2]

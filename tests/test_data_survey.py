"""What a survey counts and warns of, from catalogs and facts made by hand."""

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagan.config import DataConfig
from sagan.data import load_dataset
from sagan.data.catalog import Catalog, in_split, labelled
from sagan.data.facts import FACTS, difference_hashes
from sagan.data.likeness import agreement, copies, lookalikes
from sagan.data.looking import sensible_resolution
from sagan.data.rules import rules_of
from sagan.data.survey import Seen, Special, parts_of, survey
from sagan.data.survey_text import rule_text, survey_as_json, text, warnings_of

FASHION = Path("/usr/share/datasets/fashion-mnist")


def facts_of(count, **columns):
    """Facts of plain colour pictures of 100 x 80, no two alike."""
    facts = np.zeros(count, FACTS)
    plain = {"height": 80, "width": 100, "mode": "RGB", "frames": 1}
    plain |= {"lowest": np.nan, "highest": np.nan, "hash": far_apart(count)}
    for name, values in {**plain, **columns}.items():
        facts[name] = values
    return facts


def far_apart(count):
    return np.random.default_rng(0).integers(1, 2**64, count, dtype=np.uint64)


def catalog_of(classes, **fields):
    """A catalog of one picture per class name given."""
    labels, class_names = labelled(classes)
    given = {
        "kind": "a folder",
        "root": Path("/pictures"),
        "names": [f"{name}/{number}.png" for number, name in enumerate(classes)],
        "stamps": np.zeros(len(classes), np.uint64),
        "read": lambda number, name: b"",
        "labels": labels,
        "class_names": class_names,
    }
    return Catalog(**{**given, **fields})


def surveyed(whole, facts=None, config=None, *, channels=3, **given):
    config = config or DataConfig(source="/pictures", resolution=64)
    catalog = in_split(whole, config.split)
    facts = facts_of(len(catalog)) if facts is None else facts
    seen = Seen(facts=facts, **{"entry": np.arange(len(facts)), "size": config.size, **given})
    return survey(catalog, config, rules_of(config, channels), seen, parts_of(whole))


TWO = catalog_of(["cat"] * 20 + ["dog"] * 30)


def test_pictures_classes_and_size():
    found = surveyed(TWO, channels=1, seconds=65, held_out=5)
    assert (found.found, found.used, found.held_out) == (50, 50, 5)
    assert found.classes == {"cat": 20, "dog": 30}
    assert found.size == 50 * 64 * 64
    note, *lines = text(found).splitlines()
    assert note == "note: 50 pictures have colours, which data.channels 1 makes grey"
    assert lines[0] == (
        "pictures: 50 (5 of them held out) in 2 classes (dog 30 to cat 20), from a folder"
    )
    assert lines[1] == "sizes: all 100 x 80; none enlarged"
    assert lines[2] == "rule: centre square, reduced to 64 x 64, grey"
    assert lines[3] == "packed: 0.195 MiB; took 1:05"
    assert len(lines) == 4


def test_sizes_are_width_by_height_and_by_area():
    facts = facts_of(50, width=[400] * 40 + [50] * 10, height=[300] * 40 + [500] * 9 + [20])
    sizes = surveyed(TWO, facts).sizes
    assert (sizes.smallest, sizes.largest) == ((50, 20), (400, 300))
    assert (sizes.most_common, sizes.most_common_count, sizes.different) == ((400, 300), 40, 3)
    assert (sizes.narrowest, sizes.widest) == (0.1, 2.5)


@pytest.mark.parametrize(
    ("settings", "enlarged"),
    [
        ({"crop": "centre"}, (2, 4.0)),  # of 100 x 16: 16 -> 64; of 20 x 20: 20 -> 64
        ({"crop": "random"}, (2, 4.0)),
        ({"crop": "stretch"}, (2, 4.0)),
        ({"crop": "pad"}, (1, 3.2)),  # 100 -> 64 is a reduction
        ({"crop": "box", "box": (0, 0, 32, 64)}, (3, 2.0)),
        ({"crop": "centre", "width": 128}, (3, 6.4)),
    ],
)
def test_enlarging_is_that_of_the_part_that_is_cut_out(settings, enlarged):
    facts = facts_of(3, width=[100, 20, 100], height=[16, 20, 100])
    config = DataConfig(resolution=64, **settings)
    found = surveyed(catalog_of([None] * 3), facts, config).enlarged
    assert (found.pictures, found.most) == enlarged


def test_most_pictures_enlarged_is_a_note():
    facts = facts_of(50, width=32, height=32)
    found = surveyed(TWO, facts)
    assert "50 of 50 pictures are smaller than wanted" in "".join(warnings_of(found))
    assert "up to 2 times" in text(found)
    assert rule_text(found) == "centre square, enlarged to 64 x 64, colour"
    few = surveyed(TWO, facts_of(50, width=[32] * 5 + [90] * 45, height=90))
    assert warnings_of(few) == []
    assert "5 pictures enlarged, up to 2 times" in text(few)
    assert rule_text(few) == "centre square, resized to 64 x 64, colour"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop": "pad", "background": "black"}, "whole picture on black, reduced to 64 x 64"),
        ({"crop": "stretch"}, "whole picture, distorted, reduced to 64 x 64"),
        ({"crop": "random"}, "square at a place drawn once per picture, reduced to 64 x 64"),
        ({"crop": "box", "box": (1, 2, 90, 80)}, "box from (1, 2) to (90, 80), reduced to"),
        ({"resolution": 48, "width": 96}, "centre part, reduced to 48 high and 96 wide, colour"),
    ],
)
def test_the_rule_is_a_sentence(settings, words):
    config = DataConfig(**{"resolution": 64, **settings})
    assert rule_text(surveyed(TWO, config=config)).startswith(words)


def test_pictures_as_stored():
    config = DataConfig(resolution=64)
    rules = replace(rules_of(config, 3), size=None)
    seen = Seen(facts=facts_of(50), entry=np.arange(50), size=(80, 100))
    found = survey(TWO, config, rules, seen, {})
    assert rule_text(found) == "as stored, colour"
    assert found.size == 50 * 3 * 80 * 100
    assert found.enlarged.pictures == 0


def test_kinds_of_pictures_are_counted():
    facts = facts_of(50)
    facts["mode"][:3] = "L"
    facts["mode"][3] = "CMYK"
    facts["profile"][:4] = facts["rotated"][:5] = facts["transparent"][:6] = True
    facts["frames"][:7] = 12
    facts["broken_profile"][10:12] = True
    found = surveyed(TWO, facts)
    assert found.modes == {"RGB": 46, "L": 3, "CMYK": 1}
    assert found.special == Special(
        profiles=4, broken_profiles=2, rotated=5, transparent=6, animated=7
    )
    table = text(found, wide=True)
    for words in ("colour 46, grey 3, CMYK 1", "4, converted to sRGB", "5, turned upright"):
        assert words in table
    assert "6, laid on white" in table
    assert "7, frames taken: first" in table
    assert "6, kept so" in text(surveyed(TWO, facts, channels=4), wide=True)


def test_frames_of_one_file_are_pictures_to_learn_from_but_one_file():
    entry = np.array([0, 1, 1, 1, 2])
    facts = facts_of(5, frames=[1, 3, 3, 3, 1], hash=[0xF, 0xF00, 0xF00, 0xF00, 0xF0000])
    catalog = catalog_of(["a", "a", "b"])
    found = surveyed(catalog, facts, entry=entry, digests=np.array([1, 2, 2, 2, 3], np.uint64))
    assert (found.found, found.used, found.special.animated) == (3, 5, 1)
    assert found.classes == {"a": 4, "b": 1}
    assert found.modes == {"RGB": 3}
    assert found.copies.pictures == found.lookalikes.pictures == 0


def test_parts_are_told_and_which_is_taken():
    parts = {"splits": ("train", "val"), "split_of": np.arange(50) % 5 // 4}
    catalog = catalog_of(["cat"] * 20 + ["dog"] * 30, **parts)
    found = surveyed(catalog, facts_of(40))
    assert (dict(found.parts), found.part) == ({"train": 40, "val": 10}, "train")
    assert "40 in 2 classes" in text(found)
    assert "from a folder; part train is taken" in text(found)
    assert "train 40, val 10; train is taken (--data.split)" in text(found, wide=True)
    assert surveyed(catalog, facts_of(10), DataConfig(split="val")).classes == {"cat": 4, "dog": 6}
    assert surveyed(catalog, facts_of(50), DataConfig(split="all")).part == "all"


def test_names_and_classes_are_those_of_the_part():
    classes = ["cat", "dog"] * 20
    parts = {"splits": ("train", "val"), "split_of": np.arange(40) // 20}
    config = DataConfig(resolution=64, split="val")
    digests = np.array([7, 7, *range(18)], np.uint64)
    found = surveyed(catalog_of(classes, **parts), facts_of(20), config, digests=digests)
    assert found.copies.example == ("cat/20.png", "dog/21.png")


def test_one_class():
    found = surveyed(catalog_of(["photos"] * 50))
    assert warnings_of(found) == ["all pictures are of one class, 'photos'"]
    assert "50 in 1 class," in text(found)
    assert "without classes" in text(surveyed(catalog_of([None] * 50)))


def test_imbalance_and_small_classes_are_told():
    counts = {"many": 4100, "few": 40, "rare": 1}
    names = [name for name, count in counts.items() for _ in range(count)]
    notes = warnings_of(surveyed(catalog_of(names)))
    assert notes == [
        "'many' has 4,100 pictures and 'rare' 1; --data.order balanced shows every class equally"
        " often",
        "the class 'rare' has a single picture, too little to learn from",
    ]
    names = ["many"] * 4000 + ["few"] * 40
    assert warnings_of(surveyed(catalog_of(names))) == []  # 100 to 1
    assert len(warnings_of(surveyed(catalog_of([*names, *["many"]])))) == 1
    names = [f"class {number}" for number in range(30) for _ in range(15 + number % 2)]
    (note,) = warnings_of(surveyed(catalog_of(names)))
    assert note.startswith("15 of 30 classes have fewer than 16 pictures, 'class 0' the fewest")


def test_classes_that_are_not_learned_are_no_reason_to_warn():
    config = DataConfig(resolution=64, labels="none")
    found = surveyed(catalog_of(["many"] * 300 + ["rare"]), config=config)
    assert warnings_of(found) == []
    assert text(found).startswith("pictures: 301 without classes (--data.labels none), from")


def test_thousand_classes_fit_the_table():
    found = surveyed(catalog_of([f"n{number}" for number in range(1000) for _ in range(2)]))
    row = next(line for line in text(found, wide=True).splitlines() if line.startswith("classes"))
    assert len(row) < 300
    assert len(survey_as_json(found)["classes"]) == 1000


def test_what_is_skipped_and_passed_over_is_told_with_reasons():
    unreadable = [("cat/1.png", "cut off"), ("cat/2.png", "cut off"), ("cat/3.png", "no picture")]
    other = [("notes.txt", "no picture"), ("__MACOSX/x", "ignored")]
    catalog = catalog_of(["cat"] * 20 + ["dog"] * 30, passed_over=other)
    entry = np.delete(np.arange(50), [1, 2, 3])
    found = surveyed(catalog, facts_of(47), entry=entry, unreadable=unreadable)
    assert (found.found, found.used, found.classes["cat"]) == (50, 47, 17)
    assert text(found).splitlines()[0] == (
        "note: 3 of 50 pictures cannot be read and are skipped: cut off (2, such as 'cat/1.png'),"
        " no picture (1, such as 'cat/3.png')"
    )
    assert "2 other files passed over" in text(found)
    assert "ignored (1, such as '__MACOSX/x')" in text(found, wide=True)


@pytest.mark.parametrize(
    ("mode", "highest", "given", "words"),
    [
        ("I;16", 4095, (), "--data.range 0 --data.range 4095 shows 4,095 white"),
        ("I;16", 3900, (), "--data.range 0 --data.range 4095"),
        ("I;16", 65535, (), None),
        ("I;16", 20000, (), None),
        ("I;16", 4095, (0.0, 4095.0), None),
        ("F", 0.05, (0.0, 1.0), "--data.range 0 --data.range 0.05"),
        ("F", 0.9, (0.0, 1.0), None),
        ("I;16", 5000, (0.0, 4095.0), "50 pictures have values outside what is shown"),
    ],
)
def test_a_small_part_of_the_range_is_a_note(mode, highest, given, words):
    facts = facts_of(50, mode=mode, lowest=0, highest=highest)
    config = DataConfig(resolution=64, range=given)
    found = surveyed(TWO, facts, config)
    assert (found.values.lowest, found.values.highest) == (0, highest)
    notes = warnings_of(found)
    assert len(notes) == (words is not None)
    assert (words or "") in "".join(notes)


def test_pictures_of_8_bits_have_no_range():
    assert surveyed(TWO).values is None


def test_copies_and_those_across_classes():
    digests = np.arange(50, dtype=np.uint64)
    digests[1] = digests[0]
    digests[2] = digests[0]
    digests[40] = digests[3]
    found = surveyed(TWO, digests=digests)
    assert (found.copies.pictures, found.copies.in_other_classes) == (3, 1)
    assert found.copies.example == ("cat/3.png", "dog/40.png")
    (note,) = warnings_of(found)
    assert note.startswith("1 picture is equal to one of another class, for example 'cat/3.png'")
    alike = surveyed(TWO, digests=np.minimum(digests, 48))
    assert "look alike    none" in text(alike, wide=True)


def test_a_set_of_copies_is_told_and_white_drawings_on_nothing_above_all():
    blank = np.zeros(50, np.uint64)
    (note,) = warnings_of(surveyed(TWO, digests=np.minimum(np.arange(50, dtype=np.uint64), 20)))
    assert note.startswith("29 of 50 pictures are equal to an earlier one after the rule")
    drawings = facts_of(50, transparent=True)
    note, *_ = warnings_of(surveyed(TWO, drawings, digests=blank))
    assert "49 of 50 pictures" in note
    assert "--data.background black or --data.channels 4" in note
    note, *_ = warnings_of(surveyed(TWO, drawings, channels=4, digests=blank))
    assert "--data.background" not in note


def test_too_few_pictures_without_classes():
    assert warnings_of(surveyed(catalog_of([None] * 16))) == []
    (note,) = warnings_of(surveyed(catalog_of([None])))
    assert note == "1 picture is too little to learn from"


def test_nearly_equal_pictures_are_counted_without_copies():
    facts = facts_of(50)
    facts["hash"][7] = facts["hash"][5] ^ np.uint64(1 << 63 | 1)
    facts["hash"][9] = facts["hash"][8]
    digests = np.arange(50, dtype=np.uint64)
    digests[9] = digests[8]
    found = surveyed(TWO, facts, digests=digests)
    assert (found.copies.pictures, found.lookalikes.pictures) == (1, 1)
    assert found.lookalikes.example == ("cat/5.png", "cat/7.png")
    row = "look alike    1 picture is like an earlier one, for example 'cat/7.png' like 'cat/5.png'"
    assert row in text(found, wide=True)
    assert warnings_of(found) == []


def test_hashes_of_lookalikes_are_within_four_bits():
    rng = np.random.default_rng(1)
    hashes = rng.integers(1, 2**64, 500, dtype=np.uint64)
    for place in range(100):  # a flip of one to six bits anywhere
        bits = rng.choice(64, place % 6 + 1, replace=False)
        hashes[400 + place] = int(hashes[place]) ^ sum(1 << int(bit) for bit in bits)
    found = lookalikes(hashes)
    within = np.arange(100) % 6 < 4
    assert within.sum() == 68
    np.testing.assert_array_equal(
        found[400:], np.where(within, np.arange(100), np.arange(400, 500))
    )
    np.testing.assert_array_equal(found[:400], np.arange(400))


def test_lookalikes_are_not_chained_and_blank_ones_say_nothing():
    hashes = [0, 0xFF << 8, 0x0F << 8, 0xFF << 40, 0, 1 << 20, 0b11 << 20]
    found = lookalikes(np.array(hashes, np.uint64))
    np.testing.assert_array_equal(found, [0, 1, 1, 3, 4, 5, 5])
    chain = np.array([(1 << 4 * links) - 1 for links in range(1, 7)], np.uint64)
    np.testing.assert_array_equal(lookalikes(chain), [0, 0, 2, 2, 4, 4])
    assert len(lookalikes(np.zeros(0, np.uint64))) == 0
    assert lookalikes(np.array([5], np.uint64)).tolist() == [0]


def drawn(count, size, channels, seed=0):
    """A square with a smooth pattern on black: uint8 (count, C, size, size)."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        pattern = rng.integers(0, 180, (5, 5, 1)) + rng.integers(0, 76, (5, 5, 3))
        small = Image.fromarray(pattern.astype(np.uint8))
        image = Image.new("RGB", (size, size))
        corner, side = int(rng.integers(0, size // 4)), int(rng.integers(size // 2, 3 * size // 4))
        image.paste(small.resize((side, side), Image.Resampling.BICUBIC), (corner, corner))
        pictures.append(picture_array(image, channels))
    return np.stack(pictures)


def picture_array(image, channels):
    image = image.convert("L" if channels == 1 else "RGB")
    return np.asarray(image).reshape(*image.size, channels).transpose(2, 0, 1)


def saved_again(picture, *, quality=90, scale=1):
    channels, size, _ = picture.shape
    image = Image.fromarray(picture[0] if channels == 1 else picture.transpose(1, 2, 0))
    image = image.resize((round(scale * size),) * 2, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    back = Image.open(stream).resize((size, size), Image.Resampling.LANCZOS)
    return picture_array(back, channels)


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3), (64, 1), (64, 3), (128, 3)])
def test_pictures_saved_again_or_resized_are_found_and_others_are_not(size, channels):
    pictures = drawn(200, size, channels)
    again = [saved_again(picture, scale=1 + number % 2) for number, picture in enumerate(pictures)]
    together = np.concatenate([pictures, again])
    found = lookalikes(difference_hashes(together), together)
    np.testing.assert_array_equal(found[:200], np.arange(200))
    is_found = found[200:] == np.arange(200)
    np.testing.assert_array_equal(found[200:][~is_found], 200 + np.flatnonzero(~is_found))
    assert is_found.mean() > 0.6


def test_equal_outlines_in_other_colours_or_patterns_are_no_lookalikes():
    """Their hashes are the same: brightness falls and rises at the same places."""
    wave = np.tile(128 + 100 * np.sin(np.arange(32) * 0.8), (32, 1))
    grey = np.stack([wave] * 3).astype(np.uint8)
    red, faint = grey.copy(), (128 + (grey.astype(float) - 128) / 2).astype(np.uint8)
    red[2] = 255 - red[2] // 4
    pictures = np.stack([grey, red, faint, np.minimum(grey, 245) + np.uint8(10)])
    hashes = np.full(4, 12345, np.uint64)
    assert lookalikes(hashes, pictures).tolist() == [0, 1, 2, 0]
    assert agreement(pictures, np.array([[0, 0], [0, 3]])) == pytest.approx(1, abs=1e-5)
    # Half the contrast: 2 * (1/2) / (1 + 1/4)
    assert agreement(pictures, np.array([[0, 2]])) == pytest.approx(0.8, abs=0.01)


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_shirts_are_different():
    """Of 10,000 pictures six are like an earlier one: one in four if hashes alone decide."""
    config = DataConfig(source=str(FASHION), split="test", resolution=28)
    pictures = np.asarray(load_dataset(config).images[:])
    hashes = difference_hashes(pictures)
    assert (lookalikes(hashes, pictures) != np.arange(len(pictures))).mean() < 0.005


def test_copies_point_to_the_first():
    assert copies(np.array([5, 3, 5, 3, 9], np.uint64)).tolist() == [0, 1, 0, 1, 4]


def test_hashes_that_all_share_their_pieces_take_no_longer():
    count = 20_000  # all pairs would be 200,000,000
    hashes = np.arange(1, count + 1, dtype=np.uint64) << np.uint64(20)
    begin = time.process_time()
    assert (lookalikes(hashes) != np.arange(count)).mean() > 0.9
    assert time.process_time() - begin < 20


def test_notes_of_the_source_are_kept_and_the_lines_stay_few():
    notes = tuple(f"note number {number}" for number in range(9))
    found = surveyed(catalog_of(["cat"] * 20 + ["dog"] * 30, notes=notes))
    lines = text(found).splitlines()
    assert len(lines) == 8
    assert lines[0] == "note: note number 0"
    assert lines[3] == "note: and 6 more; see sagan data /pictures"
    assert sum(line.startswith("note:") for line in text(found, wide=True).splitlines()) == 9


def test_a_sample_counts_all_classes_and_says_what_it_looked_at():
    found = surveyed(TWO, facts_of(9), entry=np.arange(9) * 5, is_sample=True, seconds=7.0,
                     unreadable=[("x", "cut off")])  # fmt: skip
    assert (found.used, found.sampled, found.classes["dog"]) == (50, 10, 30)
    assert found.size == 50 * 3 * 64 * 64
    assert "1 of 10 pictures" not in text(found)
    assert "10 of 50 pictures, evenly chosen" in text(found, wide=True)
    assert text(found).endswith("will take about 0:07")


def test_nothing_readable():
    found = surveyed(TWO, facts_of(0), unreadable=[(name, "cut off") for name in TWO.names])
    assert found.sizes is None
    assert (found.used, found.size) == (0, 0)
    assert "50 of 50 pictures cannot be read" in text(found)


def test_the_survey_is_json_and_names_cannot_steer_a_terminal():
    catalog = catalog_of(["a"] * 50, passed_over=[("evil\x1b[2J\n.txt", "no picture")])
    found = surveyed(catalog, facts_of(50, lowest=0, highest=9, mode="F"), fingerprint="abc")
    kept = json.loads(json.dumps(survey_as_json(found)))
    assert kept["fingerprint"] == "abc"
    assert kept["sizes"]["smallest"] == [100, 80]
    assert kept["passed_over"][0]["pictures"] == 1
    assert kept["rules"]["crop"] == "centre"
    assert kept["rule"] == "centre square, reduced to 64 x 64, colour"
    assert kept["warnings"] == warnings_of(found)
    assert "\x1b" not in text(found, wide=True)
    assert "evil\\x1b[2J\\n.txt" in text(found, wide=True)


def test_pictures_of_the_wanted_size_are_kept():
    for width, words in ((64, "kept at 64 x 64"), (63, "enlarged to"), (100, "kept at 64 x 64")):
        found = surveyed(TWO, facts_of(50, width=width, height=64))
        assert f"centre square, {words}" in rule_text(found)
    facts = facts_of(50, width=64, height=np.arange(50) + 63)
    assert "resized to" in rule_text(surveyed(TWO, facts))
    assert "reduced to" in rule_text(surveyed(TWO, facts_of(50, width=np.arange(50) + 64)))


@pytest.mark.parametrize(
    ("sides", "expected"),
    [((28, 28), 32), ((63, 900), 32), ((64, 70), 64), ((500, 400), 128), ((127, 127), 64)],
)
def test_the_resolution_is_one_that_most_pictures_reach(sides, expected):
    assert sensible_resolution(facts_of(9, width=sides[0], height=sides[1])) == expected
    assert sensible_resolution(facts_of(0)) == 32

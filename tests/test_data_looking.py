"""A few pictures of a source tell how all of them are, and what they will take."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagan.config import DataConfig
from sagan.data import looking
from sagan.data.catalog import Catalog, labelled
from sagan.data.looking import look, packing_note
from sagan.data.rules import rules_of
from sagan.data.trial import tried
from sagan.errors import SaganError

CONFIG = DataConfig(source="/pictures", resolution=32)


def catalog_of(read, count=100, **fields):
    labels, class_names = labelled(["cat", "dog"] * (count // 2))
    order = np.argsort(labels, kind="stable")
    given = {
        "kind": "a test",
        "root": Path("/pictures"),
        "names": [f"{number}.png" for number in range(count)],
        "stamps": np.zeros(count, np.uint64),
        "read": read,
        "labels": labels[order],
        "class_names": class_names,
    }
    return Catalog(**{**given, **fields})


def noise(number, name):
    return np.random.default_rng(number).integers(0, 256, (50, 40, 3), dtype=np.uint8)


def grey(number, name):
    return noise(number, name)[..., 0]


def mostly_broken(number, name):
    return b"no picture" if number % 3 else noise(number, name)


def animated(number, name):
    frames = [Image.fromarray(noise(10 * number + frame, name)) for frame in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_pictures_are_evenly_chosen_and_read_as_all_will_be():
    trial = tried(catalog_of(noise), rules_of(CONFIG, 3), 10)
    assert trial.entry.tolist() == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert trial.images.shape == (10, 3, 32, 32)
    assert set(trial.facts["width"]) == {40}
    assert trial.size == 100 * 3 * 32 * 32
    assert trial.seconds > 0
    assert tried(catalog_of(noise), rules_of(CONFIG, 3), 1000).entry.tolist() == list(range(100))


def test_what_cannot_be_read_is_named_and_takes_no_space():
    trial = tried(catalog_of(mostly_broken), rules_of(CONFIG, 3), 100)
    assert trial.entry.tolist() == list(range(0, 100, 3))
    assert len(trial.unreadable) == 66
    assert trial.size == 34 * 3 * 32 * 32


def test_all_frames_count():
    rules = rules_of(replace(CONFIG, frame="all"), 3)
    trial = tried(catalog_of(animated), rules, 10)
    assert trial.entry.tolist()[:4] == [0, 0, 0, 11]
    assert trial.size == 300 * 3 * 32 * 32


def test_no_picture_at_all():
    empty = catalog_of(noise, 0, labels=np.zeros(0, np.int64), class_names=())
    trial = tried(empty, rules_of(CONFIG, 3))
    assert (len(trial.images), trial.size) == (0, 0)
    broken = tried(catalog_of(lambda number, name: b""), rules_of(CONFIG, 1))
    assert broken.images.shape == (0, 1, 32, 32)


def test_a_size_beyond_memory_is_refused_before_it_is_taken():
    rules = rules_of(replace(CONFIG, resolution=10**7), 3)
    with pytest.raises(SaganError, match="a smaller --data"):
        tried(catalog_of(noise), rules, 10)


def test_a_look_at_some_finds_copies_among_them():
    def twice(number, name):
        return noise(number // 2, name)

    trial = tried(catalog_of(twice), rules_of(CONFIG, 3), 1000)
    assert len(np.unique(trial.digests)) == 50


@pytest.mark.parametrize(("read", "channels"), [(noise, 3), (grey, 1)])
def test_a_look_at_some_decides_the_channels_as_packing_does(monkeypatch, read, channels):
    monkeypatch.setattr(looking, "catalog_of", lambda config: catalog_of(read))
    looked = look(CONFIG, 10)
    assert looked.images.shape == (10, channels, 32, 32)
    assert looked.labels.tolist() == [0] * 5 + [1] * 5
    assert looked.survey.classes == {"cat": 50, "dog": 50}
    assert looked.survey.size == 100 * channels * 32 * 32
    assert looked.survey.sampled == 10
    assert look(replace(CONFIG, channels=4), 10).images.shape[1] == 4


def test_the_part_that_is_asked_for_is_looked_at(monkeypatch):
    whole = catalog_of(noise, splits=("train", "val"), split_of=np.arange(100) // 90)
    monkeypatch.setattr(looking, "catalog_of", lambda config: whole)
    found = look(replace(CONFIG, split="val"), 5).survey
    assert (found.found, found.part, found.parts) == (10, "val", {"train": 90, "val": 10})


def test_what_packing_takes_is_said_before_unless_it_is_little(monkeypatch, tmp_path):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path))
    assert packing_note(CONFIG, catalog_of(noise)) == ""
    monkeypatch.setattr(looking, "_WORTH_SAYING", 0)
    note = packing_note(CONFIG, catalog_of(noise))
    assert note.startswith("packing 100 pictures (once) will take about 0:00 and 0.293 MiB in ")
    assert str(tmp_path) in note

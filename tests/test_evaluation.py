import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny
from PIL import Image

import sagan
from sagan.config import DataConfig, EvaluationConfig
from sagan.data import Dataset, load_dataset, open_dataset
from sagan.data.dataset import digests_of, fingerprint
from sagan.errors import SaganError
from sagan.evaluation import comparison, read_record, summary, write_record
from sagan.evaluation.evaluate import evaluate_model, evaluate_pictures
from sagan.evaluation.extraction import Features, features_of, features_path
from sagan.evaluation.features import load_extractor
from sagan.evaluation.measures import (
    FEWEST_FOR_SPREAD,
    METRICS,
    Metric,
    Reading,
    known_metrics,
    measurement_of,
    metric_of,
)
from sagan.evaluation.opening import EvaluationPictures, open_pictures
from sagan.evaluation.periodic import PeriodicEvaluation, periodic_evaluation
from sagan.evaluation.picture_sets import generated, proportional_labels, stored
from sagan.evaluation.record import record_path
from sagan.evaluation.reference import Reference
from sagan.evaluation.selection import Selection
from sagan.images import save_png
from sagan.runs import checkpoint as checkpoints
from sagan.runs.run import load_checkpoint


def noise(count, *, seed=0, low=0, classes=2, size=32):
    rng = np.random.default_rng(seed)
    images = rng.integers(low, 256, (count, 3, size, size), dtype=np.uint8)
    labels = np.arange(count) % max(classes, 1)
    images[labels == 1] //= 2
    names = tuple("abcdefgh"[:classes])
    return Dataset(
        images=images,
        labels=labels,
        class_names=names,
        fingerprint=fingerprint(images.shape, digests_of(images), labels, names),
    )


def both(judged, real, **changes):
    return EvaluationPictures(
        identity={"kind": "pictures", "path": "somewhere", "step": None},
        protocol={"resolution": 32, "truncation": None},
        sets=[stored(judged)],
        seeds=(),
        real=stored(real),
        **changes,
    )


def test_all_metrics_tell_equal_from_unequal_laws(extractor):
    real = noise(400)
    like = evaluate_pictures(both(noise(400, seed=1), real), extractor, tuple(METRICS))
    unlike = evaluate_pictures(both(noise(400, seed=2, low=60), real), extractor, tuple(METRICS))
    assert like.values.keys() == unlike.values.keys()
    assert len(like.values) == 10
    for name, value in like.values.items():
        assert np.isfinite([value.mean, value.floor]).all(), name
        if value.better == "lower":
            assert value.mean < unlike.values[name].mean, name
    assert like.values["FD (Pooled)"].mean < 3 * like.values["FD (Pooled)"].floor
    assert like.values["class accuracy"].mean == 1
    assert like.values["nearest-neighbour ratio"].mean == pytest.approx(1, abs=0.1)


def test_copies_of_real_pictures_are_found(extractor):
    real = noise(200)
    record = evaluate_pictures(both(real, real), extractor, ("fd", "neighbours"))
    assert record.values["nearest-neighbour ratio"].mean == 0
    assert record.values["FD (Pooled)"].mean == pytest.approx(0, abs=1e-9)
    for pair in record.neighbours:
        assert pair["picture"] == pair["real_picture"]
    sheet = record.neighbour_sheet
    top, bottom = sheet[:, 2:34], sheet[:, 36:68]
    assert (top == bottom).all()


def test_a_folder_and_a_generator_of_the_same_pictures_give_equal_numbers(
    extractor, trained_run, picture_folder, tmp_path
):
    drawn = open_pictures(str(trained_run), Selection(samples=10, repeats=1), METRICS)
    pictures = drawn.sets[0]
    for number, image in enumerate(pictures.read(0, 10)):
        name = pictures.class_names[pictures.labels[number]]
        save_png(image, tmp_path / "drawn" / name / f"{number:02}.png")
    np.savez(
        tmp_path / "drawn.npz",
        images=pictures.read(0, 10).transpose(0, 2, 3, 1),
        labels=pictures.labels,
        class_names=np.array(pictures.class_names),
    )
    metrics = ("fd", "kid", "is", "pr", "intra", "accuracy")
    expected = evaluate_pictures(drawn, extractor, metrics)
    for subject in ("drawn", "drawn.npz"):
        other = open_pictures(
            str(tmp_path / subject), Selection(against=str(picture_folder)), METRICS
        )
        found = evaluate_pictures(other, extractor, metrics)
        assert found.values == expected.values
        assert found.details == expected.details


def test_an_interrupted_extraction_continues(extractor, monkeypatch):
    pictures = stored(noise(1000))
    whole = np.array(features_of(pictures, extractor, "").features)
    path = features_path(pictures, extractor)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 10 + 5])  # in the middle of a row
    extractor.network.seen = 0
    again = features_of(pictures, extractor, "").features
    assert extractor.network.seen == 700
    assert (again == whole).all()
    extractor.network.seen = 0
    features_of(pictures, extractor, "")
    assert extractor.network.seen == 0


def test_pictures_are_read_in_batches(extractor):
    pictures = stored(noise(500))
    sizes = []

    def read(start, stop):
        sizes.append(stop - start)
        return pictures.read(start, stop)

    features_of(replace(pictures, read=read), extractor, "")
    assert sum(sizes) == 500
    assert max(sizes) <= 256


def test_a_second_evaluation_reuses_the_real_side(extractor):
    real = noise(300)
    evaluate_pictures(both(noise(100, seed=1), real), extractor, ("fd", "intra"))
    extractor.network.seen = 0
    evaluate_pictures(both(noise(100, seed=2), real), extractor, ("fd", "intra"))
    assert extractor.network.seen == 100


def test_features_of_generated_pictures_do_not_stay(extractor, trained_run):
    opened = open_pictures(str(trained_run), Selection(samples=5, repeats=2), METRICS)
    record = evaluate_pictures(opened, extractor, ("kid",))
    assert not any(features_path(pictures, extractor).exists() for pictures in opened.sets)
    assert features_path(opened.real, extractor).exists()
    value = record.values["KID x 1000 (Pooled)"]
    assert len(value.each) == 2
    assert value.each[0] != value.each[1]
    assert value.spread == pytest.approx(np.std(value.each, ddof=1))
    assert record.seeds == ["0-4", "1000000-1000004"]


def test_a_set_does_not_depend_on_its_portions(trained_run):
    generator = sagan.load_generator(trained_run)
    pictures = generated(generator, np.array([0, 0, 1, 1, 1]), first_seed=7)
    whole = pictures.read(0, 5)
    portions = np.concatenate([pictures.read(0, 2), pictures.read(2, 5)])
    for other in (portions[3], generator.sample([10], 1)[0]):
        assert np.abs(whole[3].astype(int) - other).max() <= 1  # convolutions sum in other orders
    others = [
        generated(generator, np.array([0, 0, 1, 1, 0]), first_seed=7),
        generated(generator, np.array([0, 0, 1, 1, 1]), first_seed=8),
        generated(generator, np.array([0, 0, 1, 1, 1]), first_seed=7, truncation=1.0),
    ]
    assert len({pictures.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize("count", [1, 7, 100])
def test_labels_are_shared_out_in_proportion(count):
    shares = [0.5, 0.0, 0.3, 0.2]
    labels = proportional_labels(shares, count)
    assert len(labels) == count
    counts = np.bincount(labels, minlength=4)
    assert (np.abs(counts - np.array(shares) * count) <= 1).all()
    assert counts[1] == 0


def test_classes_are_matched_by_name_and_small_ones_left_out(extractor):
    real = noise(90, classes=3)
    judged = replace(noise(60, seed=1, classes=3), class_names=("c", "unheard", "a"))
    record = evaluate_pictures(both(judged, real), extractor, ("intra", "accuracy"))
    assert record.details["intra-class FD (Pooled)"].keys() == {"a", "c"}
    assert record.notes == ["distance within classes without b: too few pictures"]


def test_the_distance_within_a_class_is_set_against_its_spread(extractor):
    """One average picture of a class is at distance 1, one of its pictures at 2."""
    rng = np.random.default_rng(0)
    count = FEWEST_FOR_SPREAD
    labels = np.repeat([0, 1, 2], [count, count, count - 1])
    real = rng.normal(size=(len(labels), 48)).astype(np.float32)
    nothing = np.empty((len(labels), 0), np.float32)
    reference = Reference(
        features=Features(real, nothing, labels),
        class_names=("a", "b", "few"),
        extractor=extractor,
        cache=None,
    )
    mean, length = real[labels == 1].mean(axis=0), np.sqrt(real[labels == 1].var(axis=0).sum())
    drawn = real.copy()
    drawn[labels == 0] = real[labels == 0].mean(axis=0)
    drawn[labels == 1] = mean + length * np.eye(48, dtype=np.float32)[0]
    found = measurement_of(reference, Features(drawn, nothing, labels), ["intra"])
    shares = found.values["intra-class FD over spread (Pooled)"]
    assert shares.by_class == pytest.approx({"a": 1.0, "b": 2.0}, rel=0.01)
    assert shares.value == pytest.approx(1.5, rel=0.01)
    assert found.values["intra-class FD (Pooled)"].by_class.keys() == {"a", "b", "few"}


def test_few_pictures_are_measured_with_a_warning(extractor):
    record = evaluate_pictures(both(noise(3, seed=1), noise(30)), extractor, tuple(METRICS))
    assert np.isfinite([value.mean for value in record.values.values()]).all()
    notes = " ".join(record.notes)
    assert "biased upwards: 3 pictures for 48 features; KID has no such bias" in notes
    assert "subsets of 3 instead of 1000" in notes


def test_identical_pictures_are_measured_and_named(extractor):
    alike = noise(40)
    alike.images[:] = alike.images[0]
    record = evaluate_pictures(both(alike, noise(60)), extractor, tuple(METRICS))
    assert np.isfinite([value.mean for value in record.values.values()]).all()
    assert "all measured pictures are alike" in record.notes


def test_a_network_without_classes_has_no_inception_score(extractor):
    without = replace(extractor, logit_dim=0)
    without.network.forward = lambda images: (
        torch.rand(len(images), 48),
        torch.empty(len(images), 0),
    )
    record = evaluate_pictures(both(noise(20, seed=1), noise(30)), without, ("is",))
    assert not record.values
    assert "Pooled names no classes" in record.notes[0]


def test_bad_features_and_single_pictures_are_refused(extractor):
    with pytest.raises(SaganError, match="somewhere has fewer than 2 pictures"):
        evaluate_pictures(both(noise(1), noise(30)), extractor, ("fd",))
    extractor.network.forward = lambda images: (
        torch.full((len(images), 48), torch.nan),
        torch.zeros(len(images), 5),
    )
    with pytest.raises(SaganError, match="features in picture 0 that are not finite"):
        evaluate_pictures(both(noise(20, seed=1), noise(30)), extractor, ("fd",))


def test_records_survive_the_file_and_are_compared_only_when_measured_alike(extractor, tmp_path):
    real = noise(100)
    one, other = (
        evaluate_pictures(both(noise(60, seed=seed), real), extractor, ("fd", "kid"))
        for seed in (1, 2)
    )
    assert read_record(write_record(one, tmp_path / "one.json")).values == one.values
    table = comparison([one, other])
    assert table.count("somewhere") == 2
    assert "FD (Pooled)" in table
    assert "real vs real" in table
    assert "feature_resize" in summary(one)
    different = replace(other, protocol={**other.protocol, "truncation": 0.7, "fake_pictures": 9})
    with pytest.raises(SaganError, match=r"truncation \(None and 0.7\)") as caught:
        comparison([one, different])
    assert "fake_pictures (60 and 9)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_says_everything_a_number_depends_on(extractor, trained_run, picture_folder):
    selection = Selection(samples=4, repeats=1, truncation=0.5, raw=True)
    opened = open_pictures(str(trained_run), selection, METRICS)
    record = evaluate_pictures(opened, extractor, ("fd", "kid"))
    assert record.protocol == {
        "extractor": "pooled",
        "extractor_weights_sha256": "0" * 64,
        "feature_resize": "none",
        "quantisation": "uint8",
        "resolution": 32,
        "real": open_dataset(str(picture_folder), 32).fingerprint,
        "real_split": "train",
        "real_rule": None,
        "labels": "as frequent as in the real pictures",
        "weights": "raw",
        "batch_norm": "running statistics",
        "truncation": 0.5,
        "real_pictures": 16,
        "fake_pictures": 4,
        "floor_pictures": 4,
        "kid_over": "100 subsets of 1000",
    }
    assert record.subject["step"] == 2
    assert record.versions.keys() == {"sagan", "torch", "numpy"}
    path = record_path(record)
    assert path.parent == trained_run / "evaluations"
    assert path.name.startswith("step-00000002-pooled-")


def bands(folder, count, level=0):
    """Wide pictures of 16 bits, of which each third has another level."""
    folder.mkdir(parents=True)
    for number in range(count):
        values = np.repeat(np.array([10, 500, 1000], np.uint16) + level + number, 32)
        Image.fromarray(np.tile(values, (32, 1))).save(folder / f"{number:02}.png")


def test_other_real_pictures_are_read_by_the_rules_of_training(trained_run, tmp_path):
    for place in ("train", "val"):
        bands(tmp_path / "mine" / place, 20, level=40 * (place == "val"))
    shutil.copytree(tmp_path / "mine", tmp_path / "copy")
    bands(tmp_path / "plain", 20)
    learned_from = DataConfig(
        source=str(tmp_path / "mine"),
        resolution=32,
        channels=3,
        split="val",
        crop="stretch",
        range=(0.0, 1100.0),
        held_out=0.4,
    )
    checkpoint, _ = load_checkpoint(trained_run)
    config = replace(checkpoint.config, data=learned_from)
    mark = load_dataset(learned_from).fingerprint
    model = replace(checkpoint, config=config, dataset_fingerprint=mark)
    checkpoints.save(model, tmp_path / "model.safetensors")

    def opened(against):
        selection = Selection(against=against, samples=4, repeats=1)
        return open_pictures(str(tmp_path / "model.safetensors"), selection, ("fd",))

    itself, spelled, copy, plain = (
        opened(None if name is None else str(tmp_path / name))
        for name in (None, "mine/../mine", "copy", "plain")
    )
    assert itself.real is not None
    assert spelled.protocol == itself.protocol
    assert "split val, crop stretch, range (0.0, 1100.0)" in str(itself.protocol["real_rule"])
    asked = replace(learned_from, held_out=0.0)
    assert copy.protocol["real"] == load_dataset(asked).fingerprint
    assert copy.protocol["real_rule"] == "split val, crop stretch, range (0.0, 1100.0)"
    elsewhere = replace(asked, source=str(tmp_path / "plain"), split="")
    assert plain.protocol["real"] == load_dataset(elsewhere).fingerprint
    assert plain.protocol["real_rule"] == "crop stretch, range (0.0, 1100.0)"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 1}', '{"format": 1, "values": {"a": 3}}']
)
def test_what_is_no_record_is_refused(content, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(SaganError, match="is no record of an evaluation"):
        read_record(path)
    with pytest.raises(SaganError, match="there is no record"):
        read_record(tmp_path / "absent.json")
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(SaganError, match="newer version"):
        read_record(path)


def test_sides_that_cannot_be_compared_are_refused(trained_run, picture_folder, tmp_path):
    save_png(np.zeros((3, 32, 32), np.uint8), tmp_path / "mixed" / "a.png")
    save_png(np.zeros((3, 16, 16), np.uint8), tmp_path / "mixed" / "b.png")
    run, real = str(trained_run), str(picture_folder)
    for subject, options, message in (
        (tmp_path / "mixed", {"against": real}, "b.png is 16 x 16; give a --resolution"),
        (real, {}, "is no model; say with --against"),
        (tmp_path / "nothing", {"against": real}, "there is no .*nothing; give a model"),
        (run, {"resolution": 64}, "are 32 pixels wide, the real ones 64"),
        (run, {"split": "held-out"}, "has no held-out part"),
        (run, {"against": "avatar"}, r"did you mean avatars"),
        (run, {"samples": 1}, "samples 1 is out of range"),
        (run, {"repeats": 0}, "repeats 0 is out of range"),
        (run, {"real_samples": 1}, "real-samples 1 is out of range"),
    ):
        with pytest.raises(SaganError, match=message):
            open_pictures(str(subject), Selection(**options), METRICS)


def test_real_pictures_without_the_classes_of_the_model_are_told(trained_run, tmp_path):
    for number, image in enumerate(noise(4).images):
        save_png(image, tmp_path / "flat" / f"{number}.png")
    opened = open_pictures(
        str(trained_run), Selection(samples=4, repeats=1, against=str(tmp_path / "flat")), METRICS
    )
    assert any("none of the model's classes" in note for note in opened.notes)
    drawn = open_pictures(str(trained_run), Selection(samples=4, repeats=1), METRICS)
    assert not any("classes" in note for note in drawn.notes)


def test_grey_pictures_are_measured_and_named(extractor, picture_folder, tmp_path):
    for number, image in enumerate(noise(8).images):
        save_png(image[:1].repeat(3, axis=0), tmp_path / "grey" / f"{number}.png")
    record = evaluate_pictures(
        open_pictures(str(tmp_path / "grey"), Selection(against=str(picture_folder)), METRICS),
        extractor,
        ("fd",),
    )
    assert record.notes[0].startswith("all judged pictures looked at are grey")
    assert not any("real" in note for note in record.notes)


def test_metrics_are_known_by_name():
    assert known_metrics(["kid", "fd", "kid"]) == ("kid", "fd")
    assert known_metrics(["all"]) == tuple(METRICS)
    with pytest.raises(SaganError, match=r"no metric 'fds'.*did you mean fd"):
        known_metrics(["fds"])


def test_a_model_is_measured_by_one_call(extractor, trained_run, tmp_path):
    record = evaluate_model(
        trained_run, metrics="fd, neighbours", samples=8, repeats=1, extractor=extractor
    )
    assert record.values.keys() == {"FD (Pooled)", "nearest-neighbour ratio"}
    assert record.protocol["batch_norm"] == "statistics of 128 latents"
    assert record.neighbour_sheet.shape[0] == 3
    assert read_record(write_record(record, tmp_path / "record.json")).values == record.values
    with pytest.raises(SaganError, match="no metric 'fid'"):
        evaluate_model(trained_run, metrics=["fid"], extractor=extractor)


def test_the_inception_score_needs_no_real_pictures(extractor, picture_folder):
    alone = evaluate_model(picture_folder, metrics="is", extractor=extractor)
    against = {"against": str(picture_folder), "extractor": extractor}
    assert alone.values["IS (Pooled)"].floor is None
    assert alone.protocol["real"] is None
    beside = evaluate_model(picture_folder, metrics="is", **against)
    assert alone.values["IS (Pooled)"].mean == beside.values["IS (Pooled)"].mean
    with pytest.raises(SaganError, match=r"say with --against .* or choose --metrics is, which"):
        evaluate_model(picture_folder, metrics="is,kid", extractor=extractor)


@pytest.fixture
def brightness(monkeypatch):
    """A metric more in the table."""
    metric = Metric(
        key="brightness",
        titles=("FDD of brightness{network}",),  # begins like another
        meaning="how bright",
        better="higher",
        protocol="all pictures",
        measure=lambda reference, fake, found: [Reading(float(fake.features.mean()))],
    )
    monkeypatch.setitem(METRICS, metric.key, metric)
    return metric


def test_a_metric_more_in_the_table_is_known_everywhere(brightness, extractor, tmp_path):
    name = "FDD of brightness (Pooled)"
    assert known_metrics("brightness") == ("brightness",)
    assert metric_of(name) is brightness
    record = evaluate_pictures(both(noise(9), noise(9)), extractor, known_metrics("all"))
    assert record.values[name].better == "higher"
    assert record.values[name].floor is not None
    assert record.protocol["brightness_over"] == "all pictures"
    assert read_record(write_record(record, tmp_path / "record.json")).values == record.values


def test_the_names_in_old_records_and_logs_are_known():
    for name, key in (
        ("FID", "fd"),
        ("FD (EfficientNet-Lite0)", "fd"),
        ("KID x 1000 (CLIP ViT-B/32)", "kid"),
        ("KID x 1000", "kid"),
        ("IS", "is"),
        ("recall", "pr"),
        ("coverage", "dc"),
        ("intra-class FID", "intra"),
        ("intra-class FD (DINOv2 ViT-L/14)", "intra"),
        ("class accuracy", "accuracy"),
        ("nearest-neighbour ratio", "neighbours"),
    ):
        assert metric_of(name) is METRICS[key], name
    assert metric_of("loss") is None


def test_periodic_evaluation_measures_without_touching_the_training(
    extractor, monkeypatch, dataset, trained_run
):
    monkeypatch.setattr("sagan.evaluation.periodic.load_extractor", lambda *_, **__: extractor)
    config = replace(tiny().evaluation, samples=10)
    measure = periodic_evaluation(config, "cpu")
    generator = sagan.load_generator(trained_run)
    state = torch.random.get_rng_state()
    found = measure(generator, dataset)
    assert set(found.numbers) >= {"FD (Pooled)", "recall", "coverage", "intra-class FD (Pooled)"}
    assert found.by_class.keys() == {"intra-class FD (Pooled)"}
    assert found.pictures == 10
    assert (torch.random.get_rng_state() == state).all()
    extractor.network.seen = 0
    assert measure(generator, dataset) == found
    assert extractor.network.seen == 10


def test_a_measurement_is_timed_on_pictures_that_may_not_be_written(
    extractor, monkeypatch, dataset, trained_run
):
    monkeypatch.setattr("sagan.evaluation.periodic.load_extractor", lambda *_, **__: extractor)
    images = dataset.images.copy()
    images.flags.writeable = False  # as those of a packed file
    measure = periodic_evaluation(replace(tiny().evaluation, samples=10), "cpu")
    paces = measure._pace(sagan.load_generator(trained_run), replace(dataset, images=images))
    assert min(paces) > 0


def test_a_measurement_takes_as_many_pictures_as_fit_into_its_time(monkeypatch):
    measure = PeriodicEvaluation(EvaluationConfig(), "cpu")
    monkeypatch.setattr(measure, "_pace", lambda *_: (0.01, 0.001))

    def count(seconds):
        return measure._affordable(None, None, seconds)

    assert [count(seconds) for seconds in (21, 20, 11, 6)] == [2000, 1500, 1000, 500]
    with pytest.raises(SaganError, match=r"with 500 pictures it would take 0:06 or more, .* 0:05$"):
        count(5)
    monkeypatch.setattr(measure, "_pace", None)  # nothing is tried, let alone loaded
    with pytest.raises(SaganError, match=r"would take 0:03 or more, .* leaves 0:03$"):
        count(2.9)


def test_unknown_metrics_are_named_before_anything_is_loaded():
    with pytest.raises(SaganError, match="no metric 'fid'"):
        PeriodicEvaluation(EvaluationConfig(metrics=("fid",)), "cpu")


def test_an_evaluation_agrees_with_torch_fidelity_on_the_same_folders(
    inception_weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))
    for name, low in (("judged", 40), ("real", 0)):
        for number, image in enumerate(noise(12, seed=low, low=low).images):
            save_png(image, tmp_path / name / f"{number:02}.png")
    opened = open_pictures(
        str(tmp_path / "judged"), Selection(against=str(tmp_path / "real")), METRICS
    )
    inception = load_extractor("inception", weights=inception_weights)
    values = evaluate_pictures(opened, inception, ("fd", "kid", "is", "pr")).values

    from torch_fidelity import calculate_metrics

    theirs = calculate_metrics(
        input1=str(tmp_path / "judged"),
        input2=str(tmp_path / "real"),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception_weights),
        kid_subset_size=12,
        cuda=False,
        cache=False,
        save_cpu_ram=True,  # reads the pictures in this process
        verbose=False,
        **dict.fromkeys(("fid", "kid", "isc", "prc"), True),
    )
    for name, key, factor in (
        ("FID", "frechet_inception_distance", 1),
        ("KID x 1000", "kernel_inception_distance_mean", 1000),
        ("IS", "inception_score_mean", 1),
        ("precision", "precision", 1),
        ("recall", "recall", 1),
    ):
        assert values[name].mean == pytest.approx(factor * theirs[key], rel=1e-3), name

"""The report: its verdict, its parts, and the page in a browser."""

import base64
import io
import json
import os
import re
import shutil
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny
from PIL import Image

from sagan.config import to_toml
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.evaluation.record import Record, Value, write_record
from sagan.images import grid, save_png
from sagan.nn.residual import Generator
from sagan.report import verdict, write_report
from sagan.report.attended import attention_figures
from sagan.report.charts import draw_charts, smoothed, thinned
from sagan.report.history import History, Series, read_history
from sagan.report.neighbours import find_neighbours
from sagan.report.sheets import FRAME_PIXELS, embedded, newest_sheet, timeline, without_lines
from sagan.report.tables import tables_of
from sagan.report.verdict import judge
from sagan.report.viewer import ROWS_BYTES, viewer_of_drawn, viewer_of_real
from sagan.report.walks import walks
from sagan.runs import alarms
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import TrainedGenerator, load_generator
from sagan.system.extras import install

SECTIONS = (
    "verdict",
    "newest",
    "timeline",
    "curves",
    "attention",
    "walks",
    "neighbours",
    "records",
    "settings",
)


def curve(*values):
    return Series(np.arange(1, len(values) + 1), np.array(values, dtype=float))


def history(variety=0.7, discriminator_loss=0.8, distances=()):
    """Of a healthy run, but for what is given."""
    curves = {
        "discriminator_real": curve(*[1.0] * 90, *[discriminator_loss / 2] * 10),
        "discriminator_fake": curve(*[1.0] * 90, *[discriminator_loss / 2] * 10),
        "generator": curve(*[0.5] * 100),
        "variety": curve(0.5, variety),
    }
    metrics = {"KID x 1000": curve(1.0), "FD (Pooled)": curve(*distances)} if distances else {}
    return History(step=100, curves=curves, metrics=metrics)


def record(step=2, *, ratio=None, **protocol):
    values = {"FD (Pooled)": value(12.5)}
    if ratio is not None:
        values["nearest-neighbour ratio"] = value(ratio)
    return Record(
        subject={"kind": "generator", "path": "run", "step": step},
        protocol={"extractor": "pooled", "fake_pictures": 8, **protocol},
        values=values,
        details={"intra-class FD (Pooled)": {"dark": 3.0, "light": 4.0}},
        notes=("a note",),
    )


def value(mean):
    return Value(each=(mean,), mean=mean, spread=None, within=None, floor=1.0, better="lower")


@pytest.fixture
def run_folder(trained_run, tmp_path):
    """A copy of a finished run, to change."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.fixture(scope="module")
def report(trained_run, tmp_path_factory):
    """The report of a run of two sheets, two protocols and two names that HTML could mistake."""
    folder = shutil.copytree(trained_run, tmp_path_factory.mktemp("report") / "run")
    rewrite(folder, class_names=("<script>alert(1)</script>", "R&D"))
    save_png(np.zeros((3, 70, 274), np.uint8), folder / "samples" / "step-00000001.png")
    write_record(record(1), folder / "evaluations" / "one.json")
    write_record(record(2, truncation=0.5), folder / "evaluations" / "two.json")
    (folder / "evaluations" / "broken.json").write_text("{")
    told = "a sentence about what is wrong, and what helps against it; " * 5
    alarm = {"step": 1, "event": "alarm", "alarm": "saturated-discriminator", "detail": told}
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(alarm) + "\n")
    return write_report(folder)


def rewrite(folder, **changes):
    """Changes the checkpoint of a run."""
    path = checkpoint_files(folder)[-1]
    checkpoints.save(replace(checkpoints.load(path), **changes), path)


def test_a_verdict_holds_from_its_threshold_on():
    def word(seen=10**6, ratio=1.0, **changes):
        return judge(history(**changes), pictures_seen=seen, nearest_ratio=ratio).word

    assert word() == "learning"
    assert word(seen=alarms.EARLY_PICTURES - 1) == "too early to say"
    assert word(seen=alarms.EARLY_PICTURES) == "learning"
    assert word(variety=alarms.LITTLE_VARIETY) == "learning"
    assert word(variety=alarms.LITTLE_VARIETY - 1e-6) == "narrow"
    assert word(variety=alarms.COLLAPSED_VARIETY) == "narrow"
    assert word(variety=alarms.COLLAPSED_VARIETY - 1e-6) == "collapsed"
    assert word(variety=0.0) == "collapsed"
    assert word(discriminator_loss=verdict.DEFEATED_LOSS + 1e-9) == "learning"
    assert word(discriminator_loss=verdict.DEFEATED_LOSS - 1e-6) == "collapsed"
    assert word(distances=(10, 20)) == "learning"
    assert word(distances=(90, 10, 20.1)) == "collapsed"
    assert word(ratio=verdict.MEMORISED_RATIO) == "learning"
    assert word(ratio=verdict.MEMORISED_RATIO - 1e-6) == "memorising"
    assert word(ratio=None) == "learning"


def test_a_verdict_states_every_figure_beside_its_threshold():
    found = judge(history(variety=0.71), pictures_seen=123_456, nearest_ratio=2.5)
    assert [(check.measured, check.threshold, check.answer) for check in found.checks] == [
        ("123,456 pictures", "at least 20,000", "yes"),
        ("71% of the real variety", "at least 20%", "yes"),
        ("71% of the real variety", "at least 60%", "yes"),
        ("not watched", "none", "unknown"),
        ("discriminator loss 0.80", "at least 0.05", "yes"),
        ("not measured", "at most 2", "unknown"),
        ("distance 2.50 in pixels", "at least 0.5", "yes"),
        ("not measured", "at least recall 0.167 and coverage 0.504", "unknown"),
        ("not measured", "below 1", "unknown"),
    ]
    assert "was not measured; sagan evaluate RUN measures it" in found.sentence


# 2,000 drawn pictures against 2,000 real ones, in the features of EfficientNet-Lite0: recall,
# coverage, and the distance over the spread of four classes; docs/evaluation.md has the table.
CLASSES = ("monster", "robot head", "cat", "person")
RUNS = {
    "avatars32-sagan, seed 0": (0.0005, 0.044, (1.24, 1.89, 1.57, 1.32), "narrow"),
    "avatars32-sagan, seed 1": (0.0, 0.0535, (1.39, 1.35, 1.5, 1.07), "narrow"),
    "avatars32-sagan, seed 2": (0.0, 0.081, (1.17, 0.95, 1.55, 1.04), "narrow"),
    "avatars32, seed 0": (0.0185, 0.183, (0.99, 0.84, 0.97, 1.07), "learning, still narrow"),
    "avatars32, seed 1": (0.031, 0.24, (0.97, 0.65, 0.8, 0.81), "learning, still narrow"),
    "avatars32, seed 2": (0.012, 0.179, (0.93, 0.69, 0.88, 0.9), "learning, still narrow"),
    "R1 = R2 = 0.2, seed 0": (0.0275, 0.197, (0.86, 0.72, 0.9, 0.8), "learning, still narrow"),
    "259,000 pictures, width 16": (0.09, 0.307, (0.67, 0.56, 0.65, 0.75), "learning"),
    "259,000 pictures, width 32": (0.137, 0.465, (0.54, 0.43, 1.01, 0.67), "learning"),
    "64 pixels, 761,000 pictures": (0.165, 0.425, (0.52, 0.54, 0.75, 0.79), "learning"),
    "real pictures": (0.9065, 0.971, (0.16, 0.13, 0.17, 0.21), "learning"),
}


@pytest.mark.parametrize("run", RUNS)
def test_measured_runs_get_the_word_that_they_deserve(run):
    recall, coverage, distances, word = RUNS[run]
    title = "intra-class FD over spread (EfficientNet-Lite0)"
    numbers = {"recall": recall, "coverage": coverage, title: float(np.mean(distances))}
    log = replace(
        history(),
        metrics={name: curve(value) for name, value in numbers.items()},
        by_class={title: dict(zip(CLASSES, distances, strict=True))},
    )
    found = judge(log, pictures_seen=89_600, samples=2000)
    assert found.word == word
    assert found.sentence == verdict.SENTENCES[word]
    farthest = CLASSES[int(np.argmax(distances))]
    assert f"the farthest {farthest} {max(distances):.2f}" in found.checks[-1].measured


@pytest.mark.parametrize(
    ("pictures", "recall", "coverage", "word"),
    [
        (500, 0.028, 0.286, "narrow"),  # avatars32-sagan's best of three seeds
        (500, 0.062, 0.354, "learning, still narrow"),  # avatars32's worst
        (500, 0.136, 0.46, "learning, still narrow"),  # its best
        (500, 0.212, 0.524, "learning"),  # 259,000 pictures
        (5000, 0.0008, None, "narrow"),
        (5000, 0.0024, None, "learning, still narrow"),
        (5000, 0.0196, None, "learning, still narrow"),
        (5000, 0.032, None, "learning"),
        (50_000, 0.0, 0.016, "narrow"),
        (499, 0.0, 0.0, "learning"),  # which is too few to say
    ],
)
def test_recall_and_coverage_are_judged_by_the_number_of_pictures(pictures, recall, coverage, word):
    metrics = {"recall": curve(recall)}
    if coverage is not None:
        metrics["coverage"] = curve(coverage)
    curves = {**history().curves, "evaluation_pictures": curve(pictures)}
    log = replace(history(), metrics=metrics, curves=curves)
    assert judge(log, pictures_seen=89_600).word == word


def test_either_share_and_the_distance_within_classes_can_be_what_is_missing():
    title = "intra-class FD over spread (Pooled)"

    def word(**numbers):
        numbers = {"recall": 0.5, "coverage": 0.5, title: 0.5} | numbers
        metrics = {name: curve(value) for name, value in numbers.items()}
        return judge(replace(history(), metrics=metrics), pictures_seen=10**6, samples=2000).word

    assert word() == "learning"
    assert word(recall=0.005) == word(coverage=0.13) == "learning, still narrow"
    assert word(recall=0.0049) == word(coverage=0.129) == "narrow"
    assert word(recall=0.0549) == word(coverage=0.269) == "learning, still narrow"
    assert word(recall=0.055) == word(coverage=0.27) == "learning"
    assert word(**{title: 0.99}) == "learning"
    assert word(**{title: 1.0}) == "narrow"


def test_the_newest_measurement_counts_whether_logged_or_recorded():
    def recorded(step, recall, **protocol):
        sides = {"real_pictures": 50_000, "fake_pictures": 2000, **protocol}
        return replace(record(step, **sides), values={"recall": value(recall)})

    log = replace(history(), metrics={"recall": curve(*[0.5] * 100)})

    def word(*records):
        return judge(log, pictures_seen=10**6, records=records, samples=2000).word

    assert word(recorded(99, 0.0)) == "learning"
    assert word(recorded(101, 0.0)) == "narrow"
    assert word(recorded(101, 0.0, truncation=0.5)) == "learning"
    assert word(recorded(101, 0.0, weights="raw")) == "learning"
    assert word(recorded(101, 0.0), recorded(102, 0.02)) == "learning, still narrow"


def test_the_class_that_varies_least_decides():
    log = replace(history(), varieties={"cat": 0.19, "person": 0.9})
    found = judge(log, pictures_seen=10**6)
    assert found.word == "collapsed"
    assert found.checks[1].measured == "19% of the real variety in the class cat"
    log = replace(log, varieties={"cat": 0.7, "person": 0.9})
    assert judge(log, pictures_seen=10**6).word == "learning"
    assert judge(log, pictures_seen=10**6, varieties={"": 0.0}).word == "collapsed"


def test_a_few_shapes_in_many_colours_do_not_vary():
    """What the demo drew that learned three shapes of robots and two colours of cats."""
    robots = {f"robot {n}": v for n, v in enumerate((0.59, 0.63, 0.63, 0.38, 0.48, 0.55, 0.52))}
    found = judge(
        history(), pictures_seen=89_600, varieties={**robots, "cat": 0.29, "person": 0.47}
    )
    assert found.word == "narrow"
    assert found.checks[2].measured == "47% of the real variety"
    assert found.checks[2].passed is False


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("collapsed-class", "collapsed"),
        ("exploding-loss", "collapsed"),
        ("saturated-discriminator", "collapsed"),
        ("memorising", "memorising"),
        ("little-variety", "narrow"),
    ],
)
def test_a_standing_alarm_counts(name, word):
    standing = {name: alarms.Alarm(name=name, step=300, detail="why")}
    found = judge(replace(history(), watched=True, alarms=standing), pictures_seen=10**6)
    assert found.word == word
    assert (found.checks[3].measured, found.checks[3].answer) == (name, "no")
    quiet = judge(replace(history(), watched=True), pictures_seen=10**6)
    assert quiet.word == "learning"
    assert (quiet.checks[3].measured, quiet.checks[3].answer) == ("none", "yes")


def test_alarms_are_read_from_the_log_and_shown(run_folder):
    wrong = {"watched_loss": 1e10}
    lines = [{"step": step, **wrong} for step in (3, 4, 5)]
    lines.append({"step": 5, "event": "alarm", "alarm": "exploding-loss", "detail": "<b>too big"})
    with (run_folder / "log.jsonl").open("a") as log:
        log.writelines(json.dumps(line) + "\n" for line in lines)
    found = read_history(run_folder)
    assert list(found.alarms) == ["exploding-loss"]
    assert found.watched
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert "&lt;b&gt;too big" in page
    assert "Alarms while it trained" in page


def test_the_newest_record_counts_for_memorising():
    copied, own = record(100, ratio=0.1), record(200, ratio=1.1)
    assert judge(history(), pictures_seen=10**6, records=[own, copied]).word == "learning"
    later = replace(copied, subject={"step": 300})
    found = judge(history(), pictures_seen=10**6, records=[own, later], nearest_ratio=2.0)
    assert found.word == "memorising"
    assert found.checks[6].measured == "distance 2.00 in pixels, 0.10 in features"


def test_the_distance_is_found_by_the_table_of_metrics():
    metrics = {"FDD of brightness": curve(10, 90), "FID": curve(9, 9)}
    found = judge(replace(history(), metrics=metrics), pictures_seen=10**6)
    assert found.checks[5].measured == "1.00 times its best distance"


def test_variety_is_taken_from_elsewhere_where_the_log_lacks_it():
    silent = History(step=100)
    assert judge(silent, pictures_seen=10**6).word == "too early to say"
    assert judge(silent, pictures_seen=10**6, varieties={"": 0.0}).word == "collapsed"
    assert judge(history(variety=0.0), pictures_seen=10**6).word == "collapsed"


def test_a_log_is_read_as_far_as_it_can_be(tmp_path):
    lines = [
        '{"step": 2, "generator": 1.0, "generator_gamma_16": 0.5}',
        '{"step": 1, "generator": 3.0}',
        '{"step": 2, "generator": 2.0}',
        '{"step": 2, "variety": NaN}',
        '{"step": 2, "variety": 1' + "0" * 400 + "}",
        '{"step": 2, "evaluation": "none"}',
        '{"step": 2, "evaluation": {"FD": 7.5}, "evaluation_seconds": 1.5}',
        '{"step": 2, "evaluation_error": "no weights"}',
        '{"step": 2, "variety_by_class": {"cat": 0.5, "dog": NaN, "ox": "1"}, "variety": 0.5}',
        '{"step": 2, "variety_by_class": [0.1]}',
        '{"step": 2, "evaluation": {"FD": 7.5}, "evaluation_by_class": {"intra": {"cat": 2}}}',
        '{"step": 2, "evaluation_by_class": 3}',
        '["no record"]',
        '{"step": 3, "genera',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    found = read_history(tmp_path)
    assert found.step == 2
    assert found.curves["generator"].steps.tolist() == [1, 2]
    assert found.curves["generator"].values.tolist() == [3.0, 2.0]
    assert found.newest("generator") == 2.0
    assert found.newest("generator", share=1.0) == 2.5
    assert found.newest("variety") == 0.5
    assert found.newest("variety_least") == 0.5
    assert found.varieties == {"cat": 0.5}
    assert found.by_class == {"intra": {"cat": 2.0}}
    assert found.metrics["FD"].values.tolist() == [7.5]
    assert read_history(tmp_path / "absent").step == 0


def test_distances_are_compared_with_those_measured_alike(tmp_path):
    records = [
        {"step": 1, "evaluation": {"FID": 9.0}, "evaluation_pictures": 5000},
        {"step": 2, "evaluation": {"FD (Pooled)": 30.0}, "evaluation_pictures": 5000},
        {"step": 3, "evaluation": {"FD (Pooled)": 70.0}, "evaluation_pictures": 500},
        {"step": 4, "evaluation": {"FD (Pooled)": 60.0}, "evaluation_pictures": 500},
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, records)))
    found = read_history(tmp_path)
    assert found.comparable("fd").tolist() == [70, 60]
    assert found.comparable("kid").size == 0


def test_long_curves_are_thinned_and_smoothed_without_shift():
    ramp = Series(np.arange(10_001), np.arange(10_001) * 2.0)
    few = thinned(ramp)
    assert len(few.steps) == 600
    np.testing.assert_allclose(few.values, few.steps * 2)
    assert few.values.mean() == pytest.approx(ramp.values.mean(), rel=1e-3)
    line = curve(*range(100))
    np.testing.assert_allclose(smoothed(line).values, line.values)
    noisy = curve(*np.random.default_rng(0).normal(size=200))
    assert smoothed(noisy).values.std() < 0.6 * noisy.values.std()
    assert thinned(noisy) is noisy


def test_charts_take_the_colours_of_the_page():
    charts = draw_charts(history(distances=(3.0, 2.0)))
    assert [chart.title for chart in charts] == [
        "Losses",
        "Variety within a class",
        "KID x 1000",
        "FD (Pooled)",
    ]
    for chart in charts:
        assert "currentColor" in chart.svg
        assert "var(--series-1)" in chart.svg
        assert not re.search(r"#01010\d", chart.svg)
    assert "from 3 to 2" in charts[-1].description
    identifiers = re.findall(r' id="([^"]+)"', "".join(chart.svg for chart in charts))
    assert len(identifiers) == len(set(identifiers))
    with pytest.raises(SaganError, match="no curve"):
        draw_charts(History())


def test_records_of_different_protocols_stand_in_different_tables():
    records = [record(1), record(2), record(2, truncation=0.5), record(3)]
    first, second = tables_of(records)
    assert [column.title for column in first.columns] == ["step 1", "step 2", "step 3"]
    assert [column.title for column in second.columns] == ["step 2"]
    assert first.rows == (("FD (Pooled)", "12.5", "12.5", "12.5", "1.000", "lower"),)
    assert ("truncation", "0.5") in second.protocol
    ((name, by_class),) = second.details
    assert name == "intra-class FD (Pooled)"
    assert by_class == (("light", "4.000"), ("dark", "3.000"))


def test_copies_of_training_pictures_are_found(trained_run):
    generator = load_generator(trained_run)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    drawn = generator.sample(range(256), [seed % 2 for seed in range(256)])
    for images, is_copied in ((noise, False), (np.concatenate([noise, drawn]), True)):
        labels = np.zeros(len(images), np.int64)
        data = Dataset(images=images, labels=labels, class_names=("a",), fingerprint="")
        if is_copied:
            far = np.repeat(noise, 5, axis=0) ^ rng.integers(
                0, 64, (320, 3, 32, 32), dtype=np.uint8
            )
            images = np.concatenate([far, drawn])
            data = replace(data, images=images, labels=np.zeros(len(images), np.int64))
        found = find_neighbours(generator, data)
        assert (found.ratio < verdict.MEMORISED_RATIO) == is_copied
        ratios = [match.ratio for row in found.rows for match in row.matches[:1]]
        assert ratios == sorted(ratios)
        for row in found.rows:
            assert [match.ratio for match in row.matches] == sorted(m.ratio for m in row.matches)
    for few, message in ((noise[:3], "too few"), (noise[[0] * 9], "there twice")):
        data = replace(data, images=few, labels=np.zeros(len(few), np.int64))
        with pytest.raises(SaganError, match=message):
            find_neighbours(generator, data)


def test_a_generator_without_classes_has_all_pictures_too():
    torch.manual_seed(0)
    network = Generator(tiny().generator, resolution=32, num_classes=0)
    generator = TrainedGenerator(network.eval(), ())
    assert newest_sheet(generator).rows == ()
    assert len(attention_figures(generator)) == 3
    (walk,) = walks(generator)
    assert walk.strip.rows == ()
    assert walk.moving is not None
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 32, 32), dtype=np.uint8)
    data = Dataset(images=images, labels=np.zeros(9, np.int64), class_names=(), fingerprint="")
    assert find_neighbours(generator, data).rows[0].name.startswith("seed ")


def test_large_sheets_are_cut(tmp_path):
    sheet = grid(np.zeros((8 * 16, 3, 128, 128), np.uint8), 8)
    first = save_png(sheet, tmp_path / "samples" / "step-00000001.png")
    for step in range(2, 31):
        first.with_name(f"step-{step:08d}.png").symlink_to(first)
    found = timeline(tmp_path, None, (128, 128))
    assert found.cut
    assert found.stored == 30
    assert [found.frames[0].step, found.frames[-1].step] == [1, 30]
    assert len(found.frames) == 10
    for frame in found.frames:
        assert frame.picture.width * frame.picture.height <= FRAME_PIXELS
        assert (frame.picture.width - 2) % 130 == (frame.picture.height - 2) % 130 == 0


def test_the_page_has_every_section_and_nothing_from_elsewhere(report):
    assert report.name == "report.html"
    page = report.read_text()
    for name in SECTIONS:
        assert f'<section id="{name}"' in page
    assert "Not shown" not in page
    assert "Too early to say" in page
    assert page.count("<table>") == 4  # two protocols, each with its classes
    assert "broken.json is no record" in page
    text = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", page)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    assert re.findall(r"https?://[^\s\"<]+", text) == ["https://arxiv.org/abs/1805.08318"]
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:,\")|@import|url\((?!#)", text)
    assert set(re.findall(r'\bsrc="([^"]*)"', text)) == {""}
    for element in re.findall(r"<img[^>]*>", text):
        if "src=" in element:  # the others wait for a script
            assert re.search(r'alt="[^"]+"', element)
            assert re.search(r'data-file="[\w-]+\.(png|webp)"', element)


def test_what_is_missing_is_said_and_the_rest_is_shown(run_folder, tmp_path):
    config = checkpoints.load(checkpoint_files(run_folder)[-1]).config
    gone = replace(config.data, source=str(tmp_path / "gone <b>"))
    rewrite(run_folder, config=replace(config, data=gone))
    (run_folder / "config.toml").write_text(to_toml(replace(config, data=gone)))
    shutil.rmtree(run_folder / "samples")
    page = write_report(run_folder, tmp_path / "a.html").read_text()
    assert page.count("Not shown") == 3
    assert "the training pictures cannot be had: the run was trained on /" in page
    assert "<b>" not in page
    assert "training has left no sheet of pictures yet" in page
    assert "Nothing measured yet" in page
    shutil.rmtree(run_folder / "checkpoints")
    page = write_report(run_folder, tmp_path / "b.html").read_text()
    assert "Too early to say" in page
    assert "there is no checkpoint yet to draw with" in page
    (run_folder / "log.jsonl").unlink()
    with pytest.raises(SaganError, match="holds no checkpoint yet"):
        write_report(run_folder)


def test_names_are_shown_as_they_are(report):
    page = report.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "R&amp;D" in page


def test_mistakes_are_named(run_folder, tmp_path, monkeypatch):
    with pytest.raises(SaganError, match="is no run folder"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(SaganError, match="cannot write the report"):
        write_report(run_folder, tmp_path / "file" / "report.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SaganError, match=install("report")):
        write_report(run_folder)


def unpacked(text, dtype):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def test_a_viewer_holds_the_rows_of_its_pictures(dataset):
    shipped = load_checkpoint("avatars64")[0]
    found = viewer_of_drawn(shipped)
    names = [asked.name for asked in found.pictures]
    assert 4 <= len(names) <= 8
    assert (names[0], names[-1]) == ("blue robot", "person")
    [layer] = found.data["pictures"][-1]
    assert (layer["queries"], layer["keys"]) == ([32, 32], [16, 16])
    levels = unpacked(layer["levels"], np.uint8).reshape(1024, 256)
    largest, entropy = unpacked(layer["numbers"], "<f4").reshape(1024, 2).T
    attention = load_generator("avatars64").attention(0, "person", at=[(20, 30)])
    row = attention.rows["32"][0, 0]
    query = 15 * 32 + 10
    assert largest[query] == pytest.approx(row.max(), abs=1e-5)
    np.testing.assert_allclose(levels[query] / 255 * largest[query], row, atol=row.max() / 500)
    expected = -(row * np.log(row)).sum() / np.log(256)
    assert entropy[query] == pytest.approx(expected, abs=1e-4)
    assert sum(len(rows["levels"]) for [rows] in found.data["pictures"]) < ROWS_BYTES
    with pytest.raises(SaganError, match="uint8"):
        viewer_of_real(shipped, dataset)


def test_a_viewer_keeps_within_its_room(monkeypatch):
    shipped = load_checkpoint("avatars64")[0]
    monkeypatch.setattr("sagan.report.viewer.ROWS_BYTES", 60_000)
    found = viewer_of_drawn(shipped)
    layers = [layer for picture in found.data["pictures"] for layer in picture]
    assert sum(len(layer["levels"]) + len(layer["numbers"]) for layer in layers) <= 60_000
    assert layers[0]["queries"] == [16, 16]
    assert found.layers == (
        "Layer 32 x 32: 256 blocks of 4 x 4 pixels to look at; one of 2 x 2 places answers",
    )
    whole = unpacked(layers[0]["numbers"], "<f4").reshape(16, 16, 2)
    monkeypatch.undo()
    [every] = viewer_of_drawn(shipped).data["pictures"][0]
    rows = unpacked(every["numbers"], "<f4").reshape(32, 32, 2)
    np.testing.assert_array_equal(whole, rows[::2, ::2])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_lines_of_a_sheet_let_the_page_through(channels):
    pictures = np.random.default_rng(0).integers(0, 256, (6, channels, 8, 12), dtype=np.uint8)
    sheet = grid(pictures, 3)
    seen = without_lines(sheet, (8, 12))
    assert seen.shape == (4, *sheet.shape[1:])
    opaque = seen[3, 2:10, 2:14]
    np.testing.assert_array_equal(opaque, pictures[0, 3] if channels == 4 else 255)
    np.testing.assert_array_equal(
        seen[:3, 2:10, 2:14], np.broadcast_to(pictures[0, :3], (3, 8, 12))
    )
    assert not seen[3, :2].any()
    assert not seen[3, 10:12].any()
    assert not seen[3, :, 14:16].any()


def test_a_picture_of_the_page_is_without_loss_and_has_the_name_of_a_file():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 40, 30), dtype=np.uint8)
    found = embedded(pixels, "words", "Grey <robot>, step 3")
    data = base64.b64decode(found.uri.partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), pixels)
        assert found.file == f"grey-robot-step-3.{image.format.lower()}"


@pytest.fixture(scope="module")
def chromium():
    """Headless Chromium, or a reason to skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )


@pytest.fixture
def opened(chromium, report):
    """Opens the report; at the end nothing was complained of, nothing else was asked for."""
    complaints, requests, contexts = [], [], []

    def page_of(width=1280, height=900, scheme="light"):
        view = {"width": width, "height": height}
        contexts.append(chromium.new_context(viewport=view, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        page.locator(".viewer").last.wait_for()
        return page

    yield page_of
    for context in contexts:
        context.close()
    assert complaints == []
    local = ("data:", "blob:", report.as_uri())
    assert [url for url in requests if not url.startswith(local)] == []


def photograph(page, name, tmp_path):
    """Keeps a picture of what is seen, where the environment says or in passing."""
    folder = Path(os.environ.get("SAGAN_SCREENSHOTS", tmp_path))
    return page.screenshot(path=folder / f"report-{name}.png")


def map_of(page):
    return page.locator(".viewer canvas").first.evaluate("canvas => canvas.toDataURL()")


def test_the_page_works_in_a_browser(opened):
    page = opened(400, 800)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    widths = page.evaluate("[...document.images].filter(i => i.src).map(i => i.naturalWidth)")
    assert len(widths) > 20
    assert all(widths)
    slider, shown = page.get_by_role("slider"), page.locator(".frames img:visible")
    last = shown.get_attribute("src")
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 1"
    assert shown.get_attribute("src") != last
    page.keyboard.press("ArrowRight")
    assert shown.get_attribute("src") == last
    page.locator(".timeline").get_by_role("button", name="Play").click()
    assert slider.get_attribute("aria-valuetext") == "step 1"


def test_the_attention_answers_the_pointer(opened, trained_run):
    page = opened()
    asked, told = page.locator(".asked").first, page.locator(".viewer output").first
    side = asked.bounding_box()["width"]
    for x, y in ((3, 4), (28, 20)):
        asked.hover(position={"x": (x + 0.5) * side / 32, "y": (y + 0.5) * side / 32})
        name = "<script>alert(1)</script>"
        rows = load_generator(trained_run).attention(0, 0, at=[(x, y)]).rows["16"][0, 0]
        assert told.text_content().startswith(f"Point {x}, {y}. Layer 16: ")
        assert f"largest weight {100 * rows.max():.1f} %" in told.text_content()
    assert page.locator(".viewer .name").first.text_content() == f"{name}, seed 0"
    corner = page.evaluate("document.querySelector('.viewer .most').style.cssText")
    cell = int(rows.argmax())
    assert f"left: {100 * (cell % 8) / 8:g}%; top: {100 * (cell // 8) / 8:g}%" in corner


def test_a_point_is_held_by_a_click_and_let_go(opened):
    page = opened()
    asked, told = page.locator(".asked").first, page.locator(".viewer output").first
    asked.click(position={"x": 50, "y": 50})
    held = told.text_content()
    assert ", held." in held
    asked.hover(position={"x": 200, "y": 90})
    assert told.text_content() != held
    page.mouse.move(5, 5)
    assert told.text_content() == held
    asked.focus()
    page.keyboard.press("Escape")
    assert ", held." not in told.text_content()


def test_the_attention_answers_the_keyboard(opened):
    page = opened(400, 800)
    told = page.locator(".viewer output").first
    page.locator(".asked").first.focus()
    for key, point in (
        ("ArrowRight", "17, 16"),
        ("ArrowDown", "17, 17"),
        ("Shift+ArrowLeft", "9, 17"),
        ("ArrowUp", "9, 16"),
        *[("Shift+ArrowUp", f"9, {y}") for y in (8, 0, 0)],
    ):
        page.keyboard.press(key)
        assert told.text_content().startswith(f"Point {point}. ")
    page.keyboard.press("Enter")
    assert told.text_content().startswith("Point 9, 0, held. ")
    seen = map_of(page)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.viewer .name').textContent == 'R&D, seed 0'")
    assert map_of(page) != seen
    seen = map_of(page)
    page.get_by_label("One scale of colours").first.check()
    assert map_of(page) != seen


def test_pictures_enlarge_and_are_saved(opened):
    page = opened()
    dialog = page.locator("dialog")
    page.locator("#neighbours .enlarge").first.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    enlarged = dialog.locator("img")
    first = enlarged.get_attribute("src")
    box = enlarged.bounding_box()
    assert box["width"] >= 320
    assert box["width"] % 32 == box["height"] % 32 == 0
    page.keyboard.press("ArrowRight")
    assert enlarged.get_attribute("src") != first
    page.keyboard.press("ArrowLeft")
    assert enlarged.get_attribute("src") == first
    with page.expect_download() as download:
        dialog.get_by_text("Save").click()
    assert re.fullmatch(r"run-generated-[\w-]+\.(png|webp)", download.value.suggested_filename)
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "enlarge"


def test_every_picture_has_a_file_and_sheets_their_names(opened, tmp_path):
    page = opened()
    pictures = page.locator("main .shot img").count()
    assert page.locator(".shot .save").count() == pictures
    assert page.locator(".chart + .save, .charts .save").count() == page.locator(".chart").count()
    names = page.evaluate("[...document.querySelectorAll('main .save')].map(x => x.ariaLabel)")
    assert all(name.startswith("Save ") for name in names)
    for place, name in (
        ("#newest .save", "run-newest-pictures.png"),
        ("#curves .save", "run-losses.svg"),
        (".viewer .save", "map--script-alert-1-script-seed-0-layer-16-point-16-16.png"),
    ):
        link = page.locator(place).first
        link.focus()
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    with Image.open(tmp_path / "run-newest-pictures.png") as sheet:
        assert sheet.width > sheet.height / 70 * 410  # the names stand beside the pictures
    assert "var(" not in (tmp_path / "run-losses.svg").read_text()


def test_dark_has_no_light_slabs(opened, tmp_path):
    for scheme, switch in (("dark", "auto"), ("light", "dark")):
        page = opened(scheme=scheme)
        page.locator(f".theme [value={switch}]").check()
        page.add_style_tag(content=".pixels, .smooth { visibility: hidden }")
        for number in range(page.evaluate("document.body.scrollHeight") // 900 + 1):
            page.evaluate(f"scrollTo(0, {900 * number})")
            seen = photograph(page, f"dark-{number}", tmp_path)
            with Image.open(io.BytesIO(seen)) as image:
                assert (np.asarray(image.convert("L")) > 200).mean() < 0.03
    page.locator(".theme [value=light]").check()
    with Image.open(io.BytesIO(photograph(page, "light", tmp_path))) as image:
        assert (np.asarray(image.convert("L")) > 200).mean() > 0.5


def test_the_contents_lead_through_the_page(opened, tmp_path):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"
    links = page.locator("nav a")
    assert links.count() == len(SECTIONS)
    for number, name in enumerate(SECTIONS):
        links.nth(number).click()
        assert page.url.endswith(f"#{name}")
    page.wait_for_function("document.querySelector('nav a[aria-current]').hash == '#settings'")
    links.nth(4).click()
    page.wait_for_function("document.querySelector('nav a[aria-current]').hash == '#attention'")
    photograph(page, "attention", tmp_path)


@pytest.mark.parametrize("width", [320, 390, 800])
def test_narrow_screens_scroll_in_one_direction(opened, tmp_path, width):
    page = opened(width, 800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.locator("nav a").first.is_visible()
    page.locator("nav summary").click()
    photograph(page, f"phone-{width}", tmp_path)
    page.locator("nav a").nth(4).click()
    assert not page.locator("nav a").first.is_visible()
    assert page.locator("#attention h2").bounding_box()["y"] > 0
    page.locator(".asked").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_figures_are_there(chromium, report):
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(report.as_uri())
    assert not page.locator(".viewer").first.is_visible()
    assert page.locator("#attention .panel img").first.is_visible()
    assert page.locator("nav a").first.is_visible()
    page.context.close()

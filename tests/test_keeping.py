"""Which checkpoints a run keeps, and how they are written."""

import math
import threading
from dataclasses import replace

import pytest
import torch
from conftest import tiny
from safetensors import safe_open

import sagan
from sagan.errors import SaganError
from sagan.evaluation.periodic import Evaluated
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.digests import digests_in
from sagan.runs.folder import best_step, checkpoint_files, step_of
from sagan.runs.named import model_file
from sagan.runs.run import Run
from sagan.training import keeping
from sagan.training.driver import Driver
from sagan.training.keeping import CheckpointWriter, best_mark, require_best


def settings(source, *, evaluation=None, **train):
    config = tiny(**{"checkpoint_interval": 1, "sample_interval": 100, **train})
    chosen = replace(config.evaluation, **(evaluation or {"samples": 0}))
    return replace(config, data=replace(config.data, source=str(source)), evaluation=chosen)


def steps_kept(folder):
    return [step_of(file) for file in checkpoint_files(folder)]


def of(value):
    tensor = torch.full((3,), float(value))
    return Checkpoint(config=tiny(), class_names=(), step=value, parts={"generator": {"a": tensor}})


class Held:
    """Writes when it is let."""

    def __init__(self):
        self.let = threading.Event()
        self.written = []

    def __call__(self, checkpoint):
        self.let.wait(10)
        self.written.append((checkpoint.step, checkpoint.parts["generator"]["a"].clone()))


def test_what_is_written_is_of_the_step_in_which_it_was_saved():
    writer, held, one = CheckpointWriter(is_beside=True), Held(), of(1)
    writer.save(one, held)
    one.parts["generator"]["a"].fill_(7)  # as training goes on
    assert held.written == []
    held.let.set()
    writer.wait()
    [(step, tensor)] = held.written
    assert step == 1
    assert torch.equal(tensor, torch.ones(3))


def test_one_is_written_at_a_time():
    writer, held = CheckpointWriter(is_beside=True), Held()
    writer.save(of(1), held)
    second = threading.Thread(target=writer.save, args=(of(2), held))
    second.start()
    second.join(0.1)
    assert second.is_alive()
    held.let.set()
    second.join(10)
    writer.wait()
    assert [step for step, _ in held.written] == [1, 2]


def test_without_memory_for_a_copy_it_is_written_at_once(monkeypatch):
    monkeypatch.setattr(keeping, "memory_of", lambda _: None)
    written = []
    CheckpointWriter(is_beside=True).save(
        of(1), lambda _: written.append(threading.current_thread())
    )
    assert written == [threading.main_thread()]


def full(_):
    raise SaganError("the disk is full")


def test_what_could_not_be_written_is_told():
    writer = CheckpointWriter(is_beside=True)
    writer.save(of(1), full)
    writer.join()
    with pytest.raises(SaganError, match="the disk is full"):
        writer.raise_failed()
    with pytest.raises(SaganError, match="the disk is full"):
        writer.wait()
    writer.wait()  # once all is told
    with pytest.raises(SaganError, match="the disk is full"), writer.finished():
        writer.save(of(1), full)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (KeyboardInterrupt("stopped and saved"), "the disk is full"),  # it is not saved
        (SaganError("another fault comes first"), "another fault"),
    ],
)
def test_how_a_run_ends_when_its_last_checkpoint_fails(end, told):
    writer = CheckpointWriter(is_beside=True)
    writer.save(of(1), full)
    with pytest.raises(SaganError, match=told), writer.finished():
        raise end


def test_a_run_ends_with_the_error_of_the_disk(tmp_path, picture_folder, monkeypatch):
    driver = Driver(settings(picture_folder), tmp_path / "run")
    real = checkpoints.save

    def save(checkpoint, path):
        if checkpoint.step > 2:
            raise SaganError("the disk is full")
        real(checkpoint, path)

    monkeypatch.setattr(checkpoints, "save", save)
    with pytest.raises(SaganError, match="the disk is full"):
        driver.train()
    assert steps_kept(tmp_path / "run") == [1, 2]
    monkeypatch.undo()
    assert sagan.train(None, tmp_path / "run").steps == 6


def test_a_checkpoint_before_the_first_step_does_not_wait_for_pictures(
    tmp_path, picture_folder, monkeypatch
):
    driver, waited = Driver(settings(picture_folder, steps=1), tmp_path / "run"), []
    monkeypatch.setattr(driver.outputs.pictures, "wait", lambda: waited.append(driver.state.step))
    driver.outputs.save_checkpoint()
    assert (steps_kept(tmp_path / "run"), waited) == ([0], [])
    driver.train()
    assert waited == [1]


def test_written_beside_training_or_at_once_the_files_are_the_same(
    tmp_path, picture_folder, monkeypatch
):
    Driver(settings(picture_folder, keep_checkpoints=9), tmp_path / "beside").train()
    monkeypatch.setattr(keeping, "memory_of", lambda _: None)
    Driver(settings(picture_folder, keep_checkpoints=9), tmp_path / "at-once").train()
    for one, other in zip(
        checkpoint_files(tmp_path / "beside"), checkpoint_files(tmp_path / "at-once"), strict=True
    ):
        with safe_open(one, framework="pt") as first, safe_open(other, framework="pt") as second:
            assert digests_in(first) == digests_in(second)


def test_the_newest_and_the_milestones_are_kept(tmp_path, picture_folder):
    folder = tmp_path / "run"
    config = settings(picture_folder, steps=9, keep_checkpoints=2, keep_every=4)
    Driver(config, folder).train()
    assert steps_kept(folder) == [4, 8, 9]
    Driver(settings(picture_folder, steps=10, keep_checkpoints=2), folder).train()
    assert steps_kept(folder) == [9, 10]


def test_milestones_need_not_be_multiples_of_other_checkpoints(tmp_path, picture_folder):
    config = settings(
        picture_folder, steps=9, checkpoint_interval=5, keep_checkpoints=1, keep_every=3
    )
    Driver(config, tmp_path / "run").train()
    assert steps_kept(tmp_path / "run") == [3, 6, 9]


@pytest.fixture
def run_with_log(tmp_path):
    """A run of which nothing but the log and the names of its checkpoints are read."""
    run = Run(tmp_path / "run", tiny())
    (run.folder / "checkpoints").mkdir(parents=True)

    def measured(key, step, numbers, pictures=5000, protocol="features a"):
        run.checkpoint_path(step).touch()
        record = {"step": step, "evaluation": numbers, "evaluation_pictures": pictures}
        record["evaluation_protocol"] = protocol
        run.log(record | best_mark(run, key, step, record))
        return best_step(run.folder)

    return measured


def test_the_best_is_chosen_among_what_was_measured_alike(run_with_log):
    assert run_with_log("fd", 100, {"FID": 60.0}) == 100
    assert run_with_log("fd", 200, {"FD (EfficientNet-Lite0)": 250.0}) == 200
    assert run_with_log("fd", 300, {"FD (EfficientNet-Lite0)": 190.0}) == 300
    assert run_with_log("fd", 400, {"FD (EfficientNet-Lite0)": 200.0}) == 300
    assert run_with_log("fd", 500, {"FD (EfficientNet-Lite0)": 240.0}, 500) == 500
    assert run_with_log("fd", 600, {"FD (EfficientNet-Lite0)": 230.0}, 500) == 600
    assert run_with_log("fd", 700, {"FID": 61.0}) == 100


def test_precision_by_other_features_is_another(run_with_log):
    assert run_with_log("pr", 100, {"precision": 0.9}, protocol="inception") == 100
    assert run_with_log("pr", 200, {"precision": 0.5}) == 200
    assert run_with_log("pr", 300, {"precision": 0.4}) == 200


def test_the_best_of_an_earlier_log_stays_the_best(run_with_log):
    """Which did not state the features."""
    assert run_with_log("fd", 100, {"FD (Pooled)": 1.0}, protocol=None) == 100
    assert run_with_log("fd", 200, {"FD (Pooled)": 2.0}) == 100
    assert run_with_log("fd", 300, {"FD (Pooled)": 0.5}, 500) == 300


def test_the_best_has_a_checkpoint(run_with_log, tmp_path):
    assert run_with_log("fd", 100, {"FD (Pooled)": 1.0}) == 100
    (tmp_path / "run" / "checkpoints" / "step-00000100.safetensors").unlink()
    assert run_with_log("fd", 200, {"FD (Pooled)": 2.0}) == 200
    assert run_with_log("fd", 300, {"FD (Pooled)": 3.0}) == 200


def test_earlier_logs_mark_the_best_by_its_metric(tmp_path):
    run = Run(tmp_path, tiny())
    (tmp_path / "checkpoints").mkdir()
    for step, mark in ((1, {"best": "fd"}), (2, {"best": "fd"}), (3, {})):
        run.checkpoint_path(step).touch()
        run.log({"step": step} | mark)
    assert best_step(tmp_path) == 2


def test_the_best_by_another_metric_is_another(run_with_log):
    assert run_with_log("fd", 100, {"FD (Pooled)": 200.0, "precision": 0.9, "recall": 0.1}) == 100
    assert run_with_log("fd", 200, {"FD (Pooled)": 150.0, "precision": 0.2, "recall": 0.9}) == 200
    assert run_with_log("pr", 300, {"FD (Pooled)": 140.0, "precision": 0.4, "recall": 0.9}) == 100
    assert run_with_log("pr", 400, {"FD (Pooled)": 140.0, "precision": 0.9, "recall": 0.9}) == 100
    assert run_with_log("pr", 500, {"FD (Pooled)": 9.0, "precision": math.nan}) == 100
    assert run_with_log("", 600, {"FD (Pooled)": 1.0}) == 100


def test_the_best_is_kept_and_has_a_name(tmp_path, picture_folder):
    folder, found = tmp_path / "run", iter([5.0, 3.0, float("nan"), 4.0, 6.0])
    measured = {"interval": 2, "time_share": 1.0, "metrics": ("fd",)}
    config = settings(
        picture_folder,
        evaluation=measured,
        steps=10,
        keep_checkpoints=1,
        keep_best="fd",
        checkpoint_interval=5,
    )

    def evaluate(*_):
        return Evaluated(numbers={"FD (Pooled)": next(found)}, by_class={}, pictures=2)

    Driver(config, folder, evaluate).train()
    assert best_step(folder) == 4
    assert steps_kept(folder) == [4, 10]
    assert model_file(f"{folder}@best") == Run(folder, config).checkpoint_path(4)
    assert (
        model_file(f"{folder}@newest") == model_file(f"{folder}@10") == checkpoint_files(folder)[1]
    )
    sagan.load_generator(f"{folder}@best").sample([0], 0)
    with pytest.raises(SaganError, match=r"no checkpoint '7'; there are 10, 4"):
        model_file(f"{folder}@7")


def test_runs_without_a_best_say_how_to_get_one(trained_run):
    with pytest.raises(SaganError, match=r"no checkpoint is known as the best.*keep-best fd"):
        model_file(f"{trained_run}@best")


@pytest.mark.parametrize(
    ("key", "evaluation", "words"),
    [
        ("fid", {"interval": 2}, r"is no metric .*did you mean"),
        ("neighbours", {"interval": 2}, "is no metric by which models can be ranked"),
        ("fd", {}, "needs measurements on the way"),
        ("fd", {"interval": 2, "metrics": ("kid",)}, "fd among --evaluation.metrics"),
        ("fd", {"interval": 2, "samples": 0}, "needs measurements"),
    ],
)
def test_a_best_that_nobody_measures_is_refused(key, evaluation, words):
    config = settings("avatars", evaluation=evaluation, keep_best=key)
    with pytest.raises(SaganError, match=words):
        require_best(config)


def test_the_last_good_checkpoint_is_good(tmp_path, picture_folder):
    folder, config = tmp_path / "run", settings(picture_folder, steps=3)
    Driver(config, folder).train()
    run = Run(folder, config)
    files = checkpoint_files(folder)
    assert run.last_good.endswith(str(files[2]))
    files[2].write_bytes(files[2].read_bytes()[:-1])
    whole = checkpoints.load(files[1])
    name, moment = next(iter(whole.parts["discriminator_optimizer"].items()))
    moment.view(-1)[0] = float("inf")
    checkpoints.save(whole, files[1])
    assert run.last_good.endswith(str(files[0]))
    with pytest.warns(RuntimeWarning) as told:
        longer = Driver(replace(config, train=replace(config.train, steps=4)), folder)
    [line] = {str(line.message) for line in told}
    assert line.startswith(f"{files[2]} is damaged")
    assert f"{files[1]} holds numbers that are not finite, in discriminator_optimizer" in line
    assert f".{name}; instead {files[0].name} is taken" in line
    assert longer.state.step == 1
    files[0].write_bytes(b"")
    assert run.last_good == "no checkpoint is good"


def test_half_written_files_are_swept_when_a_run_begins(tmp_path, picture_folder):
    folder = tmp_path / "run"
    Driver(settings(picture_folder, steps=1), folder).train()
    drafts = [
        folder / "checkpoints" / "step-00000002.safetensors.123.tmp",
        folder / "samples" / "step-00000002.png.123.tmp",
        folder / "log.jsonl.123.tmp",
        folder / "config.toml.123.tmp",
    ]
    another = folder / "report.html.123.tmp"  # which another command may just be writing
    for path in (*drafts, another):
        path.write_bytes(b"half")
    Driver(settings(picture_folder, steps=2), folder).train()
    assert not any(path.exists() for path in drafts)
    assert another.exists()


def test_without_a_number_all_checkpoints_are_kept(tmp_path, picture_folder):
    config = settings(picture_folder, steps=5, checkpoint_interval=1, keep_checkpoints=0)
    Driver(config, tmp_path / "run").train()
    assert [step_of(file) for file in checkpoint_files(tmp_path / "run")] == [1, 2, 3, 4, 5]

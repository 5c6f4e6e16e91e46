"""The logic of the benchmarks: order, ratios, counts, adapters, records. No timing is asserted."""

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import __main__ as command
from benchmarks import harness, machine, peers
from benchmarks.adapters import attention_resolution, load_factory, surroundings
from benchmarks.attention import kernels_of
from benchmarks.choices import at_least_one, through_the_iteration
from benchmarks.harness import Row, Side, Suite
from benchmarks.naive import Naive, channels_last
from benchmarks.networks import noise, sampling, train
from benchmarks.options import Options, Size
from benchmarks.ours import Ours
from benchmarks.ranks import RANKS, Workers
from sagan.errors import SaganError
from sagan.nn.convolution import ReorderedKernel
from sagan.nn.spectral import SpectralNorm

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
TINY = Size(title="tiny", resolution=32, width=8, num_classes=3, batch=2, cuda_batch=2)

ADAPTER = """
import torch
from beside import BUILT

class Model:
    def __init__(self, *size):
        BUILT.append((size, torch.is_autocast_enabled("cpu")))
    def train_step(self, batch):
        images, labels = batch
        assert images.dtype == torch.uint8 and labels.dtype == torch.int64
    def sample(self, count):
        return torch.zeros(count, 3, 32, 32)

def make(resolution, num_classes, width):
    return Model(resolution, num_classes, width)
"""


@pytest.fixture(autouse=True)
def _small_ceilings(monkeypatch):
    monkeypatch.setattr(harness, "ceilings", partial(machine.ceilings, side=32))


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    """The --against of an implementation with a module beside it."""
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("BUILT = []")
    (tmp_path / "foreign.py").write_text(ADAPTER)
    return f"{tmp_path / 'foreign.py'}:make"


def clock(monkeypatch, durations):
    """A clock that stands still but for calls, which take the given times in turn."""
    now = [0.0]
    pending = iter(durations)
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def call():
        now[0] += next(pending)

    return call


def test_sides_take_turns_and_preparation_comes_first():
    events = []
    sides = [
        Side(
            name=name,
            call=partial(events.append, name),
            prepare=partial(events.append, f"prepare {name}"),
        )
        for name in "ab"
    ]
    times = harness.alternate(sides, 3, CPU)
    assert events == ["prepare a", "a", "prepare b", "b"] * 3
    assert [len(column) for column in times] == [3, 3]


def test_preparation_is_not_timed(monkeypatch):
    tick = clock(monkeypatch, [100, 2])
    assert harness.timed(Side(name="a", call=tick, prepare=tick), CPU, 1) == 2


def test_calls_in_a_row_share_one_preparation_and_one_wait(monkeypatch):
    waits = []
    monkeypatch.setattr(harness, "synchronize", waits.append)
    tick = clock(monkeypatch, [100, 2, 3, 7])
    side = Side(name="a", call=tick, prepare=tick, in_a_row=3)
    assert harness.alternate([side], 1, CPU) == [[4]], "a call's share"
    assert waits == [CPU, CPU], "before the first and after the last"


def test_the_ratio_is_the_median_of_pairs_not_of_medians():
    assert harness.median_ratio([2, 30, 9], [1, 10, 9]) == 2  # medians 9 and 9


def test_ratios_are_to_the_first_side(monkeypatch):
    tick = clock(monkeypatch, [50, 50, 1, 4, 2, 6, 1, 5])  # warm-up, then three pairs
    suite = Suite(CPU, 3)
    first, second = suite.compare(
        "train", "tiny", [Side(name="a", call=tick, images=8), Side(name="b", call=tick)]
    )
    assert first.seconds == [1, 2, 1]
    assert second.seconds == [4, 6, 5]
    assert (first.ratio, second.ratio) == (1, 4)
    assert first.images_per_second == 8
    assert second.images_per_second is None


def test_a_side_without_memory_is_skipped():
    def fail():
        raise torch.OutOfMemoryError("no")

    suite = Suite(CPU, 1)
    sides = [Side(name="large", call=fail), Side(name="small", call=lambda: None)]
    (row,) = suite.compare("train", "tiny", sides)
    assert row.side == "small"
    assert row.ratio is None, "there is nothing to compare with"
    assert "out of memory" in suite.table("train")


def test_operations_of_a_convolution_forwards_and_backwards():
    layer = nn.Conv2d(3, 5, 3, padding=1)
    x = torch.randn(2, 3, 8, 8)
    forward = 2 * (2 * 8 * 8) * (3 * 3 * 3) * 5
    assert harness.operations(lambda: layer(x)) == forward
    assert harness.operations(lambda: layer(x).sum().backward()) == 2 * forward, "weight only"


@pytest.mark.parametrize("transposed", [False, True])
def test_operations_of_a_kernel_in_its_own_order_are_those_of_the_plain_one(transposed):
    kernel = torch.randn(24, 8, 4, 4) if transposed else torch.randn(8, 24, 4, 4)
    x = torch.randn(2, 24, 4, 4)
    convolve = ReorderedKernel(kernel, x.shape, transposed=transposed)
    plain = F.conv_transpose2d if transposed else F.conv2d
    count = harness.operations(lambda: plain(x, kernel, stride=2, padding=1))
    assert harness.operations(lambda: convolve(x, None)) == count > 0


def test_operations_of_fused_attention_are_those_of_the_formula():
    query, key, value = torch.randn(3, 1, 1, 16, 8)
    count = harness.operations(partial(F.scaled_dot_product_attention, query, key, value))
    assert count == 2 * (2 * 16 * 16 * 8)


def test_operations_in_inference_mode_of_the_plain_generator():
    naive = Naive(32, 3, 8)
    assert harness.operations(partial(naive.sample, 2)) > 2 * 2 * 16 * 64 * 128


def test_peak_bytes_are_what_is_alive_at_once():
    kept = []

    def call():
        kept.clear()
        kept.append(torch.ones(1000, 250))  # 1 MB, replaces that of the call before
        for _ in range(3):
            torch.ones(1000, 500)  # 2 MB, one at a time

    assert harness.peak_bytes(call, CPU) == 2_000_000


def test_the_peak_sees_scratch_tensors_inside_of_kernels():
    query, key, value = torch.randn(3, 1, 1, 512, 16)
    call = partial(F.scaled_dot_product_attention, query, key, value)
    assert (harness.peak_bytes(call, CPU) or 0) > 512 * 16 * 4, "more than the output"
    assert kernels_of(call) == "flash_attention_for_cpu"


def test_rates_of_a_row():
    row = Row(
        section="train", subject="s", side="a", images=4, seconds=[3.0, 1.0, 2.0], operations=10**10
    )
    assert (row.median, row.images_per_second, row.gigaflops) == (2.0, 2.0, 5.0)
    assert row.record()["gigaflops"] == 5.0
    assert row.record()["seconds"] == [3.0, 1.0, 2.0]


def test_a_table_has_no_empty_columns():
    suite = Suite(CPU, 1)
    suite.compare("startup", "s", [Side(name="a", call=lambda: None)])
    assert suite.table("startup").splitlines()[0] == "|  | side | first call | time | ratio |"


def test_models_are_built_for_device_and_precision():
    with CPU, torch.autocast("cpu", dtype=torch.bfloat16):
        device, autocast = surroundings()
    assert device == CPU
    assert not torch.is_autocast_enabled("cpu")
    with autocast:
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert (attention_resolution(32), attention_resolution(128)) == (16, 32)


@pytest.mark.parametrize("factory", [Ours, Naive, channels_last])
@pytest.mark.parametrize("enabled", [False, True])
def test_adapters_train_and_draw(factory, enabled):
    with CPU, torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        model = factory(32, 3, 8)
    network = model.state.generator if factory is Ours else model.generator
    before = [parameter.clone() for parameter in network.parameters()]
    drawn = model.sample(2)
    for _ in range(2):
        model.train_step(noise(TINY, 2, CPU))
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert drawn.shape == (2, 3, 32, 32)
    assert (drawn.dtype == torch.bfloat16) is enabled


def test_sections_measure_ours_naive_and_others(adapter, monkeypatch):
    def without_compiler(*size, compile=False):
        if compile:
            raise SaganError("compiling needs a compiler")
        return Ours(*size)

    monkeypatch.setattr("benchmarks.networks.Ours", without_compiler)
    suite = Suite(CPU, 1)
    options = Options(
        device=CPU,
        precisions=("float32", "bfloat16"),
        sizes=(TINY,),
        against={"other": load_factory(adapter)},
        compile=True,
    )
    train(suite, options)
    assert [(row.side, row.precision) for row in suite.rows if row.seconds] == [
        *(("ours", "float32"), ("naive", "float32"), ("other", "float32")),
        *(("ours", "bfloat16"), ("naive", "bfloat16"), ("naive in float32", "float32")),
        ("other", "bfloat16"),
    ]
    assert {row.subject for row in suite.rows if row.seconds} == {"tiny, batch 2"}
    built = sys.modules["beside"].BUILT
    assert built == [((32, 3, 8), False), ((32, 3, 8), True)]
    ours, naive = (
        next(row for row in suite.rows if row.side == side) for side in ("ours", "naive")
    )
    assert 0 < ours.operations < naive.operations, "folded layers need fewer"
    skipped = [row.note for row in suite.rows if row.side == "ours, compiled"]
    assert len(skipped) == 2
    assert set(skipped) == {"skipped: compiling needs a compiler"}


def test_sampling_has_both_batches():
    suite = Suite(CPU, 1)
    sampling(suite, Options(device=CPU, sizes=(TINY,)))
    assert [(row.side, row.images) for row in suite.rows] == [
        *(("ours", 1), ("naive", 1)),
        *(("ours", 64), ("naive", 64)),
    ]
    assert [row.in_a_row for row in suite.rows] == [10, 10, 1, 1]


def test_a_factory_comes_from_a_file_or_a_module(adapter):
    with CPU:
        assert load_factory(adapter)(32, 3, 8).sample(2).shape == (2, 3, 32, 32)
    assert load_factory("benchmarks.naive:Naive") is Naive


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("benchmarks.naive", "MODULE_OR_FILE:FACTORY"),
        ("no.such.module:make", "No module named"),
        ("no_such_file.py:make", "there is no such file"),
        ("benchmarks.naive:absent", "no function absent"),
        ("benchmarks.naive:LATENT_DIM", "no function LATENT_DIM"),
    ],
)
def test_a_wrong_against_ends_in_one_line(name, cause, capsys):
    assert command.main(["--against", name]) == 2
    message = capsys.readouterr().err
    assert cause in message
    assert message.count("\n") == 1


def test_a_module_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(SaganError, match="division by zero"):
        load_factory(f"{tmp_path / 'broken.py'}:make")


@pytest.mark.parametrize(
    "arguments",
    [["--only", "trian"], ["--sizes", "large"], ["--pairs", "0"], ["--device", "tpu"]],
)
def test_mistakes_end_in_one_line_and_leave_no_file(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command.machine, "ROOT", tmp_path)
    assert command.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not [*tmp_path.rglob("*")]


def test_the_file_keeps_earlier_runs_and_has_all_of_this_one(tmp_path, monkeypatch, capsys):
    def section(suite, options):
        suite.compare("train", "tiny", [Side(name="a", call=lambda: None, images=2)])

    monkeypatch.setitem(command.SECTIONS, "train", section)
    path = tmp_path / "deep" / "runs.json"
    arguments = ["--only", "train", "--pairs", "3", "--device", "cpu", "--json", str(path)]
    assert command.main(arguments) == 0
    assert command.main(arguments) == 0
    first, second = json.loads(path.read_text())
    assert first["rows"][0]["side"] == "a"
    assert len(first["rows"][0]["seconds"]) == 3
    assert first["versions"]["torch"] == torch.__version__
    assert first["hardware"]["cores"] >= 1
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", first["commit"] or "0" * 40)
    assert second["command"].endswith("--json runs.json")
    assert str(tmp_path) not in path.read_text()
    assert "## train" in capsys.readouterr().out


def test_a_section_that_misses_something_does_not_end_the_others(tmp_path, monkeypatch, capsys):
    def section(suite, options):
        raise SaganError("there are no weights in /home/someone/weights; install them")

    monkeypatch.setitem(command.SECTIONS, "features", section)
    path = tmp_path / "runs.json"
    assert command.main(["--only", "features", "--device", "cpu", "--json", str(path)]) == 0
    (row,) = json.loads(path.read_text())[0]["rows"]
    assert row["note"] == "skipped: there are no weights in weights; install them"
    assert row["seconds"] == []


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_foreign_file_is_left_alone(tmp_path, capsys, content):
    path = tmp_path / "runs.json"
    path.write_text(content)
    assert command.main(["--only", "startup", "--device", "cpu", "--json", str(path)]) == 2
    assert path.read_text() == content
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/code/model.py:make", "model.py:make"),
        ("--json=/tmp/runs.json", "--json=runs.json"),
        ("benchmarks/results/a.json", "benchmarks/results/a.json"),
        ("12 images/s a / b", "12 images/s a / b"),
    ],
)
def test_folders_of_this_machine_are_left_out(text, expected):
    assert machine.without_folders(text) == expected


def test_ceilings_have_both_precisions():
    assert machine.ceilings(CPU, 16).keys() == {"float32", "bfloat16"}


def test_the_commands_of_make_are_understood():
    lines = re.findall(r"python -m benchmarks(?!\.)(.*)", (ROOT / "Makefile").read_text())
    assert len(lines) == 2
    for line in lines:
        given = command._parser().parse_args(shlex.split(line))
        command.chosen(given.only, tuple(command.SECTIONS), "--only")


def test_ranks_share_a_step_and_end():
    workers = Workers("demo, 32 px", RANKS, 1)
    try:
        assert workers.batch == 32
        workers.step(1)
    finally:
        workers.close()
    with pytest.raises((RuntimeError, ValueError)):
        workers.step(1)


def test_a_peer_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PEERS", str(tmp_path))
    with pytest.raises(SaganError, match=r"there is no \S+biggan; clone the project there"):
        load_factory("benchmarks.peers:biggan")(64, 10, 8)


def test_code_of_a_peer_leaves_no_modules_behind(tmp_path, monkeypatch):
    (tmp_path / "biggan").mkdir()
    (tmp_path / "biggan" / "animal_names.py").write_text("import torchvision, animal_hash\n")
    monkeypatch.setenv("PEERS", str(tmp_path))
    with peers.code_of("biggan"):
        import animal_names  # pyright: ignore[reportMissingImports]
    assert isinstance(animal_names.animal_hash, mock.MagicMock)
    assert not {"animal_names", "animal_hash"} & sys.modules.keys()
    assert str(tmp_path / "biggan") not in sys.path


def test_other_formulas_of_spectral_norm_divide_as_they_say():
    norm = SpectralNorm(weight := torch.randn(6, 4))
    norm.advance(weight, 500)
    sigma = torch.linalg.matrix_norm(weight, 2)
    for divided in (through_the_iteration(norm, False, weight), at_least_one(norm, True, weight)):
        torch.testing.assert_close(divided, weight / sigma)
    small, large = weight / sigma / 2, weight / sigma * 2
    torch.testing.assert_close(at_least_one(norm, False, small), small)
    torch.testing.assert_close(at_least_one(norm, False, large), large / 2)
    torch.testing.assert_close(at_least_one(norm, True, small), small * 2)

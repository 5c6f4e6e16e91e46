import shutil
import sys
from dataclasses import replace

import pytest
import torch
from conftest import tiny
from test_training import CPU, run_steps

from benchmarks.harness import operations
from sagan.config import LossConfig
from sagan.errors import SaganError
from sagan.losses import zero_centred_penalty
from sagan.nn.blocks import DiscriminatorBlock, GeneratorBlock
from sagan.system import device
from sagan.system.device import require_compiler
from sagan.training.driver import Driver
from sagan.training.state import new_state


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch in torch
def test_compiled_networks_train_as_plain_ones(dataset, tmp_path, picture_folder, capsys):
    config = tiny(steps=2, compile=True, discriminator_steps=1)
    skips = replace(config.generator, latent_skips=True)
    config = replace(config, generator=skips, loss=LossConfig(r1=1, r2=1, penalty_interval=2))
    plain = replace(config, train=replace(config.train, compile=False))
    expected = run_steps(new_state(plain, 2, CPU), dataset, plain)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    found = run_steps(new_state(config, 2, CPU), dataset, config)
    assert graphs["unique_graphs"] > before
    for terms, compiled in zip(expected, found, strict=True):
        assert compiled == pytest.approx(terms, rel=2e-3, abs=2e-3)

    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    driver = Driver(config, tmp_path / "run")
    driver.train()
    told = capsys.readouterr().err
    assert told.index("compiling: up to two minutes") < told.index("and the first step, took")
    assert not any("_orig_mod" in name for name in driver.state.parts()["generator"])


def test_without_a_compiler_there_is_one_line_before_the_first_step(
    monkeypatch, tmp_path, picture_folder
):
    from torch._inductor import cpp_builder, exc

    def absent():
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", absent)
    config = replace(tiny(compile=True), data=replace(tiny().data, source=str(picture_folder)))
    with pytest.raises(
        SaganError, match="compiling needs a C\\+\\+ compiler such as g\\+\\+ on cpu"
    ):
        Driver(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(SaganError, match="needs the package triton on cuda"):
        require_compiler(torch.device("cuda"))
    monkeypatch.setattr(device, "_has_triton", lambda: True)
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    with pytest.raises(SaganError, match="needs a C compiler such as gcc on cuda"):
        require_compiler(torch.device("cuda"))


def test_without_the_headers_of_python_nothing_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "_has_cpp_compiler", lambda: True)
    monkeypatch.setattr(device.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(SaganError, match=r"needs Python\.h \(package python3-dev\) on cpu"):
        require_compiler(CPU)


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_counting_operations_does_not_keep_the_compiler_off():
    class Network(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x).relu()

    network = Network(4, 4)
    network.compile(backend="eager")
    graphs = torch._dynamo.utils.counters["stats"]
    x = torch.randn(2, 4)
    before = graphs["unique_graphs"]
    assert operations(lambda: network(x)) == 2 * 2 * 4 * 4
    assert graphs["unique_graphs"] == before
    network(x)
    assert graphs["unique_graphs"] > before


def test_a_penalty_takes_a_compiled_network_as_it_is_written():
    class Judge(torch.nn.Linear):
        def forward(self, images, labels):
            return super().forward(images.flatten(1))[:, 0]

    def compiler(*_):
        raise AssertionError("compiled")

    judge, seen = Judge(12, 1), []
    judge.register_forward_hook(lambda *_: seen.append("hook"))
    images, labels = torch.randn(2, 3, 2, 2), torch.zeros(2, dtype=torch.int64)
    expected = zero_centred_penalty(judge, images, labels)
    judge.compile(backend=compiler)
    assert zero_centred_penalty(judge, images, labels) == expected > 0
    assert seen == ["hook"] * 2
    with pytest.raises(Exception, match="compiled"):
        judge(images, labels)


def test_blocks_are_one_graph_each():
    labels = torch.zeros(2, dtype=torch.int64)
    for block, inputs in (
        (GeneratorBlock(8, 4, 3), (torch.randn(2, 8, 4, 4), labels)),
        (DiscriminatorBlock(3, 4), (torch.randn(2, 3, 8, 8),)),
    ):
        found = torch._dynamo.explain(block)(*inputs)
        assert (found.graph_count, found.graph_break_count) == (1, 0)

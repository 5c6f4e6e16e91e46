"""sagan export: what is written, what is refused, and what is not left behind."""

import json
import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_cli import mistake, run
from test_named import random_checkpoint

import sagan
from sagan.export.parity import LIMITS
from sagan.export.writing import Exported
from sagan.runs import checkpoint as checkpoints
from sagan.system.extras import install

HAS_ONNX = all(map(find_spec, ("onnx", "onnxruntime", "onnxscript")))


@pytest.fixture
def model(tmp_path):
    checkpoint = random_checkpoint()
    torch.nn.init.constant_(checkpoint.parts["generator"]["attention.16.gamma"], 0.8)
    checkpoints.save(checkpoint, tmp_path / "whole.safetensors")
    return tmp_path / "whole.safetensors"


@pytest.mark.skipif(not HAS_ONNX, reason="needs the extra onnx")
def test_onnx_by_the_command(tmp_path, capfd):
    import onnxruntime

    output = tmp_path / "new" / "MODEL.ONNX"
    assert run("export", "fashion32", "--half", "-o", output) == 0
    printed = capfd.readouterr()
    assert all(line.startswith("exporting MODEL") for line in printed.err.splitlines())
    same, rounding, path = printed.out.splitlines()
    assert same.startswith("generator: images at most ")
    found = re.search(r"maps at most (\S+) from PyTorch's", same)
    assert found
    assert float(found[1]) <= LIMITS["maps"]
    assert "PyTorch's own maps lie" not in same
    assert "16 bits" in rounding
    assert path == str(output)
    session = onnxruntime.InferenceSession(output)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"])[8] == "Bag"
    assert json.loads(facts["image_shape"]) == [1, 32, 32]
    assert facts["licence"] == sagan.models()[1].licence
    latents = np.stack([torch.randn(128, generator=torch.Generator().manual_seed(3)).numpy()])
    [drawn] = session.run(["images"], {"latents": latents, "labels": np.array([8])})
    expected = sagan.load_generator("fashion32").sample([3], "Bag")
    assert np.abs((drawn + 1) * 127.5 - expected).max() < 4  # rounded to 16 bits, and to 8


def test_limits_that_were_widened_are_told(tmp_path):
    made = Exported(
        file=tmp_path / "model.onnx",
        differences={"generator": {"images": 2e-5, "maps": 6e-5}},
        rounding={},
        widened={"generator": {"maps": 1e-4}},
    )
    assert str(made).splitlines()[0] == (
        "generator: images at most 2.0e-05, maps at most 6.0e-05 from PyTorch's, on 64 pictures; "
        "PyTorch's own maps lie 5.0e-05 from those in 64 bits, so that 1.0e-04 is allowed instead "
        "of 1e-05"
    )


def test_a_program_and_what_it_says_of_itself(model, tmp_path):
    output = tmp_path / "model.pt2"
    made = sagan.export_model(model, output, network="discriminator")
    assert made.differences["discriminator"].keys() == {"logits", "maps"}
    assert made.rounding == {}
    facts = dict.fromkeys(("class_names", "step", "image_range", "sagan_version"), "")
    judge = torch.export.load(output, extra_files=facts).module()
    assert facts["class_names"] == '["odd", "even"]'
    assert facts["step"] == "1"
    assert json.loads(facts["image_range"]) == [-1, 1]
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    logits = judge(images=images)["logits"]
    expected = sagan.load_discriminator(model)(images, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(logits[torch.arange(3), [0, 1, 1]], expected, rtol=1e-4, atol=1e-4)


def test_weights_are_both_networks_and_exactly_the_same(model, tmp_path):
    output = tmp_path / "model.safetensors"
    made = sagan.export_model(model, output)
    assert made.differences == {
        "generator": {"images": 0, "maps": 0},
        "discriminator": {"logits": 0, "maps": 0},
    }
    with safe_open(output, framework="pt") as file:
        assert json.loads(file.metadata()["class_names"]) == ["odd", "even"]
    halved = sagan.export_model(model, output, half=True)
    assert halved.differences == made.differences
    assert 0 < halved.rounding["generator"]["images"] < 0.02
    assert "before rounding to 16 bits" in str(halved)


def test_pictures_of_the_avatars_have_their_credits(tmp_path):
    from sagan.data.avatars import CREDITS
    from sagan.export.description import description

    checkpoint = random_checkpoint()
    assert checkpoint.config.data.source == "avatars"
    facts = description(tmp_path / "run", checkpoint)
    assert json.loads(facts["credits"]) == [CREDITS]
    assert "licence" not in facts


@pytest.mark.parametrize("wrong", [2e-4, float("nan")])
def test_a_file_that_computes_something_else_is_not_left(
    model, tmp_path, capsys, monkeypatch, wrong
):
    from sagan.export import writing

    def opened(path):
        compute = open_program(path)
        return lambda inputs: {name: x + wrong for name, x in compute(inputs).items()}

    open_program = writing.opened_program
    monkeypatch.setattr(writing, "opened_program", opened)
    output = tmp_path / "model.pt2"
    output.write_text("earlier")
    line = mistake(capsys, "export", model, "-o", output)
    assert "model.pt2 was not written: of its generator images differ from PyTorch's" in line
    assert output.read_text() == "earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"whole.safetensors", "model.pt2"}


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_library_is_told_before_any_work(tmp_path, capsys, monkeypatch, missing):
    from sagan.export import onnx, writing

    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == missing else 1)
    monkeypatch.setattr(writing, "load_checkpoint", lambda model: pytest.fail("work"))
    line = mistake(capsys, "export", "avatars64", "-o", tmp_path / "model.onnx")
    assert f"needs {missing}; run: {install('onnx')}" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-o x.pth", "must end in .safetensors or .onnx or .pt2"),
        ("-o x", "must end in .safetensors"),
        ("--network discriminator -o x.safetensors", "leave --network out"),
        ("--shares -o x.safetensors", "leave --shares out"),
        ("--shares --network discriminator -o x.pt2", "leave --shares out"),
        ("--network both -o x.pt2", "discriminator"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(
    capsys, monkeypatch, tmp_path, arguments, words
):
    from sagan.export import writing

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writing, "load_checkpoint", lambda model: pytest.fail("work"))
    assert words in mistake(capsys, "export", "avatars64", *arguments.split())


def test_a_network_that_is_not_there(model, tmp_path, capsys):
    checkpoint = random_checkpoint()
    alone = {"generator": checkpoint.parts["generator"]}
    checkpoints.save(checkpoints.replace(checkpoint, parts=alone), tmp_path / "g.safetensors")
    output = tmp_path / "x.pt2"
    line = mistake(
        capsys, "export", tmp_path / "g.safetensors", "--network", "discriminator", "-o", output
    )
    assert "no discriminator, only generator" in line
    line = mistake(capsys, "export", model, "-o", model)
    assert "read by this command" in line


def test_shares_of_no_classes(tmp_path, capsys):
    checkpoint = checkpoints.replace(random_checkpoint(), class_names=())
    checkpoints.save(checkpoint, tmp_path / "g.safetensors")
    line = mistake(
        capsys, "export", tmp_path / "g.safetensors", "--shares", "-o", tmp_path / "x.pt2"
    )
    assert "no classes to share; leave --shares out" in line

"""onnxruntime and loaded programs compute what our networks compute, in every form of them."""

import json
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from sagan.config import Config, DiscriminatorConfig, GeneratorConfig
from sagan.config.presets import preset
from sagan.export.onnx import discriminator_graph, generator_graph, graph_of, opened_graph
from sagan.export.parity import LIMITS, greatest_differences
from sagan.export.portable import PortableDiscriminator, PortableGenerator, stored_in_half
from sagan.export.program import opened_program, write_program
from sagan.nn import advance, fold, make_discriminator, make_generator
from sagan.nn.exposed import ExposedDiscriminator, ExposedGenerator

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLASSES = "two layers, classes"
FULL = Path("/dev/full")
GENERATORS = {
    CLASSES: (
        {"attention": (8, 16)},
        {"resolution": 32, "num_classes": 3},
    ),
    "cosine, unpooled, whole value, grey, not square": (
        {
            "attention": (16,),
            "attention_product": "cosine",
            "attention_pooling": False,
            "attention_value_divisor": 1,
            "latent_skips": True,
        },
        {"resolution": (24, 48), "channels": 1},
    ),
    "residual in place of attention, bilinear, transparent": (
        {
            "attention": (16,),
            "attention_form": "residual",
            "upsampling": "bilinear",
            "class_tables": "spectral",
        },
        {"resolution": 32, "num_classes": 2, "channels": 4},
    ),
}
DISCRIMINATORS = {
    "two layers at one height, classes": (
        {"attention": (), "attention_blocks": (2, 3), "final_resolution": 8, "channels": (1, 2, 2)},
        {"resolution": 32, "num_classes": 3},
    ),
    "cosine, grey, not square": (
        {"attention": (8,), "attention_product": "cosine", "shortcut_input": "relu"},
        {"resolution": (32, 64), "channels": 1},
    ),
}


def small(config, **shape):
    """Networks of either kind with random weights; gammas are far from 0."""
    torch.manual_seed(0)
    is_generator = isinstance(config, GeneratorConfig)
    make = make_generator if is_generator else make_discriminator
    network = make(replace(config, base_channels=16), **shape)
    for number, layer in enumerate(network.attention.values()):
        torch.nn.init.constant_(layer.gamma, 0.7 - 1.1 * number)
    advance(network, 3)
    if is_generator:
        labels = torch.arange(16) % max(network.num_classes, 1)
        network(torch.randn(16, network.latent_dim), labels)  # batch statistics
    exposed = ExposedGenerator if is_generator else ExposedDiscriminator
    return exposed(fold(network))


@cache
def generator(name):
    settings, shape = GENERATORS[name]
    return small(GeneratorConfig(latent_dim=16, batch_norm_momentum=1.0, **settings), **shape)


@cache
def discriminator(name):
    settings, shape = DISCRIMINATORS[name]
    return small(DiscriminatorConfig(**settings), **shape)


def opened(graph, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(graph)
    return opened_graph(path)


@cache
def graph(name, half=False):
    """Of a generator; each takes seconds."""
    return generator_graph(generator(name), half=half)


def is_same(portable, graph, tmp_path):
    found = greatest_differences(portable, opened(graph, tmp_path))
    kinds = {portable.outputs[0], "maps"}
    assert found.keys() == (kinds if portable.network.places else kinds - {"maps"})
    assert all(difference <= LIMITS[kind] for kind, difference in found.items()), found


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_in_onnx(name, tmp_path):
    is_same(PortableGenerator(generator(name)), graph(name), tmp_path)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_in_onnx(name, tmp_path):
    network = discriminator(name)
    is_same(PortableDiscriminator(network), discriminator_graph(network), tmp_path)


def test_both_networks_of_celeba64_in_onnx(tmp_path):
    config: Config = preset("celeba64")
    draws = small(replace(config.generator, batch_norm_momentum=1.0), resolution=64)
    judges = small(config.discriminator, resolution=64)
    assert len(draws.places) == len(judges.places) == 2
    is_same(PortableGenerator(draws), generator_graph(draws), tmp_path)
    is_same(PortableDiscriminator(judges), discriminator_graph(judges), tmp_path)


def test_onnxruntime_computes_everything_whatever_is_asked_for(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(graph(CLASSES))
    portable = PortableGenerator(generator(CLASSES))
    inputs = {name: given.numpy() for name, given in portable.asked(range(1)).items()}
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")

    def computed(outputs):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(outputs, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
        return sorted(event["name"] for event in events if event["cat"] == "Node")

    everything = computed(list(portable.outputs))
    assert everything
    assert computed(["images"]) == computed(["map.16"]) == everything


def test_shares_and_scales_are_inputs_where_asked_for(tmp_path):
    network = generator(CLASSES)
    portable = PortableGenerator(network, shares=True, scales=True)
    written = generator_graph(network, shares=True, scales=True)
    is_same(portable, written, tmp_path)
    session = onnxruntime.InferenceSession(written)
    compute = opened(written, tmp_path)
    plain = portable.asked(range(3))
    scaled = plain | {"scales": torch.tensor([0.0, 1.9])}
    drawn = compute(scaled)["images"]
    assert (drawn - compute(plain)["images"]).abs().max() > 0.05
    torch.testing.assert_close(drawn, portable(**scaled)["images"], rtol=0, atol=1e-4)
    forms = {value.name: value.shape for value in session.get_inputs()}
    assert forms == {"latents": ["batch", 16], "shares": ["batch", 3], "scales": [2]}
    forms = {value.name: value.shape for value in session.get_outputs()}
    assert forms == {
        "images": ["batch", 3, 32, 32],
        "map.8": ["batch", 64, 16],
        "map.16": ["batch", 256, 64],
    }
    feed = {name: x.numpy() for name, x in scaled.items()}
    assert [x.shape for x in session.run(["map.16"], feed)] == [(3, 256, 64)]


def test_networks_without_attention_have_neither_scales_nor_maps():
    name = "residual in place of attention, bilinear, transparent"
    assert "scales" not in PortableGenerator(generator(name), scales=True).asked(range(2))
    session = onnxruntime.InferenceSession(graph(name))
    assert [value.name for value in session.get_inputs()] == ["latents", "labels"]
    assert [value.name for value in session.get_outputs()] == ["images"]


def test_half_keeps_the_kernels_that_were_folded_from_smaller_ones():
    network = generator(CLASSES)
    halved = stored_in_half(network)
    kept = {name: tensor for name, tensor in halved.state_dict().items() if tensor.ndim == 4}
    assert kept
    assert all(tensor.shape[-1] in (1, 3) for tensor in kept.values())
    plain, again = dict(network.named_modules()), dict(halved.named_modules())
    weights = [(plain[n].weight, again[n].weight) for n in plain if hasattr(plain[n], "weight")]
    spread = [(old, new) for old, new in weights if old.shape[2:] == (4, 4)]
    assert len(spread) == 3
    for old, new in spread:
        torch.testing.assert_close(new, old, rtol=0, atol=1e-3 * float(old.abs().max()))


def test_a_kernel_that_was_not_folded_is_kept_whole():
    layer = torch.nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1)
    kept = stored_in_half(layer).state_dict()["parametrizations.weight.original"]
    assert kept.shape == (3, 5, 4, 4)
    assert torch.equal(kept, layer.weight.half())


def test_half_halves_the_bytes_and_computes_in_32_bits(tmp_path):
    network, written = generator(CLASSES), graph("two layers, classes", half=True)
    assert len(written) < 0.7 * len(graph(CLASSES))
    is_same(PortableGenerator(stored_in_half(network)), written, tmp_path)
    changed = greatest_differences(PortableGenerator(network), opened(written, tmp_path))["images"]
    assert 1e-4 < changed < 0.05
    types = {weight.data_type for weight in onnx.load_from_string(written).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types


@pytest.mark.parametrize("half", [False, True])
def test_programs(half, tmp_path):
    network = generator(CLASSES)
    portable = PortableGenerator(stored_in_half(network) if half else network)
    write_program(portable, tmp_path / "network.pt2", {"licence": "MIT"})
    found = greatest_differences(portable, opened_program(tmp_path / "network.pt2"))
    assert found.keys() == {"images", "maps"}
    assert all(difference <= LIMITS[kind] for kind, difference in found.items()), found


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_a_program_on_a_full_disk_is_an_error_that_can_be_told():
    portable = PortableGenerator(generator(CLASSES))
    with pytest.raises(OSError, match="No space left"):
        write_program(portable, FULL, {})


def test_exporting_leaves_the_network_as_it_is_and_says_nothing(capfd, tmp_path):
    network = generator(CLASSES)
    portable = PortableGenerator(network)
    before = portable(**portable.asked(range(2)))["images"]
    graph_of(portable)
    write_program(portable, tmp_path / "network.pt2", {})
    assert all(layer.rows is None and layer.scale is None for layer in network.layers)
    assert torch.equal(portable(**portable.asked(range(2)))["images"], before)
    assert capfd.readouterr() == ("", "")


def test_files_tell_nothing_of_the_machine(tmp_path):
    portable = PortableGenerator(generator(CLASSES))
    write_program(portable, tmp_path / "network.pt2", {})
    with zipfile.ZipFile(tmp_path / "network.pt2") as archive:
        written = [archive.read(name) for name in archive.namelist()]
    for text in (graph(CLASSES), *written):
        assert b".py" not in text
        assert str(tmp_path).encode() not in text


def test_what_a_file_cannot_hold_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("sagan.export.onnx._LARGEST", 1000)
    with pytest.raises(ValueError, match=r"take .* and an ONNX file holds .*--half.*\.pt2"):
        generator_graph(generator(CLASSES))

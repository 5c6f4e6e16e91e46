"""Every way out of Python gives the network that was built, attention included, for any batch."""

import copy
import importlib.util
import io
from functools import cache

import pytest
import torch

from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.nn import advance, fold, make_discriminator, make_generator
from sagan.sampling.generator import TrainedDiscriminator, TrainedGenerator

NETWORKS = pytest.mark.parametrize("network", ["generator", "discriminator"])
KINDS = pytest.mark.parametrize(
    ("architecture", "classes"), [("residual", 3), ("residual", 0), ("dcgan", 0)]
)
# Every two of network, kind and form meet; trained ones are folded.
PAIRS = (
    ("generator", "residual", 3, "raw"),
    ("discriminator", "residual", 3, "trained"),
    ("generator", "residual", 0, "trained"),
    ("discriminator", "residual", 0, "raw"),
    ("generator", "dcgan", 0, "raw"),
    ("discriminator", "dcgan", 0, "trained"),
)
EVERY_PAIR = pytest.mark.parametrize(("network", "architecture", "classes", "form"), PAIRS)
BATCHES = (1, 2, 5)


@cache
def built(network, architecture, classes, form):
    """Wide enough for chunks of queries and for reordered kernels, gamma not 0."""
    torch.manual_seed(0)
    sections = {
        "generator": (
            make_generator,
            GeneratorConfig,
            {"attention": (8, 16), "latent_dim": 16, "batch_norm_momentum": 1.0},
        ),
        "discriminator": (make_discriminator, DiscriminatorConfig, {"attention": (8, 4)}),
    }
    make, section, settings = sections[network]
    config = section(architecture=architecture, base_channels=32, **settings)
    raw = make(config, resolution=32, num_classes=classes)
    for layer, gamma in zip(raw.attention.values(), (0.7, -0.4), strict=True):
        torch.nn.init.constant_(layer.gamma, gamma)
    advance(raw, 3)
    raw(*inputs(network, 16, classes))  # batch statistics
    raw.eval().requires_grad_(False)
    trained = {"generator": TrainedGenerator, "discriminator": TrainedDiscriminator}[network]
    return raw if form == "raw" else trained(raw, "abc"[:classes])


def inputs(network, count, classes):
    random = torch.Generator().manual_seed(count)
    shape = (16,) if network == "generator" else (3, 32, 32)
    first = torch.randn(count, *shape, generator=random).clamp(-1, 1)
    return (first, torch.arange(count) % classes) if classes else (first,)


def gives_the_same(network, classes, plain, other):
    for count in BATCHES:
        batch = inputs(network, count, classes)
        torch.testing.assert_close(other(*batch), plain(*batch), rtol=1e-5, atol=1e-5)


@NETWORKS
@KINDS
def test_attention_matters_to_what_is_compared_here(network, architecture, classes):
    whole, batch = built(network, architecture, classes, "raw"), inputs(network, 2, classes)
    without = copy.deepcopy(whole)
    for layer in without.attention.values():
        torch.nn.init.zeros_(layer.gamma)
    assert (whole(*batch) - without(*batch)).abs().max() > 1e-2


@EVERY_PAIR
@pytest.mark.parametrize("traced", [1, 3])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit as a whole
def test_jit_trace(network, architecture, classes, form, traced):
    plain = built(network, architecture, classes, form)
    file = io.BytesIO()
    torch.jit.save(
        torch.jit.trace(plain, inputs(network, traced, classes), check_trace=False), file
    )
    file.seek(0)
    gives_the_same(network, classes, plain, torch.jit.load(file))


def dynamic(batch):
    return tuple({0: torch.export.Dim("batch")} for _ in batch)


@EVERY_PAIR
def test_torch_export_with_a_dynamic_batch(network, architecture, classes, form):
    plain, batch = built(network, architecture, classes, form), inputs(network, 2, classes)
    exported = torch.export.export(plain, batch, dynamic_shapes=dynamic(batch))
    gives_the_same(network, classes, plain, exported.module())


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="needs onnx, onnxscript and onnxruntime",
)
@pytest.mark.parametrize(
    ("network", "architecture", "classes", "form", "dynamo"),
    [
        *((*pair, False) for pair in PAIRS),
        # Folded residual ones come in test_export_graphs.py.
        *((*pair, True) for pair in PAIRS if pair[1] == "dcgan" or pair[3] == "raw"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of the exporters
def test_onnx(network, architecture, classes, form, dynamo, tmp_path):
    import onnxruntime

    plain, batch = built(network, architecture, classes, form), inputs(network, 2, classes)
    names = ["first", "labels"][: len(batch)]
    shapes = (
        {"dynamic_shapes": dynamic(batch)}
        if dynamo
        else {"dynamic_axes": {name: {0: "batch"} for name in [*names, "output"]}}
    )
    path = tmp_path / "network.onnx"
    torch.onnx.export(
        plain, batch, path, input_names=names, output_names=["output"], dynamo=dynamo, **shapes
    )
    session = onnxruntime.InferenceSession(path)

    def run(*arrays):
        feed = {name: array.numpy() for name, array in zip(names, arrays, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    gives_the_same(network, classes, plain, run)


def test_torch_compile():
    plain = fold(built("generator", "residual", 3, "raw"))
    compiled = torch.compile(plain, backend="aot_eager", dynamic=True, fullgraph=True)
    gives_the_same("generator", 3, plain, compiled)

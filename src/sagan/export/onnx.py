"""Networks as ONNX."""

import warnings
from typing import Any

import numpy as np
import torch

from sagan.errors import SaganError
from sagan.export.portable import (
    PortableDiscriminator,
    PortableGenerator,
    PortableNetwork,
    recorded,
    rounded,
)
from sagan.nn.exposed import ExposedDiscriminator, ExposedGenerator

OPSET = 20


def generator_graph(
    network: ExposedGenerator, *, shares: bool = False, scales: bool = False, half: bool = False
) -> bytes:
    """A generator as an ONNX file, for any number of pictures.

    Inputs are latents (N, latent_dim) and, where there are classes, labels, int64 (N,). Outputs are
    images (N, C, H, W) in [-1, 1] and of each attention layer map.NAME (N, positions, keys).

    Args:
        network: Left as it is.
        shares: Take shares (N, classes), the share of every class, in place of labels.
        scales: Take scales (layers,), by which the gammas are multiplied, coarse to fine; without
            attention there is no such input.
        half: Store kernels and tables in float16, in half the bytes; they are computed with in
            float32.

    Raises:
        SaganError: The extra onnx is missing, or a weight is larger than float16 can hold.
    """
    return graph_of(
        PortableGenerator(rounded(network) if half else network, shares=shares, scales=scales),
        half=half,
    )


def discriminator_graph(
    network: ExposedDiscriminator, *, scales: bool = False, half: bool = False
) -> bytes:
    """A discriminator as an ONNX file: images (N, C, H, W) -> logits (N, classes) and map.NAME.

    Args:
        network: Left as it is.
        scales: As for :func:`generator_graph`.
        half: As there.

    Raises:
        SaganError: As there.
    """
    return graph_of(
        PortableDiscriminator(rounded(network) if half else network, scales=scales), half=half
    )


def graph_of(portable: PortableNetwork, *, half: bool) -> bytes:
    """Any network as an ONNX file.

    Args:
        portable: Left as it is.
        half: Store in float16 what float16 holds exactly.

    Raises:
        SaganError: The extra onnx is missing.
    """
    require_onnx()
    program = recorded(portable)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        made = torch.onnx.export(
            program,
            input_names=portable.takes,
            output_names=portable.gives,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    _clean(model)
    if half:
        _store_in_half(model)
    return model.SerializeToString()


def require_onnx() -> None:
    """Refuses to go on without the extra.

    Raises:
        SaganError: It is missing.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SaganError(f'ONNX needs {error.name}: pip install "sagan[onnx]"') from error


def _clean(model: Any) -> None:
    graph = model.graph
    del graph.value_info[:]
    for entry in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "batch"


def _store_in_half(model: Any) -> None:
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2:
            continue
        values = numpy_helper.to_array(weight)
        short = values.astype(np.float16)
        if not np.array_equal(short, values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(short, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for place, node in enumerate(casts):
        model.graph.node.insert(place, node)

"""Networks as ONNX."""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.export.parity import Compute
from sagan.export.portable import (
    PortableDiscriminator,
    PortableGenerator,
    PortableNetwork,
    recorded,
    stored_in_half,
)
from sagan.nn.exposed import ExposedDiscriminator, ExposedGenerator
from sagan.system.extras import install
from sagan.system.memory import readable

_OPSET = 20
_LARGEST = 2**31 - 2**24
"""Bytes of weights: protobuf ends at 2 GiB, of which the graph takes a little."""


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
    network = stored_in_half(network) if half else network
    return graph_of(PortableGenerator(network, shares=shares, scales=scales))


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
    network = stored_in_half(network) if half else network
    return graph_of(PortableDiscriminator(network, scales=scales))


def graph_of(portable: PortableNetwork, description: Mapping[str, str] | None = None) -> bytes:
    """Any network as an ONNX file.

    Args:
        portable: Left as it is.
        description: Written into the file, as metadata.

    Raises:
        SaganError: The extra onnx is missing, or the file would be larger than ONNX allows.
    """
    require_onnx()
    _require_below_limit(portable)
    program = recorded(portable)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        made = torch.onnx.export(
            program,
            input_names=list(portable.asked(range(1))),
            output_names=portable.outputs,
            opset_version=_OPSET,
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    model.producer_name = "sagan"
    _simplify(model.graph)
    model.ClearField("metadata_props")
    for key, value in (description or {}).items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def opened_graph(graph: Path | bytes) -> Compute:
    """The network of an ONNX file, computed by onnxruntime on this machine's processor.

    Args:
        graph: The file or what is in it. Inputs that it does not take are passed over.
    """
    import onnxruntime

    runtime: Any = onnxruntime  # its types lack names
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    taken = [asked.name for asked in session.get_inputs()]

    def draw(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = session.run(names, {name: inputs[name].numpy() for name in taken})
        return {n: torch.from_numpy(x) for n, x in zip(names, found, strict=True)}

    return draw


def require_onnx() -> None:
    """Refuses to go on without the extra.

    Raises:
        SaganError: It is missing.
    """
    for name in ("onnx", "onnxruntime", "onnxscript"):
        if find_spec(name) is None:
            raise SaganError(f"ONNX needs {name}; run: {install('onnx')}")


def _require_below_limit(portable: PortableNetwork) -> None:
    tensors = portable.state_dict().values()
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _LARGEST:
        raise SaganError(
            f"the weights take {readable(size)} and an ONNX file holds {readable(_LARGEST)}; "
            "halve them with --half, or write a .pt2 file"
        )


def _simplify(graph: Any) -> None:
    """Leaves the graph alone: no notes of the exporter, and one name for the batch."""
    graph.ClearField("value_info")
    for entry in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "batch"

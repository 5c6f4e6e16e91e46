"""The page in a single file: front end, model and runtime, without a server or a network."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sagan.errors import SaganError
from sagan.nn.exposed import MAP, ExposedNetwork
from sagan.sampling.latents import draw_latents
from sagan.studio.models import Gallery
from sagan.studio.page import BACK_END, KINDS, front_files, page_at, policy
from sagan.studio.runtime import LICENCE, Runtime, find_runtime
from sagan.system.files import write_text, writing

if TYPE_CHECKING:
    from sagan.sampling.live import LiveModel

Arrays = Mapping[str, np.ndarray]

MOST_PAGE_BYTES = 64 * 10**6
"""Of a file that browsers open without ado."""
SEEDS_COMPARED = 16
"""Pictures that the graphs are compared on, over all classes or as many of them."""
LEAST_EVEN = 0.9
"""Share of the values of pictures that must be within one level of PyTorch's."""

_POLICY = policy(
    {
        "script-src": "'unsafe-inline' 'wasm-unsafe-eval' data: blob:",
        "worker-src": "data: blob:",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "media-src": "blob:",
    }
)
_TOO_OLD = "This browser is too old for this page; open it in a newer one."
# For a browser that does not even run the page's modules: words that all understand.
_FALLBACK = f"""<noscript><p>This page needs JavaScript.</p></noscript>
<script>
if (!window.HTMLScriptElement || !HTMLScriptElement.supports ||
    !HTMLScriptElement.supports("importmap")) {{
  document.getElementById("line").textContent = "{_TOO_OLD}";
}}
</script>"""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How far the page is from PyTorch: the greatest differences on ``SEEDS_COMPARED`` pictures.

    Weights travel in half precision, and this is what that changes.
    """

    levels: int
    """Of a value of a picture, in the 256 levels."""
    even: float
    """Share of the values of all pictures that differ by one level at most."""
    maps: float
    """Of a weight of attention, which lies between 0 and 1."""
    logits: float | None
    """Of the discriminator; None without one."""

    def __str__(self) -> str:
        logits = "" if self.logits is None else f", logits by {self.logits:.2g}"
        return (
            f"compared with PyTorch on {SEEDS_COMPARED} pictures: {100 * self.even:.3g} % of the "
            f"values within 1 of 256 levels, the farthest {self.levels}; attention by at most "
            f"{self.maps:.1g}{logits}"
        )


def write_page(
    model: str | Path, output: Path, tell: Callable[[str], None] = lambda line: None
) -> Fidelity:
    """Writes a model as one HTML file that draws and judges in any browser.

    Args:
        model: A run folder, a checkpoint, or the name of a model.
        output: The file; one that is there is replaced.
        tell: Gets lines for the user: the size in advance, the comparison, the size.

    Returns:
        How far the graphs in the page are from PyTorch.

    Raises:
        SaganError: The model cannot be read, the page would be too large or draw something else,
            the runtime or the extra onnx is missing, or the file cannot be written.
    """
    from sagan.export.onnx import discriminator_graph, generator_graph, require_onnx

    runtime = find_runtime()
    require_onnx()
    gallery = Gallery([model])
    shown = gallery.shown[0]
    live = gallery.open(shown).live
    tell(f"about {_require_small(live, runtime, shown.name) / 1e6:.1f} MB")
    graphs = {"generator": generator_graph(live.generator, shares=True, scales=True, half=True)}
    if live.discriminator:
        graphs["discriminator"] = discriminator_graph(live.discriminator, scales=True, half=True)
    fidelity = compare(live, graphs)
    if not fidelity.even >= LEAST_EVEN:
        raise SaganError(
            f"{output} was not written, since its pictures would be others: {fidelity}; show the "
            "model with the server: sagan studio MODEL"
        )
    tell(str(fidelity))
    facts = gallery.facts(shown) | {"steps": []}  # a run's other checkpoints stay behind
    page = page_of(facts, graphs, runtime)
    if len(page) > MOST_PAGE_BYTES:
        raise _oversize(shown.name, len(page))
    with writing(output):
        write_text(output, page)
    tell(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return fidelity


def compare(live: "LiveModel", graphs: Mapping[str, bytes]) -> Fidelity:
    """Runs the very graphs of a page and compares what they give with PyTorch's.

    Args:
        live: The model in PyTorch.
        graphs: By network: generator, and discriminator if the model has one.
    """
    draw = _runner(live.generator, graphs["generator"])
    judge = _runner(live.discriminator, graphs["discriminator"]) if live.discriminator else None
    classes = len(live.class_names)
    levels, maps, logits = [], [0.0], []
    for seed, latent in enumerate(draw_latents(range(SEEDS_COMPARED), live.latent_dim).numpy()):
        shares = np.eye(max(classes, 1), dtype=np.float32)[seed % max(classes, 1)]
        drawn = live.draw(latent, shares[:classes])
        found = draw({"latents": latent[None], "shares": shares[None]})
        picture = np.clip(np.rint((found["images"][0] + 1) * 127.5), 0, 255)
        levels.append(np.nan_to_num(np.abs(picture - drawn.picture), nan=255))
        maps.extend(_map_differences(drawn.maps, found))
        if judge:
            judged = live.judge(drawn.picture)
            found = judge({"images": drawn.picture[None].astype(np.float32) / 127.5 - 1})
            maps.extend(_map_differences(judged.maps, found))
            logits.append(float(np.abs(judged.logits - found["logits"][0]).max()))
    return Fidelity(
        levels=int(np.max(levels)),
        even=float(np.mean(np.array(levels) <= 1)),
        maps=max(maps),
        logits=max(logits, default=None),
    )


def _runner(network: ExposedNetwork, graph: bytes) -> Callable[[Arrays], Arrays]:
    """A graph at the gammas as they were trained."""
    from sagan.export.onnx import opened_graph

    compute, unscaled = opened_graph(graph), torch.ones(len(network.places))

    def run(inputs: Arrays) -> Arrays:
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        found = compute({**given, "scales": unscaled})
        return {name: tensor.numpy() for name, tensor in found.items()}

    return run


def _map_differences(maps: Arrays, found: Arrays) -> Iterator[float]:
    for name, rows in maps.items():
        yield float(np.abs(rows - found[MAP + name][0]).max())


def _require_small(live: "LiveModel", runtime: Runtime, name: str) -> int:
    """The bytes that the page will have, about; refuses too many before the work."""
    from sagan.export.portable import stored_in_half

    networks = [network for network in (live.generator, live.discriminator) if network]
    weights = sum(t.nbytes for n in networks for t in stored_in_half(n).state_dict().values())
    front = sum(len(text.encode()) for text in front_files().values())
    # Half-precision weights shrink by a tenth; base64 makes 4 bytes of 3.
    bytes_expected = (weights * 0.9 + front + sum(map(len, runtime))) * 4 / 3
    if bytes_expected > MOST_PAGE_BYTES:
        raise _oversize(name, bytes_expected)
    return round(bytes_expected)


def _oversize(name: str, size: float) -> SaganError:
    return SaganError(
        f"{name} would make a page of {size / 1e6:.0f} MB, more than the "
        f"{MOST_PAGE_BYTES / 1e6:.0f} MB that browsers take well; show it with the server: "
        "sagan studio MODEL"
    )


def page_of(facts: Mapping[str, Any], graphs: Mapping[str, bytes], runtime: Runtime) -> str:
    """The page as HTML.

    Args:
        facts: Of the model, as the front end knows it.
        graphs: By network, ONNX.
        runtime: What runs them.
    """
    files = front_files()
    modules = {name: text for name, text in files.items() if name.endswith(".js")}
    del modules["server.js"]
    modules[BACK_END] = modules.pop("local.js")
    styles = [f"<style>\n{text}</style>" for name, text in files.items() if name.endswith(".css")]
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    page = page_at(
        {name: _data_url(text, KINDS[".js"]) for name, text in modules.items()},
        "\n".join([policy, *styles]),
    )
    title = f"<title>{escape(facts['name'])} - sagan studio</title>"
    page = page.replace("<title>sagan studio</title>", title, 1)
    carried = {name: _gzipped_text(graph) for name, graph in graphs.items()}
    carried |= {name: _text_of(content) for name, content in runtime._asdict().items()}
    model = json.dumps(facts).replace("<", "\\u003c")
    elements = [
        f"<!-- ONNX Runtime is in this page.\n\n{LICENCE.read_text('utf-8')}-->",
        f'<script type="application/json" id="carried-model">{model}</script>',
        *(
            f'<script type="text/plain" id="carried-{name}">{text}</script>'
            for name, text in carried.items()
        ),
        _FALLBACK,
    ]
    return page.replace("</body>", "\n".join([*elements, "</body>"]), 1)


def _data_url(text: str, kind: str) -> str:
    return f"data:{kind};base64,{_text_of(text.encode())}"


def _gzipped_text(content: bytes) -> str:
    return _text_of(gzip.compress(content, mtime=0))


def _text_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")

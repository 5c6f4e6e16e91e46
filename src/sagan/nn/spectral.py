"""Spectral normalisation: weights divided by their largest singular value.

A forward pass reads the singular vectors and changes nothing, so that sampling, logging and
evaluation leave training untouched. Training moves the vectors on purpose, by one power iteration
of every layer before each update of the discriminator and before each pass of the generator, or
once a step (:func:`advance`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import ParametrizationList

from sagan.config import NetworkConfig
from sagan.config.checks import require
from sagan.errors import SaganError
from sagan.nn.initialization import first_weight, is_drawn
from sagan.nn.singular import Divisor, divisor_of, gradient_of_division, move_singular_vectors
from sagan.nn.tracing import is_traced

Layer = TypeVar("Layer", bound=nn.Module)


class SpectralNorm(nn.Module):
    """Maps a weight W to W / sigma with sigma = u^T W v, W seen as (out, everything else).

    Gradients flow through W alone; u and v are constants of the pass. The released code lets them
    flow through the power iteration as well, which is the same once u and v have converged.

    Source: Miyato et al. 2018, equations 17 and 18; released code ``ops.py``,
    ``spectral_normed_weight``.

    Args:
        weight: The weight to begin with; u and v start at its leading singular vectors.
        eps: Lower bound of the norms in the power iteration.
        transposed: The weight is (in, out, ...), as in torch's transposed convolutions.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, eps: float = 1e-12, *, transposed: bool = False) -> None:
        super().__init__()
        require(eps > 0, "eps", eps, "positive")
        self.eps = eps
        self.transposed = transposed
        rows, columns = self.out_first(weight).flatten(1).shape
        for name, size in (("u", rows), ("v", columns)):
            vector = weight.new_empty(size)
            if is_drawn():
                vector = F.normalize(vector.normal_(), dim=0, eps=eps)
            self.register_buffer(name, vector)
        if is_drawn():
            self.advance(weight, iterations=15)

    def advance(self, weight: Tensor, iterations: int = 1) -> None:
        """Moves u and v towards the leading singular vectors of ``weight``, in place."""
        weights = [self.out_first(weight)]
        move_singular_vectors(weights, [self.u], [self.v], [self.eps], iterations)

    def forward(self, weight: Tensor) -> Tensor:
        """Returns ``weight`` / sigma, of the same shape, in float32 also under autocast."""
        weight = self.out_first(weight)
        if is_traced():  # a graph cannot hold a function that has its own gradient
            return self.out_first(weight / divisor_of(weight, self.u, self.v).sigma)
        return self.out_first(_DivideBySigma.apply(weight, self.u, self.v))

    def out_first(self, weight: Tensor) -> Tensor:
        """Swaps (in, out, ...) and (out, in, ...) where the weight is transposed."""
        return weight.transpose(0, 1) if self.transposed else weight


class _DivideBySigma(torch.autograd.Function):
    """W / sigma with its gradient written out.

    The same as automatic differentiation finds, in a third of its time. Where the gradient is to be
    differentiated itself, it is left to automatic differentiation.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
        divisor = divisor_of(weight, u, v)
        ctx.save_for_backward(weight, divisor.sigma, divisor.u, divisor.v, u, v)
        return weight / divisor.sigma

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        weight, sigma, u, v, *vectors = ctx.saved_tensors
        if torch.is_grad_enabled():
            divided = weight / divisor_of(weight, *vectors).sigma
            return *torch.autograd.grad(divided, weight, gradient, create_graph=True), None, None
        own = torch.empty_like(weight).copy_(gradient)
        return gradient_of_division(own, weight, Divisor(sigma, u, v)), None, None


class SpectralLayer(nn.Module):
    """Base of all layers whose weight may be spectrally normalised.

    Args:
        shape: Of the weight.
        memory_order: Its dimensions from the outermost in memory to the innermost; fewer copies
            are made where that is the order in which the layer's product reads them.

    Attributes:
        weight: The parameter, (out, ...).
        spectral_norm: None until :func:`attach` puts one there.
        in_full_precision: Under autocast the kernel stays in the weight's precision.
        kept_kernel: The kernel, within :func:`sagan.nn.kernels.kept_kernels`; else None.
        kept_sigma: By what the product with it has still to be divided; else None.
    """

    weight: nn.Parameter
    spectral_norm: SpectralNorm | None
    in_full_precision = False
    kept_kernel: Tensor | None
    kept_sigma: Tensor | None

    def __init__(self, *shape: int, memory_order: Sequence[int] | None = None) -> None:
        super().__init__()
        if min(shape) < 1:
            raise SaganError(
                f"{type(self).__name__} cannot have a weight of {' x '.join(map(str, shape))}; "
                "give it at least one channel, feature or class"
            )
        order = range(len(shape)) if memory_order is None else memory_order
        # Drawn in the usual order, so that a seed means the same weights in any other.
        weight = torch.empty_permuted(shape, tuple(order)).copy_(first_weight(*shape))
        self.weight = nn.Parameter(weight)
        self.spectral_norm = None
        self.kept_kernel = None
        self.kept_sigma = None

    @property
    def divides_product(self) -> bool:
        """Whether its product is divided by sigma, to spare a copy of a large weight."""
        return False

    @property
    def normalized_weight(self) -> Tensor:
        """The weight over sigma, or as it is."""
        return self.weight if self.spectral_norm is None else self.spectral_norm(self.weight)

    def fold(self, weight: Tensor) -> Tensor:
        """Turns a normalised weight into the kernel of the layer's product; by default itself."""
        return weight

    def fold_gradient(self, gradient: Tensor) -> Tensor:
        """Turns the gradient of :meth:`fold`'s result into that of what it was given."""
        return gradient

    @property
    def kernel(self) -> Tensor:
        """What the layer multiplies with: the weight, normalised and folded.

        A kept one is in the precision of autocast; without autocast its values stay rounded.
        """
        if (kept := self.kept_kernel) is None:
            return self.fold(self.normalized_weight)
        if self.kept_sigma is not None:
            kept = kept / self.kept_sigma
        return kept if torch.is_autocast_enabled(kept.device.type) else kept.to(self.weight.dtype)


def spectral_norms(network: nn.Module) -> Iterator[tuple[SpectralNorm, Tensor]]:
    """Every spectral norm of a network with the weight that it divides."""
    for layer in network.modules():
        if isinstance(layer, SpectralLayer) and layer.spectral_norm is not None:
            yield layer.spectral_norm, layer.weight
        elif isinstance(layer, ParametrizationList) and isinstance(norm := layer[0], SpectralNorm):
            yield norm, layer.original


_OF_TORCH = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.EmbeddingBag)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_OUT_OF_REACH = (nn.Bilinear, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)


def attach(network: nn.Module, eps: float = 1e-12) -> None:
    """Normalises the weights of a network's layers, from now on.

    These are the layers of :mod:`sagan.nn` and torch's own linear layers, convolutions, transposed
    ones too, and embeddings. Other parameters stay as they are. The singular vectors move by
    :func:`advance` alone: call it before each update. In a state_dict the weight of a layer of
    torch is then called ``parametrizations.weight.original``.

    Args:
        network: With its first weights; a single layer will do.
        eps: Lower bound of the norms in the power iteration.

    Raises:
        SaganError: There is nothing to normalise, or a layer that cannot be; names it.

    Source: Miyato et al. 2018, section 2.1.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> sagan.nn.attach(network)
        >>> sagan.nn.advance(network, iterations=100)
        >>> sigma = torch.linalg.matrix_norm(network[0].weight.flatten(1), 2)
        >>> round(sigma.item(), 3)
        1.0
    """
    kinds = (SpectralLayer, *_OF_TORCH, *_TRANSPOSED, *_OUT_OF_REACH)
    layers = {n: layer for n, layer in network.named_modules() if isinstance(layer, kinds)}
    if not layers:
        raise SaganError(
            f"{type(network).__name__} has no linear layer, convolution or embedding to normalise;"
            " attach spectral norm to a network that has"
        )
    for name, layer in layers.items():
        if _is_zero(_plain_weight(name, layer)):
            raise _unfit(name, layer, "has a weight of zeros, which has no direction; draw it")
    _attach_to(layers.values(), eps)


def _is_zero(weight: Tensor) -> bool:
    try:
        return is_drawn() and not weight.any()
    except RuntimeError:  # a tensor without values, such as one on the device meta
        return False


def _attach_to(layers: Iterable[nn.Module], eps: float) -> None:
    for layer in layers:
        if isinstance(layer, SpectralLayer):
            layer.spectral_norm = SpectralNorm(layer.weight, eps)
        else:
            assert isinstance(layer, (*_OF_TORCH, *_TRANSPOSED))
            norm = SpectralNorm(layer.weight, eps, transposed=isinstance(layer, _TRANSPOSED))
            parametrize.register_parametrization(layer, "weight", norm)


def attach_chosen(config: NetworkConfig, layers: nn.Module, attention: nn.Module) -> None:
    """Normalises what ``spectral_norm`` of a network's config names.

    Args:
        config: Of the network.
        layers: What "all" means.
        attention: The network's attention layers, of which there may be none.
    """
    chosen = {"all": layers, "attention": attention, "none": nn.Module()}[config.spectral_norm]
    own = [layer for layer in chosen.modules() if isinstance(layer, SpectralLayer)]
    _attach_to(own, config.spectral_norm_eps)


def _plain_weight(name: str, layer: nn.Module) -> Tensor:
    weight = dict(layer.named_parameters(recurse=False)).get("weight")
    if isinstance(layer, _OUT_OF_REACH):
        fault = "has weights that spectral norm does not reach; attach it to other parts one by one"
    elif weight is None or getattr(layer, "spectral_norm", None) is not None:
        fault = "has a normalised weight already; leave one of the two out"
    elif isinstance(weight, nn.parameter.UninitializedParameter):
        fault = "has no weight before its first batch; run one first"
    elif getattr(layer, "sparse", False):
        fault = "has sparse gradients, which the division fills; make it without sparse=True"
    else:
        return weight
    raise _unfit(name, layer, fault)


def _unfit(name: str, layer: nn.Module, fault: str) -> SaganError:
    where = f"layer {name}, " if name else ""
    return SaganError(f"{where}{type(layer).__name__}, {fault}")


def spectral_norm(layer: Layer, eps: float = 1e-12) -> Layer:
    """Does what :func:`attach` does, and returns the layer.

    Args:
        layer: A layer or a network with its first weights.
        eps: Lower bound of the norms in the power iteration.

    Raises:
        SaganError: As for :func:`attach`.

    Source: Miyato et al. 2018, section 2.1.

    Example:
        >>> layer = sagan.nn.spectral_norm(torch.nn.Linear(128, 10))
        >>> layer(torch.randn(4, 128)).shape
        torch.Size([4, 10])
    """
    attach(layer, eps)
    return layer


def advance(network: nn.Module, iterations: int = 1) -> None:
    """Runs power iterations for all layers of a network, in place, without gradients.

    Args:
        network: After :func:`attach`; without spectral norm nothing happens.
        iterations: One before each update is enough to follow weights that change slowly.

    Source: Miyato et al. 2018, algorithm 1.

    Example:
        >>> critic = sagan.nn.spectral_norm(torch.nn.Linear(128, 1))
        >>> sagan.nn.advance(critic)  # then a forward pass, a backward pass and an update
    """
    pairs = list(spectral_norms(network))
    move_singular_vectors(
        [norm.out_first(weight) for norm, weight in pairs],
        [norm.u for norm, _ in pairs],
        [norm.v for norm, _ in pairs],
        [norm.eps for norm, _ in pairs],
        iterations,
    )

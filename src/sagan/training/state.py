"""Everything that a step reads and changes, as named tensors: networks, optimisers, average."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from sagan.config import Config, OptimizerConfig, least_weights, network_shape
from sagan.config.training import MOST_ROLLBACKS
from sagan.errors import SaganError
from sagan.losses.regularization import new_logit_averages
from sagan.nn import spectral
from sagan.nn.averaging import measure_batch_statistics
from sagan.nn.dcgan import DCGANDiscriminator
from sagan.nn.residual import AnyDiscriminator, AnyGenerator, make_discriminator, make_generator
from sagan.nn.singular import memory_order
from sagan.runs.checkpoint import Parts, part_of, require_same_tensors, restore_network
from sagan.system.memory import require_free
from sagan.system.randomness import Purpose, generator_at
from sagan.system.ranks import ALONE, Ranks

_Network = TypeVar("_Network", bound=nn.Module)

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")

ROLLBACK_FACTOR = 0.5
"""By which each rollback multiplies both learning rates."""


class _StoppableAdam(torch.optim.Adam):
    found_inf: Tensor
    """The switch by which mixed precision's gradient scaler stops a step."""


class NetworkAdam:
    """Fused Adam, one kernel for all parameters, which does nothing once the run has diverged.

    It works on views of the parameters with their dimensions in the order of memory: the fused
    kernel of CPUs copies whatever is not contiguous, four times per step. PyTorch's kernel for
    Apple's GPUs ignores ``diverged``: there the run stops as well, but after some useless steps.

    Args:
        network: Its parameters, but for frozen ones, which need no gradient; they must stay where
            they are.
        learning_rate: To begin with.
        config: The decays, eps and where it is added.
        diverged: Holds 1 as soon as no weight may change any more, else 0; read on the device.

    Attributes:
        learning_rate: Of the steps to come.
    """

    def __init__(
        self, network: nn.Module, learning_rate: float, config: OptimizerConfig, diverged: Tensor
    ) -> None:
        self._named = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self._orders = {name: memory_order(p) for name, p in self._named.items()}
        self._views = {
            name: nn.Parameter(p.detach().permute(self._orders[name]))
            for name, p in self._named.items()
        }
        self._adam = _StoppableAdam(
            self._views.values(),
            lr=learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            fused=True,
        )
        self._adam.found_inf = diverged
        self._config, self._steps = config, 0
        self._none = torch.zeros_like(diverged)
        self._lengths = diverged.new_zeros(len(self._named))

    @property
    def learning_rate(self) -> float:
        """Of the steps to come."""
        return self._adam.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._adam.param_groups[0]["lr"] = value

    def gradients(self) -> list[Tensor]:
        """Those at hand, as they lie in memory."""
        return [
            parameter.grad.permute(self._orders[name])
            for name, parameter in self._named.items()
            if parameter.grad is not None
        ]

    def finite_gradients(self) -> Tensor:
        """Whether all gradients at hand are finite, and their squares, which Adam takes.

        Their lengths are kept: at last those of the first update that is not made.

        Returns:
            A boolean on the device, for which nobody waits.
        """
        found = [self._none if p.grad is None else p.grad for p in self._named.values()]
        norms = torch._foreach_norm(found)  # pyright: ignore[reportPrivateImportUsage]
        lengths = torch.stack(norms)
        self._lengths = torch.where(self._adam.found_inf > 0, self._lengths, lengths)
        return lengths.isfinite().all()

    def not_finite(self) -> list[str]:
        """The parameters whose gradient was not finite when last judged; waits for the device."""
        lengths = zip(self._named, self._lengths.tolist(), strict=True)
        return [name for name, length in lengths if not math.isfinite(length)]

    def step(self) -> None:
        """Moves the parameters by the gradients at hand, and forgets these."""
        for name, parameter in self._named.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                self._views[name].grad = gradient.permute(self._orders[name])
        self._steps += 1
        self._adam.param_groups[0]["eps"] = self._config.eps_after_correction(self._steps)
        self._adam.step()
        self._adam.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """Moments and numbers of steps by ``parameter.moment``, shaped as the parameters."""
        return {
            f"{name}.{moment}": self._as_parameter(name, value)
            for name, view in self._views.items()
            for moment, value in self._adam.state[view].items()
        }

    def forget(self) -> None:
        """Drops all moments, as before the first step."""
        self._adam.state.clear()
        self._steps = 0

    def expected(self) -> dict[str, Tensor]:
        """What :meth:`tensors` gives after the first step, but for the values."""
        return {
            f"{name}.{moment}": parameter.new_zeros(()) if moment == "step" else parameter
            for name, parameter in self._named.items()
            for moment in _MOMENTS
        }

    def restore(self, tensors: Mapping[str, Tensor], part: str) -> None:
        """Takes over copies of what :meth:`tensors` gave.

        Raises:
            SaganError: They do not fit; names the first difference in ``part``.
        """
        require_same_tensors(tensors, self.expected(), part)
        for view in self._views.values():
            self._adam.state[view] = {
                moment: torch.empty_like(view.new_zeros(()) if moment == "step" else view)
                for moment in _MOMENTS
            }
        for key, tensor in self.tensors().items():
            tensor.detach().copy_(tensors[key])
        self._steps = max(0, *(int(tensors[f"{name}.step"]) for name in self._named))

    def _as_parameter(self, name: str, value: Tensor) -> Tensor:
        if not value.ndim:
            return value
        order = self._orders[name]
        return value.permute([order.index(dimension) for dimension in range(value.ndim)])


@dataclass(kw_only=True)
class TrainingState:
    """Both networks, their optimisers, the averaged generator and the number of steps done.

    With LeCam the moving averages of the logits too.

    Attributes:
        diverged: 1 on the device once a term of the loss or a gradient was not finite, else 0.
        rollbacks: How often the run went back to a checkpoint, each time with lower learning rates.
    """

    generator: AnyGenerator
    discriminator: AnyDiscriminator
    generator_ema: AnyGenerator
    generator_optimizer: NetworkAdam
    discriminator_optimizer: NetworkAdam
    diverged: Tensor
    logit_averages: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    rollbacks: int = 0

    @property
    def rate_factor(self) -> float:
        """What the rollbacks so far leave of the learning rates."""
        return ROLLBACK_FACTOR**self.rollbacks

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Every tensor of the state, by part and name."""
        parts = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_ema": self.generator_ema.state_dict(),
            "generator_optimizer": self.generator_optimizer.tensors(),
            "discriminator_optimizer": self.discriminator_optimizer.tensors(),
            "logit_averages": self.logit_averages,
            "rollbacks": {"count": torch.tensor(self.rollbacks)} if self.rollbacks else {},
        }
        return {part: tensors for part, tensors in parts.items() if tensors}

    def require_fitting(self, parts: Parts, step: int) -> None:
        """Looks whether :meth:`restore` could take over tensors; reads none of their values.

        Raises:
            SaganError: They do not fit; names the first difference.
        """
        for part in ("generator", "discriminator", "generator_ema"):
            require_same_tensors(part_of(parts, part), getattr(self, part).state_dict(), part)
        for part in ("generator_optimizer", "discriminator_optimizer"):
            if step or part in parts:
                expected = getattr(self, part).expected()
                require_same_tensors(part_of(parts, part), expected, part)
        averages = parts.get("logit_averages", {})
        require_same_tensors(averages, self.logit_averages, "logit_averages")

    def learning_rates(self) -> dict[str, float]:
        """Those of the last step, by their names among the settings and in the log."""
        return {
            "generator_lr": self.generator_optimizer.learning_rate,
            "discriminator_lr": self.discriminator_optimizer.learning_rate,
        }

    def restore(self, parts: Parts, step: int) -> None:
        """Takes over the tensors of :meth:`parts`; whatever diverged before is forgotten.

        Raises:
            SaganError: They do not fit; names the first difference.
        """
        restore_network(self.generator, parts, "generator")
        restore_network(self.discriminator, parts, "discriminator")
        restore_network(self.generator_ema, parts, "generator_ema")
        for part in ("generator_optimizer", "discriminator_optimizer"):
            optimizer: NetworkAdam = getattr(self, part)
            if step or part in parts:  # before the first step there are no moments
                optimizer.restore(part_of(parts, part), part)
            else:
                optimizer.forget()
        averages = parts.get("logit_averages", {})
        require_same_tensors(averages, self.logit_averages, "logit_averages")
        for name, tensor in self.logit_averages.items():
            tensor.copy_(averages[name])
        self.rollbacks = _rollbacks_in(parts)
        self.diverged.zero_()
        self.step = step


def _rollbacks_in(parts: Parts) -> int:
    tensors = parts.get("rollbacks", {})
    expected = {"count": torch.tensor(0)} if tensors else {}
    require_same_tensors(tensors, expected, "rollbacks")
    count = int(tensors["count"]) if tensors else 0
    if not 0 <= count <= MOST_ROLLBACKS:
        raise SaganError(f"rollbacks.count is {count} in the checkpoint; give another file")
    return count


def new_state(config: Config, num_classes: int, device: torch.device) -> TrainingState:
    """Builds the state of step 0; the caller's random numbers stay untouched.

    Raises:
        SaganError: Weights and moments would not fit into memory.
    """
    shape = network_shape(config.data, num_classes)
    networks = (config.generator, config.discriminator)
    weights = [least_weights(network, shape["resolution"], num_classes) for network in networks]
    if device.type == "cpu":
        size_there = 4 * (2 * weights[0] + weights[1])
        require_free(size_there, "the networks", "choose smaller base_channels or channels")
    with torch.random.fork_rng(devices=[]):
        seed = generator_at(config.train.seed, 0, Purpose.INITIALIZATION).initial_seed()
        torch.default_generator.manual_seed(seed)
        generator = _moved(make_generator(config.generator, **shape), device)
        discriminator = _moved(make_discriminator(config.discriminator, **shape), device)
        generator_ema = _moved(make_generator(config.generator, **shape), device)
    generator_ema.load_state_dict(generator.state_dict())
    generator_ema.requires_grad_(False).eval()
    for part in first_parts(discriminator, config.train.freeze_discriminator):
        part.requires_grad_(False)
    diverged = torch.zeros((), device=device)
    rates = config.optimizer
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        generator_ema=generator_ema,
        generator_optimizer=NetworkAdam(generator, rates.generator_lr, rates, diverged),
        discriminator_optimizer=NetworkAdam(discriminator, rates.discriminator_lr, rates, diverged),
        diverged=diverged,
        logit_averages=new_logit_averages(config.loss, device),
    )


def first_parts(discriminator: AnyDiscriminator, count: int) -> Iterator[nn.Module]:
    """The first blocks (or layers) of a discriminator, each with the attention after it.

    Source of their use: Mo et al. 2020, "Freeze the Discriminator".
    """
    dcgan = isinstance(discriminator, DCGANDiscriminator)
    blocks = discriminator.layers if dcgan else discriminator.blocks
    for block, place in islice(zip(blocks, discriminator.attention.places, strict=True), count):
        yield block
        if place is not None:
            yield discriminator.attention[place.name]


def _moved(network: _Network, device: torch.device) -> _Network:
    """Moves a network; no-op if it is there already, since fake tensors cannot move."""
    is_there = next(network.parameters()).device == device
    return network if is_there else network.to(device)


def apply_gradients(
    state: TrainingState,
    optimizer: NetworkAdam,
    terms: Mapping[str, Tensor],
    ranks: Ranks = ALONE,
) -> None:
    """Takes a step with the gradients at hand, averaged over all ranks, and forgets them.

    Once a loss or a gradient is NaN or infinite, this update and every later one is skipped; that
    is decided on the device, which nobody waits for. The terms become means over all ranks as well:
    what is not finite on one is then finite on none.
    """
    if ranks.are_many:
        ranks.average([*optimizer.gradients(), *terms.values()])
    finite = torch.stack(list(terms.values())).isfinite().all() & optimizer.finite_gradients()
    torch.maximum(state.diverged, finite.logical_not().float(), out=state.diverged)
    optimizer.step()


@torch.no_grad()
def refresh_average(state: TrainingState, label_frequencies: Tensor, seed: int) -> None:
    """Makes the averaged generator fit for use: its singular vectors and batch statistics.

    Twenty power iterations from the live network's vectors, then the mean of the batch statistics
    over fixed latents. Nothing else is read or changed, so calling it does not alter the run.
    """
    average = state.generator_ema
    for (norm, _), (live, _) in zip(
        spectral.spectral_norms(average), spectral.spectral_norms(state.generator), strict=True
    ):
        norm.load_state_dict(live.state_dict())
    spectral.advance(average, iterations=20)
    random = generator_at(seed, 0, Purpose.STATISTICS)
    measure_batch_statistics(average, label_frequencies, random)

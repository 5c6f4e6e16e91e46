"""Everything that a step reads and changes, as named tensors: networks, optimisers, average."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from sagan.config import Config, least_weights, network_shape
from sagan.config.training import MOST_ROLLBACKS
from sagan.errors import SaganError
from sagan.losses.regularization import new_logit_averages
from sagan.nn import spectral
from sagan.nn.averaging import measure_batch_statistics
from sagan.nn.dcgan import DCGANDiscriminator
from sagan.nn.initialization import undrawn
from sagan.nn.residual import AnyDiscriminator, AnyGenerator, make_discriminator, make_generator
from sagan.runs.checkpoint import Parts, part_of, require_same_tensors, restore_network
from sagan.system.memory import require_free
from sagan.system.randomness import Purpose, generator_at
from sagan.system.ranks import ALONE, Ranks
from sagan.training.optimizer import NetworkAdam

_Network = TypeVar("_Network", bound=nn.Module)

POWER_ITERATIONS = 20
"""After which singular vectors have followed weights that became others at once."""
ROLLBACK_FACTOR = 0.5
"""By which each rollback multiplies both learning rates."""


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
        self.require_fitting(parts, step)
        restore_network(self.generator, parts, "generator")
        restore_network(self.discriminator, parts, "discriminator")
        restore_network(self.generator_ema, parts, "generator_ema")
        for part in ("generator_optimizer", "discriminator_optimizer"):
            optimizer: NetworkAdam = getattr(self, part)
            if step or part in parts:  # before the first step there are no moments
                optimizer.restore(part_of(parts, part), part)
            else:
                optimizer.forget()
        for name, tensor in self.logit_averages.items():
            tensor.copy_(parts["logit_averages"][name])
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
        with undrawn():
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

    Some power iterations from the live network's vectors, then the mean of the batch statistics
    over fixed latents. Nothing else is read or changed, so calling it does not alter the run.
    """
    average = state.generator_ema
    for (norm, _), (live, _) in zip(
        spectral.spectral_norms(average), spectral.spectral_norms(state.generator), strict=True
    ):
        norm.load_state_dict(live.state_dict())
    spectral.advance(average, POWER_ITERATIONS)
    random = generator_at(seed, 0, Purpose.STATISTICS)
    measure_batch_statistics(average, label_frequencies, random)

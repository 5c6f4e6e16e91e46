"""Everything that a step reads and changes, as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from sagan.config import Config
from sagan.losses.regularizers import new_logit_averages
from sagan.nn import spectral
from sagan.nn.averaging import measure_batch_statistics
from sagan.nn.residual import AnyDiscriminator, AnyGenerator, make_discriminator, make_generator
from sagan.runs.checkpoint import Parts, part_of, require_same_tensors, restore_network
from sagan.system.randomness import Purpose, generator_at
from sagan.training.optimizer import NetworkAdam

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(kw_only=True)
class TrainingState:
    """Both networks, their optimisers, the averaged generator and the number of steps done.

    With LeCam the moving averages of the logits too.

    Attributes:
        diverged: 1 on the device once a term of the loss was not finite, else 0.
    """

    generator: AnyGenerator
    discriminator: AnyDiscriminator
    generator_ema: AnyGenerator
    generator_optimizer: NetworkAdam
    discriminator_optimizer: NetworkAdam
    diverged: Tensor
    logit_averages: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Every tensor of the state, by part and name."""
        parts = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_ema": self.generator_ema.state_dict(),
            "generator_optimizer": self.generator_optimizer.tensors(),
            "discriminator_optimizer": self.discriminator_optimizer.tensors(),
            "logit_averages": self.logit_averages,
        }
        return {part: tensors for part, tensors in parts.items() if tensors}

    def restore(self, parts: Parts, step: int) -> None:
        """Takes over the tensors of :meth:`parts`.

        Raises:
            SaganError: They do not fit; names the first difference.
        """
        restore_network(self.generator, parts, "generator")
        restore_network(self.discriminator, parts, "discriminator")
        restore_network(self.generator_ema, parts, "generator_ema")
        for part in ("generator_optimizer", "discriminator_optimizer"):
            optimizer: NetworkAdam = getattr(self, part)
            optimizer.restore(part_of(parts, part), part)
        averages = parts.get("logit_averages", {})
        require_same_tensors(averages, self.logit_averages, "logit_averages")
        for name, tensor in self.logit_averages.items():
            tensor.copy_(averages[name])
        self.step = step


def new_state(config: Config, num_classes: int, device: torch.device) -> TrainingState:
    """Builds the state of step 0; the caller's random numbers stay untouched."""
    size = {"resolution": config.data.resolution, "num_classes": num_classes}
    with torch.random.fork_rng(devices=[]):
        seed = generator_at(config.train.seed, 0, Purpose.INITIALIZATION).initial_seed()
        torch.default_generator.manual_seed(seed)
        generator = _moved(make_generator(config.generator, **size), device)
        discriminator = _moved(make_discriminator(config.discriminator, **size), device)
        generator_ema = _moved(make_generator(config.generator, **size), device)
    generator_ema.load_state_dict(generator.state_dict())
    generator_ema.requires_grad_(False).eval()
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


def _moved(network: _Network, device: torch.device) -> _Network:
    """A network on a device; one that is there is left alone, as fake tensors must be."""
    is_there = next(network.parameters()).device == device
    return network if is_there else network.to(device)


def update(state: TrainingState, optimizer: NetworkAdam, terms: Mapping[str, Tensor]) -> None:
    """Takes a step with the gradients at hand, and forgets them.

    From the first term that is not finite on no weight changes any more; that is decided on the
    device, which nobody waits for.
    """
    finite = torch.stack(list(terms.values())).isfinite().all()
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

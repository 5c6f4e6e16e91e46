"""Everything that a step reads and changes, as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from sagan.config import Config, least_weights
from sagan.losses.regularizers import new_logit_averages
from sagan.nn import spectral
from sagan.nn.layers import ConditionalBatchNorm2d
from sagan.nn.residual import AnyDiscriminator, AnyGenerator, make_discriminator, make_generator
from sagan.runs.checkpoint import Parts, part_of, require_same_tensors, restore_network
from sagan.system.memory import require_free
from sagan.system.randomness import Purpose, draw_latents_and_labels, generator_at
from sagan.training.optimizer import NetworkAdam

STATISTICS_BATCHES = 16
STATISTICS_BATCH_SIZE = 64

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
    """Builds the state of step 0; the caller's random numbers stay untouched.

    Raises:
        SaganError: Weights and moments would not fit into memory.
    """
    size = {"resolution": config.data.resolution, "num_classes": num_classes}
    weights = [least_weights(net, **size) for net in (config.generator, config.discriminator)]
    if device.type == "cpu":
        size_there = 4 * (2 * weights[0] + weights[1])
        require_free(size_there, "the networks", "choose smaller base_channels or channels")
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
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves every parameter of ``average`` towards ``network``: a <- decay a + (1 - decay) p.

    Parameters only: singular vectors and batch statistics cannot be averaged
    (:func:`refresh_average` recomputes them).
    """
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(average.parameters()), list(network.parameters()), 1 - decay
    )


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

    norms = [m for m in average.modules() if isinstance(m, ConditionalBatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    random = generator_at(seed, 0, Purpose.STATISTICS)
    average.train()
    for batch in range(STATISTICS_BATCHES):
        for norm in norms:
            norm.momentum = 1 / (batch + 1)
        latents, labels = draw_latents_and_labels(
            STATISTICS_BATCH_SIZE, average.latent_dim, label_frequencies, random
        )
        device = next(average.parameters()).device
        average(latents.to(device), labels.to(device))
    average.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum

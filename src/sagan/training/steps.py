"""The step of a run: the discriminator's updates, then the generator's, its mirror image.

tests/reference.py has the same step in twenty plain lines, but for the singular vectors, which
PyTorch moves at every pass. Here a batch may also pass in portions, whose gradients add up, and the
generator's update may judge the discriminator's last fakes again. Nothing waits for the device: the
terms of the loss stay there as tensors until somebody reads them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.config import Config, PowerIteration
from sagan.losses import class_terms, discriminator_terms, generator_term
from sagan.losses.augmentation import augment
from sagan.losses.regularization import Regularizers
from sagan.nn import spectral
from sagan.nn.batch_norm import statistics_over
from sagan.nn.kernels import kept_kernels
from sagan.nn.residual import Discriminator
from sagan.system.randomness import Purpose, generator_at
from sagan.system.ranks import ALONE, Ranks
from sagan.training.draws import Draws, StepInputs, Update
from sagan.training.state import TrainingState, apply_gradients

_Portion = TypeVar("_Portion")
Labelled = tuple[Tensor, Tensor]
"""Pictures (N, C, H, W) in [-1, 1] and their labels (N,), a portion of a batch."""
Terms = dict[str, Tensor]
"""Terms of a loss by name: scalars on the device, without graph."""


@dataclass(frozen=True)
class TrainingStep:
    """What a run does over and over.

    Attributes:
        state: Read and changed.
        config: The loss, the optimisers, the portions.
        device: Where the state lies.
        autocast: Precision of the forward passes.
        ranks: The processes that share each batch.
    """

    state: TrainingState
    config: Config
    device: torch.device
    autocast: torch.autocast
    ranks: Ranks = ALONE

    def __call__(self, inputs: StepInputs) -> Terms:
        """Takes one step and returns the terms of its loss.

        Learning rates and the averaged generator are the loop's work.
        """
        reuse, last, terms = self.config.train.reuse_fakes, inputs.updates[-1], Terms()
        # Of the two blocks "step" and "pass" the setting lets one act.
        with self._statistics_shared(), self._generator_advanced("step"):
            for update in inputs.updates[:-1] if reuse else inputs.updates:
                fakes = self.draw_fakes(update.draws)
                terms = _merged(terms, self.update_discriminator(update, fakes))
            with self._generator_advanced("pass"):
                fakes = self.generate(inputs.draws)
                if reuse:
                    fakes = list(fakes)
                    terms = _merged(terms, self.update_discriminator(last, fakes))
                reals = self.reals(last) if self.config.loss.relativistic else None
                terms |= self.generator_gradients(inputs.step, fakes, reals)
        # Kept kernels hand their gradients on to the weights when their block ends.
        apply_gradients(self.state, self.state.generator_optimizer, terms, self.ranks)
        return terms

    def update_discriminator(self, update: Update, fakes: Iterable[Labelled]) -> Terms:
        """Moves the discriminator's singular vectors, then its weights."""
        spectral.advance(self.state.discriminator)
        terms = self.discriminator_gradients(update.number, self.reals(update), fakes)
        apply_gradients(self.state, self.state.discriminator_optimizer, terms, self.ranks)
        return terms

    def discriminator_gradients(
        self, update: int, reals: Iterable[Labelled], fakes: Iterable[Labelled]
    ) -> Terms:
        """Adds the gradients of the discriminator's loss; real and fake pictures pass together."""
        discriminator, totals = self.state.discriminator, Terms()
        with kept_kernels(discriminator, self.autocast):
            for portion, (real, fake) in self._numbered(zip(reals, fakes, strict=True)):
                fake_images = self._augmented(fake[0], update, Purpose.AUGMENTATION_FAKE, portion)
                images = torch.cat([real[0], fake_images.detach()])
                labels = torch.cat([real[1], fake[1]])
                logits, named = self._judged(images, labels)
                real_term, fake_term = discriminator_terms(self.config.loss, *logits.chunk(2))
                terms = {"discriminator_real": real_term, "discriminator_fake": fake_term}
                terms |= class_terms(named, labels)
                terms |= self._regularizers.terms(
                    update, portion, discriminator, images, labels, logits
                )
                self._add_gradients(totals, terms)
        return totals

    def generator_gradients(
        self, step: int, fakes: Iterable[Labelled], reals: Iterable[Labelled] | None
    ) -> Terms:
        """Adds the gradients of the generator's loss; the discriminator is frozen meanwhile.

        Real pictures are needed only where ``loss.relativistic`` is on.
        """
        discriminator, totals = self.state.discriminator, Terms()
        pairs = repeat(None) if reals is None else reals
        learning = [p for p in discriminator.parameters() if p.requires_grad]
        discriminator.requires_grad_(False)  # before its kernels are kept, which take that over
        try:
            with self._judge_advanced(), kept_kernels(discriminator, self.autocast):
                for portion, (fake, real) in self._numbered(zip(fakes, pairs)):  # noqa: B905 (None has no end)
                    purpose = Purpose.AUGMENTATION_GENERATOR
                    images = self._augmented(fake[0], step, purpose, portion)
                    with self.autocast:
                        real_logits = None if real is None else discriminator(*real)
                    fake_logits, named = self._judged(images, fake[1])
                    terms = {
                        "generator": generator_term(self.config.loss, real_logits, fake_logits)
                    }
                    if named is not None:
                        terms["generator_class"] = F.cross_entropy(named, fake[1])
                    self._add_gradients(totals, terms)
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
        return totals

    def _judged(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the pictures; and of their classes, where the discriminator names them."""
        discriminator = self.state.discriminator
        with self.autocast:
            if isinstance(discriminator, Discriminator) and discriminator.classifier is not None:
                return discriminator.judged_and_named(images)
            return discriminator(images, labels), None

    def draw_fakes(self, draws: Draws) -> list[Labelled]:
        """Generates a batch for the discriminator alone, without graph."""
        with torch.no_grad(), self._generator_advanced("pass"):
            return list(self.generate(draws))

    def generate(self, draws: Draws) -> Iterator[Labelled]:
        """Yields one portion of a batch at a time, so that only its graph is in memory."""
        for latents, labels in self._portions(draws.on(self.device)):
            with self.autocast:
                images = self.state.generator(latents, labels)
            yield images, labels

    def reals(self, update: Update) -> Iterator[Labelled]:
        """The real pictures of an update, as the discriminator sees them."""
        images, labels = update.reals.on(self.device)
        purpose, portion = Purpose.AUGMENTATION_REAL, self.ranks.rank
        images = self._augmented(images, update.number, purpose, portion)
        return self._portions((images, labels))

    @contextmanager
    def _generator_advanced(self, when: PowerIteration) -> Iterator[None]:
        """Moves the generator's singular vectors, and keeps its kernels within the block.

        ``train.generator_power_iteration`` decides when: once in a step, or before each of its
        passes. At the other occasion nothing happens.
        """
        if self.config.train.generator_power_iteration != when:
            yield
            return
        spectral.advance(self.state.generator)
        with kept_kernels(self.state.generator, self.autocast):
            yield

    @contextmanager
    def _judge_advanced(self) -> Iterator[None]:
        """Moves the discriminator's singular vectors within the block, if the setting says so."""
        if self.config.train.discriminator_power_iteration == "update":
            yield
            return
        norms = [norm for norm, _ in spectral.spectral_norms(self.state.discriminator)]
        before = [(vector, vector.clone()) for norm in norms for vector in norm.buffers()]
        spectral.advance(self.state.discriminator)
        try:
            yield
        finally:
            for vector, kept in before:
                vector.copy_(kept)

    @contextmanager
    def _statistics_shared(self) -> Iterator[None]:
        """Takes the generator's batch statistics within the block as the setting says."""
        if self.config.train.batch_statistics == "process" or not self.ranks.are_many:
            yield
            return
        with statistics_over(self.ranks, self.state.generator):
            yield

    @cached_property
    def _regularizers(self) -> Regularizers:
        train, averages = self.config.train, self.state.logit_averages
        return Regularizers(self.config.loss, train.seed, averages, self.autocast, self.ranks)

    def _numbered(self, portions: Iterable[_Portion]) -> Iterator[tuple[int, _Portion]]:
        """A rank's portions with their numbers in the whole batch (:func:`own_share`)."""
        for number, portion in enumerate(portions):
            yield number * self.ranks.count + self.ranks.rank, portion

    def _augmented(self, images: Tensor, number: int, purpose: Purpose, portion: int) -> Tensor:
        random = generator_at(self.config.train.seed, number, purpose, portion)
        return augment(images, self.config.data.augment, random)

    def _portions(self, batch: Labelled) -> Iterator[Labelled]:
        images, labels = (tensor.chunk(self.config.train.accumulate) for tensor in batch)
        return zip(images, labels, strict=True)

    def _add_gradients(self, totals: Terms, terms: dict[str, Tensor]) -> None:
        """Accumulates a portion's terms and gradients."""
        share = 1 / self.config.train.accumulate
        weighed = {name: share * term for name, term in terms.items()}
        torch.stack(list(weighed.values())).sum().backward()
        for name, term in weighed.items():
            totals[name] = totals.get(name, 0) + term.detach()


def _merged(before: Terms, now: Terms) -> Terms:
    """The newest value of each term; where a value was not finite, the first such one stays."""
    merged = before | now
    for name in before.keys() & now.keys():
        merged[name] = torch.where(before[name].isfinite(), now[name], before[name])
    return merged

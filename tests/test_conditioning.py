"""How a discriminator learns of classes: by projection, or by naming them (AC-GAN)."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny

from sagan.ablation import variants
from sagan.config import DiscriminatorConfig
from sagan.data.dataset import dataset_of
from sagan.errors import SaganError
from sagan.losses import class_terms
from sagan.nn.residual import make_discriminator
from sagan.system.device import autocast
from sagan.training.draws import step_inputs
from sagan.training.state import new_state
from sagan.training.steps import TrainingStep

CPU = torch.device("cpu")


def discriminator_of(conditioning, num_classes=3):
    config = DiscriminatorConfig(base_channels=8, attention=(), conditioning=conditioning)
    torch.manual_seed(0)
    return make_discriminator(config, resolution=32, num_classes=num_classes).eval()


def test_a_discriminator_that_names_classes_judges_all_labels_alike():
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    labels = torch.tensor([0, 1, 2, 0])
    names, projects = discriminator_of("auxiliary"), discriminator_of("projection")
    assert torch.equal(names(images, labels), names(images, labels.flip(0)))
    assert not torch.equal(projects(images, labels), projects(images, labels.roll(1)))
    logits, named = names.judged_and_named(images)
    assert torch.equal(logits, names(images, labels))
    assert named.shape == (4, 3)
    by_class = names.logits_by_class(images)
    torch.testing.assert_close(by_class.logsumexp(1), logits)  # probabilities add up to 1


def test_without_classes_nothing_is_named():
    images = torch.zeros(2, 3, 32, 32)
    one, other = (discriminator_of(kind, num_classes=0) for kind in ("auxiliary", "projection"))
    assert one.classifier is None
    assert torch.equal(one(images), other(images))
    assert class_terms(None, torch.zeros(2)) == {}


def step_of(conditioning):
    """On dark and light pictures."""
    config = tiny(steps=20)
    config = replace(
        config,
        discriminator=replace(config.discriminator, conditioning=conditioning),
        optimizer=replace(config.optimizer, discriminator_lr=1e-3),
    )
    state = new_state(config, 2, CPU)
    labels = torch.arange(16).remainder(2)
    pictures = torch.randint(0, 56, (16, 3, 32, 32)) + 200 * labels[:, None, None, None]
    dataset = dataset_of(pictures.byte().numpy(), labels.numpy(), ("dark", "light"))
    frequencies = torch.full((2,), 0.5, dtype=torch.float64)
    inputs = step_inputs(dataset, config, frequencies, first=0, pinned=False)
    return TrainingStep(state, config, CPU, autocast("float32", CPU)), inputs


def test_both_networks_learn_from_how_well_classes_are_named():
    step, inputs = step_of("auxiliary")
    step.state.generator.train()
    update = next(iter(inputs)).updates[0]
    fakes = step.draw_fakes(update.draws)
    terms = step.discriminator_gradients(0, step.reals(update), fakes)
    assert {"class_real", "class_fake"} <= terms.keys()
    assert step.state.discriminator.classifier.weight.grad.abs().sum() > 0
    step.state.discriminator.zero_grad(set_to_none=True)
    with step._generator_advanced("pass"):
        terms = step.generator_gradients(0, list(step.generate(update.draws)), None)
    assert terms.keys() == {"generator", "generator_class"}
    assert step.state.generator.out.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in step.state.discriminator.parameters())


def test_the_head_learns_to_name_the_classes_of_real_pictures():
    step, inputs = step_of("auxiliary")
    step.state.generator.train()
    losses = [step(given)["class_real"].item() for given in inputs]
    assert len(losses) == 20
    assert losses[-1] < 0.1 < losses[0]


def test_the_papers_second_table_is_one_axis():
    config = tiny()
    config = replace(
        config, optimizer=replace(config.optimizer, generator_lr=1e-4, discriminator_lr=4e-4)
    )
    auxiliary = replace(config.discriminator, conditioning="auxiliary")
    assert variants(replace(config, discriminator=auxiliary), "models") == variants(
        config, "models"
    )
    acgan, sngan, sagan = variants(config, "models")
    assert [v.name for v in (acgan, sngan, sagan)] == ["acgan", "sngan-projection", "sagan"]
    assert acgan.config.discriminator.conditioning == "auxiliary"
    assert acgan.config.loss.name == "non-saturating"
    for variant in (acgan, sngan):
        assert variant.config.generator.attention == variant.config.discriminator.attention == ()
        assert variant.config.optimizer.generator_lr == variant.config.optimizer.discriminator_lr
        assert variant.config.generator.spectral_norm == "none"
    assert sngan.config.discriminator.spectral_norm == "all"
    assert sngan.config.discriminator.conditioning == "projection"
    assert sagan.config.generator.spectral_norm == sagan.config.discriminator.spectral_norm == "all"
    assert sagan.config.discriminator.attention == config.discriminator.attention != ()
    assert sagan.config.optimizer.discriminator_lr == pytest.approx(4e-4)
    bare = replace(config, generator=replace(config.generator, attention=()))
    with pytest.raises(SaganError, match="SAGAN has attention in both networks"):
        variants(bare, "models")

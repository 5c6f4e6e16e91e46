from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import tiny
from test_training import CPU, EXACT, GRADIENT_PENALTY, ZERO_CENTRED, run_steps, same, snapshot

from sagan.config import LossConfig, LossName
from sagan.errors import SaganError
from sagan.losses.regularization import Regularizers
from sagan.training.driver import Driver
from sagan.training.state import new_state

LOSSES = [LossConfig(name=name) for name in get_args(LossName)]
LOSSES += [LossConfig(name=name, relativistic=True) for name in ("hinge", "least-squares")]


def name_of(loss):
    return "relativistic " * loss.relativistic + loss.name


@pytest.mark.parametrize("loss", [*LOSSES, ZERO_CENTRED, GRADIENT_PENALTY], ids=name_of)
def test_every_loss_trains_both_networks(dataset, loss):
    config = replace(tiny(steps=8), loss=loss)
    state = new_state(config, 2, CPU)
    before = snapshot(state.generator), snapshot(state.discriminator)
    log = run_steps(state, dataset, config)
    assert np.isfinite([value for terms in log for value in terms.values()]).all()
    assert not same(before[0], snapshot(state.generator))
    assert not same(before[1], snapshot(state.discriminator))


def test_regularisers_are_terms_of_the_log(dataset):
    config = replace(tiny(steps=2), loss=ZERO_CENTRED)
    log = run_steps(new_state(config, 2, CPU), dataset, config)
    always = {"discriminator_real", "discriminator_fake", "generator", "lecam"}
    always |= {"consistency_real", "consistency_fake"}
    assert [terms.keys() for terms in log] == [always, always | {"r1", "r2"}]
    assert all(terms["discriminator_real"] == terms["discriminator_fake"] for terms in log)
    config = replace(tiny(steps=1), loss=GRADIENT_PENALTY)
    (terms,) = run_steps(new_state(config, 2, CPU), dataset, config)
    assert terms.keys() >= {"gradient_penalty", "lecam"}
    (terms,) = run_steps(new_state(tiny(steps=1), 2, CPU), dataset, tiny(steps=1))
    assert terms.keys() == {"discriminator_real", "discriminator_fake", "generator"}


def test_regularisers_weigh_as_configured():
    def discriminator(images, labels):
        return 3 * images.sum((1, 2, 3)) + labels

    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 1, 0])
    loss = LossConfig(r1=0.5, r2=0.25, penalty_interval=4, lecam=2, lecam_decay=0.5)
    state = new_state(replace(tiny(), loss=loss), 2, CPU)
    regularizers = Regularizers(loss, 0, state.logit_averages, EXACT)
    logits = torch.tensor([3.0, 5.0, -1.0, -3.0])
    # The averages begin with those of the first batch: 4 and -2.
    terms = regularizers.terms(0, 0, discriminator, images, labels, logits)
    assert terms == {"lecam": 2 * ((5**2 + 7**2) / 2 + (5**2 + 7**2) / 2)}
    terms = regularizers.terms(3, 0, discriminator, images, labels, logits)
    squared_slope = 3 * 32 * 32 * 3**2
    assert terms["r1"].item() == pytest.approx(4 * 0.5 * squared_slope / 2)
    assert terms["r2"].item() == pytest.approx(4 * 0.25 * squared_slope / 2)


def test_consistency_is_nothing_for_a_discriminator_of_sums_in_the_middle():
    """Flipping and moving by up to 4 pixels leaves the sum of the pixels, if the border is 0."""
    images, labels = torch.zeros(8, 3, 32, 32), torch.zeros(8, dtype=torch.long)
    images[:, :, 8:24, 8:24] = torch.rand(8, 3, 16, 16)
    loss = LossConfig(consistency_real=10, consistency_fake=10)
    regularizers = Regularizers(loss, 0, {}, EXACT)

    def terms(discriminator):
        logits = discriminator(images, labels)
        return regularizers.terms(0, 0, discriminator, images, labels, logits)

    invariant = terms(lambda images, labels: images.sum((1, 2, 3)))
    assert max(invariant.values()) < 1e-3
    assert invariant.keys() == {"consistency_real", "consistency_fake"}
    assert min(terms(lambda images, labels: images[:, :, 8:12].sum((1, 2, 3))).values()) > 1


def test_real_and_generated_pictures_are_augmented_in_both_steps(dataset, monkeypatch):
    config = tiny(steps=1)
    config = replace(config, data=replace(config.data, augment=("cutout",)))
    config = replace(config, loss=LossConfig(relativistic=True))
    state = new_state(config, 2, CPU)
    seen = []
    state.discriminator.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    run_steps(state, dataset, config)
    real_and_fake, real, fake = seen
    assert torch.equal(real_and_fake[:4], real)
    for picture in [*real_and_fake, *fake]:
        assert (picture == 0).all(0).sum() >= 64
    assert fake.grad_fn is not None


def test_a_note_is_written_once(tmp_path, picture_folder, capsys):
    config = replace(tiny(steps=1), loss=LossConfig(gradient_penalty=1))
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    Driver(config, tmp_path / "run").train()
    assert capsys.readouterr().err.count("note: loss.gradient_penalty pulls") == 1


def test_checkpoint_without_its_averages_is_refused():
    state = new_state(tiny(), 2, CPU)
    for optimizer, network in (
        (state.generator_optimizer, state.generator),
        (state.discriminator_optimizer, state.discriminator),
    ):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    other = new_state(replace(tiny(), loss=GRADIENT_PENALTY), 2, CPU)
    with pytest.raises(SaganError, match=r"logit_averages\.fake is missing in the checkpoint"):
        other.restore(state.parts(), 1)

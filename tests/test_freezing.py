"""FreezeD: the discriminator's first blocks keep their weights."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny

from sagan.config import DiscriminatorConfig, GeneratorConfig, LossConfig
from sagan.errors import SaganError
from sagan.runs import checkpoint as checkpoints
from sagan.training.driver import Driver
from sagan.training.loop import train_steps
from sagan.training.state import new_state

CPU = torch.device("cpu")


def trained(config, dataset, classes=2):
    """The discriminator's weights before and after, and the generator's."""
    state = new_state(config, classes, CPU)
    before = {n: p.detach().clone() for n, p in state.discriminator.named_parameters()}
    drawn = {n: p.detach().clone() for n, p in state.generator.named_parameters()}
    steps = train_steps(
        state,
        dataset,
        config,
        label_frequencies=torch.full((max(classes, 1),), 1 / max(classes, 1)),
        device=CPU,
        autocast=torch.autocast("cpu", enabled=False),
    )
    for terms in steps:
        assert all(term.isfinite() for term in terms.values())
    moved = {n for n, p in state.discriminator.named_parameters() if not p.equal(before[n])}
    assert all(not p.equal(drawn[n]) for n, p in state.generator.named_parameters() if p.ndim > 1)
    return state, moved, before.keys() - moved


def frozen(count, **train):
    return tiny(steps=3, freeze_discriminator=count, **train)


@pytest.mark.parametrize(
    "loss", [LossConfig(), LossConfig(r1=1, lecam=0.1), LossConfig(gradient_penalty=1)], ids=str
)
def test_the_first_blocks_and_their_attention_keep_their_weights(dataset, loss):
    state, moved, kept = trained(replace(frozen(2), loss=loss), dataset)
    assert kept == {
        name
        for name in kept | moved
        if name.startswith(("blocks.0.", "blocks.1.", "attention.16."))
    }
    assert state.discriminator.attention.places[0].height == 16
    assert all(p.grad is None for p in state.discriminator.parameters())


def test_of_a_dcgan_the_first_layers_keep_theirs(dataset):
    networks = {"base_channels": 8, "attention": (8,), "architecture": "dcgan"}
    config = replace(
        frozen(2),
        data=replace(tiny().data, labels="none"),
        generator=GeneratorConfig(latent_dim=16, **networks),
        discriminator=DiscriminatorConfig(**networks),
    )
    _, _, kept = trained(config, replace(dataset, class_names=()), classes=0)
    weights = [name for name in kept if name.endswith(".weight")]
    assert {name.rpartition(".")[0] for name in weights} == {
        "layers.0",
        "layers.1",
        *(f"attention.8.{part}" for part in ("query", "key", "value")),
    }


def test_with_all_blocks_frozen_only_the_verdict_is_learned(dataset):
    _, moved, _ = trained(frozen(4), dataset)
    assert {name.split(".")[0] for name in moved} == {"linear", "embedding"}


def test_a_discriminator_has_only_so_many_blocks():
    with pytest.raises(SaganError, match=r"freeze_discriminator = 5.*at most 4"):
        frozen(5)
    with pytest.raises(SaganError, match=r"freeze_discriminator = -1"):
        frozen(-1)


def test_none_frozen_is_as_ever_and_frozen_ones_have_no_moments(tmp_path, picture_folder):
    def parts(count):
        config = frozen(count, checkpoint_interval=2)
        config = replace(config, data=replace(config.data, source=str(picture_folder)))
        folder = tmp_path / str(count)
        Driver(config, folder).train()
        # The same run, stopped after step 2.
        (folder / "checkpoints" / "step-00000003.safetensors").unlink()
        straight = checkpoints.load(folder / "checkpoints" / "step-00000002.safetensors")
        again = Driver(config, folder)
        assert again.state.step == straight.step == 2
        again.train()
        return again.state.parts()

    free, half = parts(0), parts(2)
    assert free["discriminator"].keys() == half["discriminator"].keys()
    missing = free["discriminator_optimizer"].keys() - half["discriminator_optimizer"].keys()
    assert {name.rpartition(".")[0] for name in missing} == {
        name
        for name in free["discriminator"]
        if name.startswith(("blocks.0.", "blocks.1.", "attention.16."))
        and ".spectral_norm." not in name
    }


def test_a_frozen_run_continues_exactly(tmp_path, picture_folder):
    config = tiny(freeze_discriminator=2)
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    straight = Driver(config, tmp_path / "straight")
    straight.train()
    first = Driver(config, tmp_path / "resumed")
    first.begin()
    for _ in first.preparation.steps(first.state):
        if first.state.step == 3:
            first.outputs.save(samples=False, checkpoint=True)
            break
    second = Driver(config, tmp_path / "resumed")
    second.train()
    for part, tensors in straight.state.parts().items():
        for name, tensor in tensors.items():
            assert tensor.equal(second.state.parts()[part][name]), (part, name)

import copy
import json
import math
import os
import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from sagan.config import LossConfig, TrainConfig
from sagan.data import Dataset
from sagan.errors import DivergedError, SaganError
from sagan.evaluation.periodic import Evaluated
from sagan.losses import adversarial as losses
from sagan.nn import initialization, spectral
from sagan.runs import checkpoint as checkpoints
from sagan.runs.alarms import variety_of
from sagan.runs.folder import checkpoint_files
from sagan.runs.run import Run
from sagan.sampling.generator import load_generator
from sagan.system.randomness import Purpose, draw_latents_and_labels, generator_at
from sagan.training import loop as training_loop
from sagan.training import steps as training_steps
from sagan.training.draws import Draws, draw_reals, step_inputs
from sagan.training.driver import Driver
from sagan.training.loop import average_decay, set_learning_rates, train_steps
from sagan.training.state import apply_gradients, new_state, refresh_average
from sagan.training.steps import TrainingStep
from sagan.training.watch import PendingTerms

CPU = torch.device("cpu")
EXACT = torch.autocast("cpu", enabled=False)


# Every option is in one of them.
ZERO_CENTRED = LossConfig(
    name="non-saturating",
    relativistic=True,
    r1=0.1,
    r2=0.1,
    penalty_interval=2,
    lecam=0.1,
    consistency_real=1,
    consistency_fake=1,
)
GRADIENT_PENALTY = LossConfig(name="wasserstein", gradient_penalty=10, lecam=0.1, lecam_decay=0.5)


def run_steps(state, dataset, config):
    frequencies = torch.from_numpy(dataset.label_frequencies)
    steps = train_steps(
        state, dataset, config, label_frequencies=frequencies, device=CPU, autocast=EXACT
    )
    return [{name: term.item() for name, term in terms.items()} for terms in steps]


def in_double(inputs):
    def widened(draws):
        return Draws(latents=draws.latents.double(), labels=draws.labels)

    updates = [replace(update, draws=widened(update.draws)) for update in inputs.updates]
    return replace(inputs, updates=updates, draws=widened(inputs.draws))


def snapshot(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first | second)


def portion_of(state):
    """Real and generated pictures, each with their labels."""
    latents, labels = torch.randn(4, 16), torch.tensor([0, 1, 1, 0])
    reals = torch.rand(4, 3, 32, 32) * 2 - 1
    return (reals, labels), (state.generator(latents, labels), labels)


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def step_of(state, loss=None):
    return TrainingStep(state, replace(tiny(), loss=loss or LossConfig()), CPU, EXACT)


def update_discriminator(state, portion):
    real, fake = portion
    terms = step_of(state).discriminator_gradients(0, [real], [fake])
    apply_gradients(state, state.discriminator_optimizer, terms)
    return terms


def test_update_of_the_discriminator_leaves_the_generator_alone():
    state = new_state(tiny(), 2, CPU)
    portion = portion_of(state)
    generator, discriminator = snapshot(state.generator), snapshot(state.discriminator)
    update_discriminator(state, portion)
    assert same(generator, snapshot(state.generator))
    assert all(gradient is None for gradient in gradients(state.generator).values())
    assert not same(discriminator, snapshot(state.discriminator))


def test_update_of_the_generator_leaves_the_discriminator_alone_and_frozen_only_meanwhile():
    state = new_state(tiny(), 2, CPU)
    portion = portion_of(state)
    generator, discriminator = snapshot(state.generator), snapshot(state.discriminator)
    real, fake = portion
    step = step_of(state, LossConfig(relativistic=True))
    terms = step.generator_gradients(0, [fake], [real])
    apply_gradients(state, state.generator_optimizer, terms)
    assert same(discriminator, snapshot(state.discriminator))
    assert not same(generator, snapshot(state.generator))
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
    assert all(gradient is None for gradient in gradients(state.discriminator).values())


def test_one_pass_for_real_and_fake_gives_the_gradients_of_two():
    state = new_state(tiny(), 2, CPU)
    discriminator = state.discriminator.double()
    (real, labels), (fake, _) = portion_of(state)
    fake, real = fake.detach().double(), real.double()
    loss = sum(losses.hinge_discriminator(discriminator(real, labels), discriminator(fake, labels)))
    expected = torch.autograd.grad(loss, list(discriminator.parameters()))
    logits = discriminator(torch.cat([real, fake]), torch.cat([labels, labels]))
    loss = sum(losses.hinge_discriminator(*logits.chunk(2)))
    found = torch.autograd.grad(loss, list(discriminator.parameters()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({}, "GDG"),
        ({"generator_power_iteration": "step"}, "GD"),
        ({"discriminator_steps": 2}, "GDGDG"),
        ({"discriminator_steps": 2, "generator_power_iteration": "step"}, "GDD"),
        ({"discriminator_steps": 2, "reuse_fakes": True}, "GDGD"),
        ({"accumulate": 2}, "GDG"),
    ],
    ids=str,
)
def test_singular_vectors_advance_as_the_policy_says(dataset, monkeypatch, settings, order):
    advanced = []
    monkeypatch.setattr(spectral, "advance", lambda network, iterations=1: advanced.append(network))
    state = new_state(tiny(steps=2), 2, CPU)
    run_steps(state, dataset, tiny(steps=2, **settings))
    letters = {state.generator: "G", state.discriminator: "D"}
    assert "".join(letters[network] for network in advanced) == 2 * order


@pytest.mark.parametrize("reuse", [False, True])
def test_portions_add_up_to_the_gradients_of_the_batch(dataset, monkeypatch, reuse):
    """Without batch norm, whose statistics are those of what passes together."""
    monkeypatch.setattr(
        "sagan.nn.batch_norm.ConditionalBatchNorm2d.forward",
        lambda self, x, labels=None, latents=None: x * 0.9,
    )
    found = []
    for accumulate in (1, 2, 4):
        config = tiny(steps=1, batch_size=8, accumulate=accumulate, reuse_fakes=reuse)
        state = new_state(config, 2, CPU)
        for network in (state.generator, state.discriminator, state.generator_ema):
            network.double()
        taken = {}

        def keep(state, optimizer, terms, _ranks, taken=taken):
            network = "generator" if optimizer is state.generator_optimizer else "discriminator"
            reached = gradients(getattr(state, network)).items()
            taken[f"{network}'s"] = {k: v.clone() for k, v in reached if v is not None}
            taken |= terms
            getattr(state, network).zero_grad()

        monkeypatch.setattr(training_steps, "apply_gradients", keep)
        monkeypatch.setattr(
            training_loop,
            "step_inputs",
            lambda *arguments, **named: map(in_double, step_inputs(*arguments, **named)),
        )
        run_steps(state, dataset, config)
        assert taken["generator's"].keys() == dict(state.generator.named_parameters()).keys() - {
            name for name, _ in state.generator.named_parameters() if "norm" in name
        }
        found.append(taken)
    for taken in found[1:]:
        torch.testing.assert_close(taken, found[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("policy", ["pass", "step"])
def test_kept_kernels_change_no_gradient(dataset, monkeypatch, policy):
    def weights():
        config = tiny(steps=3, generator_power_iteration=policy)
        state = new_state(config, 2, CPU)
        run_steps(state, dataset, config)
        return snapshot(state.generator) | snapshot(state.discriminator)

    kept = weights()
    monkeypatch.setattr(training_steps, "kept_kernels", lambda *_: nullcontext())
    assert same(kept, weights())


def test_a_run_is_a_function_of_its_seed(dataset):
    states = [new_state(tiny(steps=2, seed=seed), 2, CPU) for seed in (1, 1, 2)]
    for state, seed in zip(states, (1, 1, 2), strict=True):
        torch.rand(seed)
        run_steps(state, dataset, tiny(steps=2, seed=seed))
    assert same(snapshot(states[0].generator), snapshot(states[1].generator))
    assert not same(snapshot(states[0].generator), snapshot(states[2].generator))


@pytest.mark.parametrize("discriminator_steps", [1, 2])
def test_reused_fakes_save_a_generator_pass(dataset, discriminator_steps):
    passes = []
    for reuse in (False, True):
        config = tiny(steps=1, reuse_fakes=reuse, discriminator_steps=discriminator_steps)
        state = new_state(config, 2, CPU)
        calls = []
        state.generator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        run_steps(state, dataset, config)
        passes.append(len(calls))
    assert passes == [discriminator_steps + 1, discriminator_steps]


def test_reused_fakes_are_judged_by_the_updated_discriminator(dataset, monkeypatch):
    config = tiny(steps=1, reuse_fakes=True)
    state = new_state(config, 2, CPU)
    before = copy.deepcopy(state)
    judged = []
    gradients_of = TrainingStep.generator_gradients

    def watched(self, step, fakes, reals):
        ((images, labels),) = fakes
        judged.append((snapshot(self.state.discriminator), images.detach().clone(), labels))
        return gradients_of(self, step, fakes, reals)

    monkeypatch.setattr(TrainingStep, "generator_gradients", watched)
    run_steps(state, dataset, config)
    ((weights, fakes, labels),) = judged
    assert not same(weights, snapshot(before.discriminator))
    spectral.advance(before.generator)
    latents, expected_labels = draw_latents_and_labels(
        4, 16, torch.tensor([0.5, 0.5]), generator_at(0, 0, Purpose.DISCRIMINATOR)
    )
    assert torch.equal(labels, expected_labels)
    torch.testing.assert_close(fakes, before.generator(latents, labels).detach())


@pytest.mark.usefixtures("slow_bfloat16")
@pytest.mark.parametrize(
    "settings",
    [
        {"discriminator_steps": 2},
        {"reuse_fakes": True},
        {"precision": "bfloat16"},
        {"fake_labels": "data", "ema_decay": 0.0},
        {"discriminator_steps": 2, "loss": ZERO_CENTRED},
        {"reuse_fakes": True, "precision": "bfloat16", "loss": GRADIENT_PENALTY},
    ],
    ids=str,
)
def test_stopped_and_resumed_equals_straight_through(tmp_path, picture_folder, settings):
    settings = dict(settings)
    loss = settings.pop("loss", LossConfig())
    config = tiny(**settings)
    config = replace(
        config,
        loss=loss,
        data=replace(
            config.data,
            source=str(picture_folder),
            horizontal_flip=True,
            augment=("colour", "translation", "cutout") if loss.lecam else (),
        ),
        optimizer=replace(config.optimizer, decay_start=0.4),
    )
    straight = Driver(config, tmp_path / "straight")
    straight.train()

    # The very same run, whose process dies in step 4, after the checkpoint of step 3.
    first = Driver(config, tmp_path / "resumed")
    first.begin()
    for _ in first.preparation.steps(first.state):
        if first.state.step == 3:
            first.outputs.save(samples=False, checkpoint=True)
        if first.state.step == 4:
            break
    second = Driver(config, tmp_path / "resumed")
    assert second.state.step == 3
    second.train()

    for part, tensors in straight.state.parts().items():
        assert tensors
        assert same(tensors, second.state.parts()[part]), part
    one, other = (
        checkpoints.load(tmp_path / name / "checkpoints" / "step-00000006.safetensors")
        for name in ("straight", "resumed")
    )
    assert all(same(one.parts[part], other.parts[part]) for part in one.parts)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(tmp_path, picture_folder):
    config = tiny(keep_checkpoints=2)
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    straight = Driver(config, tmp_path / "run")
    straight.train()
    newest = straight.run.checkpoint_path(6)
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match="damaged"):
        again = Driver(config, tmp_path / "run")
    assert again.state.step == 3
    again.train()
    assert same(straight.state.parts()["generator"], again.state.parts()["generator"])
    steps = [record["step"] for record in again.run.records() if "event" not in record]
    assert steps == [1, 1, 2, 3, 3, 4, 5, 6, 6]  # steps with a sample have a second line


def test_going_on_draws_no_first_weights(tmp_path, picture_folder, monkeypatch):
    config = tiny()
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    done = Driver(config, tmp_path / "run")
    done.train()
    undrawable = dict.fromkeys(initialization._DRAW, None)  # calling None is a TypeError
    monkeypatch.setattr(initialization, "_DRAW", undrawable)
    again = Driver(config, tmp_path / "run")
    assert same(done.state.parts()["generator"], again.state.parts()["generator"])
    with pytest.raises(TypeError):
        Driver(config, tmp_path / "another")


def test_what_does_not_fit_changes_nothing():
    state, other = (new_state(tiny(seed=seed), 2, CPU) for seed in (0, 1))
    before = {name: tensor.clone() for name, tensor in state.generator.state_dict().items()}
    parts = {**other.parts(), "logit_averages": {"real": torch.zeros(())}}
    with pytest.raises(SaganError, match="logit_averages"):
        state.restore(parts, 0)
    assert same(before, state.generator.state_dict())


def test_restored_state_shares_no_memory_with_the_file():
    state, other = new_state(tiny(), 2, CPU), new_state(tiny(), 2, CPU)
    for optimizer, network in (
        (state.generator_optimizer, state.generator),
        (state.discriminator_optimizer, state.discriminator),
    ):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    parts = state.parts()
    other.restore(parts, 5)
    pointers = {tensor.data_ptr() for tensors in parts.values() for tensor in tensors.values()}
    for tensors in other.parts().values():
        assert not pointers & {tensor.data_ptr() for tensor in tensors.values()}


@pytest.mark.parametrize("classes", [0, 1])
def test_pictures_without_classes_and_of_one_class(tmp_path, picture_folder, classes):
    source = picture_folder / "dark" if classes == 0 else tmp_path / "one"
    if classes:
        shutil.copytree(picture_folder / "dark", source / "dark")
    config = replace(tiny(steps=2), data=replace(tiny().data, source=str(source)))
    Driver(config, tmp_path / "run").train()
    generator = load_generator(tmp_path / "run")
    assert generator.class_names == ("dark",)[:classes]
    assert generator.sample([1, 2], "dark" if classes else None).shape == (2, 3, 32, 32)
    assert Driver(config, tmp_path / "run").state.step == 2


@pytest.mark.parametrize("target", ["log", "samples", "checkpoints"])
def test_full_disk_in_the_middle_leaves_the_last_checkpoint_good(
    tmp_path, picture_folder, monkeypatch, target
):
    config = replace(tiny(), data=replace(tiny().data, source=str(picture_folder)))
    driver = Driver(config, tmp_path / "run")
    log, fsync = driver.run.log, os.fsync
    full = OSError(28, "No space left on device")

    def refuse_log(record):
        if target == "log" and record["step"] == 5:
            raise SaganError("cannot write the log: No space left on device; free space")
        log(record)

    def refuse(descriptor):
        if driver.state.step == 6 and target in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise full
        fsync(descriptor)

    monkeypatch.setattr(driver.run, "log", refuse_log)
    monkeypatch.setattr("sagan.system.files.os.fsync", refuse)
    with pytest.raises(SaganError, match="No space left"):
        driver.train()
    monkeypatch.undo()
    expected = 6 if target == "samples" else 3
    assert Driver(config, tmp_path / "run").state.step == expected


def test_saving_does_not_change_the_run(tmp_path, picture_folder):
    def weights(name, interval):
        config = tiny(steps=4, sample_interval=interval, checkpoint_interval=interval)
        config = replace(config, data=replace(config.data, source=str(picture_folder)))
        driver = Driver(config, tmp_path / name)
        driver.train()
        return driver.state.parts()

    often, seldom = weights("often", 1), weights("seldom", 4)
    assert all(same(often[part], seldom[part]) for part in often)


def test_loss_that_is_not_finite_stops_before_the_update(tmp_path, picture_folder, monkeypatch):
    config = tiny(checkpoint_interval=1)
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    driver = Driver(config, tmp_path / "run")
    hinge = losses.generator_term
    calls = []

    def broken(*arguments):
        calls.append(snapshot(driver.state.generator))
        return hinge(*arguments) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(training_steps, "generator_term", broken)
    with pytest.raises(SaganError, match=r"step 3: generator is nan.*step-00000002") as caught:
        driver.train()
    assert "\n" not in str(caught.value)
    parameters = dict(driver.state.generator.named_parameters())
    assert all(torch.equal(parameters[name], calls[2][name]) for name in parameters)
    assert checkpoints.load(checkpoint_files(tmp_path / "run")[-1]).step == 2


def test_loss_that_is_not_finite_at_once_names_no_checkpoint(tmp_path, picture_folder, monkeypatch):
    config = replace(tiny(), data=replace(tiny().data, source=str(picture_folder)))
    driver = Driver(config, tmp_path / "run")
    state = driver.state
    next(state.discriminator.parameters()).data.fill_(float("inf"))
    with pytest.raises(SaganError, match=r"step 1: discriminator_real.*no checkpoint yet"):
        driver.train()


def test_weights_that_are_not_finite_are_never_saved(tmp_path, picture_folder):
    config = replace(tiny(), data=replace(tiny().data, source=str(picture_folder)))
    driver = Driver(config, tmp_path / "run")
    driver.state.generator.out.bias.data[1] = float("nan")
    with pytest.raises(SaganError, match=r"generator.out.bias is no longer finite"):
        driver.outputs.save(samples=False, checkpoint=True)
    assert not checkpoint_files(tmp_path / "run")


def test_interruption_finishes_the_step_saves_and_continues(tmp_path, picture_folder, monkeypatch):
    config = replace(tiny(), data=replace(tiny().data, source=str(picture_folder)))
    driver = Driver(config, tmp_path / "run")
    monkeypatch.setattr(
        driver.run,
        "log",
        lambda record: (
            "generator" in record and record["step"] == 2 and os.kill(os.getpid(), signal.SIGINT)
        ),
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 2 by SIGINT and saved"):
        driver.train()
    assert signal.getsignal(signal.SIGINT) is before
    assert Driver(config, tmp_path / "run").state.step == 2


def test_run_folder_of_other_pictures_is_refused(tmp_path, picture_folder, monkeypatch):
    config = tiny(steps=1)
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    Driver(config, tmp_path / "run").train()
    monkeypatch.setattr(
        "sagan.training.preparation.load_dataset",
        lambda *_, **__: Dataset(
            images=np.zeros((16, 3, 32, 32), np.uint8),
            labels=np.arange(16) % 2,
            class_names=("dark", "light"),
            fingerprint="other",
        ),
    )
    with pytest.raises(SaganError, match="other pictures"):
        Driver(config, tmp_path / "run")


def test_checkpoint_of_another_architecture_names_the_field(tmp_path, trained_run, picture_folder):
    path = checkpoint_files(trained_run)[-1]
    config = tiny(steps=2)
    config = replace(
        config,
        data=replace(config.data, source=str(picture_folder)),
        generator=replace(config.generator, base_channels=16),
    )
    Run(tmp_path, config).begin()
    shutil.copytree(path.parent, tmp_path / "checkpoints")
    with pytest.raises(SaganError, match=r"generator.base_channels \(8 and 16\)"):
        Driver(config, tmp_path)


def test_fewer_steps_than_done_is_a_mistake(tmp_path, trained_run, picture_folder):
    config = replace(tiny(steps=1), data=replace(tiny().data, source=str(picture_folder)))
    with pytest.raises(SaganError, match="already at step 2"):
        Driver(config, trained_run)


def test_dataset_smaller_than_the_batch_is_refused_before_anything_is_written(
    tmp_path, picture_folder
):
    config = tiny(batch_size=17)
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    with pytest.raises(SaganError, match=r"17 .*16"):
        Driver(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_run_folder_holds_log_samples_and_checkpoints(trained_run):
    lines = [json.loads(line) for line in (trained_run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "generator" in line] == [1, 2]
    first, drawn = [line for line in lines if "variety" in line]
    assert (first["step"], drawn["step"]) == (1, 2)
    assert drawn["variety"] == round(variety_of(drawn["variety_by_class"]), 4)
    losses = [line for line in lines if "generator" in line]
    assert {"discriminator_real", "discriminator_fake", "images_per_second"} <= losses[0].keys()
    assert losses[0]["generator_gamma_16"] != 0 or losses[1]["generator_gamma_16"] != 0
    assert [line["event"] for line in (lines[0], lines[-1])] == ["started", "finished"]
    assert (trained_run / "samples" / "step-00000002.png").stat().st_size > 0
    assert checkpoint_files(trained_run)


def test_average_decay_grows_to_its_setting():
    values = [average_decay(TrainConfig(ema_decay=0.99), step) for step in (1, 10, 100, 10_000)]
    assert values == sorted(values)
    assert values[0] < 0.2
    assert values[-1] == 0.99


def test_average_copies_until_its_start():
    config = TrainConfig(ema_decay=0.99, ema_start=20)
    assert [average_decay(config, step) for step in (1, 19, 20, 10_000)] == [0, 0, 0.99, 0.99]


@pytest.mark.usefixtures("all_batches_of_statistics")
def test_refreshed_average_has_norm_one_and_the_statistics_of_its_own_pictures(dataset):
    config = tiny(steps=30, ema_decay=0.9)
    state = new_state(config, 2, CPU)
    run_steps(state, dataset, config)
    live = snapshot(state.generator)
    frequencies = torch.tensor([0.5, 0.5])
    refresh_average(state, frequencies, seed=0)
    for norm, weight in spectral.spectral_norms(state.generator_ema):
        sigma = torch.linalg.matrix_norm(norm(weight).flatten(1), 2)
        assert 0.99 < sigma < 1.01
    assert same(live, snapshot(state.generator))
    assert not state.generator_ema.training

    # In evaluation the first layer's input is standardised, as it is in training.
    norm = state.generator_ema.blocks[0].norm1
    seen = []
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    latents, labels = draw_latents_and_labels(
        2000, 16, frequencies, torch.Generator().manual_seed(5)
    )
    state.generator_ema(latents, labels)
    standard = (seen[0].mean((0, 2, 3)) - norm.running_mean) / norm.running_var.sqrt()
    assert standard.abs().max() < 0.1
    again = snapshot(state.generator_ema)
    refresh_average(state, frequencies, seed=0)
    assert same(again, snapshot(state.generator_ema))


def test_random_streams_differ_by_seed_step_and_purpose():
    keys = [(0, 1, Purpose.GENERATOR), (0, 1, Purpose.DISCRIMINATOR), (0, 2, Purpose.GENERATOR)]
    keys.append((1, 1, Purpose.GENERATOR))
    draws = {torch.rand(1, generator=generator_at(*key)).item() for key in keys}
    assert len(draws) == 4
    assert torch.rand(1, generator=generator_at(*keys[0])).item() in draws


def test_labels_follow_their_frequencies():
    _, labels = draw_latents_and_labels(
        20_000, 1, torch.tensor([0.1, 0.9]), torch.Generator().manual_seed(0)
    )
    assert labels.double().mean().item() == pytest.approx(0.9, abs=0.01)


def test_real_batch_is_scaled_and_half_of_it_flipped(dataset):
    config = tiny(batch_size=12)
    plain, labels = draw_reals(dataset, config, 0).on(CPU)
    assert plain.min() >= -1
    assert plain.max() <= 1
    config = replace(config, data=replace(config.data, horizontal_flip=True))
    flipped = sum(
        not torch.equal(a, b)
        for update in range(10)
        for a, b in zip(
            draw_reals(dataset, config, update).on(CPU)[0],
            draw_reals(dataset, tiny(batch_size=12), update).on(CPU)[0],
            strict=True,
        )
    )
    assert 40 < flipped < 80
    images, _ = draw_reals(dataset, config, 0).on(CPU)
    for image, original in zip(images, plain, strict=True):
        assert torch.equal(image, original) or torch.equal(image, original.flip(2))
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6


def test_learning_rates_are_two_and_fall_to_zero():
    config = replace(tiny().optimizer, decay_start=0.5)
    state = new_state(tiny(), 2, CPU)

    def rates(progress):
        set_learning_rates(state, config, progress)
        optimizers = (state.generator_optimizer, state.discriminator_optimizer)
        return [optimizer.learning_rate for optimizer in optimizers]

    assert rates(0.4) == [1e-3, 2e-3]
    assert rates(0.75) == pytest.approx([5e-4, 1e-3])
    assert rates(0.999)[0] < 1e-5


@pytest.mark.usefixtures("all_batches_of_statistics")
def test_the_game_is_learned(dataset):
    """Two flat grey levels, one per class: the generator finds them."""
    levels = np.array([40, 200], dtype=np.uint8)
    labels = np.arange(8) % 2
    grey = replace(
        dataset,
        images=np.broadcast_to(levels[labels][:, None, None, None], (8, 3, 32, 32)).copy(),
        labels=labels,
    )
    config = tiny(steps=80, batch_size=8, ema_decay=0.9)
    state = new_state(config, 2, CPU)

    def distance():
        images = state.generator_ema(torch.randn(8, 16), torch.from_numpy(labels))
        target = torch.from_numpy(levels[labels] * (2 / 255) - 1).float()
        return (images.mean((1, 2, 3)) - target).abs().mean().item()

    refresh_average(state, torch.tensor([0.5, 0.5]), seed=0)
    before = distance()
    run_steps(state, grey, config)
    refresh_average(state, torch.tensor([0.5, 0.5]), seed=0)
    assert distance() < before / 2


def test_from_a_term_that_is_not_finite_on_no_weight_changes():
    state = new_state(tiny(), 2, CPU)
    portion = portion_of(state)
    update_discriminator(state, portion)
    weights, step = snapshot(state.discriminator), state.parts()["discriminator_optimizer"]
    step = {name: tensor.clone() for name, tensor in step.items()}
    real, (fake_images, labels) = portion
    terms = update_discriminator(state, (real, (fake_images / 0, labels)))
    update_discriminator(state, portion)
    assert same(weights, snapshot(state.discriminator))
    assert same(step, state.parts()["discriminator_optimizer"])
    pending = PendingTerms(state)
    pending.add(7, terms)
    with pytest.raises(DivergedError, match="step 7: discriminator_fake is"):
        pending.read()


def test_terms_are_read_once_and_in_order():
    pending = PendingTerms(new_state(tiny(), 2, CPU))
    assert pending.read() == []
    for step in (1, 2):
        pending.add(step, {"generator": torch.tensor(float(step)), "r1": torch.tensor(0.5)})
    assert pending.read() == [{"generator": 1.0, "r1": 0.5}, {"generator": 2.0, "r1": 0.5}]
    assert pending.read() == []


def test_of_several_updates_the_newest_terms_count_but_for_one_not_finite(dataset, monkeypatch):
    config = tiny(steps=1, discriminator_steps=3)
    given = [{"a": 1.0}, {"a": float("inf"), "b": 2.0}, {"a": 3.0, "b": 4.0}]
    terms = iter({k: torch.tensor(v) for k, v in term.items()} for term in given)
    monkeypatch.setattr(TrainingStep, "discriminator_gradients", lambda *_: next(terms))
    (found,) = run_steps(new_state(config, 2, CPU), dataset, config)
    assert (found["a"], found["b"]) == (float("inf"), 4.0)


def test_evaluations_are_logged_and_their_failures_survived(picture_folder, tmp_path):
    config = tiny(steps=4, log_interval=4)
    config = replace(
        config,
        data=replace(config.data, source=str(picture_folder)),
        evaluation=replace(config.evaluation, interval=1, time_share=1.0),
    )
    plain = Driver(replace(config, evaluation=type(config.evaluation)()), tmp_path / "plain")
    plain.train()
    calls = []

    def evaluate(generator, dataset, seconds):
        assert seconds == math.inf  # an interval was asked for
        calls.append(len(dataset))
        if len(calls) == 2:
            raise RuntimeError("no space")
        numbers = {"FD": float(generator.sample([0], 0).mean())}
        return Evaluated(numbers=numbers, by_class={}, pictures=len(dataset))

    driver = Driver(config, tmp_path / "run", evaluate)
    driver.schedule.is_due = lambda step: True
    with pytest.warns(RuntimeWarning, match="evaluation at step 2 failed.*no space"):
        driver.train()
    log = [json.loads(line) for line in driver.run.log_path.read_text().splitlines()]
    assert [line["step"] for line in log if "evaluation" in line] == [1, 3, 4]
    assert [line["step"] for line in log if "evaluation_error" in line] == [2]
    assert all(line["variety"] >= 0 for line in log if "variety" in line)
    for name, tensor in plain.state.generator.state_dict().items():
        assert torch.equal(tensor, driver.state.generator.state_dict()[name]), name

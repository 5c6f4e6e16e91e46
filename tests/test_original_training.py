"""One pass of the authors' training graph, recorded, against ours from the same variables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sagan.config import OptimizerConfig
from sagan.interop.conversion import convert_files
from sagan.nn.spectral import advance
from sagan.system.device import autocast
from sagan.training.draws import Draws, Reals, Update
from sagan.training.optimizer import NetworkAdam
from sagan.training.state import new_state
from sagan.training.steps import TrainingStep

HERE = Path(__file__).parent / "golden" / "tensorflow"
CPU = torch.device("cpu")
START = "converged/u_before/"
BEFORE_BATCH_NORM = ("conv1.bias", "conv2.bias", "shortcut.bias", "linear.bias")
"""Of the generator: what a batch norm takes away has a gradient of rounding errors."""


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE / "test_training.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def networks(recorded, tmp_path_factory):
    """Both converted networks, with the singular vectors that have converged."""
    with np.load(HERE / "test_variables.npz") as arrays:
        variables = dict(arrays)
    for name, vector in recorded.items():
        if name.startswith(START):
            variables[name.removeprefix(START)] = vector.numpy()
    path = tmp_path_factory.mktemp("original") / "variables.npz"
    np.savez(path, **variables)
    return convert_files([path])


def step_from(networks, **settings):
    """Ours, in the state of the original."""
    checkpoint, both = networks
    config = replace(
        checkpoint.config,
        train=replace(checkpoint.config.train, batch_size=4, precision="float32", **settings),
    )
    state = new_state(config, len(checkpoint.class_names), CPU)
    for network in both:
        getattr(state, network.role).load_state_dict(dict(network.tensors))
    state.generator.train()
    state.discriminator.train()
    return TrainingStep(state, config, CPU, autocast("float32", CPU))


@pytest.fixture
def step(networks):
    return step_from(networks)


@pytest.fixture
def update(recorded):
    pictures = recorded["real_uint8_16"].permute(0, 3, 1, 2)
    pictures = pictures.repeat_interleave(8, 2).repeat_interleave(8, 3)
    reals = Reals(images=pictures, labels=recorded["real_labels"].long(), flipped=None)
    draws = Draws(latents=recorded["z"], labels=recorded["fake_labels"].long())
    return Update(number=0, reals=reals, draws=draws)


def unconverged(**settings):
    """The networks and a step with the vectors as stored, before the iteration of a conversion."""
    networks = convert_files([HERE / "test_variables.npz"])
    step = step_from(networks, **settings)
    with np.load(HERE / "test_variables.npz") as variables:
        for role, network in by_role(networks).items():
            for name, ours in getattr(step.state, role).named_buffers():
                if name.endswith("spectral_norm.u"):
                    theirs = variables[f"model/{their_u(network.origin[name])}"]
                    ours.copy_(as_ours(torch.from_numpy(theirs)))
    return networks, step


def as_stored(theirs, name):
    """A recorded gradient in the order of ours: kernels (out, in, H, W), matrices (out, in)."""
    if theirs.ndim == 4:
        return theirs.permute(3, 2, 0, 1)
    return theirs.T if name.endswith("Matrix") else theirs


def require_gradients(network, origin, recorded, *, skipped=()):
    """Each within 1e-4 of the recorded one, by their norms, and whole where it is recorded."""
    compared = 0
    for name, parameter in network.named_parameters():
        key, gradient = f"model/{origin[name]}", parameter.grad
        norm = recorded[f"converged/gradient_norm/{key}"].item()
        if name.endswith(skipped):
            continue
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-8), name
        if (theirs := recorded.get(f"converged/gradient/{key}")) is not None:
            theirs = as_stored(theirs, key)
            if name == "linear.bias" and len(theirs) > 1:
                theirs = theirs.unflatten(0, (4, 4, -1)).movedim(2, 0).flatten()
            difference = (gradient - theirs.view_as(gradient)).norm()
            assert difference <= 1e-4 * norm + 1e-8, name
            compared += 1
    assert compared > 20


def their_u(origin):
    """The name of a singular vector of the original."""
    return f"{origin.removeprefix('u of ').rpartition('/')[0]}/u"


def as_ours(u):
    """(1, N) -> (N,); the first layer's numbers the cells of its 4 x 4 map before the channels."""
    u = u[0]
    return u.unflatten(0, (4, 4, -1)).movedim(2, 0).flatten() if len(u) == 2048 else u


def by_role(networks):
    return {network.role: network for network in networks[1]}


def test_the_discriminators_pass_is_the_originals(step, update, networks, recorded):
    fakes = step.draw_fakes(update.draws)
    drawn = fakes[0][0][0].permute(1, 2, 0)[::4, ::4]
    assert (drawn - recorded["converged/fake_image_0"]).abs().max() < 1e-5
    terms = step.discriminator_gradients(0, step.reals(update), fakes)
    loss = (terms["discriminator_real"] + terms["discriminator_fake"]).item()
    assert loss == pytest.approx(recorded["converged/d_loss"].item(), rel=1e-6)
    origin = by_role(networks)["discriminator"].origin
    require_gradients(step.state.discriminator, origin, recorded)


def test_the_generators_pass_is_the_originals(step, update, networks, recorded):
    """In float64: with one thread float32 alone is off by up to 6e-4, with two by 2e-5."""
    step.state.generator.double()
    step.state.discriminator.double()
    draws = replace(update.draws, latents=update.draws.latents.double())
    with step._generator_advanced("pass"):
        fakes = list(step.generate(draws))
        terms = step.generator_gradients(0, fakes, None)
    assert terms["generator"].item() == pytest.approx(recorded["converged/g_loss"].item(), rel=1e-6)
    origin = by_role(networks)["generator"].origin
    require_gradients(step.state.generator, origin, recorded, skipped=BEFORE_BATCH_NORM)
    after = "converged/after_g_pass/model/"
    for name, ours in step.state.generator.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            theirs = recorded[after + origin[name]].flatten()
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max(), name
        elif name.endswith("spectral_norm.u"):
            theirs = recorded[after + their_u(origin[name])]
            assert (ours - as_ours(theirs)).abs().max() < 1e-4, name


@pytest.mark.parametrize(("power_iteration", "is_theirs"), [("pass", True), ("update", False)])
def test_the_generator_learns_from_a_judge_whose_vectors_are_an_iteration_further(
    recorded, update, power_iteration, is_theirs
):
    """From vectors that have not converged, so that an iteration is seen, and is not kept."""
    _, step = unconverged(discriminator_power_iteration=power_iteration)
    before = {name: ours.clone() for name, ours in step.state.discriminator.named_buffers()}
    with step._generator_advanced("pass"):
        fakes = list(step.generate(update.draws))
        terms = step.generator_gradients(0, fakes, None)
    drawn = fakes[0][0][0].permute(1, 2, 0)[::4, ::4]
    assert (drawn - recorded["raw/fake_image_0"]).abs().max() < 1e-5
    theirs = recorded["raw/g_loss"].item()
    assert (terms["generator"].item() == pytest.approx(theirs, rel=2e-6)) is is_theirs
    for name, ours in step.state.discriminator.named_buffers():
        assert torch.equal(ours, before[name]), name


def test_vectors_that_have_not_converged_leave_the_loss_and_change_the_gradient(recorded, update):
    """The original's gradient goes through the power iteration, ours through the weight alone."""
    networks, step = unconverged()
    fakes = step.draw_fakes(update.draws)
    advance(step.state.discriminator)
    terms = step.discriminator_gradients(0, step.reals(update), fakes)
    loss = (terms["discriminator_real"] + terms["discriminator_fake"]).item()
    assert loss == pytest.approx(recorded["raw/d_loss"].item(), rel=1e-6)
    origin, pairs = by_role(networks)["discriminator"].origin, []
    for name, parameter in step.state.discriminator.named_parameters():
        key = f"model/{origin[name]}"
        if (theirs := recorded.get(f"raw/gradient/{key}")) is not None:
            pairs.append((parameter.grad.flatten(), as_stored(theirs, key).flatten()))
    ours, theirs = (torch.cat(side) for side in zip(*pairs, strict=True))
    assert ((ours - theirs).norm() / theirs.norm()).item() == pytest.approx(0.012, abs=0.001)


def adam(weights, **settings):
    """An optimiser of one parameter, at the originals' rate for the generator."""
    network = torch.nn.Module()
    network.weight = torch.nn.Parameter(weights.clone())
    config = OptimizerConfig(**settings)
    diverged = weights.new_zeros((), dtype=torch.float32)
    return network.weight, NetworkAdam(network, config.generator_lr, config, diverged)


@pytest.mark.parametrize(("eps_form", "moved"), [("uncorrected", 3.1e-6), ("corrected", 5.0e-5)])
def test_how_far_adam_goes_at_first_for_a_small_gradient(eps_form, moved):
    weight, optimizer = adam(torch.zeros(1, dtype=torch.float64), eps_form=eps_form)
    weight.grad = torch.full_like(weight, 1e-8)
    optimizer.step()
    assert -weight.item() == pytest.approx(moved, rel=0.02)


@pytest.mark.parametrize("betas", [(0.0, 0.999), (0.5, 0.9)])
def test_uncorrected_adam_is_tensorflows(betas):
    """lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps), and so after a restart."""
    beta1, beta2 = betas
    gradients = 1e-8 * torch.randn(8, 20, dtype=torch.float64)
    expected = torch.randn(20, dtype=torch.float64)
    settings = {"beta1": beta1, "beta2": beta2, "eps_form": "uncorrected"}
    weight, optimizer = adam(expected, **settings)
    m = v = torch.zeros_like(expected)
    for t, gradient in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        rate = 1e-4 * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        expected = expected - rate * m / (v.sqrt() + 1e-8)
        if t == 4:
            kept = optimizer.tensors()
            weight, optimizer = adam(weight.detach(), **settings)
            optimizer.restore(kept, "generator_optimizer")
        weight.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-13)

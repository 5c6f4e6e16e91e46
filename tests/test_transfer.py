"""Taking a model's weights into new networks."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny
from torch import nn

from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.errors import SaganError
from sagan.nn import spectral
from sagan.runs.checkpoint import Checkpoint
from sagan.training.state import new_state
from sagan.training.transfer import take_over

CPU = torch.device("cpu")
TABLES = [
    f"blocks.{block}.norm{k}.{end}"
    for block in range(3)
    for k in (1, 2)
    for end in ("gain", "bias")
]


def changed(network: nn.Module) -> None:
    """Moves weights and buffers away from their first values, vectors with them."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor += 0.1 * torch.rand(tensor.shape)
    spectral.advance(network, 30)


def model(*names, config=None, **parts):
    config = config or tiny(seed=7)
    state = new_state(config, len(names), CPU)
    for network in (state.generator, state.discriminator, state.generator_ema):
        changed(network)
    return Checkpoint(config=config, class_names=names, step=9, parts={**state.parts(), **parts})


def without(checkpoint, *parts):
    kept = {part: tensors for part, tensors in checkpoint.parts.items() if part not in parts}
    return replace(checkpoint, parts=kept)


def begun(checkpoint, *names, config=None):
    state = new_state(config or tiny(), len(names), CPU)
    return state, take_over(state, names, checkpoint)


def test_where_everything_fits_the_networks_are_the_models():
    given = model("cat", "dog")
    state, transfer = begun(given, "cat", "dog")
    for part in ("generator", "discriminator", "generator_ema"):
        for name, tensor in getattr(state, part).state_dict().items():
            assert tensor.equal(given.parts[part][name]), name
    assert not given.parts["generator"]["out.weight"].equal(
        given.parts["generator_ema"]["out.weight"]
    )
    assert transfer.share == 1
    assert not transfer.not_taken
    assert not transfer.fresh
    assert state.step == 0
    assert not state.generator_optimizer.tensors()
    assert transfer.lines() == [
        "100% of the weights are the model's",
        "classes that the model knows: cat, dog",
    ]


def test_rows_of_classes_go_by_name_and_new_ones_are_the_mean():
    given = model("ant", "cat", "dog")
    state, transfer = begun(given, "dog", "bee", "ant")
    for part, names in (
        ("generator", TABLES),
        ("generator_ema", TABLES),
        ("discriminator", ["embedding.weight"]),
    ):
        for name in names:
            theirs, ours = given.parts[part][name], getattr(state, part).state_dict()[name]
            expected = torch.stack([theirs[2], theirs.mean(0), theirs[0]])
            assert ours.equal(expected), name
    assert transfer.known_classes == ("dog", "ant")
    assert transfer.new_classes == ("bee",)
    assert transfer.share == 1


def test_a_head_that_names_classes_keeps_to_their_names():
    config = tiny(seed=7)
    names = replace(config.discriminator, conditioning="auxiliary")
    config = replace(config, discriminator=names)
    given = model("ant", "cat", config=config)
    for order, rows in (("cat", "ant"), [1, 0]), (("ant", "bee"), [0, None]):
        state, transfer = begun(given, *order, config=replace(config, train=tiny().train))
        assert transfer.share == 1
        for name in ("classifier.weight", "classifier.bias"):
            theirs = given.parts["discriminator"][name]
            ours = state.discriminator.state_dict()[name]
            expected = [theirs.mean(0) if row is None else theirs[row] for row in rows]
            assert ours.equal(torch.stack(expected)), (order, name)


def test_one_name_is_one_class_however_it_was_typed():
    given = model("cafe\N{COMBINING ACUTE ACCENT}", "tea")
    state, transfer = begun(given, "tea", "caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert not transfer.new_classes
    assert state.generator.blocks[0].norm1.gain.equal(given.parts["generator"][TABLES[0]].flip(0))


def test_singular_vectors_stay_with_their_weights_and_follow_new_ones():
    given = model("ant", "cat", "dog")
    state, _ = begun(given, "dog", "bee")
    theirs, ours = given.parts["discriminator"], state.discriminator.state_dict()
    kept = [name for name in ours if ".spectral_norm." in name and not name.startswith("embedding")]
    assert kept
    assert all(ours[name].equal(theirs[name]) for name in kept)
    embedding = state.discriminator.embedding
    assert torch.linalg.matrix_norm(embedding.kernel, 2).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("before", "after"), [((), ("a", "b")), (("a", "b", "c"), ())])
def test_classes_may_come_and_go(before, after):
    given = model(*before)
    state, transfer = begun(given, *after)
    for name in TABLES:
        row = given.parts["generator"][name].mean(0)
        assert state.generator.state_dict()[name].equal(row.expand(max(len(after), 1), -1)), name
    projection = "discriminator.embedding.weight"
    if after:
        assert transfer.fresh == (projection,)
        assert "the model has no classes: all begin alike" in transfer.lines()
        state.discriminator(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])).sum().backward()
    else:
        assert transfer.not_taken == (f"{projection} (no place)",)
        assert "no classes: the mean of the model's 3 is taken" in transfer.lines()
        state.discriminator(torch.zeros(2, 3, 32, 32))


def test_one_class_alone():
    given = model("only")
    for names in (("only",), ("other",), ("other", "only")):
        state, _ = begun(given, *names)
        gains = state.generator.blocks[0].norm1.gain
        assert gains.equal(given.parts["generator"][TABLES[0]].expand(len(names), -1))


def test_a_model_of_other_widths_or_sizes_is_refused():
    wide = replace(tiny(), generator=replace(tiny().generator, base_channels=16))
    wide = replace(wide, discriminator=replace(wide.discriminator, base_channels=16))
    large = replace(tiny(), data=replace(tiny().data, resolution=64))
    for config in (wide, large):
        state = new_state(config, 2, CPU)
        before = {name: tensor.clone() for name, tensor in state.generator.state_dict().items()}
        with pytest.raises(
            SaganError, match=r"only \d+% of the weights fit.*there.*here"
        ) as caught:
            take_over(state, ("a", "b"), model("a", "b"))
        assert "\n" not in str(caught.value)
        assert all(
            tensor.equal(before[name]) for name, tensor in state.generator.state_dict().items()
        )


def test_what_does_not_fit_is_listed_and_the_rest_is_taken():
    given = model("a")
    config = replace(tiny(), generator=replace(tiny().generator, latent_dim=20, attention=(8,)))
    state, transfer = begun(given, "a", config=config)
    assert "generator.linear.weight ((1024, 16) there, (1024, 20) here)" in transfer.not_taken
    assert "generator.attention.16.gamma (no place)" in transfer.not_taken
    assert {"generator.linear.weight", "generator.attention.8.gamma"} <= set(transfer.fresh)
    assert "generator.linear.bias" not in transfer.fresh
    assert 0.5 < transfer.share < 1
    assert state.generator.blocks[0].conv1.weight.equal(
        given.parts["generator"]["blocks.0.conv1.weight"]
    )
    # Fresh weights keep fresh vectors: the model's would belong to other weights.
    assert torch.linalg.matrix_norm(state.generator.linear.kernel, 2).item() == pytest.approx(
        1, abs=0.1
    )
    text = " ".join(transfer.lines())
    assert "not taken: " in text
    assert "as drawn: " in text
    assert "more" in text


def test_a_file_without_a_discriminator_or_with_one_generator_will_do():
    given = without(model("a"), "generator_ema", "discriminator")
    fresh = {n: t.clone() for n, t in new_state(tiny(), 1, CPU).discriminator.state_dict().items()}
    state, transfer = begun(given, "a")
    assert transfer.fresh == ("the discriminator, which the model lacks",)
    for network in (state.generator, state.generator_ema):
        assert all(t.equal(given.parts["generator"][n]) for n, t in network.state_dict().items())
    assert all(t.equal(fresh[n]) for n, t in state.discriminator.state_dict().items())
    averaged = without(model("a"), "generator")
    state, _ = begun(averaged, "a")
    assert state.generator.out.weight.equal(averaged.parts["generator_ema"]["out.weight"])
    with pytest.raises(SaganError, match="it has no network"):
        begun(without(model("a"), "generator", "generator_ema", "discriminator"), "a")


def test_without_spectral_norm_a_weight_is_taken_as_the_model_uses_it():
    given = model("a", "b")
    plain = {"spectral_norm": "none"}
    config = replace(
        tiny(),
        generator=replace(tiny().generator, **plain),
        discriminator=replace(tiny().discriminator, **plain),
    )
    theirs, _ = begun(given, "a", "b")
    ours, transfer = begun(given, "a", "b", config=config)
    assert transfer.share == 1
    images, labels = torch.rand(4, 3, 32, 32) * 2 - 1, torch.tensor([0, 1, 1, 0])
    expected = theirs.discriminator(images, labels)
    torch.testing.assert_close(ours.discriminator(images, labels), expected, rtol=1e-4, atol=1e-4)


def test_where_the_model_has_no_vectors_they_follow_the_weights():
    config = tiny(seed=7)
    config = replace(config, generator=replace(config.generator, spectral_norm="none"))
    state, _ = begun(model("a", config=config), "a")
    for norm, weight in spectral.spectral_norms(state.generator):
        sigma = torch.linalg.matrix_norm(norm(weight).flatten(1), 2).item()
        assert sigma == pytest.approx(1, abs=0.02)


def test_normalised_class_tables_are_taken_as_used():
    tables = replace(tiny(seed=7).generator, class_tables="spectral")
    given = model("a", "b", config=replace(tiny(seed=7), generator=tables))
    state, _ = begun(given, "b", "a", config=replace(tiny(), generator=tables))
    expected = given.parts["generator"]["blocks.0.norm1.gain.weight"].flip(0)
    assert state.generator.blocks[0].norm1.gain.weight.equal(expected)
    theirs = new_state(replace(tiny(), generator=tables), 2, CPU)
    theirs.generator.load_state_dict(given.parts["generator"])
    state, transfer = begun(given, "a", "b")
    assert not transfer.not_taken
    for mine, other in zip(state.generator.blocks, theirs.generator.blocks, strict=True):
        for found, wanted in zip(mine.norm2.affine, other.norm2.affine, strict=True):
            torch.testing.assert_close(found, wanted)


def test_latents_that_act_everywhere_change_nothing_at_first():
    given = model("a", config=tiny(seed=7))
    skips = replace(tiny(), generator=replace(tiny().generator, latent_skips=True))
    state, transfer = begun(given, "a", config=skips)
    theirs = new_state(tiny(), 1, CPU)
    theirs.generator.load_state_dict(given.parts["generator"])
    assert not transfer.not_taken
    latents, labels = torch.randn(4, 16), torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        found, expected = (
            net.eval()(latents, labels) for net in (state.generator, theirs.generator)
        )
    torch.testing.assert_close(found, expected)


def test_of_a_dcgan_all_is_taken():
    networks = {"base_channels": 8, "attention": (8,), "architecture": "dcgan"}
    config = replace(
        tiny(),
        data=replace(tiny().data, labels="none"),
        generator=GeneratorConfig(latent_dim=16, **networks),
        discriminator=DiscriminatorConfig(**networks),
    )
    given = model(config=config)
    state, transfer = begun(given, config=config)
    assert transfer.share == 1
    assert transfer.fresh == transfer.not_taken == ()
    assert state.discriminator.out.weight.equal(given.parts["discriminator"]["out.weight"])


def test_weights_that_are_not_finite_are_refused():
    given = model("a")
    given.parts["discriminator"]["blocks.1.conv1.weight"][0] = float("nan")
    with pytest.raises(SaganError, match=r"discriminator.blocks.1.conv1.weight is not finite"):
        begun(given, "a")


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("out.weight", torch.zeros(3, 8, 3, 3, dtype=torch.int64)),
        ("blocks.0.norm1.gain", torch.zeros(())),
        ("blocks.0.norm1.gain", torch.ones(9, 3)),
        ("blocks.0.conv1.spectral_norm.u", torch.zeros(2, 2)),
        ("something", torch.zeros(0, 5)),
    ],
)
def test_tensors_that_make_no_sense_are_left_aside(name, tensor):
    given = model("a", "b")
    given.parts["generator"][name] = tensor
    state, transfer = begun(given, "a", "b")
    assert all(value.isfinite().all() for value in state.generator.state_dict().values())
    assert transfer.share > 0.5


def test_frozen_blocks_must_be_the_models():
    config = tiny(freeze_discriminator=2)
    state, _ = begun(model("a"), "a", config=config)
    assert not state.discriminator.blocks[1].conv1.weight.requires_grad
    with pytest.raises(SaganError, match=r"freeze_discriminator.*blocks.0.*freeze fewer"):
        begun(without(model("a"), "discriminator"), "a", config=config)

import pytest
import reference
import torch

from sagan.config import DiscriminatorConfig, GeneratorConfig, plan
from sagan.errors import SaganError
from sagan.nn import spectral
from sagan.nn.folding import fold
from sagan.nn.residual import Discriminator, Generator, make_discriminator, make_generator


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("attention", "generator_parameters", "discriminator_parameters"),
    [(64, 42_017_412, 39_448_258), (32, 42_078_852, 39_463_618)],
)
def test_parameters_at_imagenet_size(attention, generator_parameters, discriminator_parameters):
    size = {"resolution": 128, "num_classes": 1000}
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(attention=(attention,), spectral_norm="none"), **size)
        discriminator = Discriminator(
            DiscriminatorConfig(attention=(attention,), spectral_norm="none"), **size
        )
    assert count(generator) == generator_parameters
    assert count(discriminator) == discriminator_parameters


def test_parameters_at_cifar_size():
    # PyTorch-StudioGAN's SAGAN for CIFAR-10.
    size = {"resolution": 32, "num_classes": 10}
    generator = Generator(GeneratorConfig(channels=(4, 4, 4, 4), attention=(16,)), **size)
    discriminator = Discriminator(
        DiscriminatorConfig(channels=(2, 2, 2, 2), final_resolution=8, attention=(16,)), **size
    )
    assert count(generator) == 4_386_308
    assert count(discriminator) == 1_075_586


AT_16 = {"attention": (16,)}
NOWHERE = {"attention": ()}


def pair(resolution, num_classes, generator, discriminator):
    """Both networks in float64, away from their first state: gamma, tables and biases not 0."""
    size = {"resolution": resolution, "num_classes": num_classes}
    networks = (
        Generator(GeneratorConfig(base_channels=8, **generator), **size),
        Discriminator(DiscriminatorConfig(base_channels=8, **discriminator), **size),
    )
    for network in networks:
        network.double()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        spectral.advance(network, 3)
    return networks


@pytest.mark.parametrize(
    ("resolution", "num_classes", "generator_attention", "discriminator_attention", "cifar"),
    [
        (32, 5, (16,), (16,), False),
        (32, 5, (16,), (16, 8), True),
        (32, 0, (8, 32), (8, 16), False),
        (64, 3, (32,), (32,), False),
        (128, 4, (32, 64), (64,), False),
        (256, 2, (64,), (32,), False),
    ],
)
def test_networks_equal_the_naive_reference(
    resolution, num_classes, generator_attention, discriminator_attention, cifar
):
    plans = {"channels": (4, 4, 4, 4)}, {"channels": (2, 2, 2, 2), "final_resolution": 8}
    plain_plans = [(4, 4, 4, 4)], [(2, 2, 2, 2), 8]
    generator_plan, discriminator_plan = plans if cifar else ({}, {})
    plain_generator_plan, plain_discriminator_plan = plain_plans if cifar else ([], [])
    ours = pair(
        resolution,
        num_classes,
        {"attention": generator_attention, **generator_plan},
        {"attention": discriminator_attention, **discriminator_plan},
    )
    size = (resolution, num_classes, 8)
    naive = (
        reference.Generator(*size, generator_attention, *plain_generator_plan).double(),
        reference.Discriminator(*size, discriminator_attention, *plain_discriminator_plan).double(),
    )
    for network, plain in zip(ours, naive, strict=True):
        reference.copy_weights(network, plain)
        reference.freeze_singular_vectors(plain)
    latents = torch.randn(3, 128).double()
    labels = torch.randint(max(num_classes, 1), (3,))
    gradients = []
    outputs = []
    for generator, discriminator in (ours, naive):
        images = generator(latents, labels)
        logits = discriminator(images, labels)
        logits.sum().backward()
        outputs.append((images, logits))
        gradients.append(
            {
                f"{network}.{name}".replace("parametrizations.weight.original", "weight"): p.grad
                for network, module in (("g", generator), ("d", discriminator))
                for name, p in module.named_parameters()
            }
        )
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    assert gradients[0].keys() == gradients[1].keys()
    scale = max(gradient.abs().max() for gradient in gradients[1].values())
    for name, gradient in gradients[0].items():
        difference = (gradient - gradients[1][name]).abs().max()
        assert difference <= 1e-12 * scale, name


@pytest.mark.parametrize("num_classes", [0, 3])
def test_folded_networks_give_the_same_and_leave_the_original_alone(num_classes):
    generator, discriminator = pair(32, num_classes, AT_16, AT_16)
    latents = torch.randn(4, 128).double()
    labels = torch.arange(4) % max(num_classes, 1)
    for _ in range(3):
        generator(latents, labels)
    generator.eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    folded = fold(generator)
    images = generator(latents, labels)
    torch.testing.assert_close(folded(latents, labels), images, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        fold(discriminator)(images, labels), discriminator(images, labels), rtol=0, atol=1e-11
    )
    assert not list(spectral.spectral_norms(folded))
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_label_changes_the_picture_and_the_judgement():
    generator, discriminator = pair(32, 2, AT_16, AT_16)
    latents = torch.randn(1, 128).double().expand(2, -1)
    images = generator(latents, torch.tensor([0, 1]))
    assert (images[0] - images[1]).abs().max() > 0.01
    logits = discriminator(images[:1].expand(2, -1, -1, -1), torch.tensor([0, 1]))
    assert (logits[0] - logits[1]).abs() > 1e-3


def test_every_parameter_gets_a_gradient():
    generator, discriminator = pair(32, 2, AT_16, AT_16)
    labels = torch.tensor([0, 1, 0])
    discriminator(generator(torch.randn(3, 128).double(), labels), labels).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_pictures_are_bounded_and_of_the_right_size():
    for resolution in (32, 64, 128, 256):
        generator, discriminator = pair(resolution, 2, NOWHERE, NOWHERE)
        labels = torch.tensor([1, 0])
        with torch.no_grad():
            images = generator(torch.randn(2, 128).double(), labels)
            assert images.shape == (2, 3, resolution, resolution)
            assert images.abs().max() <= 1
            assert discriminator(images, labels).shape == (2,)


def test_orthogonal_initialisation_is_orthogonal():
    generator = Generator(
        GeneratorConfig(base_channels=8, initialization="orthogonal", attention=()),
        resolution=32,
        num_classes=0,
    )
    weight = generator.blocks[0].conv2.weight.detach().flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(32), rtol=0, atol=1e-5)


PAPER_TEXT = {"attention_value_divisor": 8, "attention_pooling": False}


@pytest.mark.parametrize(
    ("generator", "discriminator"),
    [
        ({"upsampling": "bilinear"}, {"hidden_channels": "in", "shortcut_input": "relu"}),
        (PAPER_TEXT, PAPER_TEXT),
        ({"class_tables": "drawn"}, {}),
        ({"class_tables": "spectral"}, {}),
        ({"latent_skips": True}, {}),
        ({}, {"attention": (), "attention_blocks": (1, 2, 3, 4), "final_resolution": 8}),
    ],
)
def test_choices_of_other_implementations_fold_alike(generator, discriminator):
    networks = pair(32, 3, AT_16 | generator, AT_16 | discriminator)
    latents, labels = torch.randn(2, 128).double(), torch.tensor([0, 2])
    images = networks[0].eval()(latents, labels)
    torch.testing.assert_close(fold(networks[0])(latents, labels), images, rtol=0, atol=1e-11)
    logits = networks[1](images, labels)
    torch.testing.assert_close(fold(networks[1])(images, labels), logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_latent_reaches_every_block(num_classes):
    generator, _ = pair(32, num_classes, AT_16 | {"latent_skips": True}, AT_16)
    labels = torch.tensor([0, 2]) if num_classes else None
    latents = torch.randn(2, 128).double()
    generator.eval()(latents, labels)
    for block in generator.blocks:
        x = torch.randn(1, block.shortcut.weight.shape[1], 4, 4).double().expand(2, -1, -1, -1)
        one, other = block(x, None if labels is None else labels[:1].expand(2), latents)
        assert (one - other).abs().max() > 0.01


def test_each_choice_changes_the_function():
    config = {"base_channels": 8, "attention": (16,)}
    choices = [
        (GeneratorConfig, {"upsampling": "bilinear"}),
        (GeneratorConfig, {"attention_pooling": False}),
        (DiscriminatorConfig, {"shortcut_input": "relu"}),
        (DiscriminatorConfig, {"attention_pooling": False}),
    ]
    labels = torch.tensor([0, 1])
    for section, choice in choices:
        network, inputs = (
            (Generator, torch.randn(2, 128))
            if section is GeneratorConfig
            else (Discriminator, torch.randn(2, 3, 32, 32))
        )
        usual = network(section(**config), resolution=32, num_classes=2).eval()
        usual.attention["16"].gamma.data.fill_(1)
        other = network(section(**config, **choice), resolution=32, num_classes=2).eval()
        other.load_state_dict(usual.state_dict())
        difference = (usual(inputs, labels) - other(inputs, labels)).abs().max()
        assert difference > 1e-4, choice


def test_attention_after_blocks_of_one_resolution():
    config = DiscriminatorConfig(
        base_channels=8, attention=(), attention_blocks=(1, 2, 4), final_resolution=8
    )
    network = Discriminator(config, resolution=32, num_classes=0)
    assert list(network.attention) == ["16", "8", "8-3"]
    by_resolution = DiscriminatorConfig(base_channels=8, attention=(16, 8), final_resolution=8)
    assert list(Discriminator(by_resolution, resolution=32, num_classes=0).attention) == ["16", "8"]


def test_thin_blocks_have_their_inputs_width_inside():
    config = DiscriminatorConfig(base_channels=8, attention=(16,), hidden_channels="in")
    network = Discriminator(config, resolution=32, num_classes=0)
    assert [len(block.conv1.weight) for block in network.blocks] == [8, 8, 16, 32]


def test_first_biases_are_zero():
    size = {"resolution": 32, "num_classes": 2}
    for network in (
        Generator(GeneratorConfig(base_channels=8, attention=()), **size),
        Discriminator(DiscriminatorConfig(base_channels=8, attention=()), **size),
    ):
        biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
        assert biases
        assert not any(bias.any() for bias in biases)


@pytest.mark.parametrize("architecture", ["residual", "dcgan"])
def test_first_weights_and_biases_as_pytorch_draws_them(architecture):
    """Uniform within 1 / sqrt(fan-in), where torch counts a transposed kernel's second side."""
    torch.manual_seed(0)
    settings = {"base_channels": 8, "attention": (8,), "architecture": architecture}
    drawn = {"initialization": "pytorch", "first_biases": "drawn"}
    for network in (
        make_generator(GeneratorConfig(**settings, **drawn), resolution=32),
        make_discriminator(DiscriminatorConfig(**settings, **drawn), resolution=32),
    ):
        for layer in network.modules():
            if isinstance(layer, spectral.SpectralLayer):
                bound = layer.weight[0].numel() ** -0.5
                values = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
                for value in values:
                    assert value.abs().max() <= bound
                    assert value.numel() < 100 or value.std() > 0.5 * bound


@pytest.mark.parametrize("architecture", ["residual", "dcgan"])
def test_spectral_norm_on_attention_alone(architecture):
    size = {"resolution": 32, "num_classes": 0}
    common = {"architecture": architecture, "base_channels": 8, "spectral_norm": "attention"}
    networks = [
        make_generator(GeneratorConfig(attention=(16,), **common), **size),
        make_discriminator(DiscriminatorConfig(attention=(16,), **common), **size),
        make_generator(GeneratorConfig(attention=(), **common), **size),
    ]
    for network in networks:
        normalized = {name for name in network.state_dict() if name.endswith("spectral_norm.u")}
        attention = {
            f"{name}.spectral_norm.u"
            for name, layer in network.named_modules()
            if ".16." in name and hasattr(layer, "spectral_norm")
        }
        assert normalized == attention


def test_a_discriminator_may_halve_the_first_map_once_more_if_it_is_even():
    def maps(resolution):
        stages = plan(DiscriminatorConfig(attention=(), final_resolution=2), resolution)
        return [(stage.height, stage.width) for stage in stages]

    assert maps(64) == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]
    assert maps(48) == [(24, 24), (12, 12), (6, 6), (3, 3)]
    with pytest.raises(SaganError, match="or 2, if the map of 4 has even sides"):
        maps(40)

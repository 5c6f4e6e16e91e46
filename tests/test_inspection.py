import numpy as np
import pytest
import torch
from conftest import tiny

from sagan.errors import SaganError
from sagan.inspection import attention_figure_of, attention_layers, attention_rows
from sagan.models import Generator
from sagan.sampling import TrainedGenerator, draw_latents


def trained(attention, num_classes=2):
    from dataclasses import replace

    config = replace(tiny().generator, attention=attention)
    generator = Generator(config, resolution=32, num_classes=num_classes)
    for layer in generator.attention.values():
        torch.nn.init.constant_(layer.gamma, 0.5)
        layer.query.weight.data *= 5
    return TrainedGenerator(generator, ("dark", "light")[:num_classes])


def test_rows_sum_to_one_for_every_layer():
    generator = trained((8, 16, 32))
    assert list(attention_layers(generator)) == [8, 16, 32]
    for size in (8, 16, 32):
        rows = attention_rows(generator, 3, "light", [(0, 0), (31, 31)], resolution=size)
        assert rows.shape == (2, (size // 2) ** 2)
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_rows_are_those_of_the_picture_that_sampling_draws():
    generator = trained((16,))
    layer = generator.network.attention["16"]
    seen = []
    hook = layer.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    generator(draw_latents([3], 16), torch.tensor([1]))
    hook.remove()
    points = [(x, y) for y in range(0, 32, 2) for x in range(0, 32, 2)]
    rows = torch.from_numpy(attention_rows(generator, 3, "light", points))
    x, y = seen[0]
    with torch.inference_mode():
        values = torch.nn.functional.max_pool2d(layer.value(x), 2).flatten(2).mT
        attended = (rows @ values[0]).mT.unflatten(1, (16, 16))[None]
        implied = x + layer.gamma * layer.out(attended)
    torch.testing.assert_close(implied, y, rtol=0, atol=1e-5)


def test_figure_shows_the_finest_layer_by_default():
    generator = trained((8, 16))
    figure = attention_figure_of(generator, 3)
    np.testing.assert_array_equal(figure, attention_figure_of(generator, 3, "dark", resolution=16))
    assert not np.array_equal(figure, attention_figure_of(generator, 3, "dark", resolution=8))


def test_unconditional_generator_has_a_figure():
    assert attention_figure_of(trained((16,), num_classes=0), 0, points=[(3, 4)]).dtype == np.uint8


def test_mistakes():
    with pytest.raises(SaganError, match="no attention layer"):
        attention_rows(trained(()), 0, "dark", [(0, 0)])
    with pytest.raises(SaganError, match="no attention at 32; this generator has it at 16"):
        attention_rows(trained((16,)), 0, "dark", [(0, 0)], resolution=32)
    with pytest.raises(SaganError, match="outside the picture"):
        attention_rows(trained((16,)), 0, "dark", [(32, 0)])

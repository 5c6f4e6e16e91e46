import numpy as np
import pytest

from sagan.inspection.spread import attention_spread, uniform_spread


def random_rows(map_size, pictures=2):
    rows = np.random.default_rng(0).random((pictures, map_size**2, map_size**2 // 4)) ** 8
    return rows / rows.sum(axis=2, keepdims=True)


def spread_of(rows, map_size, **weights):
    return attention_spread(lambda queries: rows[:, queries], (map_size, map_size), **weights)


def one_hot(key_of, map_size, pooled=2):
    """Every query (y, x) gives all its attention to one key (y, x)."""
    keys = map_size // pooled
    rows = np.zeros((1, map_size**2, keys**2))
    for query in range(map_size**2):
        y, x = key_of(*divmod(query, map_size))
        rows[0, query, y * keys + x] = 1
    return rows


@pytest.mark.parametrize(("map_size", "cells"), [(8, 4), (16, 4), (32, 4), (8, 1), (16, 1)])
def test_uniform_rows_give_the_uniform_reference(map_size, cells):
    keys = map_size**2 // cells
    spread = spread_of(np.full((3, map_size**2, keys), 1 / keys), map_size)
    reference = uniform_spread((map_size, map_size), keys)
    assert spread.keys == reference.keys == keys
    assert spread.entropy == pytest.approx(np.log(keys))
    assert spread.effective_keys == pytest.approx(keys)
    assert spread.distance == pytest.approx(reference.distance)
    assert spread.outside == pytest.approx(reference.outside)


def test_uniform_attention_reaches_the_mean_distance_of_two_points_of_a_square():
    for keys in (32**2, 64**2):
        assert uniform_spread((64, 64), keys).distance == pytest.approx(0.5214, abs=2e-3)


def test_uniform_attention_outside_is_the_area_outside():
    centre = np.arange(16) + 0.5
    inside = np.minimum(16, centre + 4) - np.maximum(0, centre - 4)
    for keys in (64, 256):
        outside = uniform_spread((16, 16), keys).outside
        assert outside == pytest.approx(1 - (inside.mean() / 16) ** 2)


def test_all_attention_on_the_own_key_is_near_and_narrow():
    spread = spread_of(one_hot(lambda y, x: (y // 2, x // 2), 16), 16)
    assert (spread.entropy, spread.effective_keys, spread.outside) == (0, 1, 0)
    assert spread.distance == pytest.approx(np.hypot(0.5, 0.5) / 16)


def test_all_attention_on_the_own_place_where_keys_are_not_pooled():
    spread = spread_of(one_hot(lambda y, x: (y, x), 8, pooled=1), 8)
    assert (spread.entropy, spread.distance, spread.outside) == (0, 0, 0)


def test_without_pooling_a_key_beyond_four_cells_is_outside():
    for steps, outside in ((3, 0), (4, 0.5), (5, 1)):
        rows = one_hot(lambda y, x, n=steps: (y, x + n if x + n < 16 else x - n), 16, pooled=1)
        spread = spread_of(rows, 16)
        assert spread.outside == pytest.approx(outside)
        assert spread.distance == pytest.approx(steps / 16)


def test_all_attention_on_a_far_key_is_outside():
    spread = spread_of(one_hot(lambda y, x: (0 if y >= 8 else 7, 0 if x >= 8 else 7), 16), 16)
    assert (spread.entropy, spread.outside) == (0, 1)
    assert spread.distance > 0.5


def test_a_key_half_inside_the_neighbourhood_counts_half():
    rows = one_hot(lambda y, x: (y // 2, x // 2), 16)
    query = 5 * 16 + 5  # its neighbourhood covers the cells 1.5 to 9.5, key 1 the cells 2 to 4
    rows[0, query] = 0
    rows[0, query, 2 * 8 + 0] = 1  # columns 0 to 2, of which a quarter lies inside
    assert spread_of(rows, 16).outside == pytest.approx(0.75 / 256)


@pytest.mark.parametrize("weights", [1, 7 * 32, 64 * 32, 10**6])
def test_queries_taken_some_at_a_time_give_the_same(weights):
    rows = random_rows(8)
    whole, parts = spread_of(rows, 8), spread_of(rows, 8, weights=weights)
    for name in ("entropy", "distance", "outside"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-12)

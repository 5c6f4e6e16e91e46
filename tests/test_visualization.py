import numpy as np
import pytest

from sagan.config import Place
from sagan.errors import SaganError
from sagan.images.batch import Pictures
from sagan.images.drawing import QUERY_COLOURS
from sagan.images.figure import attention_figure
from sagan.images.maps import attended_regions, heat_map, key_grid, median_overlap, overlaps
from sagan.images.queries import choose_query_points, grid_points, most_different, query_index
from sagan.inspection.timeline_figure import Curve, Snapshot, timeline_figure
from sagan.sampling.attention import Attention

SIDE = 8


def noise(resolution=32):
    return np.random.default_rng(0).integers(0, 256, (3, resolution, resolution), dtype=np.uint8)


def plain(resolution=32, level=128):
    return np.full((3, resolution, resolution), level, dtype=np.uint8)


def planted(*keys, side=SIDE, share=0.9):
    """A row whose (key row, key column)s hold a share of the attention, the first one the most."""
    row = np.full((side, side), (1 - share) / side**2)
    weights = np.arange(len(keys), 0, -1) + 4.0
    for key, weight in zip(keys, weights / weights.sum(), strict=True):
        row[key] += share * weight
    return row.ravel()


def keys(row):
    return key_grid(row, (1, 1))


def uniform(side=SIDE):
    return np.full(side**2, 1 / side**2)


@pytest.mark.parametrize("resolution", [32, 128])
@pytest.mark.parametrize("count", [1, 5, 8])
def test_query_points_are_inside_distinct_and_deterministic(resolution, count):
    image = noise(resolution)
    points = choose_query_points(image, count)
    assert points == choose_query_points(image.copy(), count)
    assert len(set(points)) == count
    assert all(0 <= x < resolution and 0 <= y < resolution for x, y in points)


@pytest.mark.parametrize(("top", "left"), [(6, 20), (0, 0), (24, 24)])
def test_query_points_keep_to_a_small_object_and_off_the_plain_background(top, left):
    image = plain(level=255)
    image[:, top : top + 8, left : left + 8] = noise(8) // 2
    points = choose_query_points(image)
    assert all(left <= x < left + 8 and top <= y < top + 8 for x, y in points)
    assert max(abs(x - points[0][0]) + abs(y - points[0][1]) for x, y in points) >= 4


def test_query_points_lie_on_a_thin_line_not_beside_it():
    image = plain(level=255)
    image[:, 20, 4:28] = 0
    points = choose_query_points(image)
    assert {y for _, y in points} == {20}
    assert all(4 <= x < 28 for x, _ in points)


def test_query_points_stay_distinct_on_an_object_smaller_than_their_number():
    image = plain()
    image[:, 10, 12] = 255
    points = choose_query_points(image)
    assert points[0] == (12, 10)
    assert len(set(points)) == 5


def test_query_points_of_a_constant_picture_are_spread_evenly():
    points = choose_query_points(plain())
    assert abs(points[0][0] - 15.5) < 1
    assert abs(points[0][1] - 15.5) < 1
    quadrants = {(x > 15, y > 15) for x, y in points[1:]}
    assert len(quadrants) == 4
    distances = [np.hypot(x - u, y - v) for x, y in points for u, v in points if (x, y) != (u, v)]
    assert min(distances) > 8
    assert all(3 <= value <= 28 for point in points for value in point)


GRID = [(x, y) for y in range(2, 32, 4) for x in range(2, 32, 4)]  # of 8 x 8 cells


def looking_at(*targets):
    """Rows of points that each give nearly all attention to the key (row, column) of a number."""
    return np.stack([planted(target, share=0.99) for target in targets])


def test_points_are_chosen_whose_attention_differs():
    left = looking_at(*[(0, 0) if x < 16 else (7, 7) for x, _ in GRID])
    odd = (10, 27, 36, 53)  # look at corners of their own
    for number, key in zip(odd, [(0, 7), (7, 0), (3, 3), (4, 6)], strict=True):
        left[number] = planted(key, share=0.99)
    chosen = most_different(GRID, [left], (32, 32))
    assert chosen == sorted(set(chosen))
    assert median_overlap(left[chosen]) < 0.05
    assert chosen == most_different(GRID, [left.copy()], (32, 32))


def test_points_that_keep_their_attention_to_themselves_are_left_out():
    rows = looking_at(*[divmod(number, 8) for number in range(64)])  # all look at themselves
    far = (0, 7, 36, 56, 63)
    for number in far:
        rows[number] = planted(divmod((number + 28) % 64, 8), share=0.99)
    assert tuple(most_different(GRID, [rows], (32, 32))) == far


def test_points_that_look_everywhere_alike_are_left_out():
    rows = np.tile(uniform(), (64, 1))
    sharp = (1, 14, 33, 38, 60)
    for number, key in zip(sharp, [(7, 7), (7, 0), (0, 7), (0, 0), (1, 4)], strict=True):
        rows[number] = planted(key)
    assert tuple(most_different(GRID, [rows], (32, 32))) == sharp


def test_points_whose_attention_is_the_same_lie_on_different_parts():
    rows = looking_at(*[(0, 0)] * 64)
    chosen = [GRID[number] for number in most_different(GRID, [rows], (32, 32))]
    distances = [np.hypot(x - u, y - v) for x, y in chosen for u, v in chosen if (x, y) != (u, v)]
    assert min(distances) >= 8


def test_all_layers_count_where_points_are_chosen():
    same, apart = looking_at(*[(0, 0)] * 64), looking_at(*[(0, 0)] * 64)
    odd = (7, 32, 36, 57)
    for number, key in zip(odd, [(7, 1), (3, 3), (1, 6), (5, 0)], strict=True):
        apart[number] = planted(key, share=0.99)
    for layers in ([same, apart], [apart, same]):
        assert set(odd) < set(most_different(GRID, layers, (32, 32)))


def test_fewer_candidates_than_points_are_all_chosen():
    assert most_different(GRID[:3], [looking_at((0, 0), (1, 1), (2, 2))], (32, 32)) == [0, 1, 2]


def test_overlap_is_the_sum_of_the_smaller_weights():
    rows = np.array([[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1.0], [0.5, 0.5, 0, 0]])
    expected = [[1, 0.5, 0, 1], [0.5, 1, 0, 0.5], [0, 0, 1, 0], [1, 0.5, 0, 1]]
    np.testing.assert_array_equal(overlaps(rows), expected)
    assert median_overlap(rows) == 0.25
    assert np.isnan(median_overlap(rows[:1]))


def test_query_index_counts_row_by_row():
    assert query_index((0, 0), (32, 32), (16, 16)) == 0
    assert query_index((31, 0), (32, 32), (16, 16)) == 15
    assert query_index((0, 31), (32, 32), (16, 16)) == 240
    assert query_index((31, 31), (32, 32), (16, 16)) == 255
    assert (
        query_index((5, 2), (32, 32), (16, 16)) == query_index((4, 3), (32, 32), (16, 16)) == 16 + 2
    )
    assert query_index((7, 9), (32, 32), (32, 32)) == 9 * 32 + 7


@pytest.mark.parametrize("point", [(-1, 0), (0, -1), (32, 0), (0, 32)])
def test_query_index_refuses_a_point_outside_in_one_line(point):
    with pytest.raises(SaganError) as caught:
        query_index(point, (32, 32), (16, 16))
    message = str(caught.value)
    assert f"{point[0]},{point[1]}" in message
    assert "between 0 and 31" in message
    assert "\n" not in message


@pytest.mark.parametrize("size", [64, 100, 256])
@pytest.mark.parametrize("key", [(0, 0), (0, 7), (7, 0), (7, 7), (2, 5)])
def test_heat_is_greatest_inside_the_block_of_the_most_attended_key(key, size):
    row = planted(key)
    heat = heat_map(keys(row), (size, size), row.max())
    assert heat.shape == (size, size)
    assert heat.min() >= 0
    assert heat.max() <= 1 + 1e-12
    rows, columns = np.nonzero(heat == heat.max())
    block = size / SIDE
    for found, wanted in ((rows, key[0]), (columns, key[1])):
        assert wanted * block <= found.min() < wanted * block + 1  # to the pixel
        assert (wanted + 1) * block <= found.max() + 1 < (wanted + 1) * block + 1


def test_heat_of_an_inner_key_is_centred_on_its_block():
    heat = heat_map(keys(planted((2, 5))), (256, 256), 1.0)
    heat -= heat.min()
    place = np.arange(256) + 0.5
    assert (heat.sum(axis=1) @ place) / heat.sum() == pytest.approx(2.5 * 32)
    assert (heat.sum(axis=0) @ place) / heat.sum() == pytest.approx(5.5 * 32)


def test_heat_of_a_uniform_row_is_constant():
    np.testing.assert_allclose(heat_map(keys(uniform()), (96, 96), 1 / SIDE**2), 1)


def test_heat_is_the_share_of_the_scale_and_each_key_a_block():
    row = planted((2, 5), (6, 1))
    heat = heat_map(keys(row), (64, 64), 2 * row.max())
    np.testing.assert_allclose(heat[::8, ::8], row.reshape(SIDE, SIDE) / (2 * row.max()))
    np.testing.assert_array_equal(heat, np.kron(heat[::8, ::8], np.ones((8, 8))))


@pytest.mark.parametrize("key", [(0, 0), (0, 7), (7, 0), (7, 7), (3, 4)])
def test_an_arrow_ends_in_the_block_of_the_only_attended_key(key):
    [(x, y, weight)] = attended_regions(keys(planted(key)))
    assert (int(y * SIDE), int(x * SIDE)) == key
    assert weight == pytest.approx(0.9 + 0.1 / SIDE**2)


def test_regions_come_in_order_of_weight_and_are_distinct():
    regions = attended_regions(keys(planted((1, 1), (6, 6), (1, 2), (1, 6), (6, 1))))
    assert [(int(y * SIDE), int(x * SIDE)) for x, y, _ in regions] == [(1, 1), (6, 6), (1, 6)]
    assert [weight for *_, weight in regions] == sorted((r[2] for r in regions), reverse=True)


def test_of_two_peaks_close_together_the_heavier_stays():
    regions = attended_regions(keys(planted((4, 6), (4, 4), (12, 4), side=16)))
    assert [(int(y * 16), int(x * 16)) for x, y, _ in regions] == [(4, 6), (12, 4)]


@pytest.mark.parametrize("side", [4, 8, 16])
def test_neither_a_uniform_nor_a_barely_uneven_row_has_regions(side):
    assert attended_regions(keys(uniform(side))) == []
    assert attended_regions(keys(planted((1, 1), side=side, share=0.5 / side**2))) == []


def test_a_far_weaker_region_is_left_out():
    row = np.full(SIDE**2, 0.001)
    row[9], row[54] = 0.8, 0.1
    assert len(attended_regions(keys(row / row.sum()))) == 1


@pytest.mark.parametrize(
    ("queries", "columns", "lines"), [(1, 2, 1), (4, 5, 1), (5, 3, 2), (7, 4, 2), (8, 3, 3)]
)
def test_figure_is_a_uint8_picture_whose_panels_wrap(queries, columns, lines):
    image = noise()
    rows = np.stack([planted((index % 8, 3)) for index in range(queries)]).astype(np.float32)
    figure = attention_figure(image, choose_query_points(image, queries), {"": rows}, panel=64)
    assert figure.dtype == np.uint8
    assert figure.shape[0] == 3
    assert columns * 64 < figure.shape[2] < (columns + 1) * 72
    assert lines * 64 < figure.shape[1] < (lines + 1) * 80
    for colour in QUERY_COLOURS[:queries]:
        framed = (figure == np.array(colour)[:, None, None]).all(axis=0)
        assert framed.sum() >= 4 * 64


def corner_of_panel(figure, colour):
    """Where the panel inside the frame of a colour begins: (top, left)."""
    framed = (figure == np.array(colour)[:, None, None]).all(axis=0)
    rows, columns = np.nonzero(framed)
    return int(rows.min()) + 4, int(np.median(columns[rows == rows.min()])) - 131 + 4


def test_drawn_heat_and_arrow_lie_where_the_attention_is():
    image = plain(level=0)
    key, query = (1, 6), (4, 28)
    figure = attention_figure(image, [query], {"": planted(key)[None]})
    top, left = corner_of_panel(figure, QUERY_COLOURS[0])
    panel = figure[:, top : top + 256, left : left + 256].astype(int)
    assert panel.shape == (3, 256, 256)
    yellow = (panel[0] > 180) & (panel[1] > 140) & (panel[2] < panel[1] - 40)
    rows, columns = np.nonzero(yellow)
    assert set(rows // 32) == {key[0]}
    assert set(columns // 32) == {key[1]}

    blue = (panel == np.array(QUERY_COLOURS[0])[:, None, None]).all(axis=0)
    tip = np.argwhere(blue)[np.argmax(np.argwhere(blue) @ (-1, 1))]  # furthest up and right
    assert tuple(tip // 32) == key
    tail = np.argwhere(blue)[np.argmin(np.argwhere(blue) @ (-1, 1))]
    assert np.hypot(*(tail - (28.5 * 8, 4.5 * 8))) < 12


def marks_in(row):
    figure = attention_figure(plain(level=0), [(4, 28)], {"": row[None]})
    top, left = corner_of_panel(figure, QUERY_COLOURS[0])
    panel = figure[:, top : top + 256, left : left + 256]
    return int((panel == np.array(QUERY_COLOURS[0])[:, None, None]).all(axis=0).sum())


def test_a_uniform_row_draws_the_dot_only():
    assert 100 < marks_in(uniform()) < 300 < marks_in(planted((1, 6)))


def test_no_arrow_is_drawn_to_the_query_itself():
    assert marks_in(planted((7, 1))) == marks_in(uniform())


def test_the_panels_of_a_layer_have_one_scale():
    """A panel whose greatest weight is half of the other's is darker at the same place."""
    key, points = (1, 6), [(4, 28), (28, 28)]
    rows = np.stack([planted(key), planted(key, share=0.45)])
    figure = attention_figure(plain(level=0), points, {"": rows})
    levels = []
    for colour in QUERY_COLOURS[:2]:
        top, left = corner_of_panel(figure, colour)
        levels.append(int(figure[:, top + 33, left + 6 * 32 + 1].astype(int).sum()))
    assert levels[0] > levels[1] + 100


def test_a_caption_adds_lines_above_and_wraps():
    image, rows = plain(), planted((1, 6))[None]
    heights = [
        attention_figure(image, [(4, 28)], {"": rows}, panel=64, caption=caption).shape
        for caption in ("", "Attention", "Attention " * 12)
    ]
    assert len({width for *_, width in heights}) == 1
    assert heights[0][1] < heights[1][1] < heights[2][1]


def test_figure_is_a_function_of_its_arguments_and_leaves_them_alone():
    image, rows = noise(), np.stack([planted((2, 2)), planted((5, 6))])
    before = image.copy(), rows.copy()
    first, second = (
        attention_figure(image, [(3, 4), (20, 9)], {"": rows}, panel=64) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(rows, before[1])


@pytest.mark.parametrize(
    ("points", "rows"),
    [
        ([(1, 1)], np.full((2, 64), 1 / 64)),
        ([(1, 1)], np.full((1, 60), 1 / 60)),
        ([(1, 1)], np.full((1, 64), 1.0)),
        ([], np.empty((0, 64))),
    ],
)
def test_rows_that_do_not_fit_are_a_fault_of_ours(points, rows):
    with pytest.raises(AssertionError):
        attention_figure(plain(), points, {"": rows})


def test_a_layer_adds_a_block_of_panels_and_a_heading_a_line():
    image, rows = noise(), planted((1, 6))[None]

    def height(layers):
        return attention_figure(image, [(4, 28)], layers, panel=64).shape[1]

    one, headed = height({"": rows}), height({"Attention at 16 x 16": rows})
    two = height({"Attention at 16 x 16": rows, "Attention at 32 x 32": planted((1, 3))[None]})
    assert one < headed < one + 20
    assert headed + 64 < two < headed + 110


def test_panels_of_a_lattice_lie_as_its_points_do():
    points = [(x, y) for y in (4, 20) for x in (2, 12, 22)]
    rows = np.stack([uniform()] * len(points))
    figure = attention_figure(plain(level=255), points, {"": rows})
    corners = []
    for colour in QUERY_COLOURS[: len(points)]:
        frame = (figure == np.array(colour)[:, None, None]).all(axis=0)
        top = int(np.argmax(frame.sum(axis=1) > 200))  # the picture's own dots are narrower
        corners.append((top, int(np.argmax(frame[top]))))
    tops, lefts = np.array(corners).reshape(2, 3, 2).transpose(2, 0, 1)
    assert (tops[:, 0] == tops[:, 1]).all()
    assert (tops[:, 0] == tops[:, 2]).all()
    assert (lefts[0] == lefts[1]).all()
    assert tops[1, 0] > tops[0, 0] + 256
    assert (np.diff(lefts[0]) > 256).all()


@pytest.mark.parametrize(("count", "resolution"), [(1, 32), (4, 32), (3, 32), (32, 32), (5, 64)])
def test_grid_points_are_evenly_spaced_and_centred(count, resolution):
    size = (resolution, resolution)
    points = grid_points(count, size, size)
    assert len(set(points)) == count**2
    across = np.array([x for x, _ in points[:count]])
    assert np.ptp(np.diff(across, prepend=across[0] - resolution // count)) <= 1
    assert abs((across + 0.5).mean() - resolution / 2) <= 0.5
    assert points == [(x, y) for y in across for x in across]
    assert min(across) >= 0
    assert max(across) < resolution


@pytest.mark.parametrize("map_size", [8, 16, 32])
def test_no_two_points_of_a_grid_share_a_place_of_the_map(map_size):
    for count in range(1, map_size + 1):
        points = grid_points(count, (32, 32), (map_size, map_size))
        assert (
            len({query_index(point, (32, 32), (map_size, map_size)) for point in points})
            == count**2
        )


@pytest.mark.parametrize("count", [0, -3, 17])
def test_a_grid_without_points_or_finer_than_the_map_is_refused(count):
    with pytest.raises(SaganError, match=f"{count} x {count} points .* 16 x 16 .* choose 1 to 16"):
        grid_points(count, (32, 32), (16, 16))


def snapshots(count, *sides, pictures=("generated",)):
    places = tuple(Place(height=side, width=side) for side in sides)
    return [
        Snapshot(
            step=100 * (i + 1),
            attention={
                picture: Attention(
                    network="generator",
                    pictures=Pictures(noise()[None]),
                    names=("",),
                    points=(((4, 28),),),
                    places=places,
                    rows={place.name: planted((i % 8, 3))[None, None] for place in places},
                    focus={},
                )
                for picture in pictures
            },
        )
        for i in range(count)
    ]


def test_a_timeline_grows_with_checkpoints_and_layers():
    gamma = [Curve(name="generator", steps=[50, 100, 150], values=[0.0, 0.1, 0.2])]
    entropy = [Curve(name="generator", steps=[100], values=[0.7])]
    one = timeline_figure(gamma, entropy, entropy, snapshots(1, 16), caption="A run")
    ten = timeline_figure(gamma, entropy, entropy, snapshots(10, 16))
    two = timeline_figure([], entropy, entropy, snapshots(1, 16, 32))
    assert one.dtype == np.uint8
    assert one.shape[0] == 3
    assert ten.shape[2] > one.shape[2] + 400
    assert two.shape[1] > one.shape[1] + 100
    both = timeline_figure(
        gamma, entropy, entropy, snapshots(1, 16, pictures=("generated", "real"))
    )
    assert both.shape[1] > two.shape[1] + 100


def test_a_timeline_without_matplotlib_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SaganError, match="pip install matplotlib"):
        timeline_figure([], [], [], snapshots(1, 16))

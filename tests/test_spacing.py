import numpy as np
import pytest

from sagan.system.spacing import from_the_first, with_both_ends


@pytest.mark.parametrize(
    ("length", "most", "both_ends", "first"),
    [
        (10, 4, [0, 3, 6, 9], [0, 2, 5, 7]),
        (3, 5, [0, 1, 2], [0, 1, 2]),
        (100, 1, [0], [0]),
        (0, 4, [], []),
    ],
)
def test_places_are_evenly_spaced(length, most, both_ends, first):
    assert with_both_ends(length, most).tolist() == both_ends
    assert from_the_first(length, most).tolist() == first


def test_they_are_those_of_whole_divisions():
    found = from_the_first(1000, 16)
    np.testing.assert_array_equal(found, [i * 1000 // 16 for i in range(16)])

"""Copies of a matrix on tiles."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lhc.hardware.tile_geometry import copies_on, free_copies, held_rows, split_sizes, tile_rows


@given(inputs=st.integers(1, 2000), rows=st.integers(1, 300), taken=st.integers(1, 6))
def test_as_many_copies_fit_as_are_counted(inputs: int, rows: int, taken: int) -> None:
    copies = copies_on(inputs, rows, taken)
    splits = math.ceil(inputs / rows)
    assert copies >= taken
    assert tile_rows(inputs, rows, copies) <= splits * taken
    assert math.ceil((copies + 1) * split_sizes(inputs, rows)[0] / rows) > taken, "one more does not fit every split"
    assert tile_rows(inputs, rows, free_copies(inputs, rows)) == tile_rows(inputs, rows) == splits


def test_nine_copies_of_a_first_convolution_fit_one_tile() -> None:
    assert free_copies(27, 256) == 9
    assert split_sizes(576, 256) == [192, 192, 192]
    assert (free_copies(576, 256), copies_on(576, 256, 3)) == (1, 4)


def test_a_matrix_without_inputs_takes_no_tiles() -> None:
    assert (split_sizes(0, 256), tile_rows(0, 256), free_copies(0, 256), copies_on(0, 256, 3)) == ([], 0, 1, 1)


def test_rows_of_tiles_are_counted_without_making_the_parts() -> None:
    """What a file tells of 2^40 rows takes no longer than of two."""
    for size in (0, 1, 5, 20, 21, 64, 65, 1000):
        for rows in (1, 7, 64):
            for copies in (1, 3):
                parts = split_sizes(size, rows)
                assert tile_rows(size, rows, copies) == sum(-(-copies * part // rows) for part in parts)
                held = sum(-(-copies * part // rows) * part for part in parts)  # copies in a tile are one sum
                assert held <= held_rows(size, rows, copies) <= held + tile_rows(size, rows, copies)
            assert copies_on(size, rows, 5) == (5 * rows // parts[0] if parts else 1)
    assert tile_rows(2**40, 256) == 2**32
    assert copies_on(2**40, 256, 3) == 3

"""Tables of text fit a terminal, and lose nothing."""

from __future__ import annotations

from keras_sgdr._text import WIDTH, aligned, parts


def test_columns_that_fit_stay_side_by_side() -> None:
    assert parts([WIDTH]) == [[0]]
    assert parts([9, 30, WIDTH - 43]) == [[0, 1, 2]]
    assert parts([9, 30, WIDTH - 42]) == [[0, 1], [0, 2]]


def test_every_part_begins_with_what_its_rows_are_of() -> None:
    assert parts([20, 8, 30, 30, 30], keys=2) == [[0, 1, 2], [0, 1, 3], [0, 1, 4]]
    # One that is too wide by itself is not left out.
    assert parts([9, 2 * WIDTH, 9]) == [[0, 1], [0, 2]]


def test_names_are_to_the_left_and_numbers_to_the_right() -> None:
    assert aligned([["", "loss"], ["cycle 1", "1"]]) == "         loss\ncycle 1     1"

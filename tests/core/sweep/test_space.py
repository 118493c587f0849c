"""Drawn values of a sweep are in their range, have the right distribution, and depend only on the seed."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import ConfigError
from nablafx_core.sweep.space import Choices, Range, drawn, grid

POSITIONS = st.floats(0, 1, exclude_max=True)


def test_a_grid_is_the_product_the_last_setting_fastest():
    space = {"a": Choices((1, 2)), "b": Choices(("x", "y", "z"))}
    assert [tuple(item.values()) for item in grid(space)] == list(itertools.product((1, 2), "xyz"))
    assert all(list(item) == ["a", "b"] for item in grid(space))


@given(low=st.floats(1e-9, 1e9), factor=st.floats(1.001, 1e6), log=st.booleans(), position=POSITIONS)
def test_a_range_keeps_its_bounds(low, factor, log, position):
    part = Range(min=low, max=low * factor, log=log)
    assert part.min <= part.draw(position) <= part.max


@given(low=st.integers(-50, 50), width=st.integers(1, 100), position=POSITIONS)
def test_whole_numbers_keep_their_bounds(low, width, position):
    value = Range(min=low, max=low + width, integer=True).draw(position)
    assert isinstance(value, int) and low <= value <= low + width


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_are_drawn_in_proportion_to_their_intervals(log):
    part = Range(min=1, max=8, integer=True, log=log)
    count = 72_000
    values = [part.draw(i / count) for i in range(count)]
    size = math.log(9) if log else 8
    for number in range(1, 9):
        owned = math.log((number + 1) / number) if log else 1
        assert values.count(number) / count == pytest.approx(owned / size, abs=1e-3)


def test_ranges_are_uniform_in_the_value_or_in_the_logarithm():
    """Check that values are uniform by Kolmogorov's distance, at 0.1 %: 1.95 / sqrt(count)."""
    count = 2000
    for log, to_unit in ((True, lambda x: math.log10(x) / 4), (False, lambda x: (x - 1) / 9999)):
        space = {"rate": Range(min=1, max=1e4, log=log)}
        places = sorted(to_unit(item["rate"]) for item in drawn(space, count, seed=3))
        assert max(abs(place - (i + 0.5) / count) for i, place in enumerate(places)) < 1.95 / math.sqrt(count)


def test_a_seed_gives_the_same_trials_and_more_trials_extend_them():
    space = {"a": Range(min=0, max=1), "b": Choices((1, 2, 3)), "c": Range(min=1, max=1e6, log=True)}
    assert drawn(space, 20, 7) == drawn(space, 20, 7)
    assert drawn(space, 20, 7)[:5] == drawn(space, 5, 7)
    assert drawn(space, 20, 7) != drawn(space, 20, 8)
    # The same on every machine and in every version.
    assert drawn({"a": Range(min=0, max=1)}, 2, 42) == [{"a": 0.383132}, {"a": 0.45354}]


def test_the_values_of_a_setting_do_not_depend_on_other_settings():
    alone = drawn({"a": Range(min=0, max=1)}, 10, 1)
    beside = drawn({"b": Range(min=0, max=1), "a": Range(min=0, max=1)}, 10, 1)
    assert [item["a"] for item in beside] == [item["a"] for item in alone]
    assert all(item["a"] != item["b"] for item in beside)


def test_no_combination_is_drawn_twice_and_too_many_are_refused():
    space = {"a": Choices((1, 2)), "b": Choices((1, 2))}
    assert len({tuple(item.values()) for item in drawn(space, 4, 0)}) == 4
    with pytest.raises(ConfigError, match="5 different trials cannot be drawn from this space; only 4 were found"):
        drawn(space, 5, 0)

"""A split loses no recording, does not leak unless documented, and is deterministic."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from nablafx_core.config.schema import LoadingSettings
from nablafx_core.data.sources import ArraySource
from nablafx_core.data.splits import split
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Recording


def made(source, setting=0, length=1000, part="trainval"):
    audio = ArraySource(torch.zeros(length))
    return Recording(f"{setting}.{source}", audio, audio, source, (setting / 100,), part, 0, length)


def settings(method="auto", **others):
    return LoadingSettings(**{"split": method, "segment_length": 100, **others})


def keys(parts, key):
    return {part: {key(recording) for recording in members} for part, members in parts.items()}


grids = st.integers(1, 6), st.integers(1, 5), st.booleans(), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.4])


@given(*grids, st.sampled_from([("file", "source"), ("setting", "controls")]))
def test_groups_stay_together_and_nothing_is_lost(files, knobs, has_test, seed, share, method):
    name, attribute = method
    recordings = [made(f"f{file}", knob) for file in range(files) for knob in range(knobs)]
    tests = [made("t", part="test")] if has_test else []
    assume({"file": files, "setting": knobs}[name] >= 3 - has_test)
    parts = split(recordings + tests, settings(name, split_seed=seed, validation=share))
    assert parts == split(recordings + tests, settings(name, split_seed=seed, validation=share))
    assert sorted(r.name for members in parts.values() for r in members) == sorted(r.name for r in recordings + tests)
    assert all(parts.values())
    divided = {part: [r for r in members if r.source != "t"] for part, members in parts.items()}
    for one, other in combinations(keys(divided, lambda r: getattr(r, attribute)).values(), 2):
        assert not one & other
    assert all(r.part == part for part, members in parts.items() for r in members)


def test_a_split_by_file_approximates_the_share_and_depends_on_the_seed():
    recordings = [made(f"f{n}", length=100 + 37 * n) for n in range(20)] + [made("t", part="test")]
    chosen = set()
    for seed in range(10):
        parts = split(recordings, settings("file", validation=0.3, split_seed=seed))
        total = sum(r.num_samples for part in ("train", "validation") for r in parts[part])
        assert 0.2 < sum(r.num_samples for r in parts["validation"]) / total < 0.4
        chosen.add(frozenset(r.source for r in parts["validation"]))
    assert len(chosen) > 5


@given(st.integers(100, 2000), st.integers(0, 30), st.booleans(), st.integers(0, 50))
def test_a_split_by_time_leaves_out_only_the_gap(length, gap, has_test, start):
    recordings = [made("a", length=start + length).within(start, start + length, "trainval")]
    if has_test:
        recordings.append(made("t", part="test"))
    assume(0.2 * length > gap + 1)
    parts = split(recordings, settings("time"), gap)
    spans = [(r.start, r.stop, part) for part in parts for r in parts[part] if r.source == "a"]
    assert [part for *_, part in sorted(spans)] == ["train", "validation", "test"][: 2 if has_test else 3]
    assert spans[0][0] == start
    assert max(stop for _, stop, _ in spans) == start + length
    for (_, stop, _), (begin, _, _) in pairwise(spans):
        assert begin - stop == gap
    assert abs(spans[-1][1] - spans[-1][0] - 0.2 * length) <= 1


@pytest.mark.parametrize("has_test", [True, False])
def test_a_recording_that_fades_out_is_validated_where_it_is_loud(has_test):
    for power, ends_last in ((0.5, True), (4.0, False)):
        audio = ArraySource(torch.linspace(1, 0.01, 1000) ** power)
        recording = Recording("a", audio, audio, "a", (), "trainval", 0, 1000)
        parts = split([recording, made("t", part="test")] if has_test else [recording], settings("time"), 20)
        spans = {part: [(r.start, r.stop) for r in parts[part] if r.source == "a"] for part in parts}
        if has_test:
            wanted = ([(0, 780)], [(800, 1000)], []) if ends_last else ([(220, 1000)], [(0, 200)], [])
        else:
            wanted = (
                ([(0, 580)], [(600, 780)], [(800, 1000)]) if ends_last else ([(420, 1000)], [(220, 400)], [(0, 200)])
            )
        assert tuple(spans.values()) == wanted


def test_auto_splits_by_file_if_there_are_enough_files():
    test = [made("t", part="test")]
    by_file = split([made("a"), made("b"), *test], settings())
    assert {r.num_samples for members in by_file.values() for r in members} == {1000}
    by_time = split([made("a", 1), made("a", 2), *test], settings())
    assert {r.num_samples for r in by_time["validation"]} == {200}
    alone = split([made("a")], settings())
    assert [len(members) for members in alone.values()] == [1, 1, 1]


def test_recordings_with_a_named_part_stay_in_it():
    recordings = [made("a", part="train"), made("b", part="validation"), made("c", part="test"), made("d")]
    parts = split(recordings, settings("file"))
    assert keys(parts, lambda r: r.source) == {"train": {"a", "d"}, "validation": {"b"}, "test": {"c"}}
    assert split(recordings[:3], settings("file"))["train"][0].source == "a"


def test_the_segment_split_cuts_segments_whose_neighbours_leak():
    recordings = [made("a", length=1050), made("b", length=1000), made("t", part="test")]
    parts = split(recordings, settings("segment", validation=0.25))
    pieces = parts["train"] + parts["validation"]
    assert len(pieces) == 20
    assert len({r.name for r in pieces}) == 20
    assert {r.num_samples for r in pieces} == {100}
    assert len(parts["validation"]) == 5
    assert {r.source for r in parts["train"]} & {r.source for r in parts["validation"]}


@pytest.mark.parametrize(
    ("recordings", "method", "gap", "message"),
    [
        ([made("a"), made("t", part="test")], "file", 0, "1 dry file.*split to time"),
        ([made("a"), made("b")], "setting", 0, "1 setting"),
        ([made("t", part="test")], "auto", 0, "no recordings to train on"),
        ([made("a", part="train"), made("t", part="test")], "auto", 0, "no recording for validation"),
        ([made("a"), made("b"), made("t", length=0, part="test")], "file", 0, "no recording for test"),
        ([made("a"), made("t", part="test")], "time", 900, "0.a: 1000 samples.*gaps of 900"),
        ([made("a")], "time", 250, "nothing is left for validation"),
    ],
)
def test_an_empty_part_is_an_error_that_says_what_to_do(recordings, method, gap, message):
    with pytest.raises(DataError, match=message):
        split(recordings, settings(method), gap)


def test_half_for_validation_and_half_for_test_is_an_error():
    with pytest.raises(DataError, match="below 0.5"):
        split([made("a")], settings("time", validation=0.5))

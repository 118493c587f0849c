"""The output of `nablafx runs` for users: lists, tags, differences between runs, the best runs, curves."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.cli.runs import runs
from nablafx_core.errors import RunError
from nablafx_core.pictures.sparkline import Chart
from nablafx_core.runs.metrics_file import Series
from reference.run_folders import write_run

FIRST = {"model": {"name": "tcn", "stages": [{"name": "eq"}]}, "data": {"device": "TS9"}, "train": {"rate": 0.1}}
SECOND = {"model": {"name": "tcn", "stages": [{"name": "gain"}]}, "data": {"device": "TS9"}, "train": {"seed": None}}


@pytest.fixture
def runs_dir(tmp_path):
    runs_dir = tmp_path / "runs"
    first = [("validation/loss", step, 10.0 ** -(step / 10)) for step in range(20)]
    second = [("validation/loss", step, 0.5) for step in range(10)] + [("validation/loss", 10, math.nan)]
    machine = [("system/gpu0/power_w", second, 100.0 * second) for second in (1, 2, 3)]
    notes = {"tags": ["paper", "warm"], "note": 'say\a "hi",\r\nthen\x1b[31m leave', "edited": "2026-11-23T08:00:00"}
    write_run(runs_dir, "one", FIRST, {"test/esr": 0.25, "test/mae": 0.5}, first + machine, notes)
    write_run(
        runs_dir, "two", SECOND, {"test/esr": 0.125, "x": math.nan}, second, started="2026-11-22T07:00:00", parent="one"
    )
    write_run(runs_dir, "three", {}, started="2026-11-21T07:00:00", status="FAILED", fail_trace=["no\n"])
    return runs_dir


def invoke(*arguments, code=0):
    result = CliRunner().invoke(runs, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def rows_of(text):
    return [line.split() for line in text.splitlines()]


def test_a_comparison_shows_what_differs_and_marks_the_best(runs_dir):
    text = invoke("compare", "one", "two", "--runs-dir", runs_dir)
    rows = rows_of(text)
    for row in (
        ["SETTING", "1", "2"],
        ["model.stages.0.name", "eq", "gain"],
        ["train.rate", "0.1", "-"],
        ["train.seed", "-", "null"],
        ["test/esr", "0.25", "0.125", "*"],
        ["test/mae", "0.5", "*", "-"],
        ["x", "-", "nan"],
    ):
        assert row in rows, row
    assert not {"model.name", "data.device"} & {row[0] for row in rows if row}
    curves = [line for line in text.splitlines() if "lowest" in line]
    assert "█" in curves[0] and "▁" in curves[0] and "lowest 0.01259 at step 19" in curves[0]
    assert curves[1].endswith("lowest 0.5 at step 0") and "x" in curves[1]
    assert "\a" not in text


def test_a_comparison_for_programs(runs_dir):
    found = json.loads(invoke("--runs-dir", runs_dir, "compare", "one", "two", "--json"), parse_constant=pytest.fail)
    assert found["runs"] == ["one", "two"]
    assert found["settings"] == {
        "model.stages.0.name": ["eq", "gain"],
        "train.rate": [0.1, None],
        "train.seed": [None, None],
    }
    assert found["figures"] == {"test/esr": [0.25, 0.125], "test/mae": [0.5, None], "x": [None, None]}
    assert found["curves"][1]["values"][-2:] == [0.5, None]


@pytest.mark.pictures
def test_a_comparison_is_drawn_with_every_run_labelled(runs_dir, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    labels, drawn = [], Axes.legend

    def legend(axis, **options):
        labels.extend(axis.get_legend_handles_labels()[1])
        return drawn(axis, **options)

    monkeypatch.setattr(Axes, "legend", legend)
    write_run(runs_dir, "a$b_{", {}, None, [("validation/loss", 1, 0.5), ("validation/loss", 2, -1.0)])
    invoke("compare", "one", "two", "a$b", "--runs-dir", runs_dir, "--picture", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert [label.split("\n")[0] for label in labels] == ["one", "two", r"a\$b_{"]
    write_run(runs_dir, "empty")
    for pair, name, reason in ((("one", "two"), "no/c.png", "no folder"), (("three", "empty"), "d.png", "has values")):
        with pytest.raises(RunError, match=reason):
            invoke("compare", *pair, "--runs-dir", runs_dir, "--picture", tmp_path / name)
        assert not (tmp_path / name).exists()


def test_runs_that_cannot_be_compared_are_an_error(runs_dir):
    invoke("compare", "one", "on", "--runs-dir", runs_dir, code=2)
    with pytest.raises(RunError, match=r"none of the runs has 'validation/los'. Did you mean 'validation/loss'\?"):
        invoke("compare", "one", "two", "--metric", "validation/los", "--runs-dir", runs_dir)


def test_the_best_is_shown_for_each_device(runs_dir):
    write_run(runs_dir, "four", {"data": {"device": "RAT"}}, {"test/esr": 3.0})
    header, *rows = rows_of(invoke("best", "--runs-dir", runs_dir))
    assert header == ["DEVICE", "ESR", "ID", "MODEL", "STEP", "AGE", "OF", "NOTE"]
    assert [row[:3] for row in rows] == [["RAT", "3", "four"], ["TS9", "0.125", "two"]]
    found = json.loads(invoke("best", "--by", "-metrics.esr", "--per", "model.name", "--runs-dir", runs_dir, "--json"))
    assert {group: one["id"] for group, one in found.items()} == {"": "four", "tcn": "one"}
    found = json.loads(invoke("best", "--where", "train.rate=0.1", "--runs-dir", runs_dir, "--json"))
    assert {group: one["id"] for group, one in found.items()} == {"TS9": "one"}


def test_the_list_is_filtered_sorted_and_cut(runs_dir):
    def listed(*arguments):
        return [one["id"] for one in json.loads(invoke("--runs-dir", runs_dir, "--json", *arguments))]

    assert listed() == ["one", "two", "three"]
    assert listed("--sort", "metrics.esr") == ["two", "one", "three"]
    assert listed("--sort", "-metrics.esr") == ["one", "two", "three"]
    assert listed("--sort", "start", "--limit", "2") == ["three", "two"]
    assert listed("--tag", "paper", "--tag", "warm") == ["one"]
    assert listed("--tag", "paper", "--tag", "cold") == []
    assert listed("--where", "not status=FAILED and metrics.esr<0.2") == ["two"]
    assert "MAE" in invoke("--runs-dir", runs_dir, "--sort", "metrics.mae").splitlines()[0]
    assert invoke("--runs-dir", runs_dir, "--where", "status=RUNNING") == "No run fulfils the condition.\n"
    text = invoke("--runs-dir", runs_dir)
    assert 'paper warm  say\N{REPLACEMENT CHARACTER} "hi",' in text and "\a" not in text


def test_csv_output_can_be_read_by_a_csv_reader(runs_dir):
    text = CliRunner().invoke(runs, ["--runs-dir", str(runs_dir), "--csv"]).stdout_bytes.decode()
    assert text.endswith("\r\n")
    header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    facts = "id status damage error command model data device step start duration parent host tags note".split()
    assert header == [*facts, "metrics.test/esr", "metrics.test/mae", "metrics.x"]
    by_id = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_id["one"]["note"] == 'say\a "hi",\r\nthen\x1b[31m leave'
    assert by_id["one"]["tags"] == "paper warm"
    assert (by_id["two"]["metrics.x"], by_id["two"]["metrics.test/mae"]) == ("nan", "")
    assert by_id["three"]["error"] == "no"


def test_tags_and_notes_are_shown_with_the_parent_the_children_and_the_machine(runs_dir):
    assert invoke("tag", "one", "two", "--add", "new", "--remove", "warm", "--runs-dir", runs_dir) == (
        "one  new paper\ntwo  new\n"
    )
    invoke("note", "two", "first", "--runs-dir", runs_dir)
    invoke("note", "two", "second", "--append", "--runs-dir", runs_dir)
    rows = rows_of(invoke("show", "one", "--runs-dir", runs_dir))
    assert ["tags", "new", "paper"] in rows
    assert ["gpu0/power_w", "200", "100", "300"] in rows
    assert ["two", "COMPLETED", "tcn", "0.125"] in [row[:4] for row in rows]
    assert "system/gpu0/power_w" not in {row[0] for row in rows if row}
    rows = rows_of(invoke("show", "two", "--runs-dir", runs_dir))
    assert ["parent", "one"] in rows and ["note", "first"] in rows and ["second"] in rows
    shown = json.loads(invoke("show", "one", "--json", "--runs-dir", runs_dir), parse_constant=pytest.fail)
    assert (shown["tags"], shown["children"]) == (["new", "paper"], ["two"])


CURVES = st.lists(st.one_of(st.floats(allow_nan=True), st.floats(1e-6, 1e6)), min_size=1, max_size=200)


@given(st.lists(CURVES, min_size=1, max_size=4), st.sampled_from(["utf-8", "ascii"]))
def test_any_curve_is_a_line_of_the_same_length(curves, encoding):
    series = [Series(list(range(len(values))), values, [""] * len(values)) for values in curves]
    chart = Chart.of(series, encoding)
    for one in series:
        line = chart.line(one)
        assert len(line) == 50
        line.encode(encoding)
        finite = [value for value in one.values if math.isfinite(value)]
        assert (chart.lowest(one) or (0, None))[1] == min(finite, default=None)


def test_a_falling_curve_falls_from_the_highest_block_to_the_lowest():
    series = Series(list(range(100)), [10.0 ** (-step / 20) for step in range(100)], [""] * 100)
    for encoding, blocks in (("utf-8", "▁▂▃▄▅▆▇█"), ("ascii", "_.:-=+*#")):
        heights = [blocks.index(cell) for cell in Chart.of([series], encoding).line(series)]
        assert (heights[0], heights[-1]) == (7, 0)
        assert heights == sorted(heights, reverse=True)
        assert max(a - b for a, b in itertools.pairwise(heights)) == 1  # a straight line, in logarithms

"""Complete and incomplete lines on the disk, and runs while the disk refuses to write."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.files import replace_copy, replace_json
from nablafx_core.runs import metrics_file as metrics
from nablafx_core.runs.metrics_file import MetricsFile, last_step, read_series
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import RunRecord
from reference.full_disk import full_disk


@pytest.fixture(autouse=True)
def _retry_at_once(monkeypatch):
    monkeypatch.setattr(metrics, "_RETRY_SECONDS", 0.0)


@given(cut=st.integers(0, 200), more=st.integers(0, 3))
def test_an_incomplete_line_does_not_damage_the_next(tmp_path_factory, cut, more):
    path = tmp_path_factory.mktemp("torn") / "metrics.jsonl"
    whole = "".join(
        json.dumps({"name": "loss", "step": step, "value": 0.5, "timestamp": "2026-11-23T00:00:00"}) + "\n"
        for step in range(3)
    ).encode()
    kept = whole[: len(whole) - cut]
    path.write_bytes(kept)
    file = MetricsFile(path, pytest.fail)
    for step in range(10, 10 + more):
        file.append("loss", step, 0.5, "2026-11-23T00:00:01")
    assert file.close() == 0
    # A line that lacks only its end of line is whole.
    first = [step for step in range(3) if len(kept) >= len(whole) // 3 * (step + 1) - 1]
    steps = first + list(range(10, 10 + more))
    assert (read_series(path)["loss"].steps if steps else []) == steps
    assert last_step(path) == (steps[-1] if steps else None)


def test_the_last_value_of_a_step_counts_and_steps_are_in_order(tmp_path):
    file = MetricsFile(tmp_path / "m", pytest.fail)
    for step, value in ((1, 0.1), (3, 0.3), (2, 0.2), (3, 0.4), (1, 0.5)):
        file.append("loss", step, value, "t")
    file.close()
    series = read_series(tmp_path / "m")["loss"]
    assert (series.steps, series.values) == ([1, 2, 3], [0.5, 0.2, 0.4])


def test_the_last_step_is_found_before_any_number_of_machine_metrics(tmp_path):
    file = MetricsFile(tmp_path / "m", pytest.fail)
    file.append("loss", 7, 0.5, "t")
    for second in range(400):
        file.append("system/gpu0/power_w", second, 300.0, "t")
    file.close()
    assert last_step(tmp_path / "m") == 7


def test_a_full_disk_stops_nothing_and_loses_nothing(tmp_path, caplog):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(2000))

    def body(run):
        for step in range(10):
            run.log("loss", float(step), step)
        with full_disk(1100):  # tears a line, and leaves room for no run.json
            for step in range(10, 50):
                run.log("loss", float(step), step)
            run.summary({"esr": 0.5})
            run.artifact(large)
        run.log("loss", 50.0, 50)
        return run.folder

    run = RunRecord.read(record("train", {}, tmp_path, body))
    assert run.status == "COMPLETED"
    assert run.metrics["loss"].values == [float(step) for step in range(51)]
    assert run.summary == {"esr": 0.5}
    assert run.artifacts == []
    assert not (run.folder / "large.bin").exists()
    told = [entry.getMessage() for entry in caplog.records]
    assert len([text for text in told if "folder cannot be written" in text]) == 1
    assert len([text for text in told if "large.bin is not in the folder" in text]) == 1


def test_a_disk_that_stays_full_costs_the_values_but_not_the_run(tmp_path, caplog):
    full = contextlib.ExitStack()

    def body(run):
        run.log("loss", 1.0, 0)
        full.enter_context(full_disk(0))
        run.log("loss", 2.0, 1)
        raise KeyError("the error of the body, not the disk's")

    with full, pytest.raises(KeyError, match="of the body"):
        record("train", {}, tmp_path, body, "full")
    assert RunRecord.read(tmp_path / "full").metrics["loss"].values == [1.0]
    assert "could not be written and are lost: 1" in caplog.text


def test_memory_for_unwritten_values_is_bounded_and_the_newest_are_kept(tmp_path):
    file = MetricsFile(tmp_path / "m", lambda error: None, capacity=10)
    with full_disk(0):
        for step in range(25):
            file.append("loss", step, 0.0, "t")
    assert file.flush() == 0
    assert file.close() == 15
    assert read_series(tmp_path / "m")["loss"].steps == list(range(15, 25))


def test_a_file_that_cannot_be_written_whole_keeps_its_old_content(tmp_path):
    path, source = tmp_path / "a.json", tmp_path / "source"
    replace_json(path, {"old": 1})
    source.write_bytes(bytes(5000))
    with full_disk(1000):
        for write in (lambda: replace_json(path, {"new": "x" * 5000}), lambda: replace_copy(source, path)):
            with pytest.raises(OSError) as error:  # noqa: PT011 - any refusal of the disk
                write()
            assert error.value.filename in (str(path), str(source))  # a full disk itself names no file
    assert json.loads(path.read_text()) == {"old": 1}

"""A run leaves a complete record, whatever happens in it and whatever else observes it."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch
import yaml
from sacred.observers import FileStorageObserver, RunObserver

from nablafx_core.errors import ConfigError, RunError
from nablafx_core.runs.folder import FolderObserver
from nablafx_core.runs.process import identity
from nablafx_core.runs.recorder import Run, record
from nablafx_core.runs.records import RunRecord, list_runs
from nablafx_core.runs.rows import RECORDED, Row

CONFIG = {"model": {"name": "tcn", "dilations": [1, 2]}, "loss": [{"name": "l1"}], "train": {"seed": 3, "limit": None}}


def nothing(run: Run) -> str:
    return run.id


def only_record(runs_dir: Path) -> RunRecord:
    (found,) = list_runs(runs_dir)
    return found


def test_a_run_records_what_it_did_and_returns_what_the_body_returns(tmp_path):
    made = tmp_path / "elsewhere.txt"
    made.write_text("figures")
    config = json.loads(json.dumps(CONFIG))

    def body(run):
        (run.folder / "own").mkdir()
        (run.folder / "own" / "a.txt").write_text("a")
        run.artifact(run.folder / "own" / "a.txt")
        run.artifact(made, "tables/figures.txt")
        run.artifact(made, "tables/figures.txt")
        run.summary({"test/esr": torch.tensor(0.5, requires_grad=True)})
        run.summary({"test/mr_stft": 2})
        run.set_info("notes", ["one", {"delay": 3}])
        return object, run.id

    kind, run_id = record("train", config, tmp_path / "runs", body)
    found = only_record(tmp_path / "runs")
    assert kind is object
    assert (found.id, found.status, found.command) == (run_id, "COMPLETED", "train")
    assert config == CONFIG == found.config
    assert yaml.safe_load((found.folder / "config.yaml").read_text()) == CONFIG
    assert found.summary == {"test/esr": 0.5, "test/mr_stft": 2.0}
    assert found.artifacts == ["own/a.txt", "tables/figures.txt"]
    assert (found.folder / "tables" / "figures.txt").read_text() == "figures"
    assert found.info == {"notes": ["one", {"delay": 3}]}
    assert {pack["name"] for pack in found.packs} >= {"nablafx-core"}
    assert found.host["torch_version"] == torch.__version__


def test_every_value_is_in_the_folder_as_soon_as_it_is_logged(tmp_path):
    values = [float(i) for i in range(997)] + [math.nan, math.inf, -math.inf]

    def body(run):
        for step, value in enumerate(values):
            run.log("train/loss", torch.tensor(value), step)
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["value"] for line in lines]

    seen = record("train", CONFIG, tmp_path, body)
    assert repr(seen) == repr(values)
    series = only_record(tmp_path).metrics["train/loss"]
    assert series.steps == list(range(1000))
    assert repr(series.values) == repr(values)


def test_the_folder_has_everything_that_sacreds_own_observer_writes(tmp_path):
    def body(run):
        for step in range(5):
            run.log("loss", step / 2, step)
        run.log("esr", 0.25, 4)
        run.set_info("why", "because")
        run.summary({"esr": 0.25})
        run.artifact(__file__, "code.py")
        return run.folder

    ours = record("train", CONFIG, tmp_path / "runs", body, observers=[FileStorageObserver(tmp_path / "sacred")])
    theirs = tmp_path / "sacred" / ours.name
    assert {path.name for path in theirs.iterdir()} <= {path.name for path in ours.iterdir()}
    for name in ("config.json", "info.json"):
        assert json.loads((ours / name).read_text()) == json.loads((theirs / name).read_text())

    def without_times(path):
        metrics = json.loads((path / "metrics.json").read_text())
        return {
            name: {key: one[key] for key in ("steps", "values")} | {"keys": set(one)} for name, one in metrics.items()
        }

    assert without_times(ours) == without_times(theirs)
    mine, sacreds = (json.loads((path / "run.json").read_text()) for path in (ours, theirs))
    same = {"experiment", "command", "host", "start_time", "status", "result", "artifacts", "resources"}
    assert same < set(sacreds) <= set(mine)
    assert {key: mine[key] for key in same} == {key: sacreds[key] for key in same}


@pytest.mark.parametrize("jump", [timedelta(hours=-2), timedelta(days=400)])
def test_the_time_of_running_does_not_follow_the_clock(tmp_path, jump):
    observer = FolderObserver(tmp_path, {})
    start = datetime.now(timezone.utc).replace(tzinfo=None)
    observer.started_event({}, "train", {}, start, {}, {}, "id")
    observer.heartbeat_event({}, "", start + jump, None)
    assert 0 <= RunRecord.read(tmp_path).entry["elapsed"] < 60
    observer.completed_event(start + jump, None)
    assert 0 <= observer.elapsed < 60
    assert 0 <= RunRecord.read(tmp_path).duration < 60


def test_a_heartbeat_in_the_future_does_not_change_the_duration(tmp_path):
    ahead = (datetime.now(timezone.utc) + timedelta(hours=2)).isoformat()
    entry = {"status": "RUNNING", "start_time": ahead, "heartbeat": ahead, "elapsed": 7.0, **identity()}
    found = RunRecord.of("id", tmp_path, entry)
    assert (found.status, found.duration, Row.of(found).duration) == ("RUNNING", 7.0, 7.0)
    kept = Row.of_kept(*Row.of(found).kept())
    assert (kept.status, kept.duration) == ("RUNNING", 7.0)


class Failing(RunObserver):
    """Observer that raises at one event, and records the others."""

    def __init__(self, event):
        self.seen = []
        for name in ("started_event", "heartbeat_event", "log_metrics", "artifact_event", "completed_event", "join"):
            setattr(self, name, self.raises if name == event else lambda name=name, **_: self.seen.append(name))

    def raises(self, **_):
        raise ConnectionError("no route to the database")


@pytest.mark.parametrize("event", ["started_event", "log_metrics", "artifact_event", "completed_event", "join"])
def test_an_observer_that_raises_is_warned_about_once_and_nothing_is_lost(tmp_path, caplog, event):
    def body(run):
        run.artifact(__file__, "a.py")
        run.artifact(__file__, "b.py")
        run.log("loss", 1.0, 0)

    failing = Failing(event)
    record("train", CONFIG, tmp_path, body, observers=[failing])
    found = only_record(tmp_path)
    assert found.status == "COMPLETED"
    assert found.artifacts == ["a.py", "b.py"]
    assert found.metrics["loss"].values == [1.0]
    assert [entry.getMessage() for entry in caplog.records if "no route" in entry.getMessage()] == [
        "observer Failing failed (ConnectionError: no route to the database). The run folder is complete."
    ]
    later = {"started_event": [], "artifact_event": ["started_event", "log_metrics", "heartbeat_event"]}
    assert failing.seen[:3] == later.get(event, failing.seen[:3])


def test_an_exception_fails_the_run_and_leaves_unchanged(tmp_path):
    error = RunError(f"mongodb://me:secret@host and {Path.home()}/data broke")

    def body(run):
        raise error

    with pytest.raises(RunError) as caught:
        record("train", CONFIG, tmp_path, body)
    found = only_record(tmp_path)
    assert caught.value is error
    assert found.status == "FAILED"
    assert found.error == "nablafx_core.errors.RunError: mongodb://***@host and ~/data broke"
    assert "secret" not in (found.folder / "run.json").read_text()


def exits_as_lightning_does(run):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise SystemExit(1)  # noqa: B904 - this is what Lightning does


def interrupts(run):
    raise KeyboardInterrupt


@pytest.mark.parametrize("body", [interrupts, exits_as_lightning_does, lambda run: signal.raise_signal(signal.SIGTERM)])
def test_ctrl_c_and_sigterm_interrupt_the_run(tmp_path, body):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        record("train", CONFIG, tmp_path, body)
    assert only_record(tmp_path).status == "INTERRUPTED"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_worker_is_terminated_normally(tmp_path):
    def body(run):
        ready, tell = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.write(tell, b"!")
            time.sleep(3600)
            os._exit(1)
        os.read(ready, 1)  # a signal right after the fork would be lost
        os.kill(worker, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])

    assert record("train", CONFIG, tmp_path, body) == -signal.SIGTERM


def test_sigterm_at_the_end_waits_until_the_record_is_written(tmp_path):
    class Terminating(RunObserver):
        def completed_event(self, stop_time, result):
            signal.raise_signal(signal.SIGTERM)

    statuses = []
    before = signal.signal(signal.SIGTERM, lambda *_: statuses.append(only_record(tmp_path).status))
    try:
        record("train", CONFIG, tmp_path, nothing, observers=[Terminating()])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert statuses == ["COMPLETED"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": {"a.b": 1}}, "config.model: the key 'a.b'"),
        ({"loss": [{"$ref": 1}]}, "config.loss\\[0\\]: the key '\\$ref'"),
        ({"model": {1: 2}}, "the key 1 is not a string"),
        ({"model": {"rate": torch.ones(1)}}, "config.model.rate: a Tensor cannot be recorded"),
        ({"track": {"url": "mongodb://me:secret@host/db"}}, "config.track.url: .* a URL with a password"),
    ],
)
def test_a_config_that_cannot_be_recorded_is_refused_before_anything_is_made(tmp_path, config, message):
    with pytest.raises(RunError, match=message) as caught:
        record("train", config, tmp_path / "runs", nothing)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "../outside.txt", "/tmp/outside.txt"])
def test_an_artifact_must_be_in_the_folder_and_not_a_file_of_the_record(tmp_path, name):
    with pytest.raises(RunError, match="cannot be the name of an artifact"):
        record("train", CONFIG, tmp_path, lambda run: run.artifact(__file__, name))


def test_values_that_are_not_numbers_and_missing_files_are_rejected(tmp_path):
    with pytest.raises(RunError, match="'loss' is 'low', which is not a number"):
        record("train", CONFIG, tmp_path, lambda run: run.log("loss", "low", 0))
    with pytest.raises(RunError, match=r"there is no file gone\.wav to record"):
        record("train", CONFIG, tmp_path, lambda run: run.artifact("gone.wav"))


def test_the_initial_random_state_of_a_body_depends_only_on_the_seed(tmp_path):
    def draw(run):
        return random.random(), torch.rand(1).item()

    first = record("train", CONFIG, tmp_path, draw)
    random.random()
    assert record("train", CONFIG, tmp_path, draw) == first
    assert record("train", {"train": {"seed": 4}}, tmp_path, draw) != first
    assert record("train", {}, tmp_path, draw) == record("train", {"seed": 0}, tmp_path, draw)


def test_no_path_of_this_machine_is_recorded(tmp_path):
    record("train", CONFIG, tmp_path, lambda run: run.artifact(__file__, "a.py"))
    text = "".join(path.read_text() for path in only_record(tmp_path).folder.glob("*.json"))
    for path in (Path.home(), Path.cwd(), tmp_path, Path(__file__).parent):
        assert str(path) not in text


def test_a_run_is_given_only_fields_that_it_records(tmp_path):
    record("train", CONFIG, tmp_path, lambda run: None, "mine", parent="sweep")
    assert RunRecord.read(tmp_path / "mine").entry["parent"] == "sweep"
    with pytest.raises(TypeError, match="operator"):
        record("train", CONFIG, tmp_path, lambda run: None, "other", operator="ada")
    assert not (tmp_path / "other").exists()


def test_a_field_that_is_declared_can_be_recorded(tmp_path, monkeypatch):
    monkeypatch.setitem(RECORDED, "operator", RECORDED["parent"])
    record("train", CONFIG, tmp_path, lambda run: None, "mine", operator="ada")
    assert RunRecord.read(tmp_path / "mine").entry["operator"] == "ada"


@pytest.mark.parametrize("mongo", [5, True])
def test_an_address_that_is_not_a_string_is_rejected_before_the_run(tmp_path, mongo):
    with pytest.raises(ConfigError, match="mongo: .*URL"):
        record("train", CONFIG, tmp_path, lambda run: None, "mine", mongo=mongo)
    assert not (tmp_path / "mine").exists()

"""Trials where they run, and the results of a sweep; a loop stands in for Ray."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager

import pytest
import yaml
from click.testing import CliRunner

from nablafx_core.config import load_experiment
from nablafx_core.config.schema import Resources
from nablafx_core.errors import ConfigError, RunError, TrainingError
from nablafx_core.runs.records import RunRecord, find_run, list_runs
from nablafx_core.sweep import quiet_ray
from nablafx_core.sweep.decisions import Decisions
from nablafx_core.sweep.resuming import Plan, resumable_sweep
from nablafx_core.sweep.run_sweep import run_sweep
from nablafx_core.sweep.sweep_file import read_sweep
from nablafx_core.sweep.trial import Task, TrialThread
from nablafx_core.sweep.trial_book import Book, Entry
from nablafx_core.sweep.trials import trials
from nablafx_core.training.fit import train

pytestmark = pytest.mark.slow

SECTIONS = {
    "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
    "model": {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4},
    "loss": [{"name": "l1"}],
    "metrics": ["esr"],
    "train": {"max_steps": 12, "validate_every": 4, "accelerator": "cpu", "warm_up": 100},
}


def task(tmp_path, run_id="trial", **settings):
    sections = {**SECTIONS, "train": {**SECTIONS["train"], **settings}, "track": {"runs_dir": str(tmp_path)}}
    folder = tmp_path / "sweep"
    folder.mkdir(exist_ok=True)
    Decisions(folder).begin()
    return Task(1, run_id, folder, load_experiment(sections=sections), "validation/esr", tmp_path)


def reports(thread):
    found = [thread.next()]
    while "done" not in found[-1]:
        found.append(thread.next())
    return found


@pytest.fixture(autouse=True)
def _same_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_a_trial_reports_its_validations_and_equals_a_single_training(tmp_path):
    work = task(tmp_path)
    found = reports(TrialThread(work))
    run = find_run(tmp_path, "trial")
    esr = run.metrics["validation/esr"]
    assert [(item["validation"], item["step"], item["value"]) for item in found[:-1]] == list(
        zip([1, 2, 3], esr.steps, esr.values, strict=True)
    )
    assert found[-1] == {**found[-2], "done": True, "failure": None}
    assert (run.entry["parent"], run.status) == ("sweep", "COMPLETED")
    alone = train(work.experiment)
    assert alone.test["esr"] == run.summary["test/esr"]


def test_a_stopped_trial_completes_its_run_without_a_test(tmp_path):
    work = task(tmp_path)
    thread = TrialThread(work)
    assert thread.next()["validation"] == 1
    Decisions(work.sweep).stop(1)
    assert thread.next() == {
        "validation": 1,
        "step": 4,
        "value": pytest.approx(1, abs=1),
        "done": True,
        "failure": None,
    }
    run = find_run(tmp_path, "trial")
    assert (run.status, run.metrics["validation/esr"].steps) == ("COMPLETED", [4])
    assert run.info["stopped_early"] == "the sweep sweep stopped it after validation 1"
    assert "validation/esr" in run.summary and "test/esr" not in run.summary
    assert run.artifacts == ["model.nfx"] and not (run.folder / "test.json").exists()


def test_a_resumed_trial_first_reports_its_earlier_validations(tmp_path):
    work = task(tmp_path)
    whole = reports(TrialThread(task(tmp_path, "whole")))
    thread = TrialThread(work)
    first = [thread.next(), thread.next()]
    Decisions(work.sweep).interrupt()
    assert thread.next() == {**first[-1], "done": True, "failure": "interrupted"}
    assert find_run(tmp_path, "trial").status == "INTERRUPTED"
    Decisions(work.sweep).begin()
    assert reports(TrialThread(work)) == whole
    run = find_run(tmp_path, "trial")
    assert run.status == "COMPLETED" and len(run.resumed) == 1
    assert run.metrics["validation/esr"].values == find_run(tmp_path, "whole").metrics["validation/esr"].values


def test_a_trial_that_was_stopped_and_then_interrupted_is_not_trained_further(tmp_path):
    work = task(tmp_path)
    thread = TrialThread(work)
    thread.next()
    thread.next()
    Decisions(work.sweep).interrupt()
    thread.next()
    Decisions(work.sweep).begin()
    Decisions(work.sweep).stop(1)
    steps = find_run(tmp_path, "trial").last_step
    assert [item["validation"] for item in reports(TrialThread(work))] == [1, 1]
    run = find_run(tmp_path, "trial")
    assert (run.status, run.last_step) == ("COMPLETED", steps)
    assert "stopped_early" in run.info


def test_a_trial_of_an_interrupted_sweep_does_not_start(tmp_path):
    work = task(tmp_path)
    Decisions(work.sweep).interrupt()
    assert TrialThread(work).next() == {"done": True, "failure": None}
    assert not (tmp_path / "trial").exists()


def test_a_failing_trial_says_why(tmp_path):
    found = reports(TrialThread(task(tmp_path, learning_rate=1e30, gradient_clip_val=None)))
    assert "NaN or infinite" in found[-1]["failure"]
    assert find_run(tmp_path, "trial").status == "FAILED"
    lost = task(tmp_path, "lost")
    lost = Task(1, "lost", lost.sweep, lost.experiment, lost.metric, tmp_path / "elsewhere")
    assert "the folder in which the sweep was started" in reports(TrialThread(lost))[-1]["failure"]


def loop(tasks, sweep, scheduler, folder, ended, stopper):
    """Run the trials one after the other, in place of Ray."""
    for each in tasks:
        ended(each.number, reports(TrialThread(each))[-1])


@pytest.fixture
def rayless(monkeypatch):
    scheduling = pytest.importorskip("nablafx_core.sweep.scheduling", reason="Ray Tune is not installed")

    @contextmanager
    def session(address, needed):
        yield None

    monkeypatch.setattr("nablafx_core.sweep.run_sweep.ray_session", session)
    monkeypatch.setattr(scheduling, "run_trials", loop)
    return scheduling


def written(tmp_path, space, **sweep):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        yaml.safe_dump({"experiment": SECTIONS, "sweep": {"search": "grid", "space": space, **sweep}}, sort_keys=False)
    )
    return file


def planned(tmp_path, space, **sweep):
    read = read_sweep(written(tmp_path, space, **sweep))
    return Plan(read, trials(read), tmp_path / "runs")


BAD = {"train.learning_rate": [0.01, 1e30], "train.gradient_clip_val": [None]}


def test_a_sweep_continues_after_a_failed_trial(tmp_path, rayless):
    said = []
    result = run_sweep(planned(tmp_path, BAD), say=said.append)
    record = find_run(tmp_path / "runs", result.id)
    assert record.status == "COMPLETED"
    assert [entry.status for entry in result.trials] == ["COMPLETED", "FAILED"]
    assert result.best.number == 1
    assert {key: record.summary[key] for key in ("trials", "completed", "failed")} == {
        "trials": 2,
        "completed": 1,
        "failed": 1,
    }
    assert [entry["status"] for entry in record.info["trials"]] == ["COMPLETED", "FAILED"]
    assert record.info["space"][0] == {"setting": "train.learning_rate", "values": [0.01, 1e30]}
    assert said[1].startswith("Trial 1 of 2  train.learning_rate=0.01  train.gradient_clip_val=null  validation/loss ")
    assert "FAILED: " in said[2] and "NaN or infinite" in said[2]
    with pytest.raises(RunError, match="is finished"):
        resumable_sweep(result.id, tmp_path / "runs")


def test_a_sweep_without_a_completed_trial_fails(tmp_path, rayless):
    file = written(tmp_path, {**BAD, "train.learning_rate": [1e30]})
    from nablafx_core.cli.sweep import sweep

    done = CliRunner().invoke(sweep, [str(file), "--runs-dir", str(tmp_path / "runs")])
    assert isinstance(done.exception, TrainingError)
    assert "none of the 1 trials" in str(done.exception) and "NaN or infinite" in str(done.exception)
    assert next(run for run in list_runs(tmp_path / "runs") if run.command == "sweep").status == "FAILED"


def test_the_result_has_the_best_trial_first(tmp_path, rayless):
    file = written(tmp_path, {"train.learning_rate": [1e-6, 0.02]})
    from nablafx_core.cli.sweep import sweep

    runs_dir = str(tmp_path / "runs")
    told = CliRunner().invoke(sweep, [str(file), "--runs-dir", runs_dir, "--json"], catch_exceptions=False)
    answer = json.loads(told.stdout)
    assert [entry["number"] for entry in answer["trials"]] == [2, 1]
    assert answer["best"] == answer["trials"][0]
    best = find_run(tmp_path / "runs", answer["best"]["id"])
    assert best.entry["parent"] == answer["id"]
    assert best.config["train"]["learning_rate"] == 0.02
    assert min(best.metrics["validation/loss"].values) == answer["best"]["value"]
    table = CliRunner().invoke(sweep, [str(file), "--runs-dir", runs_dir], catch_exceptions=False).stdout
    assert table.index("0.02") < table.index("1e-06")
    assert "nablafx render" in table


def test_only_unfinished_trials_run_again(tmp_path, rayless, monkeypatch):
    plan = planned(tmp_path, {"train.learning_rate": [0.01, 0.02, 0.03]})

    def killed(tasks, sweep, scheduler, folder, ended, stopper):
        loop(tasks[:1], sweep, scheduler, folder, ended, stopper)
        (tmp_path / "runs" / tasks[1].run_id).mkdir()  # a run that was killed between its first two writings
        raise MemoryError

    monkeypatch.setattr(rayless, "run_trials", killed)
    with pytest.raises(Exception, match="Ray failed: MemoryError"):
        run_sweep(plan)
    sweep = next(run for run in list_runs(tmp_path / "runs") if run.command == "sweep")
    first = find_run(tmp_path / "runs", sweep.info["trials"][0]["id"])
    before = (first.folder / "run.json").read_bytes()
    monkeypatch.setattr(rayless, "run_trials", loop)
    result = run_sweep(resumable_sweep("latest", tmp_path / "runs"))  # the newest run is a trial
    assert result.id == sweep.id
    assert [entry.status for entry in result.trials] == ["COMPLETED"] * 3
    assert (first.folder / "run.json").read_bytes() == before
    assert sorted(run.command for run in list_runs(tmp_path / "runs")) == ["sweep", "train", "train", "train"]


def test_a_damaged_list_of_trials_and_a_run_that_is_not_a_sweep_are_errors(tmp_path, rayless):
    with pytest.raises(TrainingError):
        run_sweep(planned(tmp_path, {**BAD, "train.learning_rate": [1e30]}))
    runs = list_runs(tmp_path / "runs")
    sweep = next(run for run in runs if run.command == "sweep")
    for damage in ("3", '[{"number": 1, "id": "../../elsewhere", "set": []}]', '[{"number": 2, "id": "x", "set": []}]'):
        (sweep.folder / "info.json").write_text(f'{{"trials": {damage}}}')
        with pytest.raises(RunError, match="list of trials is damaged"):
            resumable_sweep(sweep.id, tmp_path / "runs")
    with pytest.raises(RunError, match="is not a sweep"):
        resumable_sweep(next(run.id for run in runs if run.command == "train"), tmp_path / "runs")


def test_the_best_is_the_greatest_where_more_is_better(tmp_path):
    for name, values in (("a", [1.0, 5.0]), ("b", [3.0, 2.0])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"status": "COMPLETED"}))
        rows = [
            {"name": "validation/x", "step": step, "value": value, "timestamp": "2026-01-01T00:00:00"}
            for step, value in enumerate(values)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries = [Entry(1, "a", ()), Entry(2, "b", ())]
    most, least = Book(tmp_path, "validation/x", "max", entries), Book(tmp_path, "validation/x", "min", entries)
    assert (most.best().id, most.best().value, most.best().step) == ("a", 5.0, 1)
    assert (least.best().id, least.best().value, least.best().step) == ("a", 1.0, 0)
    assert RunRecord.read(tmp_path / "a").status == "COMPLETED"


def test_asha_counts_recalled_trials_as_those_that_report(rayless, tmp_path):
    """A trial is stopped at a rung where it is worse than the best third of those before it, recalled or not."""
    read = read_sweep(
        written(
            tmp_path,
            {"train.learning_rate": [0.01, 0.02, 0.03]},
            search="asha",
            trials=3,
            asha={"grace_period": 1, "reduction_factor": 2},
        )
    )
    stopped = []
    scheduler = rayless.Asha(read, 12, stopped.append)
    scheduler.recall(1, [0.5, 0.4, 0.3])
    scheduler.recall(2, [0.3, 0.2, 0.1])

    class Trial:
        def __init__(self, number):
            self.trial_id, self.config = str(number), {"number": number}
            scheduler.on_trial_add(None, self)

        def report(self, validation, value):
            return scheduler.on_trial_result(None, self, {"validation": validation, "value": value})

    good, bad = Trial(3), Trial(4)
    assert good.report(1, 0.35) == bad.report(1, 0.6) == "CONTINUE"
    assert stopped == [4]
    good.report(2, 0.35)
    assert stopped == [4, 3]


def test_missing_resources_are_an_error_before_anything_waits_for_them():
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]
    quiet_ray._check_resources(nodes, Resources(cpus=2))
    for needed in (Resources(cpus=3), Resources(gpus=1)):
        with pytest.raises(ConfigError, match=r"no machine has them .*2 CPUs and 0 GPUs"):
            quiet_ray._check_resources(nodes, needed)


def test_a_cluster_that_does_not_answer_is_an_immediate_error_without_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("nablafx_core.sweep.run_sweep.require_ray", lambda: None)
    monkeypatch.setattr(quiet_ray, "_PROBE", "print('connected to the cluster')")
    with socket.create_server(("127.0.0.1", 0)) as cluster:
        port = cluster.getsockname()[1]
        for address in (None, "auto", f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            quiet_ray.check_address(address)
    for address, told in (
        (f"127.0.0.1:{port}", "no Ray cluster answers there: Connection refused"),
        ("somewhere", "write it as HOST:PORT"),
        (":6379", "write it as HOST:PORT"),
        ("localhost:70000", "write it as HOST:PORT"),
    ):
        with pytest.raises(ConfigError, match=told):
            run_sweep(planned(tmp_path, BAD), address)
    assert list_runs(tmp_path / "runs") == []

"""Reading runs: their status, how they are found, and that damaged records do not end a listing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from nablafx_core.errors import RunError
from nablafx_core.runs import environment, process
from nablafx_core.runs.ids import is_run_id, new_folder, new_id
from nablafx_core.runs.process import alive, identity, only_process
from nablafx_core.runs.records import RunRecord, find_run, list_runs, matching_id


def write(runs_dir, run_id, started="2026-11-23T07:00:00", **entry):
    folder = runs_dir / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"status": "COMPLETED", "start_time": started, **entry}))
    return folder


def seconds_ago(seconds):
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


@pytest.fixture(params=["/proc", "/nothing"])
def system(request, monkeypatch):
    """Run a test with /proc, and as on a system without it."""
    monkeypatch.setattr("nablafx_core.runs.process._PROC", request.param)


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("process", "status"),
    [
        ({}, "RUNNING"),
        ({"process_start": "1"}, "DIED"),  # another process has the number now
        ({"pid": 2**22 + 1}, "DIED"),
        ({"pid": "damaged"}, "DAMAGED"),
    ],
)
def test_a_run_of_this_machine_is_alive_while_its_process_is(tmp_path, process, status):
    folder = write(tmp_path, "mine", status="RUNNING", heartbeat=seconds_ago(3600), **identity() | process)
    assert RunRecord.read(folder).status == status


@pytest.mark.usefixtures("system")
def test_a_process_that_has_ended_is_dead_even_before_its_parent_has_noticed():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mine = identity() | {"pid": child.pid, "process_start": process._start(child.pid)}
    assert alive(mine, None)
    child.stdin.close()
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is None:
        pass
    assert not alive(mine, seconds_ago(0))
    child.wait()
    assert not alive(mine, seconds_ago(0))


@pytest.mark.parametrize("process", [{"pid": 1, "process_start": "1", "machine": "another"}, {"pid": 1}, {}])
@pytest.mark.parametrize(("seconds", "status"), [(50, "RUNNING"), (70, "DIED")])
def test_a_run_of_another_machine_is_alive_while_it_writes_heartbeats(tmp_path, process, seconds, status):
    folder = write(tmp_path, "theirs", status="RUNNING", heartbeat=seconds_ago(seconds), **process)
    assert RunRecord.read(folder).status == status


def test_a_record_cut_anywhere_is_shown_as_damaged_beside_the_others(tmp_path):
    write(tmp_path, "whole")
    broken = write(tmp_path, "broken") / "run.json"
    text = broken.read_text()
    for length in range(len(text)):
        broken.write_text(text[:length])
        by_id = {record.id: record for record in list_runs(tmp_path)}
        assert by_id["whole"].status == "COMPLETED"
        assert by_id["broken"].status == "DAMAGED"
        assert by_id["broken"].damage.startswith("run.json is damaged: ")


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "7", '{"status": "COMPLETED", "start_time": "noon"}', '{"status": 1, "elapsed": []}', "\xff"],
)
def test_json_that_is_not_a_record_is_damaged(tmp_path, content):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "run.json").write_bytes(content.encode("latin-1"))
    assert [record.status for record in list_runs(tmp_path)] == ["DAMAGED"]


def test_a_run_that_ended_before_its_record_is_listed_and_strange_folders_are_not(tmp_path):
    folder = new_folder(tmp_path)
    (tmp_path / "_sources").mkdir()
    (tmp_path / "notes.txt").touch()
    (record,) = list_runs(tmp_path)
    assert (record.id, record.status) == (folder.name, "DAMAGED")
    assert "run.json is missing" in record.damage
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_id_beginning_path_and_age(tmp_path):
    write(tmp_path, "20261123-amber-fjord-7k3q", "2026-11-23T09:00:00")
    write(tmp_path, "20261123-amber-fox-2222", "2026-11-23T08:00:00")
    write(tmp_path, "20261122-amber-fox-2222", "2026-11-22T08:00:00")
    write(tmp_path, "20261122", "2026-11-01T08:00:00")
    assert [record.id[:8] for record in list_runs(tmp_path)] == ["20261123", "20261123", "20261122", "20261122"]
    assert find_run(tmp_path, "latest").id == "20261123-amber-fjord-7k3q"
    assert find_run(tmp_path, "20261123-amber-fox").id == "20261123-amber-fox-2222"
    assert find_run(tmp_path, "20261122").id == "20261122"
    assert find_run(Path("elsewhere"), str(tmp_path / "20261122")).id == "20261122"
    with pytest.raises(RunError, match=r"2 runs in .* begin with '20261123'(?s:.*)7k3q\n  20261123-amber-fox-2222"):
        find_run(tmp_path, "20261123")
    with pytest.raises(RunError, match=r"Did you mean '20261123-amber-fjord-7k3q'\?"):
        find_run(tmp_path, "20261123-amber-fjord-7k3p")
    for key in ("", "zzz"):
        with pytest.raises(RunError, match="`nablafx runs` lists them"):
            find_run(tmp_path, key)
    with pytest.raises(RunError, match="there is no run 'latest'"):
        find_run(tmp_path / "nowhere", "latest")


def test_a_run_that_only_sacred_wrote_can_be_read(tmp_path):
    folder = write(tmp_path, "1", stop_time="2026-11-23T07:01:30", result=0.5)
    (folder / "config.json").write_text('{"model": {"name": "tcn"}, "seed": 3}')
    record = RunRecord.read(folder)
    assert record.duration == 90
    assert record.config["model"] == {"name": "tcn"}
    assert (record.summary, record.artifacts, record.packs, record.last_step) == ({}, [], [], None)


def test_a_config_that_cannot_be_read_says_so(tmp_path):
    folder = write(tmp_path, "1")
    with pytest.raises(RunError, match=r"there is no config\.yaml"):
        _ = RunRecord.read(folder).config
    (folder / "config.yaml").write_text("a: [")
    with pytest.raises(RunError, match=r"config\.yaml:1: this is not YAML"):
        _ = RunRecord.read(folder).config


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": 3},
        {"host": "here"},
        {"host": {"nvidia": {"gpus": [{}]}}},
        {"packs": [{"name": "acme"}]},
        {"packs": 3},
        {"resumed": "twice"},
        {"artifacts": {"a": 1}},
        {"fail_trace": 3},
        {"elapsed": 10**400},
    ],
)
def test_a_part_of_a_wrong_type_is_damaged(tmp_path, wrong):
    record = RunRecord.read(write(tmp_path, "a", **wrong))
    assert record.status == "DAMAGED"
    assert "run.json is damaged" in record.damage


DEEP = "[" * 100_000  # libyaml and json go down by the C stack, which ends


@pytest.mark.parametrize("name", ["run.json", "info.json", "metrics.jsonl", "config.yaml", "config.json"])
def test_a_record_that_is_nested_too_deeply_does_not_end_a_listing(tmp_path, name):
    folder = write(tmp_path, "a")
    (folder / name).write_text(DEEP)
    record = RunRecord.read(folder)
    assert record.status == ("DAMAGED" if name == "run.json" else "COMPLETED")
    assert (record.info, record.metrics, record.last_step) == ({}, {}, None)
    with pytest.raises(RunError, match="nested more than 64 levels" if "config" in name else "no config.yaml"):
        _ = record.config


def test_a_config_is_plain_data_and_cannot_expand_without_limit(tmp_path):
    folder = write(tmp_path, "a")
    (folder / "config.yaml").write_text("day: 2026-11-23\nrate: 1e-3\nshared: &a [1]\nagain: *a\n")
    assert RunRecord.read(folder).config == {"day": "2026-11-23", "rate": 0.001, "shared": [1], "again": [1]}
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    for wrong in (
        "\n".join(lines),
        "!!python/object/apply:os.system [ls]",
        "a: !!binary aGk=",
        "? [a]\n: b",
        "a: [",
        "\0",
    ):
        (folder / "config.yaml").write_text(wrong)
        with pytest.raises(RunError, match=r"config\.yaml"):
            _ = RunRecord.read(folder).config


@pytest.mark.parametrize(
    "line",
    [
        '{"name": "a", "step": 1e999, "value": 1, "timestamp": "t"}',
        '{"name": "a", "step": 1, "value": ' + "9" * 400 + ', "timestamp": "t"}',
        "[1]",
    ],
)
def test_an_invalid_line_of_metrics_is_skipped(tmp_path, line):
    folder = write(tmp_path, "a")
    (folder / "metrics.jsonl").write_text(line + '\n{"name": "a", "step": 2, "value": 0.5, "timestamp": "t"}\n')
    assert RunRecord.read(folder).metrics["a"].values == [0.5]


@pytest.mark.parametrize("content", ["", "[1]", "null", '{"pid": [1], "process_start": "1", "machine": "x"}', DEEP])
def test_a_damaged_lock_is_held_for_a_minute_and_then_free(tmp_path, content):
    (tmp_path / "lock.1").write_text(content.replace('"x"', json.dumps(identity()["machine"])))
    with pytest.raises(RunError, match="is still running"), only_process(tmp_path):
        pass
    os.utime(tmp_path / "lock.1", (0, 0))
    with only_process(tmp_path):
        assert (tmp_path / "lock.2").exists()


def test_ids_are_unique_also_under_one_seed(tmp_path):
    ids = set()
    for _ in range(2000):
        random.seed(1)
        ids.add(new_id())
    assert len(ids) == 2000
    assert all(is_run_id(run_id) and run_id[:8] == f"{datetime.now(timezone.utc):%Y%m%d}" for run_id in ids)


@pytest.mark.parametrize("run_id", ["", "a/b", "../a", ".hidden", "a b"])
def test_an_id_must_be_a_valid_folder_name(tmp_path, run_id):
    with pytest.raises(RunError, match="cannot name a run"):
        new_folder(tmp_path, run_id)


def test_the_error_names_a_place_where_no_folder_can_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="a run folder cannot be created there"):
        new_folder(tmp_path / "file")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "a")
        monkeypatch.setenv(f"{name}_EMAIL", "a@b")
    (tmp_path / "a.txt").write_text("a")
    for command in (["init", "-q"], ["add", "a.txt"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_the_commit_is_recorded_and_whether_files_differ_from_it(repository):
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    (repository / "untracked.txt").touch()
    assert environment.git_state(repository) == {"commit": commit.strip(), "dirty": False}
    (repository / "a.txt").write_text("b")
    assert environment.git_state(repository) == {"commit": commit.strip(), "dirty": True}


def test_without_git_or_a_repository_there_is_no_commit(repository, tmp_path_factory, monkeypatch):
    assert environment.git_state(tmp_path_factory.mktemp("no-repository")) is None
    monkeypatch.setenv("PATH", "")
    assert environment.git_state(repository) is None


def test_packs_are_recorded_with_the_commit_of_what_they_were_installed_from(repository, install, monkeypatch):
    install("acme", "", version="2.5")
    info = next(install.folder.glob("acme-*"))
    (info / "direct_url.json").write_text(json.dumps({"url": repository.as_uri(), "dir_info": {"editable": True}}))
    install("clash", "")
    (next(install.folder.glob("clash-*")) / "direct_url.json").write_text(
        json.dumps({"url": "https://me:secret@host/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}})
    )
    packs = {pack["name"]: pack for pack in environment.packs()}
    assert packs["acme"] == {"name": "acme", "version": "2.5", **environment.git_state(repository)}
    assert packs["clash"] == {"name": "clash", "version": "1.0", "commit": "abc"}
    assert "nablafx-core" in packs


def test_a_run_is_found_by_the_beginning_of_its_id_or_of_its_words():
    ids = ["20261125-amber-fjord-7k3q", "20261125-ample-bay-2222", "20261124-oak-bay-3333"]
    assert matching_id(ids, "amber", "runs") == ids[0]
    assert matching_id(ids, "20261124", "runs") == ids[2]
    assert matching_id([*ids, "amber"], "amber", "runs") == "amber"
    for key in ("am", "20261125", "bay", ""):
        with pytest.raises(RunError):
            matching_id(ids, key, "runs")

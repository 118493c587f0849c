"""`runs delete` and `runs prune` show the runs, ask, and delete nothing else."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timezone

import pytest
from click.testing import CliRunner

from nablafx_core.cli.runs import runs
from nablafx_core.errors import RunError
from nablafx_core.runs import deleting
from nablafx_core.runs.book import FolderBook
from nablafx_core.runs.process import identity, only_process
from reference.run_folders import write_run


def invoke(*arguments, answer=None):
    return CliRunner().invoke(runs, [str(argument) for argument in arguments], input=answer, catch_exceptions=False)


def running():
    now = datetime.now(timezone.utc).replace(tzinfo=None).isoformat()
    return {"status": "RUNNING", "heartbeat": now, **identity()}


def ids(runs_dir):
    return {row.id for row in FolderBook(runs_dir).rows()}


@pytest.fixture
def runs_dir(tmp_path):
    runs_dir = tmp_path / "runs"
    for device in ("TS9", "RAT"):
        for number in range(4):
            config = {"data": {"name": "tonetwist", "device": device}}
            write_run(runs_dir, f"{device}{number}", config, {"test/esr": (number + 1) / 10})
    write_run(runs_dir, "failed", status="FAILED")
    write_run(runs_dir, "tested", {"data": {"device": "TS9"}}, {"test/esr": 0.01}, command="test")
    write_run(runs_dir, "going", {"data": {"device": "TS9"}}, {"test/esr": 0.9}, **running())
    return runs_dir


def test_delete_shows_the_runs_and_asks(runs_dir):
    (runs_dir / "TS90" / "model.nfx").write_bytes(bytes(2_000_000))
    said_no = invoke("delete", "TS90", "--runs-dir", runs_dir, answer="n\n")
    assert said_no.exit_code == 1
    assert "TS90" in said_no.stdout and "2 MB" in said_no.stdout
    assert "Delete 1 run, 2 MB" in said_no.stderr
    assert "TS90" in ids(runs_dir)
    assert invoke("delete", "TS90", "--runs-dir", runs_dir).exit_code == 1  # nobody there to answer
    assert "TS90" in ids(runs_dir)
    before = ids(runs_dir)
    assert invoke("--runs-dir", runs_dir, "delete", "TS90", answer="y\n").exit_code == 0
    assert ids(runs_dir) == before - {"TS90"}
    assert {path.name for path in runs_dir.iterdir()} == before - {"TS90"}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("going", "is still running"),
        ("kept", "is tagged 'keep'"),
        ("linked", "is a symbolic link"),
        ("nothing", "there is no"),
    ],
)
def test_if_one_run_cannot_be_deleted_none_is(tmp_path, runs_dir, key, reason):
    write_run(runs_dir, "kept", notes={"tags": ["keep"]})
    elsewhere = write_run(tmp_path / "elsewhere", "theirs")
    (runs_dir / "linked").symlink_to(elsewhere)
    before = ids(runs_dir)
    assert key == "nothing" or key in before
    with pytest.raises(RunError, match=reason):
        invoke("delete", "TS90", key, "--yes", "--runs-dir", runs_dir)
    assert ids(runs_dir) == before
    assert (elsewhere / "run.json").exists()


def test_a_path_cannot_name_a_run_to_delete(tmp_path, runs_dir):
    other = write_run(tmp_path / "elsewhere", "TS90")
    for key in (str(other), f"../elsewhere/{other.name}", "..", "."):
        with pytest.raises(RunError, match="there is no run"):
            invoke("delete", key, "--yes", "--runs-dir", runs_dir)
        with pytest.raises(RunError, match="is not a folder in|name of a file of a run"):
            FolderBook(runs_dir).delete(key)
    assert other.exists() and "TS90" in ids(runs_dir)


def test_links_in_a_run_are_removed_and_not_followed(tmp_path, runs_dir):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("here")
    (runs_dir / "TS90" / "link").symlink_to(precious)
    assert invoke("delete", "TS90", "--yes", "--runs-dir", runs_dir).exit_code == 0
    assert (precious / "file").read_text() == "here"


def test_a_run_that_is_being_resumed_is_not_deleted(runs_dir):
    with only_process(runs_dir / "TS90"), pytest.raises(RunError, match="is still running"):
        invoke("delete", "TS90", "--yes", "--runs-dir", runs_dir)
    assert "TS90" in ids(runs_dir)


def test_a_run_that_began_after_the_question_is_not_deleted(runs_dir, monkeypatch):
    def start(*_, **__):
        shutil.rmtree(runs_dir / "TS90")
        write_run(runs_dir, "TS90", **running())

    monkeypatch.setattr("click.confirm", start)
    with pytest.raises(RunError, match=r"not deleted:\n.*TS90 is still running"):
        invoke("delete", "TS90", "TS91", "--runs-dir", runs_dir)
    assert "TS90" in ids(runs_dir) and "TS91" not in ids(runs_dir)


def test_a_kill_while_deleting_leaves_no_partial_run_and_the_next_delete_cleans_up(runs_dir, monkeypatch):
    class Killed(BaseException):
        pass

    def half(folder, **_):
        os.unlink(folder / "config.json")
        raise Killed

    before = ids(runs_dir)
    with monkeypatch.context() as patch:
        patch.setattr(deleting.shutil, "rmtree", half)
        with pytest.raises(Killed):
            FolderBook(runs_dir).delete("TS90")
    assert ids(runs_dir) == before - {"TS90"}
    assert list(runs_dir.glob(".deleted-*"))
    FolderBook(runs_dir).delete("TS91")
    assert not list(runs_dir.glob(".*"))


def test_prune_keeps_the_best_of_each_device_and_what_it_cannot_judge(runs_dir):
    write_run(runs_dir, "RAT9", {"data": {"device": "RAT"}}, {"test/esr": 5.0}, notes={"tags": ["keep"]})
    shown = invoke("prune", "--keep-best", "2", "--runs-dir", runs_dir, answer="n\n")
    assert {line.split()[0] for line in shown.stdout.splitlines()[1:5]} == {"TS92", "TS93", "RAT2", "RAT3"}
    assert len(ids(runs_dir)) == 12
    done = invoke("prune", "--keep-best", "2", "--runs-dir", runs_dir, "--yes")
    assert done.exit_code == 0
    assert ids(runs_dir) == {"TS90", "TS91", "RAT0", "RAT1", "RAT9", "failed", "going", "tested"}
    again = invoke("prune", "--keep-best", "2", "--runs-dir", runs_dir, "--yes")
    assert again.stdout == "" and len(ids(runs_dir)) == 8


def test_prune_considers_only_runs_that_fulfil_the_condition(runs_dir):
    result = invoke("prune", "--keep-best", "1", "--runs-dir", runs_dir, "--yes", "--where", "data.device=RAT")
    assert result.exit_code == 0
    assert ids(runs_dir) == {"TS90", "TS91", "TS92", "TS93", "RAT0", "failed", "going", "tested"}
    invoke("prune", "--keep-best", "0", "--runs-dir", runs_dir, "--yes", "--where", "status=FAILED or status=RUNNING")
    assert ids(runs_dir) == {"TS90", "TS91", "TS92", "TS93", "RAT0", "going", "tested"}
    result = invoke("prune", "--keep-best", "0", "--runs-dir", runs_dir, "--yes")
    assert result.exit_code == 2 and "--where" in result.output
    invoke("prune", "--keep-best", "1", "--by", "-metrics.esr", "--runs-dir", runs_dir, "--yes")
    assert ids(runs_dir) == {"RAT0", "TS93", "going", "tested"}  # what is still running is not yet the best

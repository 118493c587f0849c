"""The index of runs never changes a list, whatever happens to the index or to the runs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.errors import RunError
from nablafx_core.runs.book import FolderBook
from nablafx_core.runs.notes import Notes, read_notes
from nablafx_core.runs.process import identity
from nablafx_core.runs.records import RunRecord, find_run, list_runs
from nablafx_core.runs.rows import Row
from reference.run_folders import write_run

CONFIG = {"model": {"name": "tcn"}, "data": {"name": "tonetwist", "device": "TS9"}, "train": {"rate": 1e-3}}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def runs_dir(tmp_path):
    runs_dir = tmp_path / "runs"
    write_run(runs_dir, "a", CONFIG, {"test/esr": 0.5, "x": float("nan")}, [("train/loss", 7, 0.5)])
    write_run(
        runs_dir, "b", CONFIG, None, notes={"tags": ["keep"], "note": "good"}, status="FAILED", fail_trace=["no\n"]
    )
    write_run(runs_dir, "c", started="2026-11-22T07:00:00", parent="a", host={"hostname": "lab1"})
    return runs_dir


def told(rows):
    return [repr((row, row.config)) for row in rows]


def unindexed(runs_dir):
    rows = [Row.of(record) for record in list_runs(runs_dir)]
    return sorted(rows, key=lambda row: row.began, reverse=True)


def files_of(cache):
    return list((cache / "runs").glob("*.sqlite"))


def test_a_list_is_the_same_with_and_without_the_index(cache, runs_dir):
    expected = told(unindexed(runs_dir))
    for _ in range(3):
        assert sorted(told(FolderBook(runs_dir).rows())) == sorted(expected)
    assert len(files_of(cache)) == 1
    assert list(runs_dir.glob(".*")) == []


def test_only_changed_records_are_read_again(cache, runs_dir, monkeypatch):
    FolderBook(runs_dir).rows()
    read = []
    whole = RunRecord.read.__func__
    monkeypatch.setattr(
        RunRecord, "read", classmethod(lambda cls, folder: read.append(folder.name) or whole(cls, folder))
    )
    FolderBook(runs_dir).rows()
    assert read == []
    FolderBook(runs_dir).edit("a", lambda notes: notes.tagged(["new"]))
    with open(runs_dir / "b" / "metrics.jsonl", "a") as file:
        file.write('{"name": "train/loss", "step": 9, "value": 1, "timestamp": "t"}\n')
    rows = {row.id: row for row in FolderBook(runs_dir).rows()}
    assert sorted(read) == ["a", "b"]
    assert (rows["a"].tags, rows["b"].step) == (("new",), 9)


def test_one_run_is_found_without_reading_the_others(runs_dir, monkeypatch):
    read = []
    whole = RunRecord.read.__func__
    monkeypatch.setattr(
        RunRecord, "read", classmethod(lambda cls, folder: read.append(folder.name) or whole(cls, folder))
    )
    assert find_run(runs_dir, "b").id == "b"
    assert read == ["b"]


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "remove", "note", "log", "damage", "list", "break index"]),
        st.sampled_from(["x", "y", "z"]),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(CHANGES)
def test_a_list_equals_the_folders_after_any_changes_of_runs_and_index(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("any")
    runs_dir = folder / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NABLAFX_CACHE", str(folder / "cache"))
        for number, (change, run_id) in enumerate(changes):
            shutil.rmtree(runs_dir / run_id, ignore_errors=True) if change in ("write", "remove") else None
            run = runs_dir / run_id
            if change == "write":
                write_run(runs_dir, run_id, CONFIG, {"test/esr": number}, [("a", number, 0.5)])
            elif change == "note" and run.exists():
                FolderBook(runs_dir).edit(run_id, lambda notes, number=number: notes.noted(f"{number}"))
            elif change == "log" and run.exists():
                with open(run / "metrics.jsonl", "a") as file:
                    file.write(json.dumps({"name": "a", "step": 100 + number, "value": 1, "timestamp": "t"}) + "\n")
            elif change == "damage" and run.exists():
                (run / "run.json").write_text("{")
            elif change == "break index":
                for path in files_of(folder / "cache"):
                    path.write_bytes(b"SQLite format 3\0" + bytes([number]) * 200)
            found = FolderBook(runs_dir).rows() if change == "list" else []
            assert not found or sorted(told(found)) == sorted(told(unindexed(runs_dir)))
        assert sorted(told(FolderBook(runs_dir).rows())) == sorted(told(unindexed(runs_dir)))


def older(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 0")
        connection.execute("DROP TABLE rows")
        connection.execute("CREATE TABLE rows (id TEXT)")
    connection.close()


def rubbish(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE rows SET facts = '[1, 2]', config = '{'")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [
        older,
        rubbish,
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["older", "rubbish", "no database", "torn", "empty", "folder"],
)
def test_an_unusable_index_is_not_an_error(cache, runs_dir, spoil):
    expected = sorted(told(FolderBook(runs_dir).rows()))
    spoil(files_of(cache)[0])
    for _ in range(2):
        assert sorted(told(FolderBook(runs_dir).rows())) == expected


def test_a_locked_index_is_not_an_error(cache, runs_dir):
    expected = sorted(told(FolderBook(runs_dir).rows()))
    (path,) = files_of(cache)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    before = path.stat()
    assert sorted(told(FolderBook(runs_dir).rows())) == expected
    assert os.path.samestat(path.stat(), before)  # and it is not thrown away
    holder.close()


def refuse(path):
    raise PermissionError(13, "not yours", path)


def test_a_record_that_could_not_be_read_once_is_read_again(cache, runs_dir, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("nablafx_core.runs.records.read_json", refuse)
        assert {row.status for row in FolderBook(runs_dir).rows()} == {"DAMAGED"}
    assert {row.status for row in FolderBook(runs_dir).rows()} == {"COMPLETED", "FAILED"}


def test_a_cache_that_cannot_be_created_is_not_an_error(cache, runs_dir):
    cache.write_text("a file")
    assert sorted(told(FolderBook(runs_dir).rows())) == sorted(told(unindexed(runs_dir)))


def test_two_folders_have_two_indexes(cache, tmp_path, runs_dir):
    write_run(tmp_path / "other", "a", {"model": {"name": "lstm"}})
    assert {row.model for row in FolderBook(runs_dir).rows() if row.id == "a"} == {"tcn"}
    assert [row.model for row in FolderBook(tmp_path / "other").rows()] == ["lstm"]
    assert {row.model for row in FolderBook(runs_dir).rows() if row.id == "a"} == {"tcn"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="elsewhere only the heartbeat tells")
def test_a_run_that_dies_is_seen_although_its_record_stays(cache, tmp_path):
    before = (datetime.now(timezone.utc) - timedelta(seconds=5)).replace(tzinfo=None).isoformat()
    theirs = {"status": "RUNNING", "heartbeat": before, "pid": 1, "machine": "another", "process_start": "1"}
    folder = write_run(tmp_path / "runs", "a", **theirs)
    write_run(tmp_path / "runs", "b", **{**theirs, **identity()})
    rows = {row.id: row for row in FolderBook(tmp_path / "runs").rows()}
    assert {row.status for row in rows.values()} == {"RUNNING"}
    assert 64 < rows["b"].duration < 64 + 55
    # The kept row is of a process that is gone now: the record's stamp is the same.
    (path,) = files_of(cache)
    with sqlite3.connect(path) as connection:
        for old, new in ((before, "2026-01-01T00:00:00"), (str(identity()["process_start"]), "1")):
            connection.execute("UPDATE rows SET facts = replace(facts, ?, ?)", (old, new))
    connection.close()
    assert folder.exists()
    assert {row.status for row in FolderBook(tmp_path / "runs").rows()} == {"DIED"}


def test_hidden_folders_are_not_runs(cache, runs_dir):
    os.rename(runs_dir / "a", runs_dir / ".deleted-a-1")
    assert {row.id for row in FolderBook(runs_dir).rows()} == {"b", "c"}
    assert {record.id for record in list_runs(runs_dir)} == {"b", "c"}


def test_tags_and_note_are_kept_and_the_later_edit_is_later(cache, runs_dir):
    book = FolderBook(runs_dir)
    first = book.edit("a", lambda notes: notes.tagged(["b", "a", "b"]))
    assert read_notes(runs_dir / "a").tags == ("a", "b") == first.tags
    second = book.edit("a", lambda notes: notes.noted("one").noted("two", append=True))
    assert (second.note, second.tags) == ("one\ntwo", ("a", "b"))
    assert second.edited > first.edited
    ahead = Notes(("a",), "", "2999-01-01T00:00:00.000000").tagged(remove=["a"])
    assert (ahead.tags, ahead.edited) == ((), "2999-01-01T00:00:00.000001")
    unchanged = book.edit("a", lambda notes: notes.tagged(["a"]))
    assert unchanged == second
    record = RunRecord.read(runs_dir / "a")
    assert (record.tags, record.note) == (["a", "b"], "one\ntwo")
    for wrong in ("", "a b", "a,b", "x" * 101, "a\x1b"):
        with pytest.raises(RunError, match="invalid tag"):
            book.edit("a", lambda notes, wrong=wrong: notes.tagged([wrong]))


@pytest.mark.parametrize("content", ["", "[]", '{"tags": 3, "note": [], "edited": 1}', "\xff", "[" * 100_000])
def test_damaged_notes_count_as_empty(runs_dir, content):
    (runs_dir / "a" / "notes.json").write_bytes(content.encode("latin-1"))
    assert read_notes(runs_dir / "a") == Notes()

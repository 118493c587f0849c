"""Runs in MongoDB are listed as those in folders, and a fetched run equals the run that was pushed."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime

import pytest
from click.testing import CliRunner

from nablafx_core.cli.runs import runs
from nablafx_core.errors import ConfigError, RunError
from nablafx_core.mongo.mongo_book import opened
from nablafx_core.mongo.pushing import push
from nablafx_core.runs.book import FolderBook
from nablafx_core.runs.process import identity
from nablafx_core.runs.records import RunRecord
from reference.forked import NABLAFX
from reference.mongo_server import Proxy, database, free_port, running_server, url  # noqa: F401
from reference.run_folders import write_run

pytestmark = pytest.mark.slow

CONFIG = {"model": {"name": "tcn", "width": 8}, "data": {"name": "tonetwist", "device": "TS9"}}
OTHER = {"model": {"name": "lstm", "width": 8}, "data": {"name": "tonetwist", "device": "TS9"}}
POINTS = [(name, step, 1 / (step + 1)) for step in range(5) for name in ("train/loss", "validation/loss")]
SHARED = "sha256:" + hashlib.sha256(b"the same in both" * 10).hexdigest()

ONLY_ONE = "sha256:" + hashlib.sha256(b"only in one" * 50_000).hexdigest()


@pytest.fixture
def runs_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NABLAFX_MONGO_URL", raising=False)
    (tmp_path / "config.yaml").touch()
    monkeypatch.setenv("NABLAFX_CONFIG", str(tmp_path / "config.yaml"))
    runs_dir = tmp_path / "runs"
    odd = [("train/loss", 5, math.nan), ("train/loss", 6, math.inf)]
    summary = {"test/esr": 0.02, "test/mr_stft": math.inf}
    one = write_run(runs_dir, "one", CONFIG, summary, POINTS + odd, artifacts=["model.nfx", "audio/a.wav"])
    two = write_run(runs_dir, "two", OTHER, {"test/esr": 0.03}, POINTS, artifacts=["model.nfx"], parent="one")
    (one / "audio").mkdir()
    (one / "audio" / "a.wav").write_bytes(b"only in one" * 50_000)
    (one / "info.json").write_text('{"dataset": {"seconds": 3.5}}')
    for folder in (one, two):
        (folder / "model.nfx").write_bytes(b"the same in both" * 10)
    FolderBook(runs_dir).edit("two", lambda notes: notes.tagged(["paper"]).noted("a\nb"))
    return runs_dir


@pytest.fixture
def pushed(runs_dir, database, url):  # noqa: F811
    for folder in (runs_dir / "one", runs_dir / "two"):
        assert not push(folder, database).missing
    return url


def invoke(*arguments, answer=None):
    result = CliRunner().invoke(runs, [str(argument) for argument in arguments], input=answer, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def chunks(database, file_id):  # noqa: F811
    return list(database["fs.chunks"].find({"files_id": file_id}))  # nx-27017 finds none without their file


def everything(database):  # noqa: F811
    found = {name: {one["_id"]: one for one in database[name].find()} for name in ("runs", "metrics", "fs.files")}
    found["fs.chunks"] = {file_id: chunks(database, file_id) for file_id in found["fs.files"]}
    return json.dumps(found, sort_keys=True, default=repr, indent=1).splitlines()


def is_empty(database):  # noqa: F811
    return not any(list(database[name].find()) for name in ("runs", "metrics", "fs.files"))


def test_a_database_is_listed_like_a_folder(runs_dir, pushed):
    for arguments in (
        ("--json",),
        ("--csv",),
        ("--where", "model.name=lstm and metrics.esr<0.05", "--json"),
        ("--where", "tags=paper or parent=one", "--json"),
        ("best", "--json"),
        ("best",),
        ("compare", "one", "two"),
        ("compare", "one", "two", "--json", "--metric", "train/loss"),
    ):
        assert invoke(*arguments, "--mongo", pushed) == invoke(*arguments, "--runs-dir", runs_dir), arguments
    for run_id in ("one", "two"):
        mine, theirs = (
            json.loads(invoke("show", run_id, "--json", *place))
            for place in (("--runs-dir", runs_dir), ("--mongo", pushed))
        )
        assert "folder" in mine and mine.pop("folder") != theirs.pop("folder")
        assert mine == theirs


def test_only_changed_documents_are_fetched(runs_dir, pushed, database):  # noqa: F811
    host, port = database.client.address
    between = Proxy(host, port)
    try:
        with opened(f"mongodb://127.0.0.1:{between.port}/{database.name}?directConnection=true") as book:
            assert len(book.rows()) == 2
            before = between.requests
            assert {row.id for row in book.rows()} == {"one", "two"}
            unchanged = between.requests - before
            FolderBook(runs_dir).edit("one", lambda notes: notes.tagged(["later"]))
            push(runs_dir / "one", database)
            before = between.requests
            assert {row.id: row.tags for row in book.rows()} == {"one": ("later",), "two": ("paper",)}
            assert between.requests - before == unchanged + 1
    finally:
        between.close()


def test_tags_and_notes_made_in_the_database_are_kept_by_a_push(runs_dir, pushed, database):  # noqa: F811
    invoke("tag", "two", "--add", "keep", "--remove", "paper", "--mongo", pushed)
    invoke("note", "two", "c", "--append", "--mongo", pushed)
    push(runs_dir / "two", database)
    with opened(pushed) as book:
        record = book.find("tw")
        assert (record.tags, record.note) == (["keep"], "a\nb\nc")


def test_two_concurrent_edits_are_both_kept(pushed):
    with opened(pushed) as book, opened(pushed) as other:
        first = []

        def slowly(notes):
            if not first:
                first.append(other.edit("one", lambda notes: notes.tagged(["theirs"])))
            return notes.tagged(["mine"])

        assert book.edit("one", slowly).tags == ("mine", "theirs")


def test_delete_removes_only_files_that_no_other_run_has(pushed, database):  # noqa: F811
    assert "one" in invoke("--mongo", pushed)
    assert len(chunks(database, ONLY_ONE)) == 3
    output = invoke("delete", "one", "--mongo", pushed, answer="y\n")
    assert "550 kB" in output
    assert [one["_id"] for one in database["runs"].find()] == ["two"]
    assert {one["run_id"] for one in database["metrics"].find()} == {"two"}
    assert [one["_id"] for one in database["fs.files"].find()] == [SHARED]
    assert len(chunks(database, SHARED)) == 1
    assert not chunks(database, ONLY_ONE)
    with opened(pushed) as book:
        assert book.find("two").files[0]["file_id"] == SHARED
    invoke("prune", "--keep-best", "0", "--where", "status=COMPLETED", "--yes", "--mongo", pushed)
    assert is_empty(database)


def test_a_running_run_is_not_deleted_from_the_database(runs_dir, pushed, database):  # noqa: F811
    now = RunRecord.read(runs_dir / "one").entry["heartbeat"]
    going = write_run(runs_dir, "going", status="RUNNING", heartbeat=now, artifacts=[], **identity())
    push(going, database)
    before = everything(database)
    with pytest.raises(RunError, match="is still running"):
        invoke("delete", "going", "one", "--yes", "--mongo", pushed)
    with pytest.raises(RunError, match="is still running"):
        invoke("pull", "going", "--all", "--runs-dir", runs_dir / "new", "--mongo", pushed)
    assert everything(database) == before


def test_a_killed_delete_shows_no_partial_run_and_can_be_completed(pushed, database):  # noqa: F811
    database["runs"].update_one({"_id": "one"}, {"$set": {"deleting": True}})
    database["metrics"].delete_many({"run_id": "one"})
    assert [one["id"] for one in json.loads(invoke("--json", "--mongo", pushed))] == ["two"]
    with opened(pushed) as book:
        book.delete("two")
    assert is_empty(database)


def test_a_fetched_run_equals_the_run_and_pushing_it_changes_nothing(tmp_path, runs_dir, pushed, database):  # noqa: F811
    for run_id in ("one", "two"):
        invoke("pull", run_id, "--all", "--runs-dir", tmp_path / "fetched", "--mongo", pushed)
        mine, theirs = (RunRecord.read(folder / run_id) for folder in (runs_dir, tmp_path / "fetched"))
        assert theirs.config == mine.config
        assert repr(theirs.metrics) == repr(mine.metrics)
        assert (theirs.info, theirs.notes, theirs.summary) == (mine.info, mine.notes, mine.summary)
        assert (theirs.start, theirs.status, theirs.last_step) == (mine.start, mine.status, mine.last_step)
        for name in mine.artifacts:
            assert (theirs.folder / name).read_bytes() == (mine.folder / name).read_bytes()
        assert json.loads((theirs.folder / "metrics.json").read_text()).keys() == mine.metrics.keys()
    assert invoke("compare", "one", "two", "--runs-dir", tmp_path / "fetched") == invoke(
        "compare", "one", "two", "--runs-dir", runs_dir
    )
    assert not list((tmp_path / "fetched").glob(".*"))
    before = everything(database)
    for run_id in ("one", "two"):
        push(tmp_path / "fetched" / run_id, database)
    assert everything(database) == before


def test_an_existing_run_folder_is_not_changed(tmp_path, runs_dir, pushed):
    before = {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*")}
    with pytest.raises(RunError, match="exists and is not changed"):
        invoke("pull", "one", "--all", "--runs-dir", runs_dir, "--mongo", pushed)
    assert {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*")} == before


def test_a_bundle_is_fetched_completely_or_not_at_all(tmp_path, monkeypatch, pushed, database):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    invoke("pull", "tw", "--mongo", pushed)
    assert (tmp_path / "two.nfx").read_bytes() == b"the same in both" * 10
    invoke("pull", "two", "--mongo", pushed)  # the same again is no harm
    (tmp_path / "mine.nfx").write_text("mine")
    with pytest.raises(RunError, match=r"exists and is a different file"):
        invoke("pull", "two", "--out", "mine.nfx", "--mongo", pushed)
    assert (tmp_path / "mine.nfx").read_text() == "mine"
    chunk = database["fs.chunks"].find_one({"files_id": SHARED})
    database["runs"].update_one({"_id": "one"}, {"$set": {"artifacts": [{"name": "a", "file_id": "x"}]}})
    with pytest.raises(RunError, match="has no bundle"):
        invoke("pull", "one", "--mongo", pushed)
    for data in (b"the same in bot!" * 10, b"short", b"the same in both" * 11):
        database["fs.chunks"].delete_many({"files_id": SHARED})
        database["fs.chunks"].insert_one({**chunk, "data": data})
        with pytest.raises(RunError, match=r"'model.nfx' is incomplete or damaged"):
            invoke("pull", "two", "--out", "new.nfx", "--mongo", pushed)
        with pytest.raises(RunError, match=r"'model.nfx' is incomplete or damaged"):
            invoke("pull", "two", "--all", "--runs-dir", "new", "--mongo", pushed)
    assert not (tmp_path / "new.nfx").exists()
    assert not list((tmp_path / "new").iterdir())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "C:evil", "a\\evil", "run.json", "METRICS.jsonl", "lock.9", "", "a\0b"]
)
def test_a_name_that_leads_elsewhere_writes_nothing(tmp_path, pushed, database, name):  # noqa: F811
    file = database["runs"].find_one({"_id": "two"})["artifacts"][0]
    database["runs"].update_one({"_id": "two"}, {"$set": {"artifacts": [{**file, "name": name}]}})
    with pytest.raises(RunError, match="name of a"):
        invoke("pull", "two", "--all", "--runs-dir", tmp_path / "new" / "runs", "--mongo", pushed)
    assert not list((tmp_path / "new" / "runs").iterdir())
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("run_id", ["../evil", "/evil", ".hidden", "a b", "..", "a/b"])
def test_an_id_that_leads_elsewhere_creates_nothing(tmp_path, pushed, database, run_id):  # noqa: F811
    document = database["runs"].find_one({"_id": "two"})
    database["runs"].insert_one({**document, "_id": run_id})
    with pytest.raises(RunError, match="cannot name a run"):
        invoke("pull", run_id, "--all", "--runs-dir", tmp_path / "new", "--mongo", pushed)
    assert not (tmp_path / "new").exists()
    assert run_id in {one["id"] for one in json.loads(invoke("--json", "--mongo", pushed))}


@pytest.mark.parametrize(
    "broken",
    [
        {"status": 3, "start_time": "noon"},
        {"host": "here"},
        {"artifacts": "none"},
        {"tags": 3, "note": [], "edited": 1},
        {"config": [1], "result": 7, "info": "x"},
        {"config_yaml": "a: ["},
        {"config": {"a": b"bytes", "b": datetime(2026, 1, 1)}, "config_yaml": "", "result": {"esr": b"bytes"}},
        {"host": {"hostname": b"bytes", "cpu": [datetime(2026, 1, 1)]}, "packs": None, "parent": None},
    ],
)
def test_an_invalid_document_does_not_end_a_list(pushed, database, broken):  # noqa: F811
    database["runs"].update_one({"_id": "two"}, {"$set": {**broken, "revision": 99}})
    listed = {one["id"]: one for one in json.loads(invoke("--json", "--mongo", pushed))}
    assert set(listed) == {"one", "two"}
    assert listed["one"]["status"] == "COMPLETED"
    for arguments in (("show", "two"), ("show", "two", "--json"), ("compare", "one", "two"), ("--csv",), ()):
        invoke(*arguments, "--mongo", pushed)


def test_the_error_about_a_missing_address_says_how_to_give_one(runs_dir):
    for arguments in (["--remote"], ["show", "--remote"], ["pull", "x"]):
        with pytest.raises(ConfigError, match=r"--mongo: .* NABLAFX_MONGO_URL"):
            invoke(*arguments)


def test_the_error_about_a_missing_server_is_one_line_without_a_password(forked, runs_dir):
    address = f"mongodb://ada:geheim@127.0.0.1:{free_port()}/lab?serverSelectionTimeoutMS=200"
    for arguments in (["runs", "--mongo", address], ["runs", "pull", "x", "--mongo", address]):
        result = forked.run([*NABLAFX, *arguments], capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: MongoDB 127.0.0.1:") and result.stderr.count("\n") == 1
        assert "geheim" not in result.stderr and "ada" not in result.stderr

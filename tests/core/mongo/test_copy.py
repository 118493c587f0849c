"""A run's copy in MongoDB has the layout of Sacred's own observer, and repeated pushes do not change it."""

from __future__ import annotations

import json
import math
import multiprocessing
import random
from datetime import datetime

import gridfs
import pymongo
import pytest
from pymongo.errors import NetworkTimeout
from sacred import Experiment
from sacred.observers import MongoObserver as SacredsObserver

from nablafx_core.errors import RunError
from nablafx_core.files import inside
from nablafx_core.mongo import series
from nablafx_core.mongo.artifacts import CHUNK_BYTES, content_of, is_stored, store
from nablafx_core.mongo.copy import RunCopy
from nablafx_core.mongo.documents import fitting, storable
from nablafx_core.mongo.pushing import incomplete, push
from nablafx_core.runs.metrics_file import read_series
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import RunRecord, list_runs
from reference.mongo_server import database, running_server, url

pytestmark = pytest.mark.slow

__all__ = ["database", "running_server", "url"]  # fixtures

CONFIG = {"model": {"name": "lstm"}, "train": {"seed": 1}}


def recorded(tmp_path, body=lambda run: None, **more):
    """Record a run that logs values and records files; return its folder."""

    def main(run):
        for step in range(25):
            run.log("loss", 1 / (step + 1), step)
        file = tmp_path / "sound.wav"
        file.write_bytes(bytes(range(250)) * 1100)
        run.artifact(file, "audio/sound.wav")
        run.summary({"test/esr": 0.25})
        run.set_info("chain", {"gain": 3.5})
        body(run)
        return run.folder

    return record("train", CONFIG, tmp_path / "runs", main, **more)


def series_in(database, run_id):
    """Return steps and values of each metric, read with pymongo alone."""
    found = {}
    for chunk in database.metrics.find({"run_id": run_id}).sort([("name", 1), ("chunk", 1)]):
        steps, values = found.setdefault(chunk["name"], ([], []))
        steps += chunk["steps"]
        values += [float(value) for value in chunk["values"]]
    return found


def series_of(folder):
    return {name: (one.steps, one.values) for name, one in read_series(folder / "metrics.jsonl").items()}


def assert_whole(database, folder):
    """Check that the database has exactly the content of the folder."""
    document = database.runs.find_one({"_id": folder.name})
    entry = json.loads((folder / "run.json").read_text())
    assert document["status"] == entry["status"]
    assert document["result"] == entry["result"]
    assert repr(series_in(database, folder.name)) == repr(series_of(folder))  # repr: NaN is not equal to itself
    assert [one["name"] for one in document["artifacts"]] == entry["artifacts"]
    files = gridfs.GridFS(database)
    for one in document["artifacts"]:
        assert files.get(one["file_id"]).read() == (folder / one["name"]).read_bytes()
    return document


def test_a_push_copies_a_run_and_pymongo_alone_reads_it(tmp_path, database):
    folder = recorded(tmp_path, parent="sweep")
    pushed = push(folder, database)
    assert (pushed.values, pushed.files, pushed.missing, pushed.running) == (25, 1, [], False)
    document = assert_whole(database, folder)
    assert document["config"] == {**CONFIG, "seed": 1}
    assert document["config_yaml"] == (folder / "config.yaml").read_text()
    assert (document["parent"], document["last_step"], document["values"]) == ("sweep", 24, 25)
    assert document["info"]["chain"] == {"gain": 3.5}
    assert document["complete"]
    named = " ".join([*database.metrics.index_information(), *database.runs.index_information()])
    assert all(field in named for field in ("run_id", "chunk", "start_time", "status", "parent"))


def test_the_layout_is_that_of_sacreds_own_observer(tmp_path, database, url):
    experiment = Experiment("nablafx", interactive=True, save_git_info=False)
    experiment.observers.append(SacredsObserver(client=database.client, db_name=database.name))
    experiment.add_config({**CONFIG, "seed": 1})
    file = tmp_path / "a.wav"
    file.write_bytes(b"sound")

    @experiment.main
    def train(_run):
        _run.log_scalar("loss", 0.5, 3)
        _run.add_artifact(str(file), "a.wav")
        _run.info["noted"] = 1

    theirs_id = experiment.run(options={"--capture": "no"})._id
    folder = recorded(tmp_path, lambda run: run.set_info("noted", 1))
    push(folder, database)
    theirs, ours = (database.runs.find_one({"_id": one}) for one in (theirs_id, folder.name))
    assert set(theirs) <= set(ours)
    for key in set(theirs) - {"_id", "result", "stop_time"}:
        value = ours[key]
        if isinstance(theirs[key], datetime) and isinstance(value, str):  # nx-27017 makes text of a time in an update
            value = datetime.fromisoformat(value)
        assert type(theirs[key]) is type(value), key
    for key in ("format", "command", "status", "config"):
        assert theirs[key] == ours[key]
    for key in ("info", "artifacts"):
        assert {*theirs[key]} <= {*ours[key]} if key == "info" else {*theirs[key][0]} <= {*ours[key][0]}
    assert {*theirs["info"]["metrics"][0]} == {*ours["info"]["metrics"][0]}
    their_metric, our_metric = (database.metrics.find_one({"run_id": one}) for one in (theirs_id, folder.name))
    assert set(their_metric) <= set(our_metric)
    for key in ("steps", "values", "timestamps"):
        assert {type(value) for value in our_metric[key]} == {type(value) for value in their_metric[key]}
    names = {one["id"]: one["name"] for one in ours["info"]["metrics"]}
    assert names == {chunk["_id"]: chunk["name"] for chunk in database.metrics.find({"run_id": folder.name})}


def test_pushing_again_changes_nothing(tmp_path, database):
    folder = recorded(tmp_path)
    push(folder, database)

    def everything():
        documents = [list(database[name].find({})) for name in ("runs", "metrics", "fs.files", "fs.chunks")]
        return repr(documents)

    before = everything()
    push(folder, database)
    assert everything() == before
    assert incomplete(list_runs(tmp_path / "runs"), database) == []


def _push_in_process(url, folder, barrier):
    with pymongo.MongoClient(url) as client:
        barrier.wait()
        push(folder, client.get_default_database())


def test_two_concurrent_pushes_equal_one(tmp_path, database, url):
    folder = recorded(tmp_path)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [context.Process(target=_push_in_process, args=(url, folder, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert_whole(database, folder)
    assert database.runs.count_documents({}) == 1
    assert len(list(database["fs.files"].find({}))) == 1


def test_an_older_copy_does_not_overwrite_a_newer_one(tmp_path, database):
    stale = {}

    def body(run):
        stale["copy"] = RunCopy(run.folder)
        entry = json.loads((run.folder / "run.json").read_text())
        stale["copy"]._held = lambda: (entry, ())
        stale["copy"].series.read()
        for step in range(25, 50):
            run.log("loss", 1.0, step)

    folder = recorded(tmp_path, body)
    push(folder, database)
    path, whole = folder / "metrics.jsonl", (folder / "metrics.jsonl").read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:25]))  # as it was then
    stale["copy"].bring(database)
    path.write_bytes(whole)
    assert_whole(database, folder)


def test_a_copy_without_sent_files_does_not_remove_them_again(tmp_path, database):
    """Simulate a thread of a run that hangs until a push has ended."""
    folder, late = recorded(tmp_path), {}
    copy = RunCopy(folder)

    def push_meanwhile():
        late["pushed"] = late.get("pushed") or push(folder, database)
        return False

    copy._bring_files = lambda *arguments: push_meanwhile()
    copy.bring(database, last=True)
    assert_whole(database, folder)
    copy._version = ""
    copy._bring_document(database, json.loads((folder / "run.json").read_text()), False)
    assert assert_whole(database, folder)["complete"]


def test_nan_arrives_as_nan_or_as_text(tmp_path, database):
    values = [1.0, math.nan, math.inf, -math.inf, 2.0]

    def body(run):
        for step, value in enumerate(values):
            run.log("odd", value, step)
        run.summary({"esr": math.nan})

    folder = recorded(tmp_path, body)
    push(folder, database)
    assert repr(series_in(database, folder.name)["odd"][1]) == repr(values)
    document = database.runs.find_one({})
    assert math.isnan(float(document["result"]["esr"]))
    assert incomplete(list_runs(tmp_path / "runs"), database) == []


def test_long_metrics_are_cut_and_steps_that_are_logged_again_change_their_chunk_only(tmp_path, database, monkeypatch):
    monkeypatch.setattr(series, "CHUNK", 10)
    folder = recorded(tmp_path)
    copy = RunCopy(folder)
    copy.bring(database)
    assert [len(c["steps"]) for c in database.metrics.find({"name": "loss"}).sort("chunk", 1)] == [10, 10, 5]

    def again(run):
        for step in range(18, 33):
            run.log("loss", -1.0, step)

    record("train", CONFIG, tmp_path / "runs", again, folder.name, resume=True)
    copy.series.read()
    assert sorted(chunk.number for chunk in copy.series.unsent()) == [1, 2, 3]
    copy.bring(database)
    assert series_in(database, folder.name) == series_of(folder)


@pytest.mark.parametrize("seed", range(8))
def test_series_of_a_growing_file_equal_those_of_the_complete_file(tmp_path, seed, monkeypatch):
    """Incomplete lines, decreasing steps, and pieces of any size."""
    monkeypatch.setattr(series, "CHUNK", 4)
    monkeypatch.setattr(series, "_BLOCK", 100)
    draw = random.Random(seed)
    lines = []
    for _ in range(60):
        step = len(lines) - (draw.randrange(15) if draw.random() < 0.1 else 0)
        point = {"name": draw.choice("ab"), "step": step, "value": draw.random(), "timestamp": "2026-11-25T00:00:00"}
        lines.append(json.dumps(point) if draw.random() < 0.95 else '{"torn')
    content = "\n".join(lines).encode() + b"\n" * draw.randrange(2)
    path, follows, chunks = tmp_path / "metrics.jsonl", series.Series(tmp_path / "metrics.jsonl"), {}
    place = 0
    while place < len(content):
        place += draw.randrange(1, 400)
        path.write_bytes(content[:place])
        while follows.read(last=place >= len(content)):
            pass
        if draw.random() < 0.5:
            chunks |= {chunk.key: (list(chunk.steps), list(chunk.values)) for chunk in follows.unsent()}
            follows.sent(follows.unsent())
    chunks |= {chunk.key: (list(chunk.steps), list(chunk.values)) for chunk in follows.unsent()}
    for name, whole in read_series(path).items():
        mine = [chunks[name, number] for number in range(follows.chunks[name])]
        assert [step for steps, _ in mine for step in steps] == whole.steps
        assert [value for _, values in mine for value in values] == whole.values
        assert max(len(steps) for steps, _ in mine) <= 4


def test_a_content_is_stored_once_for_all_runs(tmp_path, database):
    for name in ("a", "b"):
        push(recorded(tmp_path, run_id=name), database)
    files = list(database["fs.files"].find({}))
    assert len(files) == 1
    assert {run["artifacts"][0]["file_id"] for run in database.runs.find({})} == {files[0]["_id"]}


@pytest.mark.parametrize("until", [0, 1, 2])
def test_an_upload_that_was_cut_off_is_completed(tmp_path, database, until):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 2500)
    content, sent = content_of(path), iter(range(10))
    assert content.num_chunks == 3
    assert not store(database, path, content, "a", lambda: next(sent) < until)
    assert not is_stored(database, content)
    assert store(database, path, content, "a")
    assert is_stored(database, content, chunks=True)
    assert gridfs.GridFS(database).get(content.file_id).read() == path.read_bytes()


def test_a_file_that_changes_while_it_is_sent_is_not_reported_as_stored(tmp_path, database):
    path = tmp_path / "a"
    path.write_bytes(bytes(CHUNK_BYTES + 1))
    content = content_of(path)
    path.write_bytes(bytes(CHUNK_BYTES) + b"x")
    assert not store(database, path, content, "a")
    assert not is_stored(database, content)


def test_files_that_somebody_removed_from_the_database_are_sent_again(tmp_path, database):
    folder = recorded(tmp_path)
    push(folder, database)
    for name in ("fs.files", "fs.chunks"):
        database[name].delete_many({})
    assert push(folder, database).missing == []
    assert_whole(database, folder)


def test_a_missing_file_is_warned_about_and_the_run_is_incomplete(tmp_path, database, caplog):
    folder = recorded(tmp_path)
    (folder / "audio/sound.wav").unlink()
    assert push(folder, database).missing == ["audio/sound.wav"]
    assert "audio/sound.wav cannot be sent" in caplog.text
    assert not database.runs.find_one({})["complete"]
    assert [run.id for run in incomplete(list_runs(tmp_path / "runs"), database)] == [folder.name]


def test_a_run_without_metrics_and_with_a_lost_file_is_pushed(tmp_path, database):
    (tmp_path / "a").write_bytes(b"a")
    folder = record("test", CONFIG, tmp_path / "runs", lambda run: (run.artifact(tmp_path / "a"), run.folder)[1])
    (folder / "a").unlink()
    assert not (folder / "metrics.jsonl").exists()
    assert push(folder, database).missing == ["a"]
    assert database.runs.find_one({})["status"] == "COMPLETED"


def test_a_name_in_a_record_cannot_lead_out_of_its_folder(tmp_path, database):
    folder = recorded(tmp_path)
    (tmp_path / "secret").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "secret")
    entry = json.loads((folder / "run.json").read_text())
    entry["artifacts"] = ["../../secret", str(tmp_path / "secret"), "link"]
    (folder / "run.json").write_text(json.dumps(entry))
    assert len(push(folder, database).missing) == 3
    assert list(database["fs.files"].find({})) == []
    for name in ("", "/a", "../a", "a/../b", "a//b", "C:a", "a\\b", "a\0b", ".", "link"):
        with pytest.raises(RunError):
            inside(folder, name)
    assert inside(folder, "audio/sound.wav").is_file()


def test_notes_made_in_mongodb_stay_and_newer_ones_of_the_folder_win(tmp_path, database):
    folder = recorded(tmp_path)
    push(folder, database)
    database.runs.update_one({}, {"$set": {"tags": ["there"], "note": "n", "edited": "2026-11-25T10:00:00+00:00"}})
    for edited, tags in (("2026-11-25T09:00:00+00:00", ["there"]), ("2026-11-25T11:00:00+00:00", ["here"])):
        notes = {"tags": ["here"], "note": "", "edited": edited}
        (folder / "notes.json").write_text(json.dumps(notes))
        push(folder, database)
        assert database.runs.find_one({})["tags"] == tags


def test_what_is_too_large_for_a_document_is_left_out_and_numbers_fit():
    document = {"_id": "a", "info": {"big": "x" * (15 << 20), "metrics": []}}
    small, whole = fitting(document)
    assert (whole, small) == (False, {"_id": "a", "info": {"metrics": []}})
    assert storable({"a": [2**63, -(2**63), True], "t": datetime.min}) == {
        "a": [float(2**63), -(2**63), True],
        "t": datetime.min,
    }


def test_a_folder_without_a_record_is_refused(tmp_path, database):
    with pytest.raises(RunError, match="run.json: is missing"):
        push(tmp_path, database)
    (tmp_path / "run.json").write_text("[")
    with pytest.raises(RunError, match="damaged"):
        push(tmp_path, database)


def test_the_present_state_of_a_running_run_is_pushed(tmp_path, database):
    found = []

    def body(run):
        found.append(push(run.folder, database))
        found.append(database.runs.find_one({}))
        run.log("loss", 0.0, 25)

    folder = recorded(tmp_path, body)
    assert (found[0].running, found[0].values, found[0].missing) == (True, 25, [])
    assert (found[1]["status"], found[1]["complete"] or False) == ("RUNNING", False)
    assert [run.id for run in incomplete([RunRecord.read(folder)], database)] == [folder.name]


def test_the_address_of_a_run_is_in_no_record(tmp_path, url, caplog):
    secret = url.replace("mongodb://", "mongodb://wintermute:hunter2@") if "@" not in url else url
    record("train", CONFIG, tmp_path, lambda run: None, "mine", mongo=secret)
    written = "".join(path.read_text() for path in (tmp_path / "mine").iterdir() if path.is_file())
    for text in (written, caplog.text):
        assert "hunter2" not in text
        assert "wintermute" not in text


def slow_sends(monkeypatch, fails):
    """Return the metric documents that arrive; a message for which `fails` is true times out."""
    arrived, calls = [], []
    send = RunCopy._send

    def sent(self, database, chunks):
        calls.append(len(chunks))
        if fails(len(calls), chunks):
            raise NetworkTimeout("timed out")
        send(self, database, chunks)
        arrived.extend(chunk.key for chunk in chunks)

    monkeypatch.setattr(RunCopy, "_send", sent)
    return arrived, calls


def test_a_push_continues_after_a_timeout(tmp_path, database, monkeypatch):
    monkeypatch.setattr(series, "CHUNK", 2)
    folder = recorded(tmp_path)
    arrived, calls = slow_sends(monkeypatch, lambda call, chunks: len(chunks) > 4 or call % 3 == 0)
    assert push(folder, database).missing == []
    assert len(arrived) == len(set(arrived)) == 13  # each once
    assert max(calls[1:]) < calls[0] == 13  # the next message is smaller
    assert_whole(database, folder)


def test_a_push_that_gave_up_is_continued_by_the_next_one(tmp_path, database, monkeypatch):
    monkeypatch.setattr(series, "CHUNK", 2)
    folder = recorded(tmp_path)
    first, calls = slow_sends(monkeypatch, lambda call, chunks: len(chunks) > 4 or call > 2)
    with pytest.raises(NetworkTimeout):
        push(folder, database)
    assert (len(first), len(calls)) == (3, 6)
    monkeypatch.undo()
    monkeypatch.setattr(series, "CHUNK", 2)
    second, _ = slow_sends(monkeypatch, lambda call, chunks: False)
    assert push(folder, database).missing == []
    assert len(second) == 10
    assert not set(first) & set(second)
    assert_whole(database, folder)


def test_data_that_a_database_has_lost_is_sent_again(tmp_path, database):
    folder = recorded(tmp_path)
    push(folder, database)
    database.metrics.update_one({"run_id": folder.name}, {"$set": {"steps": [], "values": [], "timestamps": []}})
    assert push(folder, database).missing == []
    assert_whole(database, folder)

"""If MongoDB is down, lost, slow, silent, full or wrong, a run continues, ends in time, and loses nothing."""

from __future__ import annotations

import itertools
import os
import re
import signal
import statistics
import subprocess
import threading
import time
import types
from functools import partial
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import AutoReconnect
from tests.core.mongo.test_copy import CONFIG, assert_whole, series_in

from nablafx_core.mongo import mongo_observer as observing
from nablafx_core.mongo.address import address_of
from nablafx_core.mongo.mongo_observer import MongoObserver
from nablafx_core.mongo.pushing import push
from nablafx_core.runs import metrics_file as metrics
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import RunRecord
from reference.full_disk import full_disk
from reference.mongo_server import (
    Proxy,
    database,
    free_port,
    new_certificate,
    own_server,
    proxy,
    running_server,
    url_through,
)
from reference.mongo_server import url as url_of_database
from reference.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

__all__ = ["database", "own_server", "proxy", "running_server", "url_of_database"]  # fixtures

#: Seconds that the end of a run waits for a server that does not take the rest.
END = 1.0
VALUES = 40


def observe(monkeypatch, end_seconds, seconds):
    """Set how long the end of a run's copy waits, and the time limit of each request in seconds."""
    names = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
    options = dict.fromkeys(names, int(1000 * seconds))

    class Observer(MongoObserver):
        def __init__(self, address, folder):
            super().__init__(address, folder, pause=0.05, end_seconds=end_seconds, options=options)

    monkeypatch.setattr(observing, "MongoObserver", Observer)
    monkeypatch.setattr(metrics, "_RETRY_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Give a server that answers the time that the busiest machine may need."""
    observe(monkeypatch, PATIENCE, PATIENCE)


@pytest.fixture
def impatient(monkeypatch):
    """Limit each wait for a server that does not answer to a second."""
    observe(monkeypatch, END, 0.5)


@pytest.fixture
def restarting(monkeypatch):
    """Limit requests to a second; the end of a run waits for a recovered server as long as necessary."""
    observe(monkeypatch, PATIENCE, 1.0)
    monkeypatch.setattr(observing, "_TRIES_AT_THE_END", 1000)


def log(run, first=0, count=VALUES):
    """Log values, none of which may wait for a server: each would wait for half a second at least."""
    taken = []
    for step in range(first, first + count):
        began = time.monotonic()
        run.log("loss", 1.0 / (step + 1), step)
        run.log("validation/esr", float(step), step)
        taken.append(time.monotonic() - began)
    assert statistics.median(taken) < 0.25  # a machine that is busy stalls some of them, not half


def a_run(tmp_path, url, middle=lambda run: None):
    """Log, let something happen, log again, record a file; return the folder. A hanging server does not delay it."""

    def body(run):
        log(run)
        middle(run)
        log(run, VALUES)
        (tmp_path / "sound.wav").write_bytes(os.urandom(600_000))
        run.artifact(tmp_path / "sound.wav")
        run.summary({"test/esr": 0.5})
        return run.folder

    folder = record("train", CONFIG, tmp_path / "runs", body, mongo=url)
    assert RunRecord.read(folder).status == "COMPLETED"
    assert len(RunRecord.read(folder).metrics["loss"].steps) == 2 * VALUES
    return folder


def assert_pushed(folder, database):
    """Check that the copy is complete after a push."""
    assert push(folder, database).missing == []
    assert assert_whole(database, folder)["complete"]


def test_with_a_working_server_the_copy_is_complete_at_the_end(tmp_path, database, url_of_database, caplog):
    def middle(run):
        until(lambda: len(series_in(database, run.id).get("loss", [[]])[0]) == VALUES)
        until(lambda: (database.runs.find_one({"_id": run.id}) or {}).get("status") == "RUNNING")

    folder = a_run(tmp_path, url_of_database, middle)
    assert assert_whole(database, folder)["complete"]
    assert "MongoDB" not in caplog.text


def test_server_down_all_the_time(tmp_path, database, caplog, impatient):
    told = partial(until, lambda: "The run continues" in caplog.text)
    folder = a_run(tmp_path, f"mongodb://127.0.0.1:{free_port()}/lab", lambda run: told())
    assert "no server answers (connection refused). The run continues" in caplog.text
    assert caplog.text.count("The run continues") == 1
    assert f"Send the rest with: nablafx runs push {folder.name}" in caplog.text
    assert_pushed(folder, database)


def test_server_down_at_the_start_and_up_later(tmp_path, own_server, caplog, restarting):
    own_server.kill()

    def middle(run):
        until(lambda: "no server answers" in caplog.text)
        own_server.start()
        until(lambda: "is up to date" in caplog.text)

    folder = a_run(tmp_path, f"mongodb://127.0.0.1:{own_server.port}/lab", middle)
    with pymongo.MongoClient("127.0.0.1", own_server.port) as client:
        assert_whole(client.lab, folder)


def test_server_killed_in_the_middle_and_restarted(tmp_path, own_server, caplog, restarting):
    with pymongo.MongoClient("127.0.0.1", own_server.port) as client:

        def middle(run):
            until(lambda: "loss" in series_in(client.lab, run.id))
            own_server.kill()
            log(run, VALUES, 20)
            until(lambda: "The run continues" in caplog.text)
            own_server.start()
            until(lambda: "is up to date" in caplog.text)

        folder = a_run(tmp_path, f"mongodb://127.0.0.1:{own_server.port}/lab", middle)
        assert_whole(client.lab, folder)
    assert caplog.text.count("The run continues") == caplog.text.count("is up to date") > 0


def test_server_killed_in_the_middle_and_not_restarted(tmp_path, own_server, caplog, impatient):
    def middle(run):
        with pymongo.MongoClient("127.0.0.1", own_server.port) as client:
            until(lambda: "loss" in series_in(client.lab, run.id))
        own_server.kill()

    folder = a_run(tmp_path, f"mongodb://127.0.0.1:{own_server.port}/lab", middle)
    assert "nablafx runs push" in caplog.text
    own_server.start()
    with pymongo.MongoClient("127.0.0.1", own_server.port) as client:
        assert_pushed(folder, client.lab)


def test_a_paused_server_does_not_delay_the_run(tmp_path, own_server, caplog, impatient):
    with own_server.paused():
        folder = a_run(tmp_path, f"mongodb://127.0.0.1:{own_server.port}/lab")
    with pymongo.MongoClient("127.0.0.1", own_server.port) as client:
        assert_pushed(folder, client.lab)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"silent": True}, "no server answers|the server does not answer in time"),
        ({"garbage": True}, "is not a MongoDB"),
        ({"up": False}, "no server answers|the connection was lost"),
        ({"error": "full"}, "out of disk space"),
        ({"error": "read-only"}, "not authorized"),
        ({"error": "not primary"}, "not primary"),
        ({"error": "broken"}, "internal problem"),
    ],
    ids=lambda value: next(iter(value)) + str(next(iter(value.values()))) if isinstance(value, dict) else "",
)
def test_server_that_answers_wrong_from_the_middle_on(tmp_path, proxy, database, caplog, monkeypatch, fault, told):
    # An error is an answer, and must not be taken for a silence because the machine is busy.
    observe(monkeypatch, END, PATIENCE if "error" in fault else 0.5)

    def middle(run):
        until(lambda: "loss" in series_in(database, run.id))
        for name, value in fault.items():
            setattr(proxy, name, value)
        log(run, VALUES, 1)
        until(lambda: re.search(told, caplog.text))

    folder = a_run(tmp_path, url_through(proxy.port, database.name), middle)
    assert f"nablafx runs push {folder.name}" in caplog.text
    assert_pushed(folder, database)


def test_connection_cut_repeatedly(tmp_path, proxy, database, impatient):
    over, cuts = threading.Event(), []

    def cut():
        while not over.wait(0.3):
            proxy.up = False
            proxy.up = True
            cuts.append(1)

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        folder = a_run(tmp_path, url_through(proxy.port, database.name), lambda run: until(lambda: len(cuts) > 3))
    finally:
        over.set()
        thread.join()
    assert_pushed(folder, database)


def test_slow_replies_do_not_delay_the_run(tmp_path, proxy, database, impatient):
    proxy.delay = 0.4
    folder = a_run(tmp_path, url_through(proxy.port, database.name))
    proxy.delay = 0.0
    assert_pushed(folder, database)


def test_the_warning_about_a_wrong_password_does_not_contain_it(tmp_path, proxy, database, caplog, monkeypatch):
    observe(monkeypatch, END, PATIENCE)
    proxy.error = "wrong password"
    url = f"mongodb://wintermute:hunter2@127.0.0.1:{proxy.port}/{database.name}"
    folder = a_run(tmp_path, url, lambda run: until(lambda: "wrong user or password. The run continues" in caplog.text))
    written = "".join(path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".jsonl"))
    for secret in ("hunter2", "wintermute"):
        assert secret not in caplog.text + written


def test_tls_of_a_profile_accepts_only_trusted_certificates(tmp_path, running_server, database, monkeypatch, caplog):
    other = tmp_path / "other"
    other.mkdir()
    proxy = Proxy(*running_server, certificate=new_certificate(tmp_path))
    url = url_through(proxy.port, database.name)
    profiles = {"trusting": new_certificate(other).with_name("alone.pem"), "lab": tmp_path / "alone.pem"}
    text = "".join(f"  {name}: {{url: '{url}', tls: true, tls_ca_file: {path}}}\n" for name, path in profiles.items())
    (tmp_path / "config.yaml").write_text(f"mongo:\n{text}")
    monkeypatch.setenv("NABLAFX_CONFIG", str(tmp_path / "config.yaml"))
    observe(monkeypatch, END, 0.5)
    for unsafe in (url, "trusting"):
        a_run(tmp_path, unsafe)
    assert caplog.text.count("nablafx runs push") == 2
    assert list(database.runs.find({})) == []
    observe(monkeypatch, PATIENCE, PATIENCE)
    folder = a_run(tmp_path, "lab")
    assert_whole(database, folder)
    proxy.close()


def test_with_a_full_disk_mongodb_has_all_values(tmp_path, database, url_of_database, caplog):
    def body(run):
        log(run)
        until(lambda: len(series_in(database, run.id).get("loss", [[]])[0]) == VALUES)
        full.__enter__()
        log(run, VALUES)
        return run.folder

    full = full_disk(0)
    try:
        folder = record("train", CONFIG, tmp_path, body, mongo=url_of_database)
    finally:
        full.__exit__(None, None, None)
    assert len(RunRecord.read(folder).metrics["loss"].steps) == VALUES
    steps, values = series_in(database, folder.name)["loss"]
    assert steps == list(range(2 * VALUES))
    assert values == [1.0 / (step + 1) for step in steps]
    assert database.runs.find_one({})["status"] == "COMPLETED"
    push(folder, database)
    assert series_in(database, folder.name)["loss"][0] == steps


def test_a_resumed_run_continues_its_copy(tmp_path, database, url_of_database):
    def first(run):
        log(run)
        until(lambda: len(series_in(database, run.id).get("loss", [[]])[0]) == VALUES)
        raise KeyError("broke")

    with pytest.raises(KeyError):
        record("train", CONFIG, tmp_path, first, "mine", mongo=url_of_database)
    assert database.runs.find_one({})["status"] == "FAILED"

    def rest(run):
        log(run, VALUES - 10, 20)
        return run.folder

    folder = record("train", CONFIG, tmp_path, rest, "mine", resume=True, mongo=url_of_database)
    document = assert_whole(database, folder)
    assert (document["status"], document["complete"]) == ("COMPLETED", True)
    assert "fail_trace" not in document


ENDLESS = """
import sys, time
from pathlib import Path
from nablafx_core.runs.recorder import record

def body(run):
    for step in range(100000):
        run.log("loss", 1.0, step)
        time.sleep(0.001)

record("train", {"model": {"name": "lstm"}}, Path(sys.argv[1]), body, "mine", mongo=sys.argv[2])
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="elsewhere a death shows after a minute only")
def test_a_killed_run_is_pushed_with_all_its_values(forked, tmp_path, database, url_of_database):
    process = forked.popen(["-c", ENDLESS, tmp_path, url_of_database])
    until(lambda: "loss" in series_in(database, "mine"))
    process.kill()
    process.wait()
    push(tmp_path / "mine", database)
    steps, _ = series_in(database, "mine")["loss"]
    assert steps == RunRecord.read(tmp_path / "mine").metrics["loss"].steps
    assert database.runs.find_one({})["complete"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_stopped_ends_although_the_server_hangs(forked, tmp_path, proxy, database, ending):
    proxy.silent = True
    program = ENDLESS.replace("def body", "from nablafx_core.mongo import mongo_observer\n\ndef body").replace(
        'record("train"', 'mongo_observer.MongoObserver.__init__.__defaults__ = (1.0, 2.0, None)\nrecord("train"'
    )
    url = url_through(proxy.port, database.name)
    process = forked.popen(["-c", program, tmp_path, url], stderr=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "mine/metrics.jsonl").exists())
    process.send_signal(ending)
    _, told = process.communicate(timeout=PATIENCE)
    assert RunRecord.read(tmp_path / "mine").status == "INTERRUPTED"
    assert "nablafx runs push mine" in told


def test_concurrent_writers_and_a_reader(forked, tmp_path, proxy, database):
    """Three processes write; the network is cut and one is killed; after a push the database has every value."""
    url = url_through(proxy.port, database.name)
    program = ENDLESS.replace("100000", "400").replace('"mine"', "sys.argv[3]")
    names = ["a", "b", "c"]
    all_of_them = [forked.popen(["-c", program, tmp_path, url, name]) for name in names]
    until(lambda: database.runs.find_one({"_id": "a"}) is not None)
    proxy.up = False
    all_of_them[0].kill()
    until(lambda: proxy.turned_away or all(process.poll() is not None for process in all_of_them))
    proxy.up = True
    for process in all_of_them:
        process.wait()
        assert isinstance(list(database.runs.find({})), list)
    for name in names:
        push(tmp_path / name, database)
        assert series_in(database, name)["loss"][0] == RunRecord.read(tmp_path / name).metrics["loss"].steps
    assert [series_in(database, name)["loss"][0] for name in names[1:]] == [list(range(400))] * 2


def test_the_server_restarts_with_its_data(tmp_path, own_server):
    folder = a_run(tmp_path, f"mongodb://127.0.0.1:{own_server.port}/lab")
    own_server.kill()
    own_server.start()
    with pymongo.MongoClient("127.0.0.1", own_server.port) as client:
        assert_whole(client.lab, folder)


@pytest.mark.parametrize(("down", "up"), [(5, 5), (1, 1), (55, 10), (200, 100)])
def test_an_unstable_server_is_logged_once_a_minute(monkeypatch, caplog, down, up):
    now = 0.0
    monkeypatch.setattr(observing, "time", types.SimpleNamespace(monotonic=lambda: now))
    observer = observing.MongoObserver(address_of("mongodb://127.0.0.1:9/x"), None)
    told = []
    for second in range(1200):
        now = float(second)
        before = len(caplog.records)
        if second % (down + up) < down:
            observer._failed(AutoReconnect("gone"))
        else:
            observer._recovered()
        told += [(second, "up to date" in entry.getMessage()) for entry in caplog.records[before:]]
    assert told[0] == (0, False)
    assert len(told) <= 2 + 1200 / 60
    for start in range(1140):
        assert sum(start <= second < start + 60 for second, _ in told) <= 2
    assert sum(60 <= second < 120 for second, _ in told) <= 1 or down > 60
    assert all(one != other for (_, one), (_, other) in itertools.pairwise(told))  # in turn
    observer._ending.set()
    if not told[-1][1]:
        observer._recovered()
    assert "up to date" in caplog.records[-1].getMessage()  # the last message describes the present state

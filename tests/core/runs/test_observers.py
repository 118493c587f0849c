"""Observers in an experiment record runs in the same way as Sacred's own experiments, without secrets."""

from __future__ import annotations

import gc
import io
import json
import logging
import subprocess
import sys
import types
import warnings
from pathlib import Path

import gridfs
import pytest
import requests
from sacred import Experiment
from sacred.observers import FileStorageObserver, MongoObserver, QueuedMongoObserver, RunObserver, SqlObserver

from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError, RunError
from nablafx_core.evaluation.record_test import record_test
from nablafx_core.mongo import artifacts
from nablafx_core.mongo.pushing import push
from nablafx_core.runs.observers import built_observers
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import RunRecord
from nablafx_core.runs.stock import fitted, main_figure
from nablafx_core.training.fit import train
from nablafx_core.training.resumable import resumable
from reference.mongo_server import database, running_server, url

pytestmark = pytest.mark.slow

__all__ = ["database", "running_server", "url"]  # fixtures

CONFIG = {"model": {"name": "lstm"}, "seed": 1}
BASE = {
    "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
    "model": {"name": "tcn", "num_blocks": 1, "channel_width": 2},
    "loss": ["l1"],
    "metrics": ["esr"],
    "train": {"max_steps": 2, "validate_every": 2, "accelerator": "cpu"},
}
HOOK = "https://hooks.slack.com/services/T0/B0/longsecret"
OUTCOMES = {"COMPLETED": None, "FAILED": ValueError, "INTERRUPTED": KeyboardInterrupt}


class Stranger(RunObserver):
    """Third-party observer with settings."""

    made: list[Stranger] = []  # noqa: RUF012 - the test looks at it

    def __init__(self, url: str, port: int = 80, labels: list[str] | None = None) -> None:
        self.url, self.port, self.labels, self.seen = url, port, labels, []
        Stranger.made.append(self)

    def started_event(self, _id, **_):
        if self.url == "down":
            raise ConnectionError(f"cannot reach {HOOK}: url: {HOOK.partition('.com')[2]}")
        self.seen.append(("started", _id))

    def completed_event(self, stop_time, result):
        self.seen.append(("completed", result))


class Chat(Stranger):
    """Subclass of a third-party observer."""


@pytest.fixture(autouse=True)
def nothing_stays_open():
    """Sacred's TinyDbObserver and MongoObserver close nothing."""
    yield
    Stranger.made.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def body_of(tmp_path, outcome, log, artifact, note):
    (tmp_path / "guitar.wav").write_bytes(b"sound" * 100)
    for step in range(3):
        log("loss", 1 / (step + 1), step)
    artifact(str(tmp_path / "guitar.wav"))
    note()
    if OUTCOMES[outcome] is not None:
        raise OUTCOMES[outcome]("it broke")


def ours(tmp_path, section, outcome, name="guitar.wav"):
    """Record with the observer that a section names; return the run's id."""

    def body(run):
        def artifact(path):
            run.artifact(path, name)

        run.summary({"validation/loss": 3.0, "test/esr": 0.25})
        body_of(tmp_path, outcome, run.log, artifact, lambda: run.set_info("chain", {"gain": 3.5}))

    observers = built_observers([section])
    try:
        record("train", CONFIG, tmp_path / "runs", body, run_id="20261130-amber-fjord-7k3q", observers=observers)
    except (ValueError, KeyboardInterrupt) as error:
        assert type(error) is OUTCOMES[outcome]  # noqa: PT017
    return "20261130-amber-fjord-7k3q"


def sacreds(tmp_path, observer, outcome, result=0.25):
    """Record with Sacred alone."""
    experiment = Experiment("nablafx", interactive=True, save_git_info=False)
    experiment.observers.append(observer)
    experiment.add_config(CONFIG)

    @experiment.main
    def train(_run):
        def artifact(path):
            _run.add_artifact(path, "guitar.wav")

        body_of(tmp_path, outcome, _run.log_scalar, artifact, lambda: _run.info.update(chain={"gain": 3.5}))
        return result

    logging.getLogger("nablafx").setLevel(logging.CRITICAL)
    try:
        return experiment.run(options={"--capture": "no", "--id": "sacreds"})._id
    except (ValueError, KeyboardInterrupt) as error:
        assert type(error) is OUTCOMES[outcome]  # noqa: PT017
        return "sacreds"


def facts_of_sql(path, run_id):
    observer = SqlObserver(f"sqlite:///{path}")
    from sacred.observers.sql_bases import Run

    with observer.session() as session:
        row = session.query(Run).filter_by(run_id=run_id).one()
        found = {
            "status": row.status,
            "result": row.result,
            "command": row.command,
            "config": json.loads(row.config),
            "info": {key: value for key, value in json.loads(row.info).items() if key != "result"},
            "artifacts": [(one.filename, one.content) for one in row.artifacts],
            "trace": (row.fail_trace or "").strip().rpartition("\n")[2],
            "ended": row.stop_time is not None and row.heartbeat is not None,
        }
    observer.session.remove()
    observer.engine.dispose()
    return found


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_sql_observer_records_a_run(tmp_path, outcome, caplog):
    pytest.importorskip("sqlalchemy")
    section = {"name": "sacred.observers:SqlObserver", "url": f"sqlite:///{tmp_path}/ours.db"}
    run_id = ours(tmp_path, section, outcome)
    sacreds_id = sacreds(tmp_path, SqlObserver(f"sqlite:///{tmp_path}/theirs.db"), outcome)
    mine, theirs = facts_of_sql(tmp_path / "ours.db", run_id), facts_of_sql(tmp_path / "theirs.db", sacreds_id)
    if outcome != "COMPLETED":  # Sacred has the result of a function that returned, we have what was known
        mine["result"] = None
    assert mine == theirs
    assert mine["status"] == outcome
    assert not caplog.records


def facts_in(folder):
    """Read the files of a FileStorageObserver, or of one with its layout."""
    entry = json.loads(folder["run.json"])
    metrics = json.loads(folder["metrics.json"])
    artifacts = {name: folder[name] for name in entry["artifacts"]}
    return {
        "entry": {key: entry.get(key) for key in ("status", "result", "command", "artifacts", "resources")},
        "trace": [line.strip() for line in entry.get("fail_trace", [])][-1:],
        "ended": entry["stop_time"] is not None and entry["heartbeat"] is not None,
        "config": json.loads(folder["config.json"]),
        "info": json.loads(folder["info.json"]),
        "metrics": {name: (one["steps"], one["values"]) for name, one in metrics.items()},
        "artifacts": artifacts,
    }


def read(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FIGURES = {"validation/loss": 3.0, "test/esr": 0.25}


def compared(mine, theirs, outcome):
    if outcome != "COMPLETED":
        assert mine["entry"].pop("result") == FIGURES
        assert theirs["entry"].pop("result") is None
    assert mine == theirs
    assert mine["entry"]["status"] == outcome


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_file_storage_observer_records_a_run(tmp_path, outcome, caplog):
    section = {"name": "sacred.observers:FileStorageObserver", "basedir": str(tmp_path / "ours")}
    run_id = ours(tmp_path, section, outcome)
    sacreds_id = sacreds(tmp_path, FileStorageObserver(tmp_path / "theirs"), outcome, FIGURES)
    mine, theirs = read(tmp_path / "ours" / run_id), read(tmp_path / "theirs" / sacreds_id)
    compared(facts_in(mine), facts_in(theirs), outcome)
    assert not caplog.records


def test_pictures_and_sounds_have_folders_in_a_file_storage(tmp_path, caplog):
    section = {"name": "sacred.observers:FileStorageObserver", "basedir": str(tmp_path / "ours")}
    run_id = ours(tmp_path, section, "COMPLETED", "audio/deep/guitar.wav")
    assert (tmp_path / "ours" / run_id / "audio" / "deep" / "guitar.wav").read_bytes() == b"sound" * 100
    assert not caplog.records


class Bucket(types.ModuleType):
    """Stand-in for boto3 with one bucket."""

    def __init__(self):
        super().__init__("boto3")
        self.stored: dict[str, bytes] = {}

    def resource(self, service, region_name):
        assert (service, region_name) == ("s3", "eu-west-1")
        return types.SimpleNamespace(Bucket=lambda name: self, Object=self.object)

    @property
    def objects(self):
        keys = [types.SimpleNamespace(key=key) for key in self.stored]
        return types.SimpleNamespace(filter=lambda Prefix: [one for one in keys if one.key.startswith(Prefix)])  # noqa: N803

    def object(self, bucket, key):
        def put(Body):  # noqa: N803
            with (
                Body
                if hasattr(Body, "read")
                else io.BytesIO(Body if isinstance(Body, bytes) else Body.encode()) as file
            ):
                self.stored[key] = file.read()

        return types.SimpleNamespace(put=put)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_s3_observer_records_a_run(tmp_path, outcome, caplog, monkeypatch):
    bucket = Bucket()
    monkeypatch.setitem(sys.modules, "boto3", bucket)
    section = {"name": "sacred.observers:S3Observer", "bucket": "lab-runs", "basedir": "ours", "region": "eu-west-1"}
    run_id = ours(tmp_path, section, outcome)
    from sacred.observers import S3Observer

    sacreds_id = sacreds(tmp_path, S3Observer("lab-runs", "theirs", region="eu-west-1"), outcome, FIGURES)

    def under(prefix):
        return {key.removeprefix(prefix): value for key, value in bucket.stored.items() if key.startswith(prefix)}

    compared(facts_in(under(f"ours/{run_id}/")), facts_in(under(f"theirs/{sacreds_id}/")), outcome)
    assert not caplog.records


@pytest.fixture
def closed_later():
    """Let go of the files that Sacred's TinyDbObserver leaves open, before another test is blamed for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_tinydb_observer_records_a_run(tmp_path, outcome, caplog, closed_later):
    pytest.importorskip("tinydb")
    pytest.importorskip("hashfs")
    from sacred.observers import TinyDbObserver, TinyDbReader

    section = {"name": "sacred.observers:TinyDbObserver", "path": str(tmp_path / "ours")}
    run_id = ours(tmp_path, section, outcome)
    sacreds_id = sacreds(tmp_path, TinyDbObserver(str(tmp_path / "theirs")), outcome, FIGURES)

    def facts(path, run_id):
        (found,) = [one for one in TinyDbReader(str(path)).runs.all() if one["_id"] == run_id]
        entry = {key: found.get(key) for key in ("status", "result", "command", "config", "info", "resources")}
        artifacts = [(name, handle.read()) for name, _, _, handle in found["artifacts"]]
        trace = [line.strip() for line in found.get("fail_trace", [])][-1:]
        return {"entry": entry, "trace": trace, "artifacts": artifacts, "ended": found["stop_time"] is not None}

    compared(facts(tmp_path / "ours", run_id), facts(tmp_path / "theirs", sacreds_id), outcome)
    assert not caplog.records


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize(("kind", "more"), [(MongoObserver, {}), (QueuedMongoObserver, {"interval": 0.05})])
def test_mongo_observer_of_sacred_records_a_run(
    tmp_path, outcome, kind, more, caplog, database, url, monkeypatch, capsys
):
    monkeypatch.setenv("LAB", url)
    name = f"sacred.observers:{kind.__name__}"
    run_id = ours(tmp_path, {"name": name, "url": "${LAB}", "db_name": database.name, **more}, outcome)
    assert not capsys.readouterr().out  # other output would corrupt an answer in JSON
    sacreds_id = sacreds(tmp_path, kind(url=url, db_name=database.name, **more), outcome, FIGURES)

    def facts(run_id):
        found = database.runs.find_one({"_id": run_id})
        metrics = {one["name"]: (one["steps"], one["values"]) for one in database.metrics.find({"run_id": run_id})}
        files = [(one["name"], gridfs.GridFS(database).get(one["file_id"]).read()) for one in found["artifacts"]]
        entry = {key: found.get(key) for key in ("status", "result", "command", "config", "resources", "format")}
        info = {**found["info"], "metrics": [one["name"] for one in found["info"]["metrics"]]}
        trace = [line.strip() for line in found.get("fail_trace", [])][-1:]
        return {"entry": entry, "info": info, "trace": trace, "metrics": metrics, "files": files}

    compared(facts(run_id), facts(sacreds_id), outcome)
    assert RunRecord.read(tmp_path / "runs" / run_id).info == {"chain": {"gain": 3.5}}  # Sacred adds metrics to it
    assert not caplog.records


@pytest.fixture
def posted(monkeypatch):
    """Collect the messages posted to Slack."""
    sent = []

    def post(url, data, headers):
        sent.append((url, json.loads(data)["text"]))

    monkeypatch.setattr(requests, "post", post)
    return sent


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_slack_observer_sends_messages(tmp_path, outcome, posted, monkeypatch):
    from sacred.observers import SlackObserver

    monkeypatch.setenv("SLACK", HOOK)
    ours(tmp_path, {"name": "sacred.observers:SlackObserver", "webhook_url": "${SLACK}"}, outcome)
    sacreds(tmp_path, SlackObserver(HOOK), outcome, FIGURES)
    (first, mine), (second, theirs) = posted
    assert first == second == HOOK
    assert mine == theirs


class Bot:
    """Bot of python-telegram-bot before version 20."""

    sent: list[tuple[str, dict]] = []  # noqa: RUF012

    def __init__(self, token, request=None):
        self.token = token

    def send_message(self, **message):
        self.sent.append((self.token, message))


class NewBot(Bot):
    """Bot whose methods are coroutines."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def send_message(self, **message):
        self.sent.append((self.token, message))


class OfflineBot(Bot):
    """Bot whose messages fail."""

    def send_message(self, **message):
        raise ConnectionError(f"no route to https://api.telegram.org/bot{self.token}/sendMessage")


def telegram(monkeypatch, bot):
    mode = types.SimpleNamespace(MARKDOWN="Markdown")
    module = types.ModuleType("telegram")
    module.Bot, module.constants = bot, types.SimpleNamespace(ParseMode=mode)
    if bot is not NewBot:
        module.ParseMode = mode
    monkeypatch.setitem(sys.modules, "telegram", module)
    monkeypatch.setenv("BOT", "123456:secret-token")
    Bot.sent.clear()
    return {"name": "sacred.observers:TelegramObserver", "token": "${BOT}", "chat_id": 7, "failed_text": "oh: {error}"}


@pytest.mark.parametrize("bot", [Bot, NewBot])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_telegram_observer_sends_messages(tmp_path, outcome, bot, monkeypatch):
    from sacred.observers import TelegramObserver

    ours(tmp_path, telegram(monkeypatch, bot), outcome)
    theirs = TelegramObserver(Bot("123456:secret-token"), 7)
    theirs.failed_text = "oh: {error}"
    sacreds(tmp_path, theirs, outcome, FIGURES)

    def without_times(message):
        return {**message, "text": message["text"].partition("started at")[0]}

    assert len(Bot.sent) == 4
    mine, plain = Bot.sent[:2], Bot.sent[2:]
    assert [(token, without_times(one)) for token, one in mine] == [(token, without_times(one)) for token, one in plain]


def test_an_unreachable_telegram_is_one_line_without_the_token(tmp_path, monkeypatch, caplog):
    ours(tmp_path, telegram(monkeypatch, OfflineBot), "COMPLETED")
    started, completed = caplog.records
    assert "failed to send start_event" in started.getMessage()
    assert started.exc_info is completed.exc_info is None
    assert "***" in caplog.text
    assert "secret-token" not in caplog.text


def test_observers_of_an_experiment_take_settings_and_are_told_of_training_and_test(tmp_path, monkeypatch):
    monkeypatch.setenv("PORT", "8080")
    stranger = {"name": f"{__name__}:Chat", "url": "http://lab", "port": "${PORT}", "labels": ["a", "${PORT}"]}
    track = {"runs_dir": str(tmp_path), "observers": ["sacred.observers:RunObserver", stranger]}
    result = train({**BASE, "track": track})
    (made,) = Stranger.made
    assert (made.url, made.port, made.labels) == ("http://lab", 8080, ["a", "8080"])
    assert [event for event, _ in made.seen] == ["started", "completed"]
    assert made.seen[1][1]["test/esr"] == result.test["esr"]
    written = RunRecord.read(result.folder).config["track"]["observers"]
    assert written == [
        {"name": "sacred.observers:RunObserver", "from_config": None},
        {**stranger, "from_config": None},
    ]
    record_test(result.folder, load_experiment([result.folder / "config.yaml"]))
    assert [event for event, _ in Stranger.made[1].seen] == ["started", "completed"]


@pytest.mark.parametrize(
    ("observer", "message"),
    [
        ("os:abort", "e.yaml:3: track.observers.0.name: 'os:abort' is not an observer"),
        ("sacred.observers:SqlObserver", "e.yaml:3: track.observers.0: SqlObserver needs the setting 'url'"),
        ("{name: sacred.observers:SqlObserver, uri: x}", "SqlObserver has no setting 'uri'. Did you mean 'url'?"),
        (
            "{name: reference.observers:Sized, size: many}",
            "e.yaml:3: track.observers.0.size: should be a valid integer",
        ),
        ("{name: sacred.observers:QueueObserver}", "Name the other observer itself"),
        ("{url: x}", "e.yaml:3: track.observers.0: an observer section needs a name"),
        (
            f"{{name: sacred.observers:SlackObserver, webhook_url: '{HOOK}'}}",
            "track.observers.0.webhook_url: this is a",
        ),
        (f"{{name: reference.observers:Any, url: '{HOOK}'}}", "track.observers.0.url: this is a secret"),
        (
            "{name: sacred.observers:TelegramObserver, chat_id: 1, token: x}",
            "track.observers.0.token: this is a secret",
        ),
        ("{name: sacred.observers:MongoObserver, url: 'mongodb://ada:pw@db'}", "this is a secret"),
        ("{name: reference.observers:Any, deep: [{api_key: x}]}", "track.observers.0.deep.0.api_key: this is a secret"),
    ],
)
def test_a_section_is_checked_as_others_are_and_no_secret_is_taken_or_shown(tmp_path, monkeypatch, observer, message):
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text(f"track:\n  observers:\n    - {observer}\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(["e.yaml"], sections=BASE)
    assert message in str(caught.value)
    assert "longsecret" not in str(caught.value)
    assert ":pw@" not in str(caught.value)


def test_naming_an_observer_of_sacred_logs_nothing():
    program = "from nablafx_core.registry.building import component_class; from nablafx_core.registry import Registry\n"
    program += "component_class(Registry.discover().find('observer', 'sacred.observers:RunObserver'))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout + said.stderr == ""


@pytest.mark.parametrize("way", ["variable", "file"])
def test_no_secret_is_written_and_the_run_can_be_resumed(tmp_path, monkeypatch, caplog, capfd, way, database):
    monkeypatch.setenv("HOOK", HOOK)
    (tmp_path / "own.yaml").write_text(f"url: {HOOK}\nport: 8080\n")
    by = {"url": "${HOOK}"} if way == "variable" else {"from_config": str(tmp_path / "own.yaml")}
    track = {"runs_dir": str(tmp_path / "runs"), "observers": [{"name": f"{__name__}:Stranger", **by}]}
    result = train({**BASE, "track": track}, run_id="20261130-amber-fjord-7k3q")
    assert Stranger.made[0].url == HOOK
    entry = json.loads((result.folder / "run.json").read_text())
    (result.folder / "run.json").write_text(json.dumps({**entry, "status": "INTERRUPTED"}))
    run_id, experiment = resumable(result.id, tmp_path / "runs")
    train(experiment, resume=run_id)
    assert Stranger.made[1].url == HOOK
    push(result.folder, database)
    everything = [path.read_bytes() for path in result.folder.rglob("*") if path.is_file()]
    everything += [repr(list(database[name].find({}))).encode() for name in ("runs", "metrics", "fs.files")]
    assert not any(b"longsecret" in one for one in everything)
    assert "longsecret" not in caplog.text + "".join(capfd.readouterr())


def test_the_warning_about_a_failed_observer_contains_no_secret(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOOK", HOOK)
    monkeypatch.setenv("URL", "down")
    section = {"name": f"{__name__}:Stranger", "url": "${URL}", "labels": ["${HOOK}"]}
    record("train", CONFIG, tmp_path, lambda run: None, observers=built_observers([section]))
    assert "observer Stranger failed (ConnectionError: cannot reach ***" in caplog.text
    assert "longsecret" not in caplog.text


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"name": f"{__name__}:Stranger", "url": "${NOT_SET_HERE}"},
            "track.observers.0.url: the environment variable NOT_SET",
        ),
        ({"name": f"{__name__}:Stranger", "url": "x", "port": "${WORD}"}, "track.observers.0.port: expected int."),
        ({"name": f"{__name__}:Stranger", "from_config": "none.yaml"}, "none.yaml cannot be read: No such file"),
        (
            {"name": f"{__name__}:Stranger", "from_config": "bad.yaml"},
            "bad.yaml:1: expected plain YAML or JSON.",
        ),
        ({"name": f"{__name__}:Stranger", "from_config": "list.json"}, "list.json: expected a mapping"),
        ({"name": f"{__name__}:Stranger", "from_config": "odd.json"}, "has no setting 'ulr'. Did you mean 'url'?"),
        ({"name": "sacred.observers:GoogleCloudStorageObserver", "bucket": "b", "basedir": "c"}, "bucket name"),
        ({"name": "sacred.observers:S3Observer", "bucket": "lab", "basedir": "c"}, "the module 'boto3'"),
    ],
)
def test_an_observer_that_cannot_be_built_is_an_error_before_the_run(tmp_path, monkeypatch, section, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORD", "verylongsecret")
    monkeypatch.setitem(sys.modules, "boto3", None)
    Path("bad.yaml").write_text("url: !!python/object:verylongsecret {}\n")
    Path("list.json").write_text('["verylongsecret"]')
    Path("odd.json").write_text('{"ulr": "verylongsecret"}')
    with pytest.raises(ConfigError) as caught:
        train({**BASE, "track": {"observers": [section]}})
    assert message in str(caught.value)
    assert "verylongsecret" not in str(caught.value)
    assert not Path("runs").exists()


def test_a_file_of_settings_that_executes_code_elsewhere_is_read_as_plain_data(tmp_path):
    """Sacred's own from_config unpickles and decodes objects."""
    (tmp_path / "own.json").write_text(json.dumps({"url": {"py/reduce": [{"py/type": "os.mkdir"}, [f"{tmp_path}/x"]]}}))
    with pytest.raises(ConfigError):
        built_observers([{"name": f"{__name__}:Stranger", "from_config": str(tmp_path / "own.json"), "port": "x"}])
    built_observers([{"name": "reference.observers:Any", "from_config": str(tmp_path / "own.json")}])
    assert not (tmp_path / "x").exists()


def test_each_start_of_a_run_is_a_run_for_sacreds_observers_and_one_run_for_others(tmp_path, caplog):
    sections = [
        {"name": "sacred.observers:FileStorageObserver", "basedir": str(tmp_path / "files")},
        {"name": f"{__name__}:Stranger", "url": "x"},
    ]

    def interrupted(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record("train", CONFIG, tmp_path / "runs", interrupted, run_id="one", observers=built_observers(sections))
    for _ in range(2):
        try:
            record(
                "train",
                CONFIG,
                tmp_path / "runs",
                interrupted if _ == 0 else lambda run: None,
                run_id="one",
                resume=True,
                observers=built_observers(sections),
            )
        except KeyboardInterrupt:
            continue
    statuses = {path.parent.name: json.loads(path.read_text())["status"] for path in tmp_path.glob("files/*/run.json")}
    assert statuses == {"one": "INTERRUPTED", "one-2": "INTERRUPTED", "one-3": "COMPLETED"}
    assert {one.seen[0][1] for one in Stranger.made} == {"one"}
    assert not caplog.records


def test_the_table_of_a_server_holds_24_letters_of_an_id():
    observer = SqlObserver.create_from(types.SimpleNamespace(dialect=types.SimpleNamespace(name="postgresql")), None)
    for start, expected in ((1, "luminous-kestrel-7k3q"), (2, "luminous-kestrel-7k3q-2")):
        found = fitted(observer, "started_event", {"_id": "20261130-luminous-kestrel-7k3q"}, start)["_id"]
        assert found == expected
        assert len(found) <= 24


def test_an_event_that_a_database_refuses_does_not_spoil_the_next(tmp_path, caplog):
    pytest.importorskip("sqlalchemy")
    section = {"name": "sacred.observers:SqlObserver", "url": f"sqlite:///{tmp_path}/ours.db"}
    (observer,) = built_observers([section])
    real = observer._observer.artifact_event

    def refused(**arguments):
        observer._observer.run.result = object()
        real(**arguments)

    observer._observer.artifact_event = refused
    (tmp_path / "a.txt").write_text("a")
    record(
        "train",
        CONFIG,
        tmp_path / "runs",
        lambda run: run.artifact(tmp_path / "a.txt"),
        run_id="one",
        observers=[observer],
    )
    assert facts_of_sql(tmp_path / "ours.db", "one")["status"] == "COMPLETED"
    assert "observer SqlObserver failed" in caplog.text


def test_the_main_figure_of_a_result():
    assert main_figure({"validation/loss": 1.0, "test/esr": 2.0, "test/mae": 3.0}) == 2.0
    assert main_figure({"trials": 3, "validation/loss": 1.0}) == 1.0
    assert main_figure({"test/esr": float("nan"), "validation/loss": 1}) == 1.0
    assert main_figure({"why": "x"}) is None


def test_a_password_in_a_variable_is_not_in_the_record(tmp_path):
    record("train", {"url": "mongodb://ada:${PW}@db"}, tmp_path, lambda run: None)
    with pytest.raises(RunError, match="password"):
        record("train", {"url": "mongodb://ada:${PW}secret@db"}, tmp_path, lambda run: None)


def test_files_in_mongodb_carry_their_content_type(tmp_path, database, monkeypatch):
    kinds = {
        "audio/a.wav": "audio/wav",
        "pictures/b.PNG": "image/png",
        "model.nfx": "application/zip",
        "test.json": "application/json",
        "odd": "application/octet-stream",
    }

    def body(run):
        for name in kinds:
            path = run.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(name)
            run.artifact(path)
        return run.folder

    sent = {}  # nx-27017 does not keep contentType

    def insert(collection, document):
        sent[document.get("_id")] = dict(document)
        insert_one(collection, document)

    insert_one = artifacts._insert
    monkeypatch.setattr(artifacts, "_insert", insert)
    folder = record("train", CONFIG, tmp_path, body)
    push(folder, database)
    for one in database.runs.find_one({"_id": folder.name})["artifacts"]:
        file = database["fs.files"].find_one({"_id": one["file_id"]})
        assert (sent[one["file_id"]]["contentType"], file["metadata"]["contentType"]) == (kinds[one["name"]],) * 2

"""The examples in the page about runs work."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import certifi
import click
import pytest

from nablafx_core.cli import cli
from nablafx_core.config import load_experiment
from nablafx_core.mongo.address import address_of
from nablafx_core.runs.observers import built_observers
from nablafx_core.runs.where import parse
from nablafx_core.sweep.sweep_file import read_sweep
from nablafx_core.sweep.trials import trials
from reference.places import ROOT

PAGE = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
PROFILE, OBSERVERS, TELEGRAM, SWEEP = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("nablafx ")
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_commands_have_the_options_of_the_page(words):
    command, context = cli, click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.get_command(context, words[0])
        assert command is not None, words[0]
        context, words = click.Context(command, parent=context), words[1:]
    assert command.make_context("nablafx", list(words), resilient_parsing=False).params
    if "--where" in words:
        assert parse(words[words.index("--where") + 1]) is not None


def test_the_page_has_commands():
    assert len(COMMANDS) > 10


def test_the_profile_of_the_page_is_a_valid_address(tmp_path, monkeypatch):
    monkeypatch.delenv("NABLAFX_MONGO_URL", raising=False)
    monkeypatch.setenv("NABLAFX_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "config.yaml").write_text(PROFILE.replace("~/", ""))
    shutil.copy(certifi.where(), tmp_path / "lab-ca.pem")
    (tmp_path / ".nablafx-password").write_text("secret")
    (tmp_path / ".nablafx-password").chmod(0o600)
    assert str(address_of()) == "lab db.lab/nablafx"


def test_the_observers_of_the_page_can_be_built(tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLACK_URL", "https://hooks.slack.com/services/a/b/c")
    bots = []
    fake = types.SimpleNamespace(Bot=lambda token, request: bots.append(token), ParseMode=None)
    monkeypatch.setitem(sys.modules, "telegram", fake)
    Path("observed.yaml").write_text(OBSERVERS)
    Path("telegram.yaml").write_text(TELEGRAM)
    sections = {"data": "reference.tiny:TanhDataset", "model": "tcn"}
    made = built_observers(load_experiment(["observed.yaml"], sections=sections).track.observers)
    assert [one._observer.priority for one in made] == [40, 20, 10, 10]
    assert (made[2]._observer.webhook_url[:8], bots) == ("https://", ["123456:the-token-of-your-bot"])


def test_the_sweep_of_the_page_can_be_drawn(tmp_path):
    (tmp_path / "muff.yaml").write_text(
        "data: {name: reference.tiny:TanhDataset, segment_length: 2048, batch_size: 2}\nmodel: {name: tcn}\n"
    )
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    assert len(trials(read_sweep(tmp_path / "sweep.yaml", ()))) == 20

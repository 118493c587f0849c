"""File names that are not UTF-8 work in settings, records, figures and answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import bson
import click
import matplotlib.image
import pytest
import soundfile
import torch
from click.testing import CliRunner

from nablafx_core.audio import reading as files
from nablafx_core.cli import cli
from nablafx_core.commands import answer
from nablafx_core.mongo.documents import storable
from nablafx_core.pictures.figure import picture
from nablafx_core.registry.settings import checked_value, settings_of
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import list_runs

ODD = "guitar \udcff\udc80 \u00e9 \U0001f3b8.wav"


class Takes:
    def __init__(self, path: str, paths: list[str], table: dict[str, str]) -> None: ...


def test_they_are_settings():
    path, paths, table = settings_of(Takes).values()
    assert checked_value(path, ODD) == ODD
    assert checked_value(paths, [ODD, "plain"]) == [ODD, "plain"]
    assert checked_value(table, {ODD: ODD}) == {ODD: ODD}


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_files_are_written_and_read_and_named(tmp_path):
    path = tmp_path / ODD
    files.write(path, torch.ones(1, 10), 48_000)
    assert files.probe(path).num_samples == 10
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(ODD)]
    with soundfile.SoundFile(os.fsencode(path)) as file:
        assert file.frames == 10
    with files.opened(path) as file, pytest.raises(files.DataError, match="samples 0 to 11") as error:
        files.read_piece(file, 0, 11)
    assert ODD in str(error.value)


@pytest.mark.pictures
def test_they_are_drawn(tmp_path):
    with picture(tmp_path / "a.png", 2) as figure:
        figure.suptitle(ODD.partition(" \u00e9")[0])
        figure.subplots().set_title("\udcff")
    assert matplotlib.image.imread(tmp_path / "a.png").shape[2] == 4


def test_they_are_json_that_gives_them_back():
    @click.command()
    def tell() -> None:
        answer({"path": ODD, "place": Path(ODD).name})

    told = CliRunner().invoke(tell).stdout
    told.encode()  # no lone surrogate is in it
    assert json.loads(told)["path"] == ODD


def test_a_run_is_shown_with_its_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (ODD, "plain.wav"):
        record("train", {"data": {"name": "pair", "wet": name}}, Path("runs"), lambda run: {})
    ids = [run.id for run in list_runs(Path("runs"))]
    assert {run.config["data"]["wet"] for run in list_runs(Path("runs"))} == {ODD, "plain.wav"}

    def told(*words):
        result = CliRunner().invoke(cli, ["runs", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert sorted(json.loads(told("compare", *ids, "--json"))["settings"]["data.wet"]) == [ODD, "plain.wav"]
    assert "plain.wav" in told("compare", *ids)
    for one in ids:
        assert "name: pair" in told("show", one)


def test_a_database_takes_them_as_text():
    assert bson.decode(bson.encode(storable({ODD: [ODD]})))["guitar \\udcff\\udc80 \u00e9 \U0001f3b8.wav"][
        0
    ].startswith("guitar")

"""`nablafx packs new` writes a pack that builds as a wheel, installs, keeps the laws and passes its own test."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from installing import Elsewhere
from nablafx_core.cli import cli
from nablafx_core.cli.new_pack import write_pack
from nablafx_core.errors import NablafxError


def test_a_new_pack_works(tmp_path):
    pack = write_pack("acme-fuzz", tmp_path / "pack")
    written = [path for path in pack.rglob("*") if path.is_file()]
    assert 0 < len(written) <= 8
    elsewhere = Elsewhere(tmp_path)
    elsewhere.install("nablafx_core", pack)
    provided = {row["name"]: row for row in json.loads(elsewhere.nablafx("packs", "--json"))}
    assert provided["nablafx-acme-fuzz"]["provides"] == {"models": ["drive"]}
    assert provided["nablafx-acme-fuzz"]["problems"] == provided["nablafx-acme-fuzz"]["warnings"] == []
    results = json.loads(elsewhere.nablafx("packs", "check", "acme-fuzz", "--json"))
    assert len(results) > 5 and all(result["failure"] is None for result in results)
    assert "gain" in elsewhere.nablafx("show", "acme-fuzz/drive", "--kind", "model")
    own = elsewhere.python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(pack / "tests"))
    assert own.returncode == 0, own.stdout
    assert "1 passed" in own.stdout


def test_the_command_says_what_is_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["packs", "new", "nablafx-acme"])
    assert result.stdout.strip() == "nablafx-acme"
    assert "pip install -e nablafx-acme" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"nablafx-acme"}
    with pytest.raises(NablafxError, match="there already"):
        write_pack("acme")


@pytest.mark.parametrize("name", ["Acme", "a b", "../x", "", "nablafx-", "1x", "a--b", "x-"])
def test_a_name_that_no_package_can_have(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NablafxError, match="cannot name a pack"):
        write_pack(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a file is no folder in another way there")
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NablafxError, match="cannot be written"):
        write_pack("acme", tmp_path / "file" / "pack")

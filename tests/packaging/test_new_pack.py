"""`nablafx packs new` writes a pack that can be built and installed, keeps the laws and passes its own test."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from installing import Elsewhere
from nablafx_core.cli import cli
from nablafx_core.cli.new_pack import write_pack
from nablafx_core.errors import NablafxError
from nablafx_core.registry import Registry
from nablafx_core.registry.kinds import KINDS
from nablafx_core.testing import check_pack

pytestmark = pytest.mark.slow


def test_new_packs_work(tmp_path):
    """Create a pack with the default model, and one with a component of every kind."""
    pack, whole = write_pack("acme-fuzz", tmp_path / "pack"), write_pack("whole", tmp_path / "whole", list(KINDS))
    written = [path for path in pack.rglob("*") if path.is_file()]
    assert 0 < len(written) <= 8
    elsewhere = Elsewhere(tmp_path)
    elsewhere.install("nablafx_core", pack, whole)
    provided = {row["name"]: row for row in json.loads(elsewhere.nablafx("packs", "--json"))}
    assert provided["nablafx-acme-fuzz"]["provides"] == {"models": ["drive"]}
    assert list(provided["nablafx-whole"]["provides"]) == [kind.plural for kind in KINDS.values()]
    for name in ("nablafx-acme-fuzz", "nablafx-whole"):
        assert provided[name]["problems"] == provided[name]["warnings"] == []
        results = json.loads(elsewhere.nablafx("packs", "check", name, "--json"))
        assert len(results) > 5 and {result["outcome"] for result in results} == {"holds"}
    assert {result["kind"] for result in results} == set(KINDS)
    elsewhere.nablafx("show", "whole/drive", "--kind", "bundle")
    assert "gain" in elsewhere.nablafx("show", "acme-fuzz/drive", "--kind", "model")
    own = elsewhere.python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(pack / "tests"))
    assert own.returncode == 0, own.stdout
    assert "1 passed" in own.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_of_each_kind_keeps_the_laws(kind, tmp_path, monkeypatch):
    pack = write_pack("alone", tmp_path / "pack", [kind])
    info = tmp_path / "pack" / "src" / "nablafx_alone-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nablafx-alone\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[nablafx]\nalone = nablafx_alone.plugin\n")
    monkeypatch.syspath_prepend(str(pack / "src"))
    monkeypatch.setenv("NABLAFX_PACKS", "alone")
    Registry.discover.cache_clear()
    try:
        results = check_pack("alone")
    finally:
        Registry.discover.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "nablafx_alone"]:
            del sys.modules[name]
    assert kind in {result.kind for result in results}
    assert {result.outcome for result in results} == {"holds"}


def test_the_command_writes_the_requested_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["packs", "new", "acme", "--kind", "loss", "--kind", "metric"])
    assert result.exit_code == 0
    made = {path.name for path in (tmp_path / "nablafx-acme").rglob("*.py")}
    assert made == {"__init__.py", "plugin.py", "treble.py", "error_db.py", "test_pack.py"}
    assert CliRunner().invoke(cli, ["packs", "new", "other", "--kind", "los"]).exit_code == 2


def test_the_command_prints_the_next_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["packs", "new", "nablafx-acme"])
    assert result.stdout.strip() == "nablafx-acme"
    assert "pip install -e nablafx-acme" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"nablafx-acme"}
    with pytest.raises(NablafxError, match="nablafx-acme exists"):
        write_pack("acme")


@pytest.mark.parametrize("name", ["Acme", "a b", "../x", "", "nablafx-", "1x", "a--b", "x-"])
def test_an_invalid_package_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NablafxError, match="is not a valid name"):
        write_pack(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a file is no folder in another way there")
def test_a_folder_that_cannot_be_created_gives_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NablafxError, match="cannot be written"):
        write_pack("acme", tmp_path / "file" / "pack")


@pytest.mark.parametrize(
    ("core", "requirement"),
    [("0.3.2", ">=0.3,<0.4"), ("1.0rc1", ">=1.0rc1,<1.1"), ("1.2.dev4+g1234", ">=1.2.dev4,<1.3")],
)
def test_a_new_pack_accepts_the_core_that_wrote_it(core, requirement, tmp_path, monkeypatch):
    monkeypatch.setattr("nablafx_core.cli.new_pack.version", lambda name: core)
    written = (write_pack("acme", tmp_path / "acme") / "pyproject.toml").read_text()
    assert f'"nablafx-core{requirement}"' in written

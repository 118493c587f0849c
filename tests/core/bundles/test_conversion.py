"""Importers and exporters: their selection, their settings, and the files left after a failure."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.cli import cli
from nablafx_core.errors import BundleError, ConfigError, ConversionError, NablafxError

pytestmark = pytest.mark.slow

PLUGIN = """
@hookimpl
def nablafx_importers():
    return [Component("echo", "acme_files:Reader", "Reads .echo and .ECO files")]

@hookimpl
def nablafx_exporters():
    return [Component("echo", "acme_files:Writer", "Writes .echo files")]
"""
FILES = """
import json
from pathlib import Path
import nablafx_core as nfx
from nablafx_core.errors import ConversionError
from nablafx_core.interfaces import Exporter, Importer

class Reader(Importer):
    suffixes = (".echo", ".ECO")

    def __init__(self, gives: str = "model", config: str | None = None):
        self.gives, self.config = gives, config

    def read(self, path):
        content = json.loads(path.read_text()) | (json.loads(Path(self.config).read_text()) if self.config else {})
        model = nfx.build("model", {"name": "reference.toys:Echo", "latency": content["latency"]})
        model.weight.data.fill_(content["weight"])
        return {"model": model, "a dict": {}, "nothing": None}[self.gives]

class Writer(Exporter):
    suffix = ".echo"

    def __init__(self, indent: int | None = None, fails: str = ""):
        self.indent, self.fails = indent, fails

    def write(self, model, path):
        assert not model.training and path.suffix == self.suffix
        if self.fails == "no folder":
            path.mkdir()
            path = path / "part"
        if self.fails != "writes nothing":
            path.write_text(json.dumps({"latency": model.latency, "weight": model.weight.item()}, indent=self.indent))
        if self.fails == "disk full":
            raise OSError(28, "No space left on device")
        if self.fails in ("half-way", "no folder"):
            raise ConversionError("an echo of 3 samples cannot be written")
"""


@pytest.fixture(autouse=True)
def _acme(install, tmp_path, monkeypatch):
    install.module("acme_files", FILES)
    install("nablafx-acme", PLUGIN)
    monkeypatch.chdir(tmp_path)


def echo(weight=0.75):
    model = nfx.build("model", {"name": "reference.toys:Echo", "latency": 2})
    model.weight.data.fill_(weight)
    return model.eval()


def run(*arguments):
    """Run the command line; return its output, or raise its error."""
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=True)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_export_and_import_by_the_command_line(tmp_path):
    """Convert a bundle to a file of another project and back, by the command line."""
    nfx_bundle = run("import", str(nfx.export_model(echo(), "a.echo")), "-o", "a.nfx").strip()
    assert nfx_bundle == "a.nfx"
    assert run("export", "a.nfx", "-o", "b.echo").strip() == "b.echo"
    assert (tmp_path / "b.echo").read_text() == (tmp_path / "a.echo").read_text()
    model = nfx.load("a.nfx")
    audio = torch.rand(1, 1, 50)
    assert torch.equal(model(audio)[0], echo()(audio)[0]) and not model.training
    assert json.loads(run("packs", "--json"))[1]["provides"] == {"importers": ["echo"], "exporters": ["echo"]}


def test_the_source_is_noted_in_the_bundle():
    nfx.export_model(echo(), "a.echo")
    run("import", "a.echo", "-o", "a.nfx")
    assert "imported: a.echo" in run("show", "a.nfx")


class TestWhichOne:
    @pytest.mark.parametrize("name", ["a.echo", "A.ECHO", "two.dots.eco"])
    def test_the_extension_selects_the_importer(self, name, tmp_path):
        (tmp_path / name).write_bytes(nfx.export_model(echo(), "whole.echo").read_bytes())
        model = nfx.import_model(name)
        assert model.latency == 2 and not model.training

    def test_an_unknown_extension_is_an_error(self, tmp_path):
        (tmp_path / "a.nam").write_text("{}")
        told = r"a.nam: no importers .*--format .*\n"
        with pytest.raises(ConversionError, match=told + "  nablafx-acme/echo   .echo .eco$"):
            run("import", "a.nam", "-o", "a.nfx")

    def test_an_ambiguous_extension_is_an_error(self, install):
        install("nablafx-clash", PLUGIN.replace("acme_files:Writer", "nablafx_clash:Other"))
        with pytest.raises(ConversionError, match=r"a.echo: 2 importers .*\n.*acme.*\n.*clash"):
            nfx.import_model(nfx.export_model(echo(), "a.echo"))

    def test_the_importer_that_accepts_the_file_is_chosen(self, install):
        other = "class Reader(Importer):\n    suffixes = '.echo'\n    def reads(self, path):\n        return False\n"
        install.module("other_files", "from nablafx_core.bundles.conversion import Importer\n" + other)
        install("nablafx-other", PLUGIN.replace("acme_files", "other_files"))
        nfx.export_model(echo(), "a.echo", "acme/echo")
        assert nfx.import_model("a.echo").latency == 2
        with pytest.raises(ConfigError, match="Reader has no setting 'gives'"):
            nfx.import_model("a.echo", "other/echo", gives="model")
        assert nfx.import_model("a.echo", gives="model").latency == 2

    def test_the_named_one_is_used(self, tmp_path):
        nfx.export_model(echo(), "a.echo").rename("a.json")
        run("import", "a.json", "-o", "a.nfx", "--format", "echo")
        assert nfx.load("a.nfx").weight.item() == 0.75
        with pytest.raises(ConfigError, match="No importer named 'eco'. Did you mean 'echo'?"):
            run("import", "a.json", "-o", "a.nfx", "--format", "eco")

    def test_a_broken_importer_is_not_chosen(self, install):
        install("nablafx-gone", PLUGIN.replace("acme_files", "no_such_module"))
        assert nfx.import_model(nfx.export_model(echo(), "a.echo")).latency == 2

    def test_an_error_says_that_no_exporter_is_installed(self, monkeypatch):
        monkeypatch.setenv("NABLAFX_PACKS", "")
        nfx.Registry.discover.cache_clear()
        with pytest.raises(ConversionError, match="a.echo: no exporters .*\n  no exporter is installed"):
            nfx.export_model(echo(), "a.echo")

    def test_a_string_is_accepted_as_one_extension(self, install):
        """A string is not treated as a list of letters."""
        install.module("loose", "class Reader:\n    suffixes = '.echoes'\n")
        install("nablafx-loose", PLUGIN.replace("acme_files", "loose"))
        assert nfx.import_model(nfx.export_model(echo(), "a.echo", "acme/echo")).latency == 2


class TestSettings:
    def test_settings_are_passed_to_the_importer(self, tmp_path):
        nfx.import_model(nfx.export_model(echo(), "a.echo"))
        run("import", "a.echo", "-o", "a.nfx")
        run("export", "a.nfx", "-o", "b.echo", "--set", "indent=3")
        assert '\n   "weight": 0.75' in (tmp_path / "b.echo").read_text()

    def test_the_path_of_a_description_is_passed_to_the_importer(self, tmp_path):
        """`--config` on the command line, a path in Python."""
        nfx.export_model(echo(), "a.echo")
        (tmp_path / "about.json").write_text('{"latency": 5}')
        run("import", "a.echo", "-o", "a.nfx", "--config", "about.json")
        assert nfx.load("a.nfx").latency == 5
        assert nfx.import_model("a.echo", config=tmp_path / "about.json").latency == 5

    @pytest.mark.parametrize(
        ("setting", "told"),
        [
            ("indnt=3", "exporter.indnt: Writer has no setting 'indnt'. Did you mean 'indent'?"),
            ("indent=wide", "exporter.indent: should be a valid integer.*not 'wide'. Expected: int | null"),
            ("indent", "--set indent: "),
        ],
    )
    def test_invalid_settings_are_rejected(self, setting, told, tmp_path):
        run("import", str(nfx.export_model(echo(), "a.echo")), "-o", "a.nfx")
        with pytest.raises(ConfigError, match=told):
            run("export", "a.nfx", "-o", "b.echo", "--set", setting)
        assert not (tmp_path / "b.echo").exists()


class TestImporting:
    def test_a_missing_file_is_an_error(self):
        for name in ("a.echo", "a" * 300 + ".echo"):
            with pytest.raises(ConversionError, match="there is no such file"):
                nfx.import_model(name)

    @pytest.mark.parametrize(("gives", "told"), [("a dict", "a dict"), ("nothing", "nothing")])
    def test_an_importer_that_does_not_return_a_model_is_an_error(self, gives, told):
        nfx.export_model(echo(), "a.echo")
        defect = f"a.echo: the importer 'nablafx-acme/echo' returned {told}, not a model"
        with pytest.raises(ConversionError, match=defect):
            nfx.import_model("a.echo", gives=gives)

    def test_a_bundle_that_cannot_be_written_is_an_error(self, tmp_path):
        nfx.export_model(echo(), "a.echo")
        with pytest.raises(BundleError, match="a.bundle: a bundle's name ends in .nfx"):
            run("import", "a.echo", "-o", "a.bundle")
        with pytest.raises(BundleError, match="cannot write the bundle"):
            run("import", "a.echo", "-o", "a.echo/a.nfx")
        assert [path.name for path in tmp_path.iterdir()] == ["a.echo"]


class TestExporting:
    @pytest.mark.parametrize(
        ("fails", "told"),
        [
            ("half-way", "an echo of 3 samples cannot be written"),
            ("no folder", "an echo of 3 samples cannot be written"),
            ("disk full", "a.echo: cannot be written: No space left on device"),
            ("writes nothing", "a.echo: the exporter 'nablafx-acme/echo' wrote no file"),
        ],
    )
    def test_a_failed_export_leaves_no_file_and_keeps_an_existing_one(self, fails, told, tmp_path):
        for before in ([], ["a.echo"]):
            with pytest.raises(ConversionError, match=told):
                nfx.export_model(echo(0.25), "a.echo", fails=fails)
            assert [path.name for path in tmp_path.iterdir()] == before
            nfx.export_model(echo(0.75), "a.echo")
        assert nfx.import_model("a.echo").weight.item() == 0.75

    def test_a_file_is_replaced(self):
        nfx.export_model(echo(0.25), "a.echo")
        assert nfx.import_model(nfx.export_model(echo(0.5), "a.echo")).weight.item() == 0.5

    def test_a_folder_or_a_missing_folder_is_an_error(self, tmp_path):
        (tmp_path / "folder.echo").mkdir()
        with pytest.raises(ConversionError, match="folder.echo: is an existing folder"):
            nfx.export_model(echo(), "folder.echo")
        with pytest.raises(ConversionError, match="no/a.echo: the folder no does not exist"):
            nfx.export_model(echo(), "no/a.echo")
        with pytest.raises(ConversionError, match="cannot be written: File name too long"):
            nfx.export_model(echo(), "a" * 300 + ".echo")
        assert [path.name for path in tmp_path.iterdir()] == ["folder.echo"]

    def test_a_missing_bundle_is_an_error(self):
        with pytest.raises(NablafxError, match="b.nfx"):
            run("export", "b.nfx", "-o", "b.echo")

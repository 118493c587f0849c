"""BaseExceptions of a pack, such as SystemExit, are failures of the pack without a traceback; a Ctrl-C is not."""

from __future__ import annotations

import io
import json
import signal
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import yaml

import nablafx_core as nfx
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.cli import main
from nablafx_core.errors import ConfigError
from nablafx_core.interrupts import is_interrupt, noted_interrupts
from nablafx_core.pack_code import PackFailure, contained
from nablafx_core.registry import Registry
from nablafx_core.runs.guard import Guarded
from nablafx_core.runs.records import list_runs
from nablafx_core.training.guarded import guarded
from reference.callbacks import Counting
from reference.panics import ERRORS, VARIABLE, Cancelled, PanicException

pytestmark = pytest.mark.slow

PLUGIN = """
def at(place):
    import os
    if os.environ.get("REFERENCE_PANIC", "").split()[:1] == [place]:
        from reference import panics
        panics.at(place)

at("import")

def of(name):
    return [Component(name.lower(), f"reference.panics:{name}", name)]

@hookimpl
def nablafx_models():
    at("hook")
    return of("Net")

@hookimpl
def nablafx_losses():
    return of("Far")

@hookimpl
def nablafx_datasets():
    return of("Files")

@hookimpl
def nablafx_importers():
    return of("Reader")

@hookimpl
def nablafx_exporters():
    return of("Writer")

@hookimpl
def nablafx_commands():
    return of("play")
"""


class Raising:
    def __init__(self, error):
        self.error = error

    def __call__(self, **_):
        raise self.error("boom")


ANY = pytest.mark.parametrize("error", ERRORS)


@pytest.fixture
def outcome(install, monkeypatch, capfd, tmp_path):
    """Call the command line while a component of nablafx-acme raises; return exit status, stdout and stderr."""
    install("nablafx-acme", PLUGIN)
    monkeypatch.chdir(tmp_path)

    def called(place, error, *arguments):
        monkeypatch.setenv(VARIABLE, f"{place} {error}")
        monkeypatch.setattr(sys, "argv", ["nablafx", *arguments])
        Registry.discover.cache_clear()
        sys.modules.pop("nablafx_acme", None)
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err + said.out
        return stopped.value.code, said.out, said.err

    return called


@ANY
@pytest.mark.parametrize("place", ["import", "hook"])
def test_a_base_exception_in_a_plugin_or_hook_makes_the_pack_broken(outcome, place, error):
    status, out, _ = outcome(place, error, "packs")
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith("broken ")]
    assert f"nablafx-acme: {'cannot import nablafx_acme' if place == 'import' else 'nablafx_models() failed'}" in line
    assert f": {error}: boom (" in line
    for arguments in (["--help"], ["list"], ["show", "l1"]):
        status, out, err = outcome(place, error, *arguments)
        assert (status, err) == (0, "") and out


def trained(outcome, tmp_path, place, error, **data):
    sections = {
        "data": {"name": "files", "segment_length": 2048, "batch_size": 2, **data},
        "model": {"name": "net"},
        "loss": ["far"],
        "metrics": ["esr"],
        "train": {"max_steps": 2, "validate_every": 2, "accelerator": "cpu", "threads": 1},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(sections))
    return outcome(place, error, "train", "e.yaml")


@ANY
@pytest.mark.parametrize(
    ("place", "what"), [("constructor", "model 'nablafx-acme/net'"), ("dataset", "dataset 'nablafx-acme/files'")]
)
def test_a_base_exception_in_a_constructor_is_an_error_about_settings(outcome, tmp_path, place, what, error):
    status, out, err = trained(outcome, tmp_path, place, error)
    assert (status, out) == (1, "")
    assert f"Error: {what} cannot be built from its settings: {error}: boom" in err


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("forward", "PanicException"),
        ("forward", "Cancelled"),
        ("loss", "GeneratorExit"),
        ("loss", "SystemExit"),
        ("read", "PanicException"),
    ],
)
def test_a_base_exception_in_a_training_step_fails_the_run(outcome, tmp_path, place, error):
    status, out, err = trained(outcome, tmp_path, place, error)
    assert (status, out) == (1, "")
    (message,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert f"{error}: boom" in message
    assert "Stopped." not in err
    runs = list_runs(tmp_path / "runs")
    assert [run.status for run in runs] == (
        [] if place == "loss" else ["FAILED"]
    )  # losses are evaluated once before a run begins


def test_a_base_exception_in_a_worker_process_is_reported(outcome, tmp_path):
    status, _, err = trained(outcome, tmp_path, "read", "PanicException", num_workers=1)
    assert status == 1
    assert "Error: a recording cannot be read: PanicException: boom" in err


@pytest.mark.parametrize("error", [PanicException, Cancelled, GeneratorExit])
def test_a_base_exception_in_an_observer_does_not_stop_the_run(caplog, error):
    observer = SimpleNamespace(priority=0, started_event=Raising(error))
    assert Guarded(observer).started_event(_id="a") is None
    guarded(Counting(error("boom")), "nablafx-acme").on_train_batch_end(None, None, None, None, 0)
    first, second = [record.getMessage() for record in caplog.records]
    assert f"observer SimpleNamespace failed ({error.__name__}: boom)" in first
    assert f"callback Counting failed in on_train_batch_end ({error.__name__}: boom" in second


@pytest.mark.parametrize("error", ["PanicException", "Cancelled", "GeneratorExit"])
@pytest.mark.parametrize("place", ["importer", "exporter", "command", "forward"])
def test_commands_name_the_pack_with_the_defect(outcome, tmp_path, place, error):
    (tmp_path / "a.acme").write_text("")
    save_bundle(nfx.build("model", "net"), tmp_path / "net.nfx")
    arguments = {
        "importer": ["import", "a.acme", "-o", "a.nfx"],
        "exporter": ["export", "net.nfx", "-o", "b.acme"],
        "command": ["play"],
        "forward": ["profile", "net.nfx"],
    }[place]
    status, _, err = outcome(place, error, *arguments)
    assert status == 1
    assert f"Error: {error}: boom" in err
    assert not (tmp_path / "b.acme").exists()


COMMAND = """
import click
@click.command()
def play():
    {}
@hookimpl
def nablafx_commands():
    return [Component("play", "nablafx_acme:play", "Play")]
"""


def played(install, monkeypatch, capsys, body):
    """Run a command whose code is this function; return status and output."""
    install("nablafx-acme", COMMAND.format(body), version="0.7")
    monkeypatch.setattr(sys, "argv", ["nablafx", "play"])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr().err.strip()


def test_an_error_is_reported_with_its_pack(install, monkeypatch, capsys):
    assert played(install, monkeypatch, capsys, "dict()['x']") == (
        1,
        "Error: KeyError: 'x' (nablafx_acme.py:8)\n"
        "This is a defect of nablafx-acme 0.7; run again with --traceback and report what it prints.",
    )


def test_control_characters_in_errors_are_replaced(install, monkeypatch, capsys):
    """Errors may quote untrusted files."""
    status, said = played(install, monkeypatch, capsys, r"raise ValueError('\x1b[2Jä\x07')")
    assert (status, said.split(" (")[0]) == (1, "Error: ValueError: \ufffd[2Jä\ufffd")


def test_a_base_exception_breaks_a_law(outcome):
    status, out, _ = outcome("loss", "PanicException", "packs", "check", "acme", "--json")
    assert status == 1
    broken = [row for row in json.loads(out) if row["component"] == "far" and row["outcome"] == "broken"]
    assert broken and all("PanicException: boom" in row["failure"] for row in broken)


def test_an_end_of_file_is_not_a_ctrl_c(install, monkeypatch, capsys):
    status, said = played(install, monkeypatch, capsys, "raise EOFError('Ran out of input')")
    assert status == 1
    assert said.startswith("Error: EOFError: Ran out of input")


def test_an_unanswered_prompt_stops_the_command(install, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with restored_interrupts():
        status, said = played(install, monkeypatch, capsys, "click.prompt('name')")
    assert (status, said) == (130, "Stopped.")


@contextmanager
def restored_interrupts():
    """Install Python's own handler, as in a terminal, and restore the previous one afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def exits_as_lightning_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise SystemExit(1)  # noqa: B904 - this is what Lightning does


def test_a_ctrl_c_passes_and_other_interrupts_are_failures():
    with restored_interrupts(), noted_interrupts():
        with pytest.raises(PackFailure), contained():
            raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt), contained():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit), contained():
            exits_as_lightning_does()
    assert is_interrupt(KeyboardInterrupt())
    assert not is_interrupt(Cancelled())
    assert not is_interrupt(PanicException())


def test_callers_from_python_get_an_error_of_nablafx(install, monkeypatch):
    install("nablafx-acme", PLUGIN)
    monkeypatch.setenv(VARIABLE, "constructor PanicException")
    with pytest.raises(ConfigError, match="PanicException: boom"):
        nfx.build("model", "net")

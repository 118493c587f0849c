"""A broken pack is listed with its problem and advice, and everything else works."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from click.testing import CliRunner

from nablafx_core.cli import cli, main
from nablafx_core.errors import RegistryError
from nablafx_core.registry import Registry
from nablafx_core.registry.diagnosis import otherwise
from reference.clock import Clock

pytestmark = pytest.mark.slow

GOOD = """
@hookimpl
def nablafx_models():
    return [Component("echo", "reference.toys:Echo", "An echo", {"latency": 2})]
"""
OTHERWISE = f" {otherwise('nablafx-bad')}"
REINSTALL = " Try: pip install --force-reinstall nablafx-bad; if that does not help, report it to the author."


def models(body: str) -> str:
    return f"@hookimpl\ndef nablafx_models():\n    {body}"


#: case: (source of the plugin module, more arguments of `install`, what its problem names: what, where, what to do)
BROKEN = {
    "a dependency that it declares is missing": (
        "import no_such_module",
        {"requires": ["No.Such-Module>=2,<3", "torch", "gone; python_version<'3'"]},
        ["nablafx_bad", "'no_such_module'", "pip install 'No.Such-Module<3,>=2'"],
    ),
    "a dependency of another name than its module's is missing": (
        "import no_such_module.part",
        {"requires": ["torch", "other-name"]},
        ["nablafx_bad", "'no_such_module'", "pip install 'other-name'"],
    ),
    "a dependency that it does not declare is missing": (
        "import no_such_module",
        {},
        ["nablafx_bad", "'no_such_module'", "pip install no_such_module", "author of nablafx-bad"],
    ),
    "a module of its own is missing": (
        "import nablafx_bad_extra\nimport nablafx_bad.part",
        {},
        ["nablafx_bad.part", REINSTALL],
    ),
    "its entry point names a module that is not there": (
        "",
        {"entry": "bad = nablafx_gone.plugin"},
        ["nablafx_gone.plugin", "no module nablafx_gone.", REINSTALL],
    ),
    "its entry point names an attribute that is not there": (
        "",
        {"entry": "bad = nablafx_bad:hooks.all"},
        ["nablafx_bad", "'hooks.all'", "entry point", OTHERWISE],
    ),
    "its entry point names nothing": (
        "",
        {"entry": "bad = a b"},
        ["entry point", "'bad = a b'", OTHERWISE],
    ),
    "it needs a newer core": (
        "",
        {"requires": ["nablafx_core>=9"]},
        ["nablafx-core>=9", "0.1.0", "pip install --upgrade nablafx-core"],
    ),
    "it needs a newer core and fails without": (
        "from nablafx_core.interfaces import Oracle",
        {"requires": ["nablafx-core >= 9"]},
        ["ImportError", "'Oracle'", "(nablafx_bad.py:4)", "nablafx-core>=9", "pip install --upgrade nablafx-core"],
    ),
    "it was made for an older core": (
        "",
        {"requires": ["nablafx-core>=0.0.1,<0.1"]},
        ["nablafx-core<0.1,>=0.0.1", "0.1.0", "pip install --upgrade nablafx-bad"],
    ),
    "it wants a module that this core does not have": (
        "import nablafx_core.oracle",
        {},
        ["'nablafx_core.oracle'", "(nablafx_bad.py:4)", "pip install --upgrade nablafx-core nablafx-bad"],
    ),
    "it is no Python": (
        "def (:",
        {},
        ["SyntaxError", "(nablafx_bad.py, line 4)", OTHERWISE],
    ),
    "it ends the program": (
        "raise SystemExit(3)",
        {},
        ["nablafx_bad", "SystemExit: 3", "(nablafx_bad.py:4)", OTHERWISE],
    ),
    "an error without words": (
        "raise RuntimeError",
        {},
        ["nablafx_bad", "RuntimeError (nablafx_bad.py:4)", OTHERWISE],
    ),
    "a hook raises": (
        models("raise KeyError('x')"),
        {},
        ["nablafx_models()", "KeyError: 'x' (nablafx_bad.py:6)", OTHERWISE],
    ),
    "a hook refuses": (
        "from nablafx_core import NablafxError\n" + models("raise NablafxError('no')"),
        {},
        ["nablafx_models()", "NablafxError: no (nablafx_bad.py:7)", OTHERWISE],
    ),
    "a hook ends the program": (
        models("raise SystemExit"),
        {},
        ["nablafx_models()", "SystemExit (nablafx_bad.py:6)", OTHERWISE],
    ),
    "a hook fails half-way": (
        models("yield Component('a', 'b:C', '')\n    raise OSError('disk')"),
        {},
        ["nablafx_models()", "OSError: disk (nablafx_bad.py:7)", OTHERWISE],
    ),
    "a hook returns a number": (
        models("return 5"),
        {},
        ["nablafx_models()", "TypeError", "'int'", OTHERWISE],
    ),
    "a hook returns tuples": (
        models("return [('tcn', 'a:B')]"),
        {},
        ["nablafx_models()", "Component", "('tcn', 'a:B')", OTHERWISE],
    ),
    "a name with a slash": (
        models("return [Component('a/b', 'a:B', '')]"),
        {},
        ["nablafx_models()", "'a/b'", "'/'", "':'", OTHERWISE],
    ),
    "a target that is a class": (
        models("return [Component('a', dict, '')]"),
        {},
        ["nablafx_models()", "'a'", "target <class 'dict'>", "string", OTHERWISE],
    ),
    "no summary": (
        models("return [Component('a', 'a:B', None)]"),
        {},
        ["nablafx_models()", "'a'", "summary None", "string", OTHERWISE],
    ),
    "an example that is a list": (
        models("return [Component('a', 'a:B', '', [1])]"),
        {},
        ["nablafx_models()", "'a'", "example [1]", "mapping", OTHERWISE],
    ),
    "a name twice": (
        models("return [Component('a', 'a:B', ''), Component('a', 'a:C', '')]"),
        {},
        ["nablafx_models()", "'a'", "twice", OTHERWISE],
    ),
    "a hook with other arguments": (
        "@hookimpl\ndef nablafx_models(config):\n    return []",
        {},
        ["'nablafx_bad'", "nablafx_models(config)", OTHERWISE],
    ),
    "a command that cannot be imported": (
        "@hookimpl\ndef nablafx_commands():\n    return [Component('strum', 'nablafx_gone:strum', 'Strum')]",
        {},
        [],
    ),
}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN)
def problem(request, install, monkeypatch):
    """Install the broken pack nablafx-bad beside nablafx-acme; return what its problem names, nothing without one."""
    source, arguments, named = request.param
    install.module("nablafx_bad_extra", "")
    install("nablafx-bad", source, **arguments)
    install("nablafx-acme", GOOD)
    return named


def names_all(lines: list[str], start: str, named: list[str]) -> bool:
    """Return whether one line begins so and names all of these; without names, whether there is no line."""
    if not named:
        return lines == []
    return len(lines) == 1 and lines[0].startswith(start) and all(name in lines[0] for name in named)


def outcome(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["nablafx", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return int(stopped.value.code), said.out, said.err


def test_a_broken_pack_is_reported_and_everything_else_works(problem, monkeypatch, capsys):
    status, out, err = outcome(monkeypatch, capsys, "packs")
    assert (status, err) == (0, "")
    told = [line for line in out.splitlines() if line.startswith("broken ")]
    assert names_all(told, "broken  nablafx-bad: ", problem), told
    for arguments in (["--help"], ["list"], ["list", "models"], ["show", "echo"], ["packs", "--json"]):
        status, out, err = outcome(monkeypatch, capsys, *arguments)
        assert (status, err) == (0, ""), arguments
        assert "echo" in out or arguments == ["--help"]
    status, out, _ = outcome(monkeypatch, capsys, "packs", "check", "acme", "--json")
    assert status == 0
    assert {row["component"] for row in json.loads(out)} == {"echo"}


def test_the_error_for_an_unknown_name_has_the_problems_of_packs(problem):
    Registry.discover().collect_all()
    with pytest.raises(RegistryError) as error:
        Registry.discover().find("model", "ladder")
    lines = str(error.value).splitlines()
    assert lines[0] == "No model named 'ladder'."
    assert names_all(lines[2:], "  broken pack nablafx-bad 1.0: ", problem), lines


def test_unreadable_entry_points_do_not_hide_other_packs(install, monkeypatch, capsys):
    install("nablafx-acme", GOOD)
    install("nablafx-bad", "")
    install("innocent", "")
    for name in ("nablafx_bad", "innocent"):
        text = "[nablafx]\nno equals sign\n" if name == "nablafx_bad" else "[console_scripts]\nno equals sign\n"
        (install.folder / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(text)
    packs = {pack.name: pack for pack in Registry.discover().packs}
    assert {"nablafx-core", "nablafx-acme", "nablafx-bad"} == set(packs)
    (problem,) = packs["nablafx-bad"].problems
    assert problem.startswith("its entry_points.txt cannot be read (") and problem.endswith(OTHERWISE)
    assert Registry.discover().find("model", "echo")


def test_a_pack_that_is_twice_on_the_path_counts_once_beside_a_damaged_one(install, monkeypatch, tmp_path):
    install("nablafx-acme", GOOD)
    install("innocent", "")
    (install.folder / "innocent-1.0.dist-info" / "entry_points.txt").write_text("[x]\nno equals sign\n")
    shutil.copytree(install.folder / "nablafx_acme-1.0.dist-info", tmp_path / "nablafx_acme-0.9.dist-info")
    (tmp_path / "nablafx_acme-0.9.dist-info" / "entry_points.txt").write_text("[nablafx]\nacme = nablafx_old\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (pack,) = [pack for pack in Registry.discover().packs if pack.name == "nablafx-acme"]
    assert (pack.version, pack.problems) == ("1.0", [])


def test_other_hooks_of_a_pack_work_when_one_fails(install):
    install("nablafx-acme", GOOD + "\n@hookimpl\ndef nablafx_losses():\n    raise ValueError('no')\n")
    Registry.discover().collect_all()
    entry = Registry.discover().find("model", "echo")
    assert entry.component.summary == "An echo"
    (problem,) = entry.pack.problems
    assert problem.startswith("nablafx_losses() failed: ValueError: no (nablafx_acme.py:11).")


def test_the_error_of_a_component_says_that_core_is_too_old(install):
    install(
        "nablafx-acme",
        models("return [Component('new', 'nablafx_acme_new:New', '')]"),
        requires=["nablafx-core>=9"],
    )
    install.module("nablafx_acme_new", "from nablafx_core.oracle import Oracle")
    with pytest.raises(RegistryError) as error:
        Registry.discover().find("model", "new").load()
    assert str(error.value) == (
        "model 'new' of nablafx-acme 1.0 cannot be imported from nablafx_acme_new:New: ModuleNotFoundError: No module "
        "named 'nablafx_core.oracle' (nablafx_acme_new.py:1). It needs nablafx-core>=9, but 0.1.0 is installed. "
        "Try: pip install --upgrade nablafx-core"
    )


@pytest.mark.parametrize("more", ["", "raise ValueError"])
def test_every_command_reports_a_slow_import(install, monkeypatch, capsys, more):
    monkeypatch.setattr("nablafx_core.registry.packs.time", Clock())
    install("nablafx-slow", "from nablafx_core.registry import packs\npacks.time.seconds += 3\n" + more)
    install("nablafx-acme", GOOD)
    for arguments in (["list"], ["--help"], ["packs"]):
        Registry.discover.cache_clear()
        sys.modules.pop("nablafx_slow", None)
        _, out, err = outcome(monkeypatch, capsys, *arguments)
        assert err == (
            "nablafx-slow took 3.0 s to import, which delays every command. To leave it out: NABLAFX_PACKS=acme\n"
        )
        assert out


def test_no_message_advises_to_leave_out_core(install, monkeypatch, capsys):
    install("nablafx-acme", GOOD)
    monkeypatch.setattr("nablafx_core.registry.discovery.VERY_SLOW_SECONDS", -1.0)
    Registry.discover()
    assert re.findall("^[a-z-]+", capsys.readouterr().err, re.MULTILINE) == ["nablafx-acme"]


def test_output_of_a_pack_goes_to_stderr(install):
    install(
        "nablafx-loud",
        "print('at import')\n@hookimpl\ndef nablafx_models():\n    print('in a hook')\n    return []",
    )
    result = CliRunner().invoke(cli, ["packs", "--json"])
    assert {pack["name"] for pack in json.loads(result.stdout)} == {"nablafx-core", "nablafx-loud"}
    assert result.stderr == "at import\nin a hook\n"

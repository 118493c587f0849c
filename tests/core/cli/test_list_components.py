"""Help and lists import nothing heavy, and show installed components and broken packs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from nablafx_core.cli import cli, main
from nablafx_core.registry.diagnosis import otherwise

HEAVY = {
    "torch",
    "lightning",
    "sacred",
    "numba",
    "numpy",
    "scipy",
    "pydantic",
    "pymongo",
    "matplotlib",
    "soundfile",
}
PROGRAM = """
import sys
from nablafx_core.cli import main
try:
    main()
finally:
    print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""
MODELS = """
@hookimpl
def nablafx_models():
    return [Component("ladder", "nablafx_acme_ladder:Ladder", "4-pole ladder")]
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["packs"],
        ["packs", "--json"],
        ["list"],
        ["list", "presets"],
        ["train", "--help"],
        ["profile", "--help"],
    ],
)
def test_help_and_lists_import_nothing_heavy(arguments):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


def answered(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_packs_are_listed_with_components_and_problems(install):
    install("nablafx-acme", MODELS + "@hookimpl\ndef nablafx_modles():\n    return []\n", version="0.2")
    install("nablafx-bad", "raise SystemExit(1)", version="0.3")
    lines = answered("packs").splitlines()
    assert [line.split() for line in lines if line.startswith(("nablafx-acme", "nablafx-bad"))] == [
        ["nablafx-acme", "0.2", "1", "model"],
        ["nablafx-bad", "0.3", "nothing"],
    ]
    problem = f"cannot import nablafx_bad: SystemExit: 1 (nablafx_bad.py:4). {otherwise('nablafx-bad')}"
    assert f"broken  nablafx-bad: {problem}" in lines
    assert "warning nablafx-acme: this core has no hook 'nablafx_modles'; did you mean 'nablafx_models'?" in lines
    described = {pack["name"]: pack for pack in json.loads(answered("packs", "--json"))}
    assert described["nablafx-acme"]["provides"] == {"models": ["ladder"]}
    assert described["nablafx-bad"]["problems"] == [problem]


def test_a_list_has_name_pack_and_summary(install):
    install("nablafx-acme", MODELS)
    (line,) = [line for line in answered("list", "models").splitlines() if line.startswith("ladder")]
    assert line.split(maxsplit=2) == ["ladder", "nablafx-acme", "4-pole ladder"]
    (item,) = [item for item in json.loads(answered("list", "model", "--json")) if item["name"] == "ladder"]
    assert item == {
        "kind": "model",
        "name": "ladder",
        "pack": "nablafx-acme",
        "target": "nablafx_acme_ladder:Ladder",
        "summary": "4-pole ladder",
        "experimental": False,
    }
    assert answered("list", "embeddings").strip() == "No embeddings."
    assert answered("list", "embeddings", "--json").strip() == "[]"


def test_a_name_of_two_packs_is_listed_with_its_pack(install):
    install("nablafx-acme", MODELS)
    install("nablafx-clash", MODELS)
    names = {item["name"] for item in json.loads(answered("list", "models", "--json"))}
    assert {"nablafx-acme/ladder", "nablafx-clash/ladder"} <= names
    assert "ladder" not in names


def test_show_has_settings_with_types_defaults_and_documentation(install):
    install("nablafx-acme", MODELS)
    install.module(
        "nablafx_acme_ladder",
        '''
        class Ladder:
            """A ladder.

            y = x

            Args:
                poles: how many.
                sample_rate: in Hz.
            """
            def __init__(self, poles: int, sample_rate: int = 48000, mix: float | None = None): ...
        ''',
    )
    text = answered("show", "ladder")
    assert text.startswith(
        "model ladder: 4-pole ladder\n  from nablafx-acme 1.0, nablafx_acme_ladder:Ladder\n\nA ladder.\n\ny = x"
    )
    assert [line.split() for line in text.splitlines()[-3:]] == [
        ["poles", "int", "required", "how", "many."],
        ["sample_rate", "int", "from", "the", "data", "in", "Hz."],
        ["mix", "float", "|", "null", "=", "null"],
    ]
    described = json.loads(answered("show", "acme/ladder", "--json"))
    assert described["settings"][0] == {"name": "poles", "type": "int", "required": True, "doc": "how many."}
    assert described["settings"][2] == {
        "name": "mix",
        "type": "float | null",
        "default": None,
        "required": False,
        "doc": "",
    }


COMMAND = '''
import click

@click.command()
def play():
    """Play."""
    click.echo("{name} plays")

@hookimpl
def nablafx_commands():
    return [Component("{command}", "{module}:play", "Play through {name}")]
'''


def test_packs_add_commands_that_are_imported_when_called(install):
    install("nablafx-acme", COMMAND.format(name="acme", command="play", module="nablafx_acme"))
    install("nablafx-bolt", COMMAND.format(name="bolt", command="strum", module="no_such_module"))
    text = answered("--help")
    assert "Play through acme" in text
    assert "Play through bolt" in text
    assert answered("play") == "acme plays\n"


def test_a_command_of_two_packs_is_named_with_its_pack(install, monkeypatch, capsys):
    for name in ("acme", "bolt"):
        install(f"nablafx-{name}", COMMAND.format(name=name, command="play", module=f"nablafx_{name}"))
    assert "nablafx-acme/play" in answered("--help")
    assert answered("nablafx-bolt/play") == "bolt plays\n"
    assert outcome(monkeypatch, capsys, "play") == (
        1,
        "Error: command 'play' is provided by 2 packs. Write the one you mean:\n"
        "  nablafx-acme/play   nablafx_acme:play\n"
        "  nablafx-bolt/play   nablafx_bolt:play\n",
    )


def test_a_pack_does_not_replace_a_command_of_core(install):
    install("nablafx-acme", COMMAND.format(name="acme", command="packs", module="nablafx_acme"))
    assert answered("packs").startswith("PACK")
    assert answered("nablafx-acme/packs") == "acme plays\n"


def outcome(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Return the exit status and the text on stderr."""
    monkeypatch.setattr(sys, "argv", ["nablafx", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["packs"], 0, ""),
        (["list", "modles"], 1, "Error: There is no kind 'modles'. Kinds: models, "),
        (["show", "ladr"], 1, "Error: Nothing is named 'ladr'. Did you mean 'ladder'? "),
        (["show", "ladder", "--kind", "loss"], 1, "Error: No loss named 'ladder'."),
        (["show", "a.b:C"], 1, "Error: 'a.b:C' is an import path. Add --kind"),
        (
            ["show", "ladder"],
            1,
            "Error: model 'ladder' of nablafx-acme 1.0 cannot be imported from nablafx_acme_ladder:Ladder",
        ),
        (["no-such-command"], 2, "No such command 'no-such-command'"),
        (["list", "--no-such-option"], 2, "No such option"),
        (["list", "a", "b"], 2, "unexpected extra argument"),
        (["config", "gone.yaml"], 1, "Error: gone.yaml: cannot read the experiment: No such file or directory."),
    ],
)
def test_exit_status_and_words(install, monkeypatch, capsys, arguments, status, text):
    install("nablafx-acme", MODELS)
    code, said = outcome(monkeypatch, capsys, *arguments)
    assert code == status
    assert text in said
    assert "Traceback" not in said


def test_the_error_for_an_unknown_command_lists_broken_packs(install, monkeypatch, capsys):
    install("nablafx-bad", "raise OSError('no libfoo')")
    assert (
        "broken pack nablafx-bad 1.0: cannot import nablafx_bad: OSError: no libfoo"
        in outcome(monkeypatch, capsys, "show", "ladder")[1]
    )


def test_a_defect_is_one_line_and_a_traceback_on_request(install, monkeypatch, capsys):
    install("nablafx-acme", MODELS)
    monkeypatch.setattr("nablafx_core.cli.packs._described", lambda pack: 1 / 0)
    code, said = outcome(monkeypatch, capsys, "packs", "--json")
    assert code == 1
    assert said.startswith("Error: ZeroDivisionError: division by zero\nThis is a defect; run again with --traceback")
    monkeypatch.setattr(sys, "argv", ["nablafx", "packs", "--json", "--traceback"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_packs_check_of_a_pack_that_is_not_installed():
    assert "No pack named" in str(CliRunner().invoke(cli, ["packs", "check", "nope"]).exception)


def test_experimental_components_are_marked(install):
    install(
        "nablafx-acme",
        """
        from nablafx_core import Model

        class New(Model):
            pass

        @hookimpl
        def nablafx_models():
            return [Component("new", "nablafx_acme:New", "A new model", experimental=True)]
        """,
    )
    assert "(experimental) A new model" in CliRunner().invoke(cli, ["list", "models"]).stdout
    listed = json.loads(CliRunner().invoke(cli, ["list", "models", "--json"]).stdout)
    assert [one["experimental"] for one in listed] == [False, True]
    assert "experimental: its settings" in CliRunner().invoke(cli, ["show", "new"]).stdout

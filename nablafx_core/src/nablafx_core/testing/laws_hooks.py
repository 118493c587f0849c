"""The laws of what extends the program itself: commands, and callbacks of trainings."""

from __future__ import annotations

import click
from click.testing import CliRunner
from lightning import Callback

from nablafx_core.causes import cause
from nablafx_core.config import load_experiment
from nablafx_core.registry.packs import Pack
from nablafx_core.testing.subject import LawBroken
from nablafx_core.testing.tiny import tiny_sections


def command_has_help(command: click.Command, package: str = "") -> int:
    """``--help`` writes a text and ends with status 0.

    Returns:
        Lines of help.
    """
    result = CliRunner().invoke(command, ["--help"], prog_name="nablafx")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise LawBroken(f"--help raised {cause(result.exception, package)}. Help must need nothing.")
    if result.exit_code != 0 or not command.help:
        what = (
            f"ends with status {result.exit_code}; 0 is due" if result.exit_code else "says nothing about the command"
        )
        raise LawBroken(f"--help {what}. Write a docstring, and do the work in the function's body only.")
    return len(result.output.splitlines())


def callbacks_are_callbacks(pack: Pack) -> int:
    """``nablafx_callbacks`` takes the config of a valid experiment and returns Lightning callbacks.

    Returns:
        How many.
    """
    config = load_experiment(sections=tiny_sections()).config
    known = len(pack.problems)
    found = pack.call("nablafx_callbacks", config=config)
    if pack.problems[known:]:
        raise LawBroken(" ".join(pack.problems[known:]))
    wrong = [callback for callback in found if not isinstance(callback, Callback)]
    if wrong:
        raise LawBroken(
            f"it returned {type(wrong[0]).__name__}: {wrong[0]!r:.60}; only lightning.Callback is due. Derive it from "
            "that, or return an empty list."
        )
    return len(found)

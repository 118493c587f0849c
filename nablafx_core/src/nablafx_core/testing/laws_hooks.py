"""Laws of commands and of callbacks of trainings."""

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
    """Check that ``--help`` prints a text and exits with status 0.

    Returns:
        The number of lines of the help text.
    """
    result = CliRunner().invoke(command, ["--help"], prog_name="nablafx")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise LawBroken(f"--help raised {cause(result.exception, package)}. Help must not depend on anything.")
    if result.exit_code != 0 or not command.help:
        what = (
            f"exits with status {result.exit_code}; expected 0" if result.exit_code else "does not describe the command"
        )
        raise LawBroken(f"--help {what}. Write a docstring, and do the work only in the function's body.")
    return len(result.output.splitlines())


def callbacks_are_callbacks(pack: Pack) -> int:
    """Check that ``nablafx_callbacks`` accepts the config of a valid experiment and returns Lightning callbacks.

    Returns:
        The number of callbacks.
    """
    config = load_experiment(sections=tiny_sections()).config
    known = len(pack.problems)
    found = pack.call("nablafx_callbacks", config=config)
    if pack.problems[known:]:
        raise LawBroken(" ".join(pack.problems[known:]))
    wrong = [callback for callback in found if not isinstance(callback, Callback)]
    if wrong:
        raise LawBroken(
            f"it returned {type(wrong[0]).__name__}: {wrong[0]!r:.60}; expected only lightning.Callback. Derive it "
            "from that, or return an empty list."
        )
    return len(found)

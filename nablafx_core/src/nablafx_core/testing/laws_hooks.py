"""Laws of commands, and of the hook ``nablafx_callbacks``, which adds callbacks to trainings."""

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
    """Check that ``--help`` of a command exits with status 0, and that the command has a description.

    Args:
        command: command to check.
        package: top-level package of its code; the message names the line of it that raised. Empty for none.

    Returns:
        The number of lines of the help text.

    Raises:
        LawBroken: if ``--help`` raises or exits with another status, or the description is missing.
    """
    result = CliRunner().invoke(command, ["--help"], prog_name="nablafx")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise LawBroken(
            f"--help raised {cause(result.exception, package)}. Printing the help must not depend on files, servers or "
            "optional packages."
        )
    if result.exit_code != 0 or not command.help:
        what = (
            f"exits with status {result.exit_code}; expected 0" if result.exit_code else "does not describe the command"
        )
        raise LawBroken(f"--help {what}. Write a docstring, and do the work only in the function's body.")
    return len(result.output.splitlines())


def callbacks_are_callbacks(pack: Pack) -> int:
    """Check that ``nablafx_callbacks`` of a pack accepts the config of a valid experiment and returns only callbacks.

    Returns:
        The number of callbacks.

    Raises:
        LawBroken: if the hook fails, or returns something else than instances of lightning.Callback.
        NablafxError: if the hook raises it.
    """
    config = load_experiment(sections=tiny_sections()).config
    known = len(pack.problems)
    found = pack.call("nablafx_callbacks", config=config)
    if pack.problems[known:]:
        raise LawBroken(" ".join(pack.problems[known:]))
    wrong = [callback for callback in found if not isinstance(callback, Callback)]
    if wrong:
        raise LawBroken(
            f"nablafx_callbacks returned {type(wrong[0]).__name__}: {wrong[0]!r:.60}; expected a list of instances of "
            "lightning.Callback. Derive the class from lightning.Callback, or return an empty list."
        )
    return len(found)

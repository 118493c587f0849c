"""The command line. Commands are imported when they are called, so that help and lists appear without delay."""

from __future__ import annotations

import errno
import importlib
import io
import re
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import click

from nablafx_core.errors import NablafxError
from nablafx_core.interrupts import noted_interrupts

if TYPE_CHECKING:
    from nablafx_core.registry import Entry

#: name: (module:attribute, one line for the list of commands)
COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": (
        "nablafx_core.cli.quickstart:quickstart",
        "Simulate an effect, train and test a model of it, render audio.",
    ),
    "train": ("nablafx_core.cli.train:train", "Train a model from an experiment file or two recordings."),
    "sweep": ("nablafx_core.cli.sweep:sweep", "Train with many settings and compare them."),
    "test": ("nablafx_core.cli.test:test", "Score a trained model on whole recordings."),
    "render": ("nablafx_core.cli.render:render", "Process audio files with a trained model."),
    "profile": ("nablafx_core.cli.profile:profile", "Measure the cost of a model: size, arithmetic, memory, time."),
    "import": ("nablafx_core.cli.import_model:import_command", "Convert a model file of another project to a bundle."),
    "export": ("nablafx_core.cli.export_model:export_command", "Write a trained model as a file of another project."),
    "runs": ("nablafx_core.cli.runs:runs", "List, compare, tag, prune and fetch recorded runs."),
    "config": ("nablafx_core.cli.config:config", "Print an experiment, checked, with all defaults."),
    "data": ("nablafx_core.cli.data:data", "Show the recordings of a dataset."),
    "packs": ("nablafx_core.cli.packs:packs", "List installed packs and their problems."),
    "list": ("nablafx_core.cli.list_components:list_components", "List components of a kind, such as models."),
    "show": ("nablafx_core.cli.show:show", "Show a component, a section, or a trained model."),
}


class LazyGroup(click.Group):
    """Group of the commands of core and of packs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core's commands in their order, then the packs' commands by name."""
        return [*COMMANDS, *sorted(self._from_packs())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        Raises:
            RegistryError: if several packs have a command of that name, or if it cannot be imported.
        """
        if cmd_name in COMMANDS:
            return _imported(COMMANDS[cmd_name][0])
        from nablafx_core.registry import Registry

        names = {entry.component.name for entry in self._from_packs().values()}
        if cmd_name.rpartition("/")[2] not in names:
            return None
        found: click.Command = Registry.discover().find("command", cmd_name).load()
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their summaries, without importing a command."""
        packs = self._from_packs()
        rows = [(name, summary) for name, (_, summary) in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        if packs:
            with formatter.section("Commands from packs"):
                formatter.write_dl([(name, packs[name].component.summary) for name in sorted(packs)])

    def _from_packs(self) -> dict[str, Entry]:
        """Return the packs' commands by name; a name that is not unique includes the pack."""
        from nablafx_core.registry import Registry

        entries = list(Registry.discover().entries("command"))
        known = Counter([*COMMANDS, *(entry.component.name for entry in entries)])
        return {
            entry.component.name if known[entry.component.name] == 1 else entry.qualified_name: entry
            for entry in entries
        }


def _imported(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    found: click.Command = getattr(importlib.import_module(module), attribute)
    return found


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="nablafx-core", prog_name="nablafx")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
def cli(traceback: bool) -> None:
    """Differentiable black-box and gray-box models of audio effects, from recordings."""


#: Refusals of the system that are not defects: a full or read-only disk, missing permissions.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}

#: Control characters, except line feed and tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _message(error: BaseException) -> str:
    if isinstance(error, NablafxError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return f"{error.filename or 'a file'}: {error.strerror}."
    from nablafx_core.causes import cause
    from nablafx_core.registry import Registry

    found = Registry.discover().raised_by(error)
    place, defect = (f" ({found[1]})", f"a defect of {found[0].name} {found[0].version}") if found else ("", "a defect")
    return f"{cause(error)}{place}\nThis is {defect}; run again with --traceback and report what it prints."


def main() -> None:
    """Run the command line. The exit status is 0 for success, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may contain any bytes
    with noted_interrupts():
        try:
            # --traceback may be anywhere on the line, also after a command's name.
            arguments = [argument for argument in sys.argv[1:] if argument != "--traceback"]
            sys.exit(cli.main(arguments, prog_name="nablafx", standalone_mode=False) or 0)
        except SystemExit:
            raise
        except click.exceptions.Exit as error:
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        except BaseException as error:
            _exit_with(error)


def _exit_with(error: BaseException) -> NoReturn:
    """Print the error that ended the program, and exit."""
    # click converts every KeyboardInterrupt and EOFError to an Abort; the Abort of an unanswered prompt has no cause.
    raised = error.__cause__ if isinstance(error, click.Abort) and error.__cause__ else error
    if isinstance(raised, click.Abort) or type(raised) is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ignore further Ctrl-C while Python shuts down
        click.echo("Stopped.", err=True)
        sys.exit(130)
    if "--traceback" in sys.argv:
        raise raised
    # Messages may quote untrusted files, whose control characters must not reach the terminal.
    click.echo(f"Error: {_CONTROL.sub(chr(0xFFFD), _message(raised))}", err=True)
    sys.exit(1)

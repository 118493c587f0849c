"""Options, arguments and output that commands share, also commands of packs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

Command = Callable[..., Any]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
runs_dir = click.option("--runs-dir", default="runs", show_default=True, help="Folder that holds the run folders.")


def _trust(ctx: click.Context, option: click.Parameter, modules: tuple[str, ...]) -> None:
    from nablafx_core.registry.import_paths import trusting

    if modules:
        ctx.with_resource(trusting(modules))


trust_option = click.option(
    "--trust",
    metavar="FILE.py",
    multiple=True,
    expose_value=False,
    callback=_trust,
    help="Python file outside packs that the model needs. It is executed: name only code that you know.",
)

mongo_option = click.option(
    "--mongo",
    metavar="URL|PROFILE",
    help="MongoDB for a copy of runs. Default: NABLAFX_MONGO_URL, or the profile 'default' of your config file.",
)


def experiment_options(command: Command) -> Command:
    """Add FILE …, ``--preset`` and ``--set``, which say what the experiment is, to a command.

    The command receives them as `files`, `preset` and `overrides`.
    """
    for decorate in (
        click.argument("files", nargs=-1, type=click.Path(dir_okay=False)),
        click.option("--preset", metavar="NAME", help="Preset that the files override."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Setting, such as model.channel_width=32."
        ),
    ):
        command = decorate(command)
    return command


controls_option = click.option(
    "--control", "-c", "controls", multiple=True, metavar="NAME=VALUE", help="Value of a knob, in its unit."
)


def control_settings(controls: Sequence[str]) -> dict[str, str]:
    """Return the values of ``--control NAME=VALUE`` by the knob's name, as text; the last one of a name counts.

    Raises:
        click.UsageError: if an item has no ``=``.
    """
    values = {}
    for item in controls:
        name, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--control {item}: expected name=value, such as drive=0.5.")
        values[name] = value
    return values


def conversion_options(command: Command) -> Command:
    """Add ``--format`` and ``--set``, which choose and configure an importer or exporter, to a command.

    The command receives them as `format_name` and `overrides`.
    """
    for decorate in (
        click.option(
            "--format", "format_name", metavar="NAME", help="Format of the file, if its suffix does not identify it."
        ),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Setting of that format."),
    ):
        command = decorate(command)
    return command


def setting_values(overrides: Sequence[str]) -> dict[str, Any]:
    """Parse settings of the form ``key=value``; a dot in a key leads into a mapping or a list.

    The values are YAML, or the text itself if it is not YAML.

    Raises:
        ConfigError: if a setting has another form, or an index is outside its list.
    """
    from nablafx_core.config.layers import Layer, with_override

    layer = Layer({})
    for override in overrides:
        layer = with_override(layer, override)
    return dict(layer.value)


def say(text: str = "") -> None:
    """Print a line on stderr: progress, a warning or a hint, which are not the answer of a command."""
    click.echo(text, err=True)


def answer(value: Any) -> None:
    """Print a command's result as JSON on stdout.

    NaN and infinity become ``NaN`` and ``Infinity``; bytes of a file name that are not UTF-8 become escapes such as
    ``\\udcff``.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True)
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def yaml_text(value: Any) -> str:
    """Format plain data as YAML for people."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] | None = None) -> str:
    """Format rows of equal length as aligned columns; the last column is not padded. Empty without rows and header."""
    everything = [*([header] if header else []), *rows]
    if not everything:
        return ""
    widths = [max(len(row[i]) for row in everything) for i in range(len(everything[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in everything
    )

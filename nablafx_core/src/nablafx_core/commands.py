"""Options and output that commands share, those of packs too."""

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
    help="Python code in no pack that the model needs and you know: it is run.",
)

mongo_option = click.option(
    "--mongo",
    metavar="URL|PROFILE",
    help="MongoDB that keeps a copy; NABLAFX_MONGO_URL or the profile 'default' of your config file if not given.",
)


def experiment_options(command: Command) -> Command:
    """FILE …, ``--preset`` and ``--set``: how commands take an experiment."""
    for decorate in (
        click.argument("files", nargs=-1, type=click.Path(dir_okay=False)),
        click.option("--preset", metavar="NAME", help="Preset that lies below the files."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Such as model.channel_width=32."),
    ):
        command = decorate(command)
    return command


controls_option = click.option(
    "--control", "-c", "controls", multiple=True, metavar="NAME=VALUE", help="A knob, in its own unit."
)


def control_settings(controls: Sequence[str]) -> dict[str, str]:
    """What ``--control`` says, by the knob's name."""
    values = {}
    for item in controls:
        name, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--control {item}: write it as name=value.")
        values[name] = value
    return values


def conversion_options(command: Command) -> Command:
    """``--format`` and ``--set``: which importer or exporter, and its settings."""
    for decorate in (
        click.option("--format", "format_name", metavar="NAME", help="Which one, if the file's ending does not tell."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of it."),
    ):
        command = decorate(command)
    return command


def setting_values(overrides: Sequence[str]) -> dict[str, Any]:
    """Settings written ``key=value``, the values read as YAML."""
    from nablafx_core.config.layers import Layer, with_override

    layer = Layer({})
    for override in overrides:
        layer = with_override(layer, override)
    return dict(layer.value)


def say(text: str = "") -> None:
    """Progress and warnings, on stderr."""
    click.echo(text, err=True)


def answer(value: Any) -> None:
    """Print an answer as JSON on stdout; bytes of a file name that are not UTF-8 become escapes such as ``\\udcff``."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True)
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def yaml_text(value: Any) -> str:
    """Plain data as YAML, for a person to read."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] | None = None) -> str:
    """Columns, aligned, the last one as it is."""
    everything = [*([header] if header else []), *rows]
    if not everything:
        return ""
    widths = [max(len(row[i]) for row in everything) for i in range(len(everything[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in everything
    )

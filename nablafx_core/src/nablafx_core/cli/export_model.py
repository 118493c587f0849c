"""``nablafx export``: write a trained model as a file of another project."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.commands import answer, as_json, conversion_options, runs_dir, setting_values, trust_option


@click.command("export")
@click.argument("model")
@click.option("-o", "--output", required=True, type=click.Path(), help="File or folder to write.")
@conversion_options
@runs_dir
@trust_option
@as_json
def export_command(
    model: str, output: str, format_name: str | None, overrides: tuple[str, ...], runs_dir: str, as_json: bool
) -> None:
    """Write MODEL (a run's id or folder, a bundle, or pack/name) as a file of another project.

    \b
    nablafx list exporters
    nablafx export latest -o model.json
    """
    from nablafx_core.bundles.conversion import export_model, exporter_for
    from nablafx_core.bundles.loading import load
    from nablafx_core.runs.find_model import find_model

    place = find_model(model, Path(runs_dir))
    name = format_name or exporter_for(output)
    written = export_model(load(place), output, name, **setting_values(overrides))
    if as_json:
        answer({"model": str(place), "format": name, "output": str(written)})
    else:
        click.echo(written)

"""``nablafx export``: a trained model becomes a file of another project."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.cli.options import conversion_options, runs_dir, setting_values


@click.command("export")
@click.argument("model")
@click.option("-o", "--output", required=True, type=click.Path(), help="File or folder to write.")
@conversion_options
@runs_dir
def export_command(model: str, output: str, format_name: str | None, overrides: tuple[str, ...], runs_dir: str) -> None:
    """Write MODEL (a run's id or folder, a bundle, or pack/name) as a file of another project.

    \b
    nablafx list exporters
    nablafx export latest -o model.json
    """
    from nablafx_core.export.conversion import export_model
    from nablafx_core.loading import find_model, load

    found = load(find_model(model, Path(runs_dir)))
    click.echo(export_model(found, output, format_name, **setting_values(overrides)))

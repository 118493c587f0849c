"""``nablafx import``: convert a model file of another project to a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.commands import conversion_options, setting_values


@click.command("import")
@click.argument("source", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="Bundle to write, NAME.nfx.")
@click.option("--config", type=click.Path(), help="File that describes the model, if its project uses one.")
@conversion_options
def import_command(
    source: str, output: str, config: str | None, format_name: str | None, overrides: tuple[str, ...]
) -> None:
    """Convert SOURCE, a model file of another project, to a bundle with the same output.

    \b
    nablafx list importers
    nablafx import model.json -o model.nfx
    """
    from nablafx_core.bundles.bundle import save_bundle
    from nablafx_core.bundles.conversion import import_model
    from nablafx_core.errors import BundleError

    if Path(output).suffix != ".nfx":
        raise BundleError(f"{output}: a bundle's name ends in .nfx.")
    settings = setting_values(overrides)
    if config is not None:
        settings["config"] = config
    model = import_model(source, format_name, **settings)
    click.echo(save_bundle(model, Path(output), {"imported": Path(source).name}))

"""``nablafx config``: print the complete experiment."""

from __future__ import annotations

import click

from nablafx_core.commands import answer, as_json, experiment_options


@click.command()
@experiment_options
@as_json
def config(files: tuple[str, ...], preset: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print the experiment of FILE… and the options: merged, checked, with every default.

    The output is an experiment file itself, and gives the same run.
    """
    from nablafx_core.config import load_experiment

    experiment = load_experiment(files, overrides, preset=preset)
    if as_json:
        answer(experiment.config)
    else:
        click.echo(experiment.to_yaml(), nl=False)

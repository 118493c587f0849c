"""``nablafx render``: an audio file through a trained model."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.cli.options import say
from nablafx_core.errors import NablafxError


@click.command()
@click.argument("model")
@click.argument("source", type=click.Path(dir_okay=False))
@click.argument("output", type=click.Path(dir_okay=False))
@click.option("--control", "-c", "controls", multiple=True, metavar="NAME=VALUE", help="A knob, in its own unit.")
@click.option("--block-size", type=click.IntRange(min=1), help="Stream in blocks of so many samples.")
@click.option("--runs-dir", default="runs", show_default=True, help="Folder that holds the run folders.")
def render(
    model: str, source: str, output: str, controls: tuple[str, ...], block_size: int | None, runs_dir: str
) -> None:
    """Send the audio file SOURCE through MODEL (a run's id or folder, a bundle, or pack/name) into OUTPUT.

    A mono model renders each channel of a stereo file. A file of another sample rate is resampled to the model's,
    and the output has the model's.

    \b
    nablafx render latest guitar.wav out.wav
    nablafx render ts9.nfx guitar.wav out.wav --control drive=7
    """
    from nablafx_core.loading import bundle_path, load
    from nablafx_core.render import render_file
    from nablafx_core.tracking.records import find_run

    where = model if bundle_path(model) is not None or "/" in model else find_run(Path(runs_dir), model).folder
    values = {}
    for item in controls:
        name, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--control {item}: write it as name=value.")
        values[name] = value
    loaded = load(where)
    for note in render_file(loaded, Path(source), Path(output), values, block_size):
        say(note)
    if not Path(output).is_file():
        raise NablafxError(f"{output}: nothing was written.")
    click.echo(output)

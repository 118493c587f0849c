"""``nablafx render``: an audio file through a trained model."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.cli.options import control_settings, controls_option, say


@click.command()
@click.argument("model")
@click.argument("source", type=click.Path(dir_okay=False))
@click.argument("output", type=click.Path(dir_okay=False))
@controls_option
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
    from nablafx_core.loading import find_model, load
    from nablafx_core.render import render_file

    values = control_settings(controls)
    for note in render_file(load(find_model(model, Path(runs_dir))), Path(source), Path(output), values, block_size):
        say(note)
    click.echo(output)

"""``nablafx quickstart``: simulate, train, test and render, without any data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nablafx_core.commands import say
from nablafx_core.errors import NablafxError
from nablafx_core.shell import command

MINUTES = 2.0


def sections(folder: Path, minutes: float) -> dict[str, Any]:
    """Return the experiment: a distortion with two knobs, and a small network that is conditioned on the knobs."""
    return {
        "data": {
            "name": "nablafx-data/simulated",
            "path": str(folder / "data"),
            "device": "nablafx-dsp/diode_clipper",
            "seconds": 8.0,
            "num_settings": 5,
            "segment_length": 8192,
            "batch_size": 8,
        },
        "model": {
            "preset": "nablafx-models/capture-tcn",
            "num_blocks": 4,
            "kernel_size": 5,
            "channel_width": 8,
            "conditioning": "film",
        },
        "train": {"max_minutes": minutes, "threads": 1, "accelerator": "cpu"},
        "track": {"runs_dir": str(folder / "runs")},
    }


@click.command()
@click.option("--folder", default="quickstart", show_default=True, help="Folder for all files.")
@click.option(
    "--minutes",
    default=MINUTES,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Length of the training.",
)
def quickstart(folder: str, minutes: float) -> None:
    """Simulate a distortion pedal, train a model of it, test it, and render a guitar with it.

    This needs no recordings, no account and no network. Run it again to train again with the same data.
    """
    place = Path(folder)
    say("1/4  Data: plucked strings through a simulated diode clipper, five positions of each knob")
    from nablafx_core.cli.train import report, run_training
    from nablafx_core.config import load_experiment
    from nablafx_core.playing.render_file import render_file
    from nablafx_core.registry.building import build

    experiment = load_experiment(sections=sections(place, minutes))
    file = place / "experiment.yaml"
    dataset = build("dataset", experiment.dataset)
    _write(experiment.to_yaml(), file)
    say(f"     {len(dataset.recordings)} recordings in {place / 'data'}")
    say(f"2/4  Training and testing, about {minutes:g} minutes")
    result = run_training(experiment)
    say("3/4  Rendering the test guitar at three settings that the training did not see")
    from nablafx_core.bundles.loading import load

    model = load(result.bundle)
    dry = _dry_test_file(place / "data")
    rendered = [place / f"guitar-drive-{drive:g}.wav" for drive in _unseen_settings(model.controls[0])]
    for drive, output in zip(_unseen_settings(model.controls[0]), rendered, strict=True):
        render_file(model, dry, output, {model.controls[0].name: drive}, block_size=512)
    say("4/4  Done. Listen to the files, look at the pictures, then change the experiment and train again:")
    say()
    report(result)
    click.echo(f"Dry      {dry}")
    click.echo(f"Rendered {', '.join(str(path) for path in rendered)}")
    click.echo(f"Again    {command('train', file, '--set', 'train.max_minutes=10')}")


def _write(text: str, file: Path) -> None:
    from nablafx_core.files import replace_text

    try:
        replace_text(file, text)
    except OSError as error:
        raise NablafxError(f"{file}: cannot be written: {error.strerror}. Choose another --folder.") from error


def _unseen_settings(control: Any) -> list[float]:
    """Return three values inside a knob's range, which differ from those of the data."""
    return [round(control.from_unit(place), 3) for place in (0.125, 0.375, 0.875)]


def _dry_test_file(data: Path) -> Path:
    files = sorted(data.glob("DRY*/test/*.input.wav"))
    if not files:
        raise NablafxError(f"{data}: no dry test file. Remove the folder and run quickstart again.")
    return files[0]

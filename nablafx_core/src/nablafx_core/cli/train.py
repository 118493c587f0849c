"""``nablafx train``: train and test a model from an experiment or two recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablafx_core.commands import answer, as_json, experiment_options, mongo_option, say, trust_option
from nablafx_core.names import short_name
from nablafx_core.shell import command

if TYPE_CHECKING:
    from nablafx_core.config import Experiment
    from nablafx_core.training.fit import TrainResult

#: Preset for two recordings without an experiment.
PAIR_PRESET = "nablafx-models/capture-tcn"


@click.command()
@experiment_options
@click.option(
    "--dry",
    type=click.Path(dir_okay=False),
    help=f"Clean recording. With --wet, no FILE is needed; the default preset is {short_name(PAIR_PRESET)}.",
)
@click.option("--wet", type=click.Path(dir_okay=False), help="Recording of the same signal through the effect.")
@click.option("--init", metavar="MODEL", help="Fine-tune: bundle, run folder or pack/name with the initial weights.")
@click.option("--resume", metavar="ID", help="Resume this run from its last checkpoint.")
@click.option("--minutes", type=float, help="Minutes of training; replaces the limits of a preset.")
@click.option("--precision", help="Precision, such as bf16-mixed. Default: 32-true.")
@click.option("--runs-dir", help="Folder for the runs. Default: runs.")
@mongo_option
@trust_option
@as_json
def train(
    files: tuple[str, ...],
    preset: str | None,
    overrides: tuple[str, ...],
    dry: str | None,
    wet: str | None,
    init: str | None,
    resume: str | None,
    minutes: float | None,
    precision: str | None,
    runs_dir: str | None,
    mongo: str | None,
    as_json: bool,
) -> None:
    """Train a model, test the best one on whole recordings, and record everything as a run.

    \b
    nablafx train experiment.yaml --set train.max_steps=2000
    nablafx train --dry di.wav --wet amp.wav --minutes 10
    nablafx train --dry di.wav --wet amp.wav --preset capture-lstm
    nablafx train --resume 20261123-amber-fjord-7k3q
    nablafx train --resume latest --set data.path=moved
    """
    if (dry is None) != (wet is None):
        raise click.UsageError("--dry and --wet must be given together.")
    if resume and (files or preset or dry or init or minutes or precision):
        raise click.UsageError(
            "--resume continues a run unchanged. It accepts no experiment, and as settings only the place of the data, "
            "such as --set data.path=NEW, and track.observers."
        )
    if not (files or dry or resume):
        raise click.UsageError("Give an experiment FILE, or --dry and --wet, or --resume ID.")
    say("Loading …")
    from nablafx_core.mongo.address import address_of
    from nablafx_core.training.resumable import resumable

    if resume:
        resume, experiment = resumable(resume, Path(runs_dir or "runs"), overrides)
    else:
        options = {"train.init": init, "train.max_minutes": minutes, "train.precision": precision}
        options["track.runs_dir"] = runs_dir
        experiment = _experiment(files, preset, overrides, dry, wet, options)
    address_of(mongo, "--mongo")  # report an invalid address before anything is loaded
    report(run_training(experiment, resume, mongo or ""), as_json)


def run_training(experiment: Experiment, resume: str | None = None, mongo: str | None = None) -> TrainResult:
    """Train an experiment, or resume a run, with a progress bar on the terminal."""
    from nablafx_core.training.allocator import keep_freed_memory
    from nablafx_core.training.fit import train as fit

    keep_freed_memory()
    try:
        return fit(experiment, resume=resume, say=say, mongo=mongo)
    except KeyboardInterrupt:
        say(f"Resume with: {command('train', '--resume', 'latest', runs_dir=experiment.track.runs_dir)}")
        raise


def report(result: TrainResult, as_json: bool = False) -> None:
    """Print the results of a training and their places; only rank 0 prints."""
    if not result.id:
        return
    figures: dict[str, Any] = {
        "id": result.id,
        "folder": str(result.folder),
        "bundle": str(result.bundle),
        "validation": result.validation,
        "test": result.test,
        "verdict": result.verdict,
    }
    if as_json:
        answer(figures)
        return
    test = "  ".join(f"{name} {value:.4g}" for name, value in result.test.items())
    click.echo(f"Run      {result.id}")
    click.echo(f"Test     {test}")
    if result.verdict:
        from nablafx_core.evaluation.verdict import LISTEN

        click.echo(f"Verdict  {result.verdict}. {LISTEN}")
    click.echo(f"Model    {result.bundle}")
    click.echo(f"Pictures {result.folder / 'pictures'}")
    click.echo(f"Audio    {result.folder / 'audio'}")


def _experiment(
    files: tuple[str, ...],
    preset: str | None,
    overrides: tuple[str, ...],
    dry: str | None,
    wet: str | None,
    options: dict[str, Any],
) -> Experiment:
    from nablafx_core.config import load_experiment

    sections: dict[str, Any] = {"data": {"name": "nablafx-data/pair", "dry": dry, "wet": wet}} if dry else {}
    for name, value in options.items():
        if value is not None:
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = value
    chosen = {item.partition("=")[0] for item in overrides} & {"model", "model.name", "model.preset"}
    if dry and not files and preset is None and not chosen:
        preset = PAIR_PRESET
    return load_experiment(files, overrides, sections=sections, preset=preset)

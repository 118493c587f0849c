"""``nablafx sweep``: train with many settings and compare the results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablafx_core.commands import answer, as_json, mongo_option, say, table, trust_option
from nablafx_core.shell import command

if TYPE_CHECKING:
    from nablafx_core.sweep.resuming import Plan
    from nablafx_core.sweep.run_sweep import SweepResult
    from nablafx_core.sweep.trial_book import Entry


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Setting for all trials, or of the sweep, such as sweep.trials=5.",
)
@click.option("--runs-dir", help="Folder for the runs. Default: that of the experiment, or runs.")
@click.option("--address", help="Address of a Ray cluster, or auto to find it. Default: this machine.")
@click.option("--dry-run", is_flag=True, help="Check and list the trials, without starting them.")
@click.option("--resume", metavar="ID", help="Resume this sweep; completed trials are kept.")
@mongo_option
@trust_option
@as_json
def sweep(
    file: str | None,
    overrides: tuple[str, ...],
    runs_dir: str | None,
    address: str | None,
    dry_run: bool,
    resume: str | None,
    mongo: str | None,
    as_json: bool,
) -> None:
    """Train with many settings, on Ray Tune, and record every trial as a run of the sweep.

    FILE names an experiment and the settings that vary:

    \b
      experiment: muff.yaml            # relative to FILE; or the sections of an experiment
      sweep:
        search: asha                   # grid: all combinations; random; asha: bad trials stop early
        trials: 20                     # number of trials of random and asha
        metric: validation/loss        # its best validation ranks a trial; mode: min or max
        concurrent: 2                  # simultaneous trials; default: as many as the machine allows
        resources: {cpus: 1, gpus: 0}  # of each trial
        asha: {grace_period: 4, reduction_factor: 3}   # in validations
        space:                         # paths as for --set
          model.channel_width: [8, 16, 32]
          train.learning_rate: {min: 1.0e-4, max: 1.0e-2, log: true}
          model.num_blocks: {min: 4, max: 10, integer: true}

    All trials are chosen and checked before the first starts. The sweep succeeds if one trial completes.
    """
    if (file is None) == (resume is None):
        raise click.UsageError("Give the FILE of a sweep, or --resume ID.")
    if resume and overrides:
        raise click.UsageError("--resume continues a sweep unchanged; it cannot be combined with --set.")
    if address and mongo and ":" in mongo:
        raise click.UsageError(
            "With --address, --mongo must be the name of a profile that each node of the cluster has."
        )
    plan = _resumed(resume, runs_dir) if resume else _planned(str(file), overrides, runs_dir)
    if dry_run:
        _list(plan, as_json)
        return
    from nablafx_core.sweep.quiet_ray import require_ray

    require_ray()
    from nablafx_core.mongo.address import address_of
    from nablafx_core.sweep.run_sweep import run_sweep

    address_of(mongo, "--mongo")  # report an invalid address before Ray starts
    try:
        report(run_sweep(plan, address, say, mongo or ""), as_json)
    except KeyboardInterrupt:
        say(f"Resume with: {command('sweep', '--resume', resume or 'latest', runs_dir=plan.runs_dir)}")
        raise


def report(result: SweepResult, as_json: bool = False) -> None:
    """Print the trials of a sweep, the best one first."""
    if as_json:
        trials = [_facts(entry) for entry in result.trials]
        best = _facts(result.best)
        answer({"id": result.id, "folder": str(result.folder), "metric": result.metric, "best": best, "trials": trials})
        return
    names = [item.partition("=")[0] for item in result.best.set]
    rows = [
        (
            str(entry.number),
            "" if entry.value is None else f"{entry.value:.4g}",
            *_values(entry),
            entry.status,
            entry.id,
        )
        for entry in result.trials
    ]
    click.echo(table(rows, ("TRIAL", result.metric, *names, "STATUS", "RUN")))
    failed = sum(entry.status not in ("COMPLETED", "STOPPED") for entry in result.trials)
    if failed:
        say(f"{failed} of {len(result.trials)} trials failed.")
    click.echo(f"\nBest     {result.best.id}")
    click.echo(f"Render   {command('render', result.folder.parent / result.best.id, 'in.wav', 'out.wav')}")


def _planned(file: str, overrides: tuple[str, ...], runs_dir: str | None) -> Plan:
    from nablafx_core.sweep.resuming import Plan
    from nablafx_core.sweep.sweep_file import read_sweep
    from nablafx_core.sweep.trials import trials

    sweep = read_sweep(Path(file), overrides)
    made = trials(sweep)
    return Plan(sweep, made, Path(runs_dir or made[0].experiment.track.runs_dir).resolve())


def _resumed(resume: str, runs_dir: str | None) -> Plan:
    from nablafx_core.sweep.resuming import resumable_sweep

    return resumable_sweep(resume, Path(runs_dir or "runs"))


def _list(plan: Plan, as_json: bool) -> None:
    if as_json:
        answer([{"number": trial.number, "set": list(trial.overrides)} for trial in plan.trials])
        return
    header = ("TRIAL", *plan.trials[0].settings)
    click.echo(table([(str(trial.number), *trial.settings.values()) for trial in plan.trials], header))


def _values(entry: Entry) -> list[str]:
    return [item.partition("=")[2] for item in entry.set]


def _facts(entry: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(entry), "set": list(entry.set)}

"""``nablafx test``: score a trained model on whole recordings."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablafx_core.commands import answer, as_json, experiment_options, mongo_option, runs_dir, say, table, trust_option
from nablafx_core.errors import RunError

if TYPE_CHECKING:
    from nablafx_core.evaluation.evaluate import Evaluation


@click.command()
@click.argument("model")
@experiment_options
@runs_dir
@mongo_option
@trust_option
@as_json
def test(
    model: str,
    files: tuple[str, ...],
    preset: str | None,
    overrides: tuple[str, ...],
    runs_dir: str,
    mongo: str | None,
    as_json: bool,
) -> None:
    """Score MODEL (a run's id or folder, a bundle, or pack/name) on the test recordings of an experiment.

    Without FILE, the experiment of the run is used. The test is recorded as another run, with pictures and audio.

    \b
    nablafx test latest
    nablafx test ts9.nfx experiment.yaml --set data.path=other
    nablafx test latest --set data.path=moved
    """
    say("Loading …")
    from nablafx_core.config import load_experiment
    from nablafx_core.evaluation.record_test import record_test
    from nablafx_core.mongo.address import address_of
    from nablafx_core.registry.import_paths import code_of_run
    from nablafx_core.runs.find_model import find_model
    from nablafx_core.runs.moved_data import moved_explained

    address_of(mongo, "--mongo")  # report an invalid address before anything is loaded
    source = find_model(model, Path(runs_dir))
    own_data, code = not files, None
    if own_data:
        own = Path(source) / "config.yaml"
        if not os.path.isfile(own):
            raise RunError(
                f"'{model}' is a model without an experiment. Add the experiment FILE with the test recordings."
            )
        files, code = (str(own),), code_of_run(Path(source), overrides)
    sections = {"track": {"runs_dir": runs_dir}}
    experiment = load_experiment(files, overrides, sections, preset, code=code)
    moved = own_data and any(item.startswith("data.") for item in overrides)
    with moved_explained(("test", model), experiment.config["data"], runs_dir) if own_data else nullcontext():
        folder, evaluation = record_test(source, experiment, say, mongo or "", Path(source) if moved else None)
    if as_json:
        answer({"folder": str(folder), "test": evaluation.split, **json.loads((folder / "test.json").read_text())})
        return
    _print(folder, evaluation)


def _print(folder: Path, evaluation: Evaluation) -> None:
    from nablafx_core.config.defaults import MAIN_FIGURE
    from nablafx_core.evaluation.verdict import LISTEN, POOLED, verdict

    names = list(evaluation.split)
    rows = [(row["name"], *(f"{row[name]:.4g}" for name in names)) for row in evaluation.files]
    rows.append(("all", *(f"{evaluation.split[name]:.4g}" for name in names)))
    click.echo(table(rows, ("RECORDING", *(name.upper() for name in names))))
    if len(evaluation.files) > 1:
        click.echo(POOLED)
    if MAIN_FIGURE in evaluation.split:
        click.echo(f"Verdict  {verdict(evaluation.split[MAIN_FIGURE])}. {LISTEN}")
    click.echo(f"Pictures {folder / 'pictures'}")
    click.echo(f"Audio    {folder / 'audio'}")

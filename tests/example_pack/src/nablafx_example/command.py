"""A command: `nablafx soft-tone MODEL`."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.bundles.loading import load
from nablafx_core.commands import answer, as_json, runs_dir, table
from nablafx_core.errors import ModelError
from nablafx_core.runs.find_model import find_model


@click.command("soft-tone")
@click.argument("model")
@runs_dir
@as_json
def soft_tone(model: str, runs_dir: str, as_json: bool) -> None:
    """Show what the SoftTone MODEL (a run's id or folder, a bundle, or pack/name) has learned."""
    from nablafx_example.model import SoftTone

    found = load(find_model(model, Path(runs_dir)))
    if not isinstance(found, SoftTone):
        raise ModelError(f"{model}: expected a SoftTone, got a {type(found).__name__}.")
    cutoff_hz = 2.0 ** found.log_cutoff.item()
    octaves = [] if found.octaves is None else found.octaves[:, 0].tolist()
    learned = {
        "drive": round(2.0 ** found.log_drive.item(), 3),
        "cutoff_hz": round(cutoff_hz, 1),
        "knobs": {knob.name: round(moved, 3) for knob, moved in zip(found.controls, octaves, strict=True)},
    }
    if as_json:
        answer(learned)
        return
    rows = [("drive", f"{learned['drive']:g}"), ("cutoff", f"{learned['cutoff_hz']:g} Hz, all knobs at their minimum")]
    rows += [(knob, f"moves it by {moved:+g} octaves") for knob, moved in learned["knobs"].items()]
    click.echo(table(rows))

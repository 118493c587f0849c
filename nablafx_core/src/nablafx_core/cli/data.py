"""``nablafx data``: show the recordings, knobs and split of a dataset, or write its ``device.yaml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nablafx_core.commands import answer, as_json, table

if TYPE_CHECKING:
    from nablafx_core.controls import Control
    from nablafx_core.interfaces import Dataset, Recording


@click.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[SETTING=VALUE]…")
@click.option("--write-device-file", is_flag=True, help="Write device.yaml with the knobs, for you to name them.")
@as_json
def data(name: str, settings: tuple[str, ...], write_device_file: bool, as_json: bool) -> None:
    """Show the dataset NAME: its recordings, its knobs, the split, and problems.

    \b
    nablafx data tonetwist path=data device=TS9
    nablafx data pair dry=di.wav wet=amp.wav
    """
    from nablafx_core.config.check import Checker
    from nablafx_core.config.layers import Layer, OptionMark, with_override
    from nablafx_core.config.schema import LoadingSettings
    from nablafx_core.data.contract import checked
    from nablafx_core.data.splits import split
    from nablafx_core.registry import Registry
    from nablafx_core.registry.building import build
    from nablafx_core.registry.import_paths import code_of_files
    from nablafx_core.yaml import Path

    layer = Layer({"data": {"name": name}})
    for setting in settings:
        if "=" not in setting:
            raise click.UsageError(f"{setting}: write it as setting=value.")
        layer = with_override(layer, f"data.{setting}", flag="")
    # Leave out the places: on this command line, the name of a setting is its place.
    marks: dict[Path, str] = {
        path: OptionMark("", mark.text, mark.problem)
        for path, mark in layer.marks.items()
        if isinstance(mark, OptionMark)
    }
    checker = Checker(Layer(layer.value, marks), Registry.discover())
    with code_of_files([]).used():
        section = checker.section("dataset", layer.value["data"], ("data",))
        own = {key: value for key, value in section.items() if key not in LoadingSettings.model_fields}
        dataset = checked(build("dataset", own))
    loading = LoadingSettings(**{key: section[key] for key in LoadingSettings.model_fields})
    parts = split(dataset.recordings, loading)
    if write_device_file:
        dataset.write_device_yaml()
    if as_json:
        answer(_described(dataset, parts))
        return
    _print(dataset, parts)


def _described(dataset: Dataset, parts: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "sample_rate": dataset.sample_rate,
        "controls": [asdict(control) for control in dataset.controls],
        "notes": list(dataset.notes),
        "recordings": [_row(recording, part) for part, members in parts.items() for recording in members],
    }


def _row(recording: Recording, part: str) -> dict[str, Any]:
    return {
        "part": part,
        "name": recording.name,
        "source": recording.source,
        "take": recording.take,
        "channels": [recording.in_channels, recording.out_channels],
        "controls": list(recording.controls),
        "offset": recording.offset,
        "start": recording.start,
        "samples": recording.num_samples,
    }


def _print(dataset: Dataset, parts: Any) -> None:
    click.echo(f"Sample rate  {dataset.sample_rate} Hz")
    for control in dataset.controls:
        click.echo(f"Control      {control.name}: {control.span}")
    for part, members in parts.items():
        seconds = sum(recording.num_samples for recording in members) / dataset.sample_rate
        click.echo(f"{part.capitalize():<12} {len(members)} recordings, {_clock(seconds)}")
    click.echo()
    rows = []
    for part, members in parts.items():
        for recording in members:
            knobs = zip(dataset.controls, recording.controls, strict=False)
            at = "  ".join(f"{control.name}={_shown(control, value)}" for control, value in knobs)
            row = (part, recording.name, _clock(recording.num_samples / dataset.sample_rate))
            rows.append((*row, at) if dataset.controls else row)
    click.echo(table(rows, ("PART", "RECORDING", "LENGTH", *(["CONTROLS"] if dataset.controls else []))))
    for note in dataset.notes:
        click.echo(f"note: {note}")


def _shown(control: Control, value: float) -> str:
    written = control.written(value)
    return written if isinstance(written, str) else f"{written:g}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{seconds % 60:04.1f}" if seconds < 3600 else f"{seconds / 3600:.2f} h"

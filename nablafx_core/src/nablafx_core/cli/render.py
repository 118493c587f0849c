"""``nablafx render``: process audio files with a trained model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablafx_core.commands import answer, as_json, control_settings, controls_option, runs_dir, say, trust_option
from nablafx_core.errors import DataError, NablafxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nablafx_core.playing.render_file import Rendering

    Render = Callable[[Path, Path], Rendering]


@click.command()
@click.argument("model")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(dir_okay=False), metavar="SOURCE OUTPUT | SOURCE… -o FOLDER"
)
@click.option(
    "-o",
    "--out-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Render every file to FOLDER/NAME.wav; the folder is created.",
)
@controls_option
@click.option(
    "--bits", type=click.Choice(["16", "24", "32f"]), help="Sample format (16: with dither). Default 32f; 24 in .flac."
)
@click.option("--block-size", type=click.IntRange(min=1), help="Stream in blocks of this number of samples.")
@runs_dir
@trust_option
@as_json
def render(
    model: str,
    files: tuple[str, ...],
    out_dir: Path | None,
    controls: tuple[str, ...],
    bits: Any,
    block_size: int | None,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Process audio files with MODEL (a run's id or folder, a bundle, or pack/name).

    SOURCE OUTPUT renders one file; --out-dir renders any number of files to a folder. A mono model renders each channel
    of a stereo file. A file is resampled to the model's sample rate, which is also that of the output. Files of any
    length are rendered in constant memory, unless the model cannot stream.

    If one of several files fails, the others are still rendered and the exit status is 1.

    \b
    nablafx render latest guitar.wav out.wav
    nablafx render ts9.nfx guitar.wav out.wav --control drive=7 --bits 24
    nablafx render latest takes/*.wav -o rendered
    """
    pairs, values = _pairs(files, out_dir), control_settings(controls)
    from nablafx_core.bundles.loading import load
    from nablafx_core.playing.render_file import control_values, knob_settings, render_file
    from nablafx_core.runs.find_model import find_model

    place = find_model(model, Path(runs_dir))
    loaded = load(place)
    control_values(loaded, values)
    settings = knob_settings(loaded, values)
    if settings:
        say(f"Controls  {', '.join(map(str, settings))}")

    def one(source: Path, output: Path) -> Rendering:
        from nablafx_core.progress import progress

        with progress(f"Rendering {source.name}", 1.0) as advance:
            return render_file(loaded, source, output, values, block_size, bits, advance)

    rows = [_row(one, source, output, as_json, alone=out_dir is None) for source, output in pairs]
    if as_json:
        knobs = [asdict(setting) for setting in settings]
        answer({"model": str(place), "sample_rate": loaded.sample_rate, "controls": knobs, "files": rows})
    if failed := [row for row in rows if "error" in row]:
        say(f"{len(rows) - len(failed)} of {len(rows)} files were rendered.")
        click.get_current_context().exit(1)


def _pairs(files: tuple[str, ...], out_dir: Path | None) -> list[tuple[Path, Path]]:
    """Pair sources with outputs; reject invalid combinations before anything is written."""
    if out_dir is None:
        if len(files) != 2:
            given = "1 file was" if len(files) == 1 else f"{len(files)} files were"
            raise click.UsageError(f"{given} given. Write SOURCE OUTPUT, or several SOURCE with --out-dir FOLDER.")
        return [(Path(files[0]), Path(files[1]))]
    pairs = [(Path(file), out_dir / f"{Path(file).stem}.wav") for file in files]
    sources = {source.resolve() for source, _ in pairs}
    taken: dict[Path, Path] = {}
    for source, output in pairs:
        if output in taken:
            raise DataError(f"{taken[output]} and {source} would both become {output}. Render them one at a time.")
        if output.resolve() in sources:
            raise DataError(f"{output}: is one of the files to render. Choose another folder.")
        taken[output] = source
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out_dir}: the folder cannot be created: {error.strerror}.") from error
    return pairs


def _row(render: Render, source: Path, output: Path, as_json: bool, alone: bool) -> dict[str, Any]:
    """Render a file; return its row of the result, which has the error if one of several files fails."""
    try:
        rendering = render(source, output)
    except NablafxError as error:
        if alone:
            raise
        say(f"Error: {error}")
        return {"source": str(source), "error": str(error)}
    for note in rendering.notes:
        say(note)
    if not as_json:
        click.echo(output)
    return {**asdict(rendering), "source": str(source), "output": str(output), "notes": list(rendering.notes)}

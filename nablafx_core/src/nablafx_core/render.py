"""Rendering audio through a model."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from nablafx_core.audio.files import probe, read, write
from nablafx_core.audio.resampling import check_ratio, resample
from nablafx_core.errors import DataError, ModelError
from nablafx_core.interfaces import Model
from nablafx_core.streaming import stream_blocks

#: Memory of an offline pass grows with the file; from this length on it is streamed in blocks anyway.
BLOCK = 65_536


def control_values(model: Model, values: Mapping[str, float | str]) -> Tensor | None:
    """Knob settings as a model takes them, (1, num_controls); knobs that are not named keep their default.

    Args:
        model: whose knobs.
        values: by name, in units, or a switch's position.

    Raises:
        ModelError: for a knob that the model does not have or a value outside its range.
    """
    names = [control.name for control in model.controls]
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ModelError(f"the model has no control '{name}'.{hint} Controls: {', '.join(names) or 'none'}.")
    if not names:
        return None
    units = [
        control.parse(values[control.name]) if control.name in values else control.default_unit
        for control in model.controls
    ]
    return torch.tensor([units])


def render_file(
    model: Model,
    source: Path,
    output: Path,
    controls: Mapping[str, float | str] | None = None,
    block_size: int | None = None,
) -> list[str]:
    """Render a file through a model into another file, which appears whole or not at all.

    Args:
        model: in eval mode.
        source: audio file; resampled to the model's rate if it has another.
        output: audio file, 32-bit float where its format allows.
        controls: knobs by name, in units.
        block_size: samples of a streamed block; large blocks if None.

    Returns:
        What a person should know, such as a resampling.

    Raises:
        DataError: if the source cannot be read or has other channels than the model, or the output cannot be written.
        ModelError: for controls that do not fit.
    """
    settings = control_values(model, controls or {})
    info = probe(source)
    if os.path.exists(output) and os.path.samefile(source, output):
        raise DataError(f"{output}: is the file that is to be rendered. Give the output another name.")
    check_ratio(source, info.sample_rate, model.sample_rate)
    notes = list(_channels(model, source, info.channels))
    audio = read(source)
    if info.sample_rate != model.sample_rate:
        notes.append(f"{source}: resampled from {info.sample_rate} to {model.sample_rate} Hz, the model's rate.")
        audio = resample(audio, info.sample_rate, model.sample_rate)
    parameter = next(model.parameters(), torch.zeros(()))
    with torch.inference_mode():
        audio = audio.to(parameter.dtype)[None]
        if model.streams:
            rendered = stream_blocks(model, audio, settings, block_size or BLOCK)
        else:
            rendered = _whole(model, audio, settings)
    write(output, rendered[0].float(), model.sample_rate)
    return notes


def _channels(model: Model, source: Path, count: int) -> Iterator[str]:
    if model.in_channels == 1 and count > 1:
        yield f"{source}: has {count} channels; the model is mono and renders each of them by itself."
    elif model.in_channels not in (1, count):
        raise DataError(f"{source}: has {count} channel(s); the model takes {model.in_channels}.")


def _whole(model: Model, audio: Tensor, settings: Tensor | None) -> Tensor:
    """A model that has no stream; a mono one on each channel."""
    if model.in_channels > 1:
        rendered: Tensor = model(audio, settings)[0]
        return rendered
    voices = [model(audio[:, channel : channel + 1], settings)[0] for channel in range(audio.shape[1])]
    return torch.cat(voices, dim=1)

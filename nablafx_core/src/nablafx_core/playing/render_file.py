"""Render audio files with a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nablafx_core.audio.reading import AudioInfo, opened, probe_quietly, read_blocks
from nablafx_core.audio.resampling import check_ratio, resample_blocks, resampled_length
from nablafx_core.audio.values import INTEGERS, integer_scale
from nablafx_core.audio.writing import Bits, writing
from nablafx_core.errors import DataError, ModelError
from nablafx_core.hints import did_you_mean
from nablafx_core.interfaces import Model
from nablafx_core.playing.blocks import like_of, regrouped
from nablafx_core.playing.streaming import Streamer

#: Default block length in samples. Files are streamed because the memory of an offline pass grows with their length.
BLOCK = 65_536


@dataclass(frozen=True)
class KnobSetting:
    """Value of a knob while a file is rendered.

    Args:
        name, unit: name and unit of the knob.
        value: value in its unit, or the name of a switch's position.
        default: True if the user did not set the knob.
    """

    name: str
    value: float | str
    unit: str
    default: bool

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.4g}"
        return f"{self.name} = {value} {self.unit}".rstrip() + (" (default)" if self.default else "")


@dataclass(frozen=True)
class Rendering:
    """Result of rendering a file.

    Args:
        source, output: paths of the files.
        num_samples: number of samples of the output per channel.
        sample_rate: sample rate of the output in Hz.
        channels: number of channels of the output.
        format: container and encoding of the output, such as ``"WAV FLOAT"``.
        peak: largest magnitude of the output before rounding; 1 is full scale.
        clipped: number of values beyond full scale that were limited, over all channels; 0 in a file of floats.
        notes: remarks for the user, such as a resampling.
    """

    source: Path
    output: Path
    num_samples: int
    sample_rate: int
    channels: int
    format: str
    peak: float
    clipped: int
    notes: tuple[str, ...]


def knob_settings(model: Model, values: Mapping[str, float | str]) -> list[KnobSetting]:
    """Return the value of each knob of a model in its unit, for display; knobs that are not named have their default.

    Args:
        model: model whose knobs are described.
        values: values that the user set, as for `control_values`; names of other knobs are ignored.

    Raises:
        ModelError: if a value is outside the knob's range, or is not a number or the name of a position.
    """
    return [
        KnobSetting(control.name, control.written(unit), control.unit, control.name not in values)
        for control, unit in zip(model.controls, _units(model, values), strict=True)
    ]


def control_values(model: Model, values: Mapping[str, float | str]) -> Tensor | None:
    """Return the positions of a model's knobs in [0, 1], (1, num_controls); None for a model without knobs.

    Args:
        model: model whose knobs are set.
        values: values by the name of the knob, in its unit; for a switch, the name of a position. Knobs that are not
            named have their default.

    Raises:
        ModelError: if the model has no knob of a name, or a value is outside the knob's range, or is not a number or
            the name of a position.
    """
    names = [control.name for control in model.controls]
    for name in values:
        if name not in names:
            hint = did_you_mean(name, names)
            raise ModelError(f"the model has no control '{name}'.{hint} Controls: {', '.join(names) or 'none'}.")
    return torch.tensor([_units(model, values)]) if names else None


def _units(model: Model, values: Mapping[str, float | str]) -> list[float]:
    """Return the position of each knob in [0, 1]; see `control_values`."""
    return [
        control.parse(values[control.name]) if control.name in values else control.default_unit
        for control in model.controls
    ]


def render_file(
    model: Model,
    source: Path,
    output: Path,
    controls: Mapping[str, float | str] | None = None,
    block_size: int | None = None,
    bits: Bits | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Rendering:
    """Render a file through a model into another file, which is created only if rendering succeeds.

    The audio is resampled to the model's rate if the file has another one. It is processed in blocks, so that memory
    does not grow with the length; a model that cannot stream processes the whole file at once. A mono model renders
    each channel of the file separately.

    Args:
        model: model in eval mode.
        source: path of the audio file to render.
        output: path of the audio file to write; it is aligned with the source and has the model's rate. An existing
            file is replaced.
        controls: values of knobs by name, as for `control_values`; the defaults if None.
        block_size: number of samples, at the model's rate, in a block of the stream; `BLOCK` if None.
        bits: sample format of the output; see `nablafx_core.audio.writing.writing`.
        on_progress: callback that receives the fraction of the file, in [0, 1], rendered since the last call.

    Raises:
        DataError: if the source cannot be read, cannot be resampled or has a number of channels that does not fit the
            model, if the output is the source or cannot be written, or if the model's output is NaN or infinite.
        ModelError: as for `control_values`.
    """
    settings = control_values(model, controls or {})
    info, remark = probe_quietly(source)
    if os.path.exists(output) and os.path.samefile(source, output):
        raise DataError(f"{output}: is the file to render. Choose another name for the output.")
    check_ratio(source, info.sample_rate, model.sample_rate)
    notes = [f"{source}: {remark}"] if remark else []
    notes += _notes(model, source, info)
    level = _Level()
    length = resampled_length(info.num_samples, info.sample_rate, model.sample_rate)
    channels = model.out_channels * (info.channels if model.in_channels == 1 else 1)
    with opened(source) as file, writing(output, model.sample_rate, channels, length, bits) as written:
        blocks = resample_blocks(level.measured(read_blocks(file)), info.sample_rate, model.sample_rate)
        for block in _rendered(model, regrouped(blocks, block_size or BLOCK), settings):
            written.write(block.float())
            if on_progress:
                on_progress(block.shape[-1] / length)
    if level.peak >= INTEGERS:
        notes.append(
            f"{source}: peaks at {level.peak:,.0f} times full scale: its samples are probably integers that were "
            f"written as floats. Divide them by {integer_scale(level.peak):,} and render again."
        )
    notes += [written.clipping] if written.clipping else []
    return Rendering(
        source,
        output,
        written.num_samples,
        model.sample_rate,
        channels,
        written.format,
        written.peak,
        written.clipped,
        tuple(notes),
    )


class _Level:
    """Largest magnitude of all blocks so far; 1 is full scale."""

    def __init__(self) -> None:
        self.peak = 0.0

    def measured(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the blocks unchanged, and update `peak`."""
        for block in blocks:
            self.peak = max(self.peak, float(block.abs().max()))
            yield block


def _notes(model: Model, source: Path, info: AudioInfo) -> Iterator[str]:
    """Yield remarks about a file before it is rendered; raise a DataError if its channels do not fit the model."""
    if model.in_channels == 1 and info.channels > 1:
        yield f"{source}: has {info.channels} channels; the model is mono and renders each channel separately."
    elif model.in_channels not in (1, info.channels):
        raise DataError(
            f"{source}: has {info.channels} channel(s); the model takes {model.in_channels}. Convert the file first."
        )
    if info.sample_rate != model.sample_rate:
        yield f"{source}: resampled from {info.sample_rate} to {model.sample_rate} Hz, the model's rate."
    if not model.streams:
        yield (
            f"{source}: {type(model).__name__} cannot stream and renders the whole file at once, so memory use grows "
            "with its length."
        )


def _rendered(model: Model, blocks: Iterable[Tensor], settings: Tensor | None) -> Iterator[Tensor]:
    """Yield the output, aligned with the input, as blocks (channels, time), from blocks of the same shape."""
    like = like_of(model)
    with torch.inference_mode():
        inputs = (block.to(like)[None] for block in blocks)
        if not model.streams:
            yield _whole(model, torch.cat(list(inputs), dim=-1), settings)[0]
            return
        streamer, late = Streamer(model, settings), model.latency
        for block in inputs:
            output = streamer.push(block)[0]
            yield output[:, late:]
            late -= min(late, output.shape[-1])
        yield streamer.flush()[0][:, late:]


def _whole(model: Model, audio: Tensor, settings: Tensor | None) -> Tensor:
    """Return the output of a model that cannot stream; a mono model renders each channel separately."""
    if model.in_channels > 1:
        return model.offline(audio, settings)
    return torch.cat([model.offline(voice, settings) for voice in audio.split(1, dim=1)], dim=1)  # type: ignore[no-untyped-call]

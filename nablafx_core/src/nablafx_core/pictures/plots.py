"""Draw pictures of a prediction: its waveform, its error and its spectrum next to those of the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from numpy.typing import NDArray
from torch import Tensor

from nablafx_core.pictures.figure import COLOURS, picture

Signal = NDArray[np.float64]

TARGET, PREDICTION, ERROR = COLOURS[0], COLOURS[1], "#444444"
ZOOM_SECONDS = 0.02  # a few periods of a low note
_COLUMNS = 1000  # number of points over the width of an axis, about one per pixel
_FFT = 2048  # samples; 23 Hz and 43 ms at 48 kHz
_RANGE_DB = 80.0  # below the loudest; what is quieter is noise in most recordings
_DIFFERENCE_DB = 20.0  # larger differences have the same colour


def plot_prediction(
    target: Tensor | Signal, prediction: Tensor | Signal, sample_rate: int, path: Path, title: str
) -> None:
    """Draw the waveforms completely and over the loudest 20 ms, the error, and three spectrograms.

    Args:
        target: target (time,), or (channels, time) of which the first channel is drawn.
        prediction: prediction of the same shape.
        sample_rate: sample rate in Hz.
        path: path of the PNG file.
        title: title of the picture, such as the recording's name.
    """
    wet, out = _mono(target), _mono(prediction)
    with picture(path, height_inches=10.5) as figure:
        figure.suptitle(title, parse_math=False)
        grid = figure.add_gridspec(4, 1, height_ratios=(1.0, 0.6, 1.2, 1.5))
        whole = figure.add_subplot(grid[0])
        _draw_whole(whole, wet, out, sample_rate)
        _draw_error(figure.add_subplot(grid[1], sharex=whole), wet, out, sample_rate)
        _draw_zoom(figure.add_subplot(grid[2]), wet, out, sample_rate)
        _draw_spectrograms(figure, grid[3], wet, out, sample_rate)


def _mono(audio: Tensor | Signal) -> Signal:
    values = np.asarray(audio.detach().cpu() if isinstance(audio, Tensor) else audio, dtype=np.float64)
    first: Signal = values.reshape(-1, values.shape[-1])[0]
    return first


def _draw_whole(axes: Axes, target: Signal, prediction: Signal, sample_rate: int) -> None:
    axes.set_title("Whole signal")
    for audio, colour, label in ((target, TARGET, "target"), (prediction, PREDICTION, "prediction")):
        seconds, low, high = envelope(audio, sample_rate)
        if label == "target":
            axes.fill_between(seconds, low, high, color=colour, alpha=0.45, linewidth=0.8, label=label)
        else:
            axes.plot(seconds, low, color=colour, linewidth=1, label=label)
            axes.plot(seconds, high, color=colour, linewidth=1)
    axes.set_xlim(0, len(target) / sample_rate)
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("amplitude")
    axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _draw_error(axes: Axes, target: Signal, prediction: Signal, sample_rate: int) -> None:
    error = prediction - target
    ratio = np.sum(error**2) / max(np.sum(target**2), np.finfo(float).tiny)
    level = f" ({10 * np.log10(ratio):.1f} dB)" if ratio else ""
    axes.set_title(f"Error (prediction − target), error-to-signal ratio {100 * ratio:.3g} %{level}")
    seconds, low, high = envelope(error, sample_rate)
    axes.fill_between(seconds, low, high, color=ERROR, linewidth=0.8)
    axes.set_xlabel("time in s")
    axes.set_ylabel("amplitude")


def _draw_zoom(axes: Axes, target: Signal, prediction: Signal, sample_rate: int) -> None:
    part = loudest(target, round(ZOOM_SECONDS * sample_rate))
    milliseconds = np.arange(part.start, part.stop) / sample_rate * 1000
    axes.set_title("The loudest 20 ms of the target")
    axes.plot(milliseconds, target[part], color=TARGET, linewidth=2.4, alpha=0.7, label="target")
    axes.plot(milliseconds, prediction[part], color=PREDICTION, linewidth=1.2, label="prediction")
    axes.plot(milliseconds, (prediction - target)[part], color=ERROR, linewidth=0.9, linestyle=":", label="error")
    axes.set_xlim(part.start / sample_rate * 1000, part.stop / sample_rate * 1000)
    axes.set_xlabel("time in ms")
    axes.set_ylabel("amplitude")
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _draw_spectrograms(
    figure: Figure, place: SubplotSpec, target: Signal, prediction: Signal, sample_rate: int
) -> None:
    axes: Any = place.subgridspec(1, 3).subplots(sharex=True, sharey=True)
    wet, out = spectrogram_db(target), spectrogram_db(prediction)
    top = max(float(wet.max()), -100.0)
    wet, out = (levels.clip(min=top - _RANGE_DB) for levels in (wet, out))
    extent = (0.0, len(target) / sample_rate, 0.0, sample_rate / 2000)
    look = {"origin": "lower", "aspect": "auto", "extent": extent}
    shared = {"vmin": top - _RANGE_DB, "vmax": top, "cmap": "magma"}
    apart = {"vmin": -_DIFFERENCE_DB, "vmax": _DIFFERENCE_DB, "cmap": "RdBu_r"}
    panels = (("Target", wet, shared), ("Prediction", out, shared), ("Prediction − target", out - wet, apart))
    for axis, (name, levels, scale) in zip(axes, panels, strict=True):
        image = axis.imshow(levels, **look, **scale)
        axis.set_title(name)
        axis.set_xlabel("time in s")
        axis.grid(visible=False)
        if name == "Prediction":
            figure.colorbar(image, ax=axes[:2].tolist(), label="level in dB", pad=0.01)
    figure.colorbar(image, ax=axes[2], label="difference in dB", pad=0.02)
    axes[0].set_ylabel("frequency in kHz")


def envelope(audio: Signal, sample_rate: int) -> tuple[Signal, Signal, Signal]:
    """Return times, and the lowest and highest sample within a period of 40 Hz around each, to hide single waves."""
    stride = max(1, len(audio) // _COLUMNS)
    width = max(stride, min(sample_rate // 40, len(audio) // 20)) // 2 * 2 + 1
    both = torch.from_numpy(np.stack([-audio, audio]))
    low, high = torch.nn.functional.max_pool1d(both, width, stride, padding=width // 2).numpy()
    return np.arange(len(low)) * stride / sample_rate, -low, high


def loudest(audio: Signal, size: int) -> slice:
    """Return the slice of the `size` samples with the most energy; all samples of a shorter signal."""
    size = min(size, len(audio))
    energy = np.concatenate([[0.0], np.cumsum(audio**2)])
    start = int(np.argmax(energy[size:] - energy[:-size]))
    return slice(start, start + size)


def spectrogram_db(audio: Signal) -> NDArray[np.float32]:
    """Return levels in dB relative to a full-scale sine, (bins, frames), with Hann windows of 2,048 samples.

    There are at most about 1,000 frames; for a long signal, samples between the frames are skipped.
    """
    hop = max(_FFT // 4, len(audio) // _COLUMNS)
    window = torch.hann_window(_FFT)
    padded = torch.from_numpy(audio).float().view(1, 1, -1)
    padded = torch.nn.functional.pad(padded, (_FFT // 2, _FFT // 2))[0, 0]
    spectrum = torch.stft(padded, _FFT, hop, window=window, center=False, return_complex=True)
    levels: NDArray[np.float32] = (20 * torch.log10(spectrum.abs().clamp(min=1e-10) * 2 / window.sum())).numpy()
    return levels

"""Components of this pack. It is imported whenever nablafx starts, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nablafx_core import Component, hookimpl


@hookimpl
def nablafx_models() -> list[Component]:
    """Return a model."""
    example = {"sample_rate": 16000, "controls": [{"name": "tone"}]}  # the laws build it with this
    return [Component("soft-tone", "nablafx_example.model:SoftTone", "Tone knob, then a soft clip", example)]


@hookimpl
def nablafx_processors() -> list[Component]:
    """Return a processor of gray-box chains."""
    example = {"sample_rate": 16000, "max_rate_hz": 200.0}
    return [Component("tremolo", "nablafx_example.processor:Tremolo", "Sinusoidal modulation of the level", example)]


@hookimpl
def nablafx_controllers() -> list[Component]:
    """Return a controller of processors."""
    example = {"num_parameters": 2, "num_controls": 1, "sample_rate": 1000}
    return [Component("lfo", "nablafx_example.lfo:LFO", "Oscillator with a learned rate and depth", example)]


@hookimpl
def nablafx_datasets() -> list[Component]:
    """Return a dataset."""
    return [Component("bursts", "nablafx_example.dataset:Bursts", "Decaying sines through a tone knob and a soft clip")]


@hookimpl
def nablafx_devices() -> list[Component]:
    """Return a device for simulated recordings."""
    return [Component("guitar-circuit", "nablafx_example.guitar:GuitarCircuit", "Pickup, tone knob and cable")]


@hookimpl
def nablafx_losses() -> list[Component]:
    """Return a loss."""
    return [Component("framed-esr", "nablafx_example.loss:FramedESR", "Error-to-signal ratio, frame by frame")]


@hookimpl
def nablafx_metrics() -> list[Component]:
    """Return a metric."""
    return [Component("snr", "nablafx_example.metric:SNR", "Signal-to-noise ratio in dB")]


@hookimpl
def nablafx_importers() -> list[Component]:
    """Return a reader of model files of another program."""
    return [Component("soft-tone", "nablafx_example.importer:SoftToneImporter", "Reads .softtone files")]


@hookimpl
def nablafx_exporters() -> list[Component]:
    """Return a writer of such files."""
    return [Component("soft-tone", "nablafx_example.exporter:SoftToneExporter", "Writes .softtone files")]


@hookimpl
def nablafx_observers() -> list[Component]:
    """Return an observer of runs."""
    return [Component("event-log", "nablafx_example.observer:EventLog", "A line of JSON for each event of a run")]


@hookimpl
def nablafx_commands() -> list[Component]:
    """Return a command."""
    return [Component("soft-tone", "nablafx_example.command:soft_tone", "Show what a SoftTone has learned.")]


@hookimpl
def nablafx_presets() -> list[Component]:
    """Return named settings."""
    return [Component("soft-tone-dark", "nablafx_example:presets/soft-tone-dark.yaml", "Starts with a low cutoff")]


@hookimpl
def nablafx_bundles() -> list[Component]:
    """Return a trained model, whose hash is checked whenever it is loaded."""
    return [
        Component(
            "warm",
            "nablafx_example:bundles/warm.nfx",
            "SoftTone trained on bursts, with a tone knob",
            licence="CC0-1.0",
            sha256="b182bee5eda5aa90b53bd2acf96507686c16805c84b3fb3a1963b1971c401193",
        )
    ]


@hookimpl
def nablafx_callbacks(config: Mapping[str, Any]) -> Iterable[Any]:
    """Return Lightning callbacks that the experiment requests; they are imported only then."""
    from nablafx_example.callback import callbacks_for

    return callbacks_for(config)

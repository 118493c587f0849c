"""What the pack provides. It is imported whenever nablafx starts, so it imports nothing heavy itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nablafx_core import Component, hookimpl


@hookimpl
def nablafx_models() -> list[Component]:
    """A model."""
    example = {"sample_rate": 16000, "controls": [{"name": "tone"}]}  # the laws build it with this
    return [Component("soft-tone", "nablafx_example.model:SoftTone", "Tone knob, then a soft clip", example)]


@hookimpl
def nablafx_processors() -> list[Component]:
    """A part of gray-box chains."""
    example = {"sample_rate": 16000, "max_rate_hz": 200.0}
    return [Component("tremolo", "nablafx_example.processor:Tremolo", "Loudness that swings like a sine", example)]


@hookimpl
def nablafx_controllers() -> list[Component]:
    """What drives such a part."""
    example = {"num_parameters": 2, "num_controls": 1, "sample_rate": 1000}
    return [Component("lfo", "nablafx_example.lfo:LFO", "Oscillator with a learned rate and depth", example)]


@hookimpl
def nablafx_datasets() -> list[Component]:
    """Recordings to learn from."""
    return [Component("bursts", "nablafx_example.dataset:Bursts", "Decaying sines through a tone knob and a soft clip")]


@hookimpl
def nablafx_devices() -> list[Component]:
    """A ground truth for simulated recordings."""
    return [Component("guitar-circuit", "nablafx_example.guitar:GuitarCircuit", "Pickup, tone knob and cable")]


@hookimpl
def nablafx_losses() -> list[Component]:
    """What training makes small."""
    return [Component("framed-esr", "nablafx_example.loss:FramedESR", "Error-to-signal ratio, frame by frame")]


@hookimpl
def nablafx_metrics() -> list[Component]:
    """A figure of merit."""
    return [Component("snr", "nablafx_example.metric:SNR", "Signal-to-noise ratio in dB")]


@hookimpl
def nablafx_importers() -> list[Component]:
    """A reader of model files of another project."""
    return [Component("soft-tone", "nablafx_example.importer:SoftToneImporter", "Reads .softtone files")]


@hookimpl
def nablafx_exporters() -> list[Component]:
    """A writer of them."""
    return [Component("soft-tone", "nablafx_example.exporter:SoftToneExporter", "Writes .softtone files")]


@hookimpl
def nablafx_observers() -> list[Component]:
    """Who is told what happens to a run."""
    return [Component("event-log", "nablafx_example.observer:EventLog", "A line of JSON for each event of a run")]


@hookimpl
def nablafx_commands() -> list[Component]:
    """A command of the pack's own."""
    return [Component("soft-tone", "nablafx_example.command:soft_tone", "Say what a SoftTone has learned.")]


@hookimpl
def nablafx_presets() -> list[Component]:
    """Settings with a name."""
    return [Component("soft-tone-dark", "nablafx_example:presets/soft-tone-dark.yaml", "Begins with a low cutoff")]


@hookimpl
def nablafx_bundles() -> list[Component]:
    """A trained model; its hash is checked whenever it is loaded."""
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
    """What a training does beside training, if its experiment asks for it; imported only then."""
    from nablafx_example.callback import callbacks_for

    return callbacks_for(config)

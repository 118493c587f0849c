"""The hooks that a pack may implement. Each returns data; calling one imports nothing heavy.

A pack is a distribution with an entry point in the group ``nablafx`` that names a module::

    [project.entry-points.nablafx]
    acme = "nablafx_acme.plugin"

Hooks are called pack by pack, so that one that fails stops no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from nablafx_core.component import Component

hookspec = pluggy.HookspecMarker("nablafx")
hookimpl = pluggy.HookimplMarker("nablafx")


@hookspec
def nablafx_models() -> Iterable[Component]:
    """Models, subclasses of `nablafx_core.interfaces.Model`. ::

    @hookimpl
    def nablafx_models():
        return [Component("ladder", "nablafx_acme.ladder:Ladder", "4-pole transistor ladder filter")]
    """
    return ()


@hookspec
def nablafx_processors() -> Iterable[Component]:
    """Parts of gray-box chains, subclasses of `nablafx_core.interfaces.Processor`. ::

    @hookimpl
    def nablafx_processors():
        return [Component("ring_mod", "nablafx_acme.ring_mod:RingMod", "Ring modulator")]
    """
    return ()


@hookspec
def nablafx_controllers() -> Iterable[Component]:
    """What drives a processor's parameters, subclasses of `nablafx_core.interfaces.Controller`. ::

    @hookimpl
    def nablafx_controllers():
        return [Component("lfo", "nablafx_acme.lfo:LFO", "Low-frequency oscillator with learned rate and depth")]
    """
    return ()


@hookspec
def nablafx_datasets() -> Iterable[Component]:
    """Datasets, subclasses of `nablafx_core.data.recording.Dataset`. ::

    @hookimpl
    def nablafx_datasets():
        return [Component("egfxset", "nablafx_acme.egfxset:EGFxSet", "EGFxSet: guitar notes through 12 effects")]
    """
    return ()


@hookspec
def nablafx_devices() -> Iterable[Component]:
    """Ground-truth effects that render audio, subclasses of `nablafx_core.interfaces.Device`. ::

    @hookimpl
    def nablafx_devices():
        return [Component("diode_clipper", "nablafx_acme.diode:DiodeClipper", "Two diodes and a capacitor")]
    """
    return ()


@hookspec
def nablafx_losses() -> Iterable[Component]:
    """Training losses, subclasses of `nablafx_core.interfaces.Loss`. ::

    @hookimpl
    def nablafx_losses():
        return [Component("log_cosh", "nablafx_acme.losses:LogCosh", "Mean of log cosh of the error")]
    """
    return ()


@hookspec
def nablafx_metrics() -> Iterable[Component]:
    """Figures of merit over a split, subclasses of `nablafx_core.interfaces.Metric`. ::

    @hookimpl
    def nablafx_metrics():
        return [Component("snr", "nablafx_acme.metrics:SNR", "Signal-to-noise ratio in dB")]
    """
    return ()


@hookspec
def nablafx_embeddings() -> Iterable[Component]:
    """Networks that map audio to vectors, subclasses of `nablafx_core.interfaces.Embedding`. ::

    @hookimpl
    def nablafx_embeddings():
        return [Component("vggish", "nablafx_acme.vggish:VGGish", "VGGish; loads weights from a path")]
    """
    return ()


@hookspec
def nablafx_importers() -> Iterable[Component]:
    """Readers of other projects' model files, subclasses of `nablafx_core.export.conversion.Importer`. ::

    @hookimpl
    def nablafx_importers():
        return [Component("nam", "nablafx_acme.nam:NAMImporter", "Neural Amp Modeler files")]
    """
    return ()


@hookspec
def nablafx_exporters() -> Iterable[Component]:
    """Writers of other projects' model files, subclasses of `nablafx_core.export.conversion.Exporter`. ::

    @hookimpl
    def nablafx_exporters():
        return [Component("rtneural", "nablafx_acme.rtneural:RTNeuralExporter", "RTNeural JSON")]
    """
    return ()


@hookspec
def nablafx_observers() -> Iterable[Component]:
    """Sacred observers, subclasses of `nablafx_core.tracking.observer.RunObserver`; named under `track.observers`. ::

    @hookimpl
    def nablafx_observers():
        return [Component("slack", "nablafx_acme.slack:SlackObserver", "A message when a run ends")]
    """
    return ()


@hookspec
def nablafx_commands() -> Iterable[Component]:
    """click commands, added to the command line; imported when called. ::

    @hookimpl
    def nablafx_commands():
        return [Component("play", "nablafx_acme.play:play", "Play a bundle through the sound card")]
    """
    return ()


@hookspec
def nablafx_presets() -> Iterable[Component]:
    """YAML files that are the lowest layer of an experiment; named by `model.preset`. ::

    @hookimpl
    def nablafx_presets():
        return [Component("tcn-45-s", "nablafx_acme:presets/tcn-45-s.yaml", "TCN, 45 ms, 5 blocks")]
    """
    return ()


@hookspec
def nablafx_bundles() -> Iterable[Component]:
    """Trained models, with the licence and the hash of the file. ::

    @hookimpl
    def nablafx_bundles():
        return [Component("ts9", "nablafx_acme:bundles/ts9.nfx", "TS9", licence="CC-BY-4.0", sha256="…")]
    """
    return ()


@hookspec
def nablafx_callbacks(config: Mapping[str, Any]) -> Iterable[Any]:
    """Lightning callbacks for a training whose validated experiment is `config`. ::

    @hookimpl
    def nablafx_callbacks(config):
        return [StopWhenHot()] if config["train"].get("accelerator") == "gpu" else []
    """
    return ()

"""List the components of this pack by import path. Importing this module imports neither torch nor the components."""

from __future__ import annotations

from collections.abc import Iterable

from nablafx_core.registry.component import Component
from nablafx_core.registry.hookspecs import hookimpl
from nablafx_dsp.preset_table import ALIASES, NABLAFX, OURS, summary

_FILTERS = {
    "peaking": "a gain around its centre frequency",
    "lowpass": "-12 dB per octave above its cutoff",
    "highpass": "-12 dB per octave below its cutoff",
    "lowshelf": "a gain below its cutoff",
    "highshelf": "a gain above its cutoff",
}

_DYNAMICS = {
    "compressor": "Less gain above a threshold",
    "limiter": "Reduces levels above a threshold to it",
    "expander": "Less gain below a threshold",
    "gate": "Closes below a threshold",
}

_CURVES = {
    "tanh": ("Tanh", "Saturation by tanh"),
    "hard_clip": ("HardClip", "Clipper with a sharp corner"),
    "soft_clip": ("SoftClip", "Clipper with a rounded corner"),
    "asymmetric_tanh": ("AsymmetricTanh", "Saturation by a tanh with a bias, even harmonics"),
    "wave_folder": ("WaveFolder", "Folds crests back by a sine"),
    "diode": ("Diode", "Two antiparallel diodes after a resistor"),
}


@hookimpl
def nablafx_processors() -> Iterable[Component]:
    """Return the processors of gray-box chains."""
    return [
        Component(
            "biquad",
            "nablafx_dsp.processors.biquad:Biquad",
            "Second-order filter: peaking, lowpass, highpass, lowshelf or highshelf",
            example={"type": "peaking"},
        ),
        *(
            Component(name, f"nablafx_dsp.processors.biquad:{name.capitalize()}", f"Second-order filter: {what}")
            for name, what in _FILTERS.items()
        ),
        Component(
            "parametric_eq",
            "nablafx_dsp.processors.equalizers:ParametricEQ",
            "Low shelf, three peaking filters, high shelf",
        ),
        Component(
            "shelving_eq",
            "nablafx_dsp.processors.equalizers:ShelvingEQ",
            "High-pass, low shelf, high shelf, low-pass",
        ),
        Component("gain", "nablafx_dsp.processors.memoryless:Gain", "Gain in dB"),
        Component("dc_offset", "nablafx_dsp.processors.memoryless:DCOffset", "Adds a constant"),
        Component("phase_inversion", "nablafx_dsp.processors.memoryless:PhaseInversion", "Inverts the sign"),
        Component(
            "phase_shift",
            "nablafx_dsp.processors.phase_shift:PhaseShift",
            "The same phase shift at every frequency of a band",
            example={"lowest_hz": 1000.0},
        ),
        *(
            Component(name, f"nablafx_dsp.processors.nonlinearities:{cls}", what)
            for name, (cls, what) in _CURVES.items()
        ),
        Component("curve", "nablafx_dsp.processors.look_up:LookUp", "Learned nonlinearity, a curve through points"),
        Component(
            "oversampled",
            "nablafx_dsp.processors.oversampled:Oversampled",
            "Another processor at 2, 4 or 8 times the sample rate",
            example={"factor": 2, "processor": {"name": "nablafx-dsp/soft_clip"}},
        ),
        Component("svf", "nablafx_dsp.processors.state_variable:StateVariable", "State-variable filter, second order"),
        *(
            Component(
                name,
                f"nablafx_dsp.processors.dynamics:{name.capitalize()}",
                f"{what}, with attack and release",
            )
            for name, what in _DYNAMICS.items()
        ),
        Component(
            "cabinet",
            "nablafx_dsp.processors.cabinet:Cabinet",
            "Filter by an impulse response from a file",
            example={"num_taps": 300, "trainable": True},
        ),
        Component("static_fir", "nablafx_dsp.processors.static_fir:StaticFIR", "Learned impulse response"),
        Component("static_mlp", "nablafx_dsp.processors.static_mlp:StaticMLP", "Learned nonlinearity, a network"),
        Component(
            "static_rational",
            "nablafx_dsp.processors.static_rational:StaticRational",
            "Learned nonlinearity, a rational function",
        ),
    ]


@hookimpl
def nablafx_controllers() -> Iterable[Component]:
    """Return the controllers, which drive the parameters of processors."""
    return [
        Component(
            "static",
            "nablafx_dsp.controllers.static:Static",
            "One learned value per parameter",
            example={"num_parameters": 3},
        ),
        Component(
            "static_cond",
            "nablafx_dsp.controllers.static:StaticConditional",
            "Parameter values that depend on the controls",
            example={"num_parameters": 3, "num_controls": 2, "hidden_size": 4},
        ),
        Component(
            "dynamic",
            "nablafx_dsp.controllers.dynamic:Dynamic",
            "Parameter values that follow the audio, one step per block",
            example={"num_parameters": 3, "block_size": 16},
        ),
        Component(
            "dynamic_cond",
            "nablafx_dsp.controllers.dynamic:DynamicConditional",
            "Parameter values that follow the audio and the controls, one step per block",
            example={"num_parameters": 3, "num_controls": 2, "block_size": 16},
        ),
    ]


@hookimpl
def nablafx_devices() -> Iterable[Component]:
    """Return the devices of this pack: analogue circuits that render synthetic data."""
    return [
        Component(
            "diode_clipper",
            "nablafx_dsp.circuits.diode_clipper:DiodeClipper",
            "Distortion: amplifier, two antiparallel diodes, tone knob",
        ),
        Component(
            "tube_screamer",
            "nablafx_dsp.circuits.tube_screamer:TubeScreamer",
            "Overdrive: diodes in the feedback of an op amp, tone, level",
        ),
        Component(
            "fuzz_face",
            "nablafx_dsp.circuits.fuzz_face:FuzzFace",
            "Fuzz: two germanium transistors, fuzz, volume",
        ),
        Component(
            "opto_compressor",
            "nablafx_dsp.circuits.opto_compressor:OptoCompressor",
            "Compressor: lamp and photoresistor, peak reduction, gain",
        ),
    ]


@hookimpl
def nablafx_commands() -> Iterable[Component]:
    """Return the command ``nablafx pretrain``, which fits the initial weights of processors."""
    return [
        Component(
            "pretrain", "nablafx_dsp.pretraining.command:pretrain", "Fit a processor to a curve, a table or a response."
        )
    ]


@hookimpl
def nablafx_importers() -> Iterable[Component]:
    """Return the importers of gray-box checkpoints and pretrained processors of NablAFx 1.0."""
    chain, part = "nablafx_dsp.nablafx01:NablAFx01Chain", "nablafx_dsp.nablafx01:NablAFxPretrained"
    return [
        Component("nablafx01_chain", chain, "Gray-box checkpoints of NablAFx 1.0 with the YAML of their model"),
        Component("nablafx_pretrained", part, "Pretrained static_mlp and static_fir files of NablAFx 1.0"),
    ]


@hookimpl
def nablafx_presets() -> Iterable[Component]:
    """Return the presets: this pack's own chains, the gray-box configurations of NablAFx 1.0, and their short names."""
    named = {name: name for name in NABLAFX} | ALIASES
    lines = {name: (name, line) for name, line in OURS.items()}
    lines |= {name: (file, summary(file)) for name, file in named.items()}
    return [Component(name, f"nablafx_dsp:presets/{file}.yaml", line) for name, (file, line) in lines.items()]

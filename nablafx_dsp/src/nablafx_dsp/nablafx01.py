"""Read gray-box checkpoints and pretrained processors of NablAFx 1.0.

Comunità, Steinmetz and Reiss, 2025, arXiv:2502.11668.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from nablafx_core.bundles.checkpoint_file import read_tensors
from nablafx_core.bundles.class_paths import Argument, described, named_controls, settings_from
from nablafx_core.errors import ConversionError, NablafxError
from nablafx_core.interfaces import Importer, Model
from nablafx_core.names import short_name
from nablafx_core.registry.building import build
from nablafx_dsp.pretrained_weights import NABLAFX_SUFFIXES, nablafx_network, siren_size
from nablafx_dsp.processors.equalizers import ParametricEQ, ShelvingEQ

_log = logging.getLogger(__name__)

#: Class names of the chain of NablAFx 1.0 in its configurations.
MODELS = ("GreyBoxModel", "GrayBoxModel")


def _range(name: str, ours: str, lowest: float, highest: float) -> dict[str, Argument]:
    """Return the two arguments of NablAFx 1.0 for a parameter's range, with our settings and its defaults.

    `name` is its argument and `ours` our setting, each with ``{}`` for min or max.
    """
    low, high = (Argument(ours.format(end), value) for end, value in (("min", lowest), ("max", highest)))
    return {name.format("min"): low, name.format("max"): high}


def _cutoff(lowest: float, highest: float) -> dict[str, Argument]:
    return _range("{}_cutoff_freq", "{}_cutoff_hz", lowest, highest)


_GAIN = _range("{}_gain_db", "{}_gain_db", -12.0, 12.0)
_QUALITY = _range("{}_q_factor", "{}_q", 0.1, 10.0)
_RATE = {"sample_rate": Argument(None, 48000)}
_LEARNED = _RATE | {"lr_multiplier": Argument("lr_multiplier", 1.0)}
_DRIVEN = _LEARNED | {"control_type": Argument(None, "static"), "block_size": Argument(None, 128)}
_SIREN = _LEARNED | {
    "hidden_dim": Argument("hidden_size", 64),
    "num_layers": Argument("num_layers", 3),
    "w0_initial": Argument("w0", 30.0),
    "pretrained": Argument(None, None),  # the weights are loaded instead
}
_LINEAR = {"curves": "linear"}


#: Names of the bands of equalizers: those of NablAFx 1.0, and ours.
BANDS = {
    "low_shelf": "lowshelf",
    "band0": "peak1",
    "band1": "peak2",
    "band2": "peak3",
    "high_shelf": "highshelf",
    "highpass": "highpass",
    "lowpass": "lowpass",
}

#: For each processor of NablAFx 1.0: our processor, the arguments that can be imported, and settings of ours that are
#: needed for the same output.
PROCESSORS: dict[str, tuple[str, dict[str, Argument], dict[str, Any]]] = {
    "Gain": ("gain", _DRIVEN | _range("{}_gain_db", "{}_gain_db", -32.0, 32.0), {}),
    "DCOffset": ("dc_offset", _DRIVEN | _range("{}_offset", "{}_offset", -2.0, 2.0), {}),
    "PhaseInversion": ("phase_inversion", _RATE, {}),
    "PhaseShift": (
        "phase_shift",
        _DRIVEN | _range("{}_shift", "{}_shift_deg", -180.0, 180.0),
        {"quadrature": "previous_sample"},
    ),
    "ParametricEQ": ("parametric_eq", _DRIVEN | _GAIN | _QUALITY, _LINEAR),
    "ShelvingEQ": ("shelving_eq", _DRIVEN | _GAIN | _QUALITY, _LINEAR),
    "Peaking": ("peaking", _DRIVEN | _GAIN | _cutoff(20.0, 20_000.0) | _QUALITY, _LINEAR),
    "Lowpass": ("lowpass", _DRIVEN | _cutoff(2_000.0, 20_000.0) | _QUALITY, _LINEAR),
    "Highpass": ("highpass", _DRIVEN | _cutoff(20.0, 2_000.0) | _QUALITY, _LINEAR),
    "Lowshelf": ("lowshelf", _DRIVEN | _GAIN | _cutoff(20.0, 2_000.0) | _QUALITY, _LINEAR),
    # NablAFx's Highshelf computes the coefficients of a low shelf.
    "Highshelf": ("lowshelf", _DRIVEN | _GAIN | _cutoff(200.0, 2_000.0) | _QUALITY, _LINEAR),
    "StaticMLPNonlinearity": ("static_mlp", _SIREN, {"pretrained": "none"}),
    "StaticRationalNonlinearity": (
        "static_rational",
        _LEARNED | {"degrees": Argument("degrees", (6, 5)), "init_approx_func": Argument("function", "tanh")},
        {},
    ),
    "StaticFIRFilter": ("static_fir", _SIREN | {"n_taps": Argument("num_taps", 64)}, {"pretrained": "none"}),
    "TanhNonlinearity": ("tanh", _RATE, {}),
    "Tanh": ("tanh", _RATE, {}),
}

#: For each control type of NablAFx 1.0: our controller, and the arguments of the chain that become its settings.
CONTROLLERS: dict[str, tuple[str, dict[str, Argument]]] = {
    "static": ("static", {}),
    "static-cond": (
        "static_cond",
        {"stat_cond_num_layers": Argument("num_layers", 3), "stat_cond_hidden_dim": Argument("hidden_size", 16)},
    ),
    "dynamic": (
        "dynamic",
        {"dyn_block_size": Argument("block_size", 128), "dyn_num_layers": Argument("num_layers", 1)},
    ),
    "dynamic-cond": (
        "dynamic_cond",
        {"dyn_cond_block_size": Argument("block_size", 128), "dyn_cond_num_layers": Argument("num_layers", 1)},
    ),
}
_MODEL_ARGUMENTS = {"processors", "num_controls", "stat_control_params_initial"} | {
    argument for _, arguments in CONTROLLERS.values() for argument in arguments
}


class NablAFx01Chain(Importer):
    """Read a Lightning checkpoint or a state dict of a gray-box chain of NablAFx 1.0, with the YAML of its model.

    The YAML is that of NablAFx 1.0: it contains a ``class_path`` of the package nablafx that ends in GreyBoxModel or
    GrayBoxModel, with its processors. Parameters cover their ranges linearly, as in NablAFx 1.0. Filters are exact
    here: NablAFx 1.0 trains them by frequency sampling with clipping at each section, or restarts them every 128
    samples; the imported filter is the one that the parameters describe. Its Highshelf, which computes a low shelf, is
    imported as a low shelf, with a warning.

    Args:
        config: path of the YAML file of the model or of the whole training; required to read a checkpoint.
        sample_rate: sample rate in Hz; if not given, that of the processors, or 48,000 Hz if they have none.
        controls: names of the controls, in order; control_1, control_2, … if not given.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".ckpt", ".pt", ".pth")

    def __init__(
        self, config: str | None = None, sample_rate: int | None = None, controls: list[str] | None = None
    ) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.controls = controls

    def reads(self, path: Path) -> bool:
        """Return True if `config` is given and its YAML describes exactly one chain; the checkpoint is not read."""
        try:
            return self.config is not None and bool(described(Path(self.config), "nablafx", MODELS))
        except NablafxError:
            return False

    def read(self, path: Path) -> Model:
        """Build the chain that `config` describes, and load the weights of the checkpoint; see `Importer`.

        Raises:
            ConversionError: if `config` is not given or describes no chain that can be imported, or the checkpoint
                cannot be read or has other weights than the chain.
            ConfigError: if the YAML file cannot be read.
        """
        if self.config is None:
            raise ConversionError(
                f"{path}: requires --config: the YAML file of its model, with the class_path of a gray-box model."
            )
        _, arguments = described(Path(self.config), "nablafx", MODELS)
        sections = sections_of(arguments, self.config)
        rate = self.sample_rate or _sample_rate(arguments, self.config)
        names = [str(section.get("controller", {}).get("name")) for section in sections]
        heard = any(short_name(name) in ("static_cond", "dynamic_cond") for name in names)
        controls = named_controls(arguments.get("num_controls", 0), self.controls, heard, self.config)
        section = {"name": "nablafx-core/graybox", "processors": sections}
        try:
            model: Model = build("model", section, sample_rate=rate, controls=controls)
        except ConversionError:
            raise
        except NablafxError as error:
            raise ConversionError(f"{self.config}: cannot build NablAFx's chain: {error}") from error
        _load(model, read_tensors(path), path)
        return model


class NablAFxPretrained(Importer):
    """Read the pretrained processors of NablAFx 1.0: ``static_mlp_nonlinearity_*.pt`` and ``static_fir_filter_*.pt``.

    The model is a chain with this processor alone.

    Args:
        sample_rate: sample rate in Hz, which the files do not contain.
        w0: frequency factor of the first layer, which the files do not contain; if not given, that of the presets of
            NablAFx 1.0: 30 for nonlinearities and 1,000 for FIR filters.
    """

    suffixes: ClassVar[tuple[str, ...]] = NABLAFX_SUFFIXES

    def __init__(self, sample_rate: int = 48000, w0: float | None = None) -> None:
        self.sample_rate = sample_rate
        self.w0 = w0

    def reads(self, path: Path) -> bool:
        """Return True if the file contains only the network of a static_mlp or a static_fir processor."""
        try:
            return bool(nablafx_network(path))
        except NablafxError:
            return False

    def read(self, path: Path) -> Model:
        """Build a chain of the processor, and load its weights; see `Importer`.

        Raises:
            ConversionError: if the file cannot be read or contains something else.
        """
        weights, num_taps = nablafx_network(path)
        section: dict[str, Any] = {"name": "nablafx-dsp/static_mlp", "pretrained": "none", **siren_size(weights)}
        if num_taps is not None:
            section |= {"name": "nablafx-dsp/static_fir", "num_taps": num_taps}
        if self.w0 is not None:
            section["w0"] = self.w0
        model: Model = build(
            "model", {"name": "nablafx-core/graybox", "processors": [section]}, sample_rate=self.sample_rate
        )
        try:
            model.processors[0].net.load_state_dict(weights)  # type: ignore[index, union-attr]
        except RuntimeError as error:
            raise ConversionError(f"{path}: its weights do not fit a {short_name(section['name'])}: {error}") from error
        return model


def sections_of(arguments: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Convert the arguments of a GreyBoxModel of NablAFx 1.0 to the processor sections of a chain of ours.

    Args:
        arguments: ``init_args`` of its model.
        where: file that contains them, for messages.

    Raises:
        ConversionError: if there are no processors, or a processor, a control type or an argument cannot be imported.
    """
    for argument in arguments:
        if argument not in _MODEL_ARGUMENTS:
            raise ConversionError(
                f"{where}: the argument '{argument}' of NablAFx's chain cannot be imported. Arguments: "
                f"{', '.join(sorted(_MODEL_ARGUMENTS))}."
            )
    items = arguments.get("processors") or []
    if not items:
        raise ConversionError(f"{where}: the chain has no processors. Name the file that lists them.")
    return [_section(item, arguments, f"{where}: processors[{index}]") for index, item in enumerate(items)]


def _section(item: Any, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    path = str(item.get("class_path", "")) if isinstance(item, Mapping) else ""
    name = path.rpartition(".")[2]
    if name not in PROCESSORS:
        raise ConversionError(
            f"{where}: the processor '{path}' cannot be imported. Processors: {', '.join(PROCESSORS)}."
        )
    ours, known, fixed = PROCESSORS[name]
    given = dict(item.get("init_args") or {})
    cutoffs = _cutoffs(name, given)
    settings = settings_from(given, known, f"{where}: NablAFx's {name}")
    if name == "Highshelf":
        _log.warning("%s: NablAFx's Highshelf computes a low shelf; it is imported as a low shelf.", where)
    section: dict[str, Any] = {"name": f"nablafx-dsp/{ours}", **fixed, **settings}
    if cutoffs:
        section["cutoffs_hz"] = cutoffs
    if "control_type" in known:
        kind = given.get("control_type", known["control_type"].default)
        if kind not in CONTROLLERS:
            raise ConversionError(f"{where}: unknown control_type '{kind}'; expected one of {', '.join(CONTROLLERS)}.")
        controller, arguments_of = CONTROLLERS[kind]
        own = {key: value for key, value in arguments.items() if key in arguments_of}
        section["controller"] = {"name": f"nablafx-dsp/{controller}", **settings_from(own, arguments_of, where)}
    return section


def _cutoffs(name: str, given: dict[str, Any]) -> dict[str, list[float]]:
    """Return the cutoff ranges in Hz of an equalizer's bands, by our band, and remove them from the arguments `given`.

    A shelving EQ gets those that are given. A parametric EQ gets all, because ours changes its default ranges at low
    sample rates. Other processors get none, and their arguments do not change.
    """
    table = {"ParametricEQ": ParametricEQ.table, "ShelvingEQ": ShelvingEQ.table}.get(name, ())
    ranges = {band.name: [band.lowest, band.highest] for band in table}
    changed = {}
    for there, here in BANDS.items():
        for end, which in enumerate(("min", "max")):
            value = given.pop(f"{which}_{there}_cutoff_freq", None) if here in ranges else None
            if value is not None:
                ranges[here][end] = value
                changed[here] = ranges[here]
    return ranges if name == "ParametricEQ" else changed


def _sample_rate(arguments: Mapping[str, Any], where: str) -> int:
    """Return the sample rate of the processors in Hz; 48,000 if none has one.

    Raises:
        ConversionError: if they have different ones.
    """
    given = [(item.get("init_args") or {}).get("sample_rate") for item in arguments["processors"]]
    rates = sorted({int(rate) for rate in given if rate is not None}) or [48000]
    if len(rates) > 1:
        raise ConversionError(
            f"{where}: its processors have different sample rates: {', '.join(map(str, rates))}. Choose one with "
            "--set sample_rate=…"
        )
    return rates[0]


def _load(model: Model, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load the weights of processors and controllers in `tensors` into the model; `path` is for messages.

    Raises:
        ConversionError: if the model lacks one of them, or the other way round, or if one has another shape.
    """
    own, taken = model.state_dict(), {}
    for key, value in _renumbered(_renamed(tensors), own).items():
        if key not in own:
            raise ConversionError(
                f"{path}: the chain that --config describes has no weights '{key}'. Name the checkpoint's own YAML "
                "file."
            )
        if value.shape != own[key].shape:
            raise ConversionError(
                f"{path}: '{key}' has the shape {tuple(value.shape)}; --config describes {tuple(own[key].shape)}. Name "
                "the checkpoint's own YAML file."
            )
        taken[key] = value
    if missing := [key for key in own if key not in taken]:
        raise ConversionError(
            f"{path}: lacks the weights '{missing[0]}' (in all, {len(missing)} are missing) of the chain that --config "
            "describes. Name the checkpoint's own YAML file."
        )
    model.load_state_dict(taken)


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of processors and controllers under our names.

    Other tensors, and the duplicates of an MLP's layers, are left out.
    """
    found = {}
    for key, value in tensors.items():
        match = re.fullmatch(r"(?:model\.)?(?:processor|controller)\.((?:processors|controllers)\.\d+\..+)", key)
        if match and ".projection.mlp." not in key:
            found[re.sub(r"\.control_params$", ".logits", match[1])] = value
    return found


def _renumbered(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renumber the controllers in `weights` like those in `own`, ours, if they are numbered without gaps from 0."""
    ours, theirs = (
        {int(key.split(".")[1]) for key in keys if key.startswith("controllers.")} for keys in (own, weights)
    )
    if theirs == ours or theirs != set(range(len(ours))):
        return dict(weights)
    place = dict(zip(sorted(theirs), sorted(ours), strict=True))
    return {
        re.sub(r"^controllers\.(\d+)", lambda m: f"controllers.{place[int(m[1])]}", k): v for k, v in weights.items()
    }

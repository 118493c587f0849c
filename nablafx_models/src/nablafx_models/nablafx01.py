"""Importer of checkpoints of NablAFx 1.0 (Comunità, Steinmetz and Reiss, 2025, arXiv:2502.11668)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from nablafx_core.bundles.checkpoint_file import read_tensors
from nablafx_core.bundles.class_paths import Argument, described, named_controls, settings_from
from nablafx_core.errors import ConversionError, ModelError, NablafxError
from nablafx_core.interfaces import Importer, Model
from nablafx_core.registry.building import build
from nablafx_models.conditioning.table import CONDITIONINGS

#: Prefixes of the model's weights in a checkpoint, in the order in which they are tried.
_PREFIXES = ("model.processor.", "processor.", "model.", "")

#: Arguments that all four classes of NablAFx have.
_COMMON = {
    "num_inputs": Argument(None, 1),
    "num_outputs": Argument(None, 1),
    "num_controls": Argument(None, 0),
    "residual": Argument("residual", False),
    "direct_path": Argument("direct_path", False),
    "cond_type": Argument("conditioning", None),
    "cond_block_size": Argument("cond_block_size", 128),
    "cond_num_layers": Argument("cond_num_layers", 1),
}
_CONVOLUTIONS = _COMMON | {
    "num_blocks": Argument("num_blocks", 10),
    "kernel_size": Argument("kernel_size", 3),
    "dilation_growth": Argument("dilation_growth", 2),
    "channel_width": Argument("channel_width", 32),
    "channel_growth": Argument("channel_growth", 1),
    "stack_size": Argument("stack_size", 10),
    "groups": Argument(None, 1),
    "bias": Argument("bias", False),
    "causal": Argument("causal", False),
    "batchnorm": Argument("norm", False),
}
ARGUMENTS: dict[str, tuple[str, dict[str, Argument]]] = {
    "TCN": ("tcn", _CONVOLUTIONS | {"act_type": Argument("activation", "tanh")}),
    "GCN": ("gcn", _CONVOLUTIONS | {"channel_growth": Argument(None, 1)}),  # NablAFx's GCN ignores it
    "LSTM": ("lstm", _COMMON | {"hidden_size": Argument("hidden_size", 32), "num_layers": Argument("num_layers", 1)}),
    "S4": (
        "s4",
        _COMMON
        | {
            "num_blocks": Argument("num_blocks", 4),
            "s4_state_dim": Argument("num_states", 4),
            "channel_width": Argument("channel_width", 32),
            "batchnorm": Argument("norm", False),
            "act_type": Argument("activation", "tanh"),
            "s4_learning_rate": Argument("ssm_learning_rate", 0.0005),
        },
    ),
}
_CONDITIONINGS = {
    None: "none",
    "film": "film",
    "tfilm": "tfilm",
    "ttfilm": "ttfilm",
    "tvfilm": "tvfilm",
    "fixed": "concatenated",
    "tvcond": "tv_concatenated",
}


class NablAFx01(Importer):
    """Import a Lightning checkpoint, or a state dict, of a black-box model of NablAFx 1.0.

    The YAML file of the model must contain exactly one ``class_path`` of the package nablafx that ends in TCN, GCN,
    LSTM or S4, with ``init_args``. Missing arguments have the default of NablAFx 1.0, such as ``bias: false`` and
    ``causal: false``. The weights, not the arguments, tell whether a TCN, GCN or S4 has a batch norm, and the degrees
    of rational activations.

    The import sets what NablAFx does differently: in causal TCNs and GCNs whose kernels have more than one tap,
    residuals are one sample late (``residual_delay: 1``); steps of tvfilm in them are aligned with the end
    (``alignment: end``); and before a file, an LSTM or S4 processes no silence (``pre_roll: 0``).

    Args:
        config: YAML file of the model, or of the whole training; required to read a checkpoint.
        sample_rate: sample rate in Hz at which the model was trained; NablAFx's files do not contain it.
        controls: names of the controls, in order; control_1, control_2, … if not given.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".ckpt", ".pt", ".pth")

    def __init__(self, config: str | None = None, sample_rate: int = 48000, controls: list[str] | None = None) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.controls = controls

    def reads(self, path: Path) -> bool:
        """Return True if the YAML file `config` is given, can be read and describes exactly one of these models."""
        try:
            return self.config is not None and bool(described(Path(self.config), "nablafx", ARGUMENTS))
        except NablafxError:
            return False

    def read(self, path: Path) -> Model:
        """Build the model that `config` describes, and load its weights from a checkpoint.

        Args:
            path: the checkpoint.

        Raises:
            ConversionError: if `config` is not given, does not describe exactly one model, or describes one that is
                unsupported; if the names of the controls are not as many as the controls; if the checkpoint cannot be
                read; or if its weights are not those of the model.
            ConfigError: if `config` cannot be read, or a value in it has the wrong type.
        """
        if self.config is None:
            raise ConversionError(
                f"{path}: needs the YAML file of its model. Pass it with --config (a NablAFx file with class_path)."
            )
        name, arguments = described(Path(self.config), "nablafx", ARGUMENTS)
        tensors, weights = read_tensors(path), {}
        for prefix in _PREFIXES:
            weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            if any(key.startswith(("blocks.0.", "lstm.")) for key in weights):
                break
        else:
            places = ", ".join(filter(None, _PREFIXES))
            raise ConversionError(
                f"{path}: found no weights of a TCN, GCN, LSTM or S4, with a prefix ({places}) or without. "
                f"Expected those of the {name} in {self.config}."
            )
        section = _section(name, arguments, weights, self.config)
        has_conditioning = arguments.get("cond_type") is not None
        controls = named_controls(arguments.get("num_controls", 0), self.controls, has_conditioning, self.config)
        try:
            model: Model = build("model", section, sample_rate=self.sample_rate, controls=controls)
        except ModelError as error:
            raise ConversionError(
                f"{self.config}: NablAFx's {name} cannot be built with these arguments: {error}"
            ) from error
        _load(model, weights, path)
        return model


def _section(name: str, arguments: Mapping[str, Any], weights: Mapping[str, Tensor], config: str) -> dict[str, Any]:
    """Return the `model` section of the network that the arguments of a class of NablAFx describe.

    Raises:
        ConversionError: if an argument is unknown or has an unsupported value, or the weights contain rational
            functions of several sizes.
    """
    kind, known = ARGUMENTS[name]
    settings = settings_from(arguments, known, f"{config}: NablAFx's {name}")
    for argument in ("num_inputs", "num_outputs", "groups"):
        if arguments.get(argument, 1) != 1:
            raise ConversionError(f"{config}: {argument} is {arguments[argument]}; only 1 is supported.")
    condition = settings.pop("conditioning")
    if condition not in _CONDITIONINGS:
        raise ConversionError(
            f"{config}: cond_type '{condition}' is unsupported. Supported: null, "
            f"{', '.join(filter(None, _CONDITIONINGS))}."
        )
    section = {"name": f"nablafx-models/{kind}", **settings, "conditioning": _CONDITIONINGS[condition]}
    if name != "LSTM":
        section["norm"] = "batch" if any(key.endswith("bn.running_mean") for key in weights) else "none"
    if section.get("activation") == "rational":
        section["rational_degrees"] = _degrees(weights, config)
    if name in ("TCN", "GCN"):
        delayed = settings["causal"] and settings["kernel_size"] > 1
        section["residual_delay"] = int(delayed)
        aligned = CONDITIONINGS[section["conditioning"]].allows_end_alignment
        section["alignment"] = "end" if aligned else "start"
    else:
        section["pre_roll"] = 0
    return section


def _degrees(weights: Mapping[str, Tensor], config: str) -> list[int]:
    """Return the degrees of numerator and denominator of the rational activations, from the lengths of their weights.

    Raises:
        ConversionError: if there are no rational functions, or their lengths differ.
    """
    lengths: dict[str, set[int]] = {}
    for key, value in weights.items():
        part = key.rpartition(".")[2]
        if part in ("numerator", "denominator"):
            lengths.setdefault(part, set()).add(len(value))
    if any(len(found) != 1 for found in lengths.values()) or len(lengths) != 2:
        raise ConversionError(
            f"{config}: act_type is rational, but the checkpoint contains no rational functions, or several of "
            "different degrees. Check act_type."
        )
    return [lengths["numerator"].pop() - 1, lengths["denominator"].pop()]


def _load(model: Model, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load the weights into the model. Counters of batches are ignored; a single slope is used for all channels.

    Raises:
        ConversionError: if a weight is missing, is not part of the model, or has another shape.
    """
    own = model.state_dict()
    taken = {}
    for key, value in weights.items():
        if key.endswith("num_batches_tracked") or key.startswith("cond_nn.mlp."):  # a counter; copies of cond_nn.layers
            continue
        if key not in own:
            raise ConversionError(f"{path}: '{key}' is not a weight of the model in --config. Check its arguments.")
        if value.shape == (1,) and own[key].shape != value.shape and ".act" in key:
            value = value.expand_as(own[key])  # one slope for all channels
        if value.shape != own[key].shape:
            raise ConversionError(
                f"{path}: '{key}' has the shape {tuple(value.shape)}; the model in --config needs "
                f"{tuple(own[key].shape)}. Check its arguments."
            )
        taken[key] = value
    missing = [key for key in own if key not in taken and not key.endswith("num_batches_tracked")]
    if missing:
        raise ConversionError(
            f"{path}: {len(missing)} weights of the model in --config are missing, such as '{missing[0]}'. "
            "Check its arguments."
        )
    model.load_state_dict(taken, strict=False)

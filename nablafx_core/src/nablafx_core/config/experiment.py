"""Load an experiment: merge its layers, and check every setting before anything is built."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from nablafx_core.config.check import Checker
from nablafx_core.config.components import qualified_experiment
from nablafx_core.config.defaults import DEFAULTS
from nablafx_core.config.layers import Layer, merge, read_file, read_yaml, with_override
from nablafx_core.config.limits import limits_problem, other_limits_off
from nablafx_core.config.recorded import is_record, read_record
from nablafx_core.config.schema import LoadingSettings, TrackSettings, TrainSettings
from nablafx_core.errors import ConfigError, RegistryError
from nablafx_core.hints import unknown_setting
from nablafx_core.names import names_match
from nablafx_core.registry import Registry
from nablafx_core.registry.import_paths import Code, code_of_files
from nablafx_core.registry.provenance import Provenance
from nablafx_core.registry.qualified import Names
from nablafx_core.registry.settings import settings_of
from nablafx_core.yaml import NUMBERS_AND_WORDS, Path

_log = logging.getLogger(__name__)

SECTIONS = ("requires", "data", "model", "loss", "metrics", "train", "track")


@dataclass(frozen=True)
class Experiment:
    """A validated experiment.

    Args:
        config: merged sections as plain data, with every default filled in; written as YAML, they are an experiment
            file that gives the same run.
        preset: name of the preset in its lowest layer; None without a preset.
        code: rules for its import paths.
    """

    config: dict[str, Any]
    preset: str | None = None
    code: Code = field(default_factory=Code, compare=False)

    @property
    def train(self) -> TrainSettings:
        """Section `train`."""
        return TrainSettings(**self.config["train"])

    @property
    def track(self) -> TrackSettings:
        """Section `track`."""
        return TrackSettings(**self.config["track"])

    @property
    def loading(self) -> LoadingSettings:
        """Settings of the section `data` that belong to the framework."""
        return LoadingSettings(**{key: self.config["data"][key] for key in LoadingSettings.model_fields})

    @property
    def dataset(self) -> dict[str, Any]:
        """Name and settings of the section `data` that belong to the dataset."""
        return {key: value for key, value in self.config["data"].items() if key not in LoadingSettings.model_fields}

    def to_yaml(self) -> str:
        """Return the text of the experiment file."""
        head = f"# made from preset {self.preset}\n" if self.preset else ""
        return head + yaml.dump(self.config, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writer of YAML for `read_yaml`: no anchors, quotes around text such as 1e-3, lists of values in one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = NUMBERS_AND_WORDS
# PyYAML changes these line breaks when it reads them back, unless they are escaped in double quotes.
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if set(text) & set("\x85\u2028\u2029") else None
    ),
)
_Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", items, flow_style=not any(isinstance(item, (dict, list)) for item in items)
    ),
)


def load_experiment(
    files: FilePath | str | Iterable[FilePath | str] = (),
    overrides: Iterable[str] = (),
    sections: Mapping[str, Any] | Layer | None = None,
    preset: str | None = None,
    made_with: Provenance | None = None,
    code: Code | None = None,
) -> Experiment:
    """Merge and check an experiment: preset < files < sections < overrides.

    If a file, a section or an override sets only one of ``train.max_steps`` and ``train.max_minutes``, the other limit
    is off, also if the preset sets it.

    Args:
        files: experiment file, or several; a later file overrides an earlier one. Names without a pack in a run's
            ``config.yaml`` mean the packs of the ``run.json`` beside it.
        overrides: settings such as ``"model.channel_width=32"``.
        sections: plain data, for experiments made in Python, or a layer that stores the places of its values.
        preset: preset that the files override; the same as ``model.preset``.
        made_with: packs with which sections and overrides were written; None for the installed ones.
        code: rules for import paths; if None, they may name modules in the folders of the files, unless a file is a
            run's config.

    Raises:
        ConfigError: if anything is invalid; the message names file and line of the first problem, with a suggestion.
        RegistryError: if a required pack is not installed.
    """
    listed = [files] if isinstance(files, (str, FilePath)) else list(files)
    code = code or code_of_files(listed)
    with code.used():
        return _loaded(listed, list(overrides), sections, preset, made_with, code)


def _loaded(
    files: list[FilePath | str],
    overrides: list[str],
    sections: Mapping[str, Any] | Layer | None,
    preset: str | None,
    made_with: Provenance | None,
    code: Code,
) -> Experiment:
    layer = Layer({})
    for file in files:
        path = FilePath(file)
        read = read_record(path, SECTIONS) if is_record(path) else read_file(path)
        layer = merge(layer, _with_recorded_packs(_with_names_expanded(read), path))
    if sections:
        layer = merge(layer, _with_names_expanded(sections if isinstance(sections, Layer) else Layer(dict(sections))))
    registry = Registry.discover()
    asked = _overridden(layer, overrides)
    _check_sections(asked)
    registry.check_requirements(_requirements(asked))
    names = made_with or registry
    below, preset = _preset(asked, preset, names)
    _check_sections(below)
    registry.check_requirements(_requirements(below))
    below = merge(merge(Layer(DEFAULTS), below), other_limits_off(asked))
    # Overrides are applied last, because they may change an item of a list in the preset or the defaults.
    layer = _without_untrusted_observers(_overridden(merge(below, layer), overrides), code)
    return Experiment(_checked(layer, Checker(layer, names)), preset, code)


def _without_untrusted_observers(layer: Layer, code: Code) -> Layer:
    """Remove the observers of an untrusted file: they could send recorded data and secrets to its author."""
    track = layer.value["track"]
    written = track.get("observers") if isinstance(track, Mapping) else None
    if not code.stranger or code.observers is None or not isinstance(written, list):
        return layer
    kept = [section for section in written if section in code.observers]
    if len(kept) < len(written):
        _log.warning(
            "%s: track.observers names %d that this run did not have when you trained it. They are left out, because "
            "they could send data and secrets elsewhere. To use them: --set 'track.observers=[…]'.",
            code.stranger,
            len(written) - len(kept),
        )
    return Layer({**layer.value, "track": {**track, "observers": kept}}, layer.marks)


def _with_names_expanded(layer: Layer) -> Layer:
    """Expand `data: pair` and `model: tcn` to mappings, so that they merge with the mappings of a preset."""
    short = {key: {"name": layer.value[key]} for key in _EXAMPLES if isinstance(layer.value.get(key), str)}
    return Layer({**layer.value, **short}, layer.marks)


def _with_recorded_packs(layer: Layer, file: FilePath) -> Layer:
    """Add to the names in a run's experiment the packs that they meant when it was written."""
    if not (file.parent / "run.json").is_file():
        return layer
    try:
        return Layer(qualified_experiment(layer.value, Provenance.of_run(file.parent)), layer.marks)
    except RegistryError as error:
        raise ConfigError(f"{file}: {error}") from error


def _overridden(layer: Layer, overrides: Iterable[str]) -> Layer:
    for override in overrides:
        layer = with_override(layer, override)
    return layer


def _check_sections(layer: Layer) -> None:
    for key in layer.value:
        if key not in SECTIONS:
            raise ConfigError(f"{_prefix(layer, (key,))}{unknown_setting('an experiment', key, SECTIONS)}")


def _requirements(layer: Layer) -> list[str]:
    requires = layer.value.get("requires") or []
    if not isinstance(requires, list) or not all(isinstance(item, str) for item in requires):
        raise ConfigError(
            f"{_prefix(layer, ('requires',))}requires: expected a list of requirements such as [nablafx-acme>=0.2]."
        )
    return requires


def _preset(layer: Layer, preset: str | None, names: Names) -> tuple[Layer, str | None]:
    """Return the preset that the section `model` names, or else the given one, and its full name."""
    model = layer.value.get("model") or {}
    model = {"name": model} if isinstance(model, str) else model
    name = (model.get("preset") if isinstance(model, dict) else None) or preset
    if name is None:
        return Layer({}), None
    try:
        entry = names.find("preset", str(name))
        below = read_yaml(entry.resource().read_text(encoding="utf-8"), f"preset {name}")
    except RegistryError as error:
        raise ConfigError(f"{_prefix(layer, ('model', 'preset'))}model.preset: {error}") from None
    theirs = below.value.get("model", {}).get("name")
    if not names_match(str(model.get("name", theirs)), str(theirs)):
        raise ConfigError(
            f"{_prefix(layer, ('model', 'name'))}model.name is '{model['name']}', but the preset '{name}' is a "
            f"'{theirs}'. Remove one of them."
        )
    return below, entry.qualified_name


def _checked(layer: Layer, checker: Checker) -> dict[str, Any]:
    for key in ("data", "model"):
        if layer.value.get(key) is None:
            raise ConfigError(f"The experiment has no section '{key}'. Add one, such as {_EXAMPLES[key]}")
    config: dict[str, Any] = {"requires": _requirements(layer)}
    model = layer.value["model"]
    rate = model.get("sample_rate") if isinstance(model, dict) else None
    given = {} if rate is None else {"sample_rate": rate}
    config["data"] = checker.section("dataset", layer.value["data"], ("data",), given)
    own = {key: value for key, value in model.items() if key != "preset"} if isinstance(model, dict) else model
    config["model"] = checker.section("model", own, ("model",))
    config["loss"] = checker.sections("loss", layer.value["loss"], ("loss",))
    config["metrics"] = checker.sections("metric", layer.value["metrics"], ("metrics",))
    config["train"] = checker.plain(settings_of(TrainSettings), layer.value["train"], ("train",))
    if problem := limits_problem(config["train"]):
        raise ConfigError(f"{_prefix(layer, ('train',))}train: {problem}")
    config["track"] = checker.plain(settings_of(TrackSettings), layer.value["track"], ("track",))
    return config


_EXAMPLES = {
    "data": "data: {name: pair, dry: di.wav, wet: amp.wav}",
    "model": "model: {preset: tcn-45-s}",
}


def _prefix(layer: Layer, path: Path) -> str:
    where = layer.where(path)
    return f"{where}: " if where else ""

"""Read a sweep from its file or from its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nablafx_core.config.check import Checker
from nablafx_core.config.experiment import SECTIONS
from nablafx_core.config.layers import Layer, read_file, with_override
from nablafx_core.config.schema import Asha, Resources, SweepSettings
from nablafx_core.errors import ConfigError
from nablafx_core.hints import unknown_setting
from nablafx_core.registry import Registry
from nablafx_core.registry.import_paths import Code, code_of_files
from nablafx_core.registry.provenance import Provenance
from nablafx_core.registry.settings import settings_of
from nablafx_core.sweep.space import Choices, Range, Space
from nablafx_core.yaml import dotted

_KEYS = ("experiment", "sweep")
#: Sections of an experiment that are the same for all trials.
_SHARED = ("requires", "track")


@dataclass(frozen=True)
class Sweep:
    """Sweep whose own settings are checked; `trials` checks that its trials are valid experiments.

    Args:
        settings: section `sweep`.
        resources: resources of each trial.
        asha: settings of ``search: asha``.
        space: values or range of each setting, by its path.
        experiment: experiment that all trials share.
        overrides: overrides of the command line for the experiment of every trial, such as ``"train.max_steps=2000"``.
        file: layer of the sweep's file, for messages.
        code: folders from which import paths may be imported.
        made_with: packs to which the names of a recorded sweep refer; None for the installed ones.
    """

    settings: SweepSettings
    resources: Resources
    asha: Asha
    space: Space
    experiment: Layer
    overrides: tuple[str, ...]
    file: Layer
    code: Code
    made_with: Provenance | None = None

    def at(self, *path: str) -> str:
        """Return file and line of a part of the section `sweep`, as the start of a message; empty if unknown."""
        where = self.file.where(("sweep", *path))
        return f"{where}: " if where else ""

    @property
    def choices(self) -> dict[str, Choices]:
        """Settings of the space that have lists of values."""
        return {name: part for name, part in self.space.items() if isinstance(part, Choices)}

    def record(self) -> dict[str, Any]:
        """Return the sweep as plain data for a run's record, without dots in keys; `recorded_sweep` reads it."""
        written = self.file.value["sweep"]
        space = [{"setting": name, "values": value} for name, value in written["space"].items()]
        own = {**written, "space": space}
        return {"experiment": self.experiment.value, "set": list(self.overrides), "sweep": own}


def read_sweep(path: Path, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep's file and the experiment that it names; `trials` checks the trials.

    Args:
        path: path of the file.
        overrides: overrides such as ``"train.max_steps=2000"`` for all trials, or ``"sweep.trials=5"``.

    Raises:
        ConfigError: if a file cannot be read, or the sweep's own settings are invalid; the message has the place.
    """
    items = list(overrides)
    file = read_file(path)
    for key in file.value:
        if key not in _KEYS:
            raise ConfigError(f"{file.where((key,))}: {unknown_setting('a sweep', key, _KEYS)}")
    for item in items:
        if item.startswith("sweep."):
            file = with_override(file, item)
    own = file.value.get("experiment")
    code = code_of_files([path.parent / own if isinstance(own, str) else path])
    return _sweep(file, _experiment(file, path), tuple(item for item in items if not item.startswith("sweep.")), code)


def recorded_sweep(config: Mapping[str, Any], made_with: Provenance, code: Code) -> Sweep:
    """Read the sweep that `Sweep.record` recorded.

    Args:
        config: recorded data, with the keys `experiment`, `set` and `sweep`.
        made_with: packs with which the sweep was recorded.
        code: folders from which import paths may be imported.

    Raises:
        ConfigError: if the data is not the record of a sweep.
    """
    try:
        space = {item["setting"]: item["values"] for item in config["sweep"]["space"]}
        file = Layer({"sweep": {**config["sweep"], "space": space}})
        sweep = _sweep(file, Layer(dict(config["experiment"])), tuple(map(str, config["set"])), code)
        return replace(sweep, made_with=made_with)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is not the record of a sweep: {type(error).__name__}: {error}.") from error


def _experiment(file: Layer, path: Path) -> Layer:
    """Return the experiment with the lines of its settings, from its own file or from the sweep's file."""
    value = file.value.get("experiment")
    if isinstance(value, str):
        try:
            return read_file(path.parent / value)
        except ConfigError as error:
            raise ConfigError(f"{file.where(('experiment',))}: experiment: {error}") from error
    if isinstance(value, dict):
        return Layer(value, {place[1:]: mark for place, mark in file.under(("experiment",)).items()})
    where = file.where(("experiment",)) or str(path)
    raise ConfigError(f"{where}: experiment: give the file of an experiment (experiment: muff.yaml) or its sections.")


def _sweep(file: Layer, experiment: Layer, overrides: tuple[str, ...], code: Code) -> Sweep:
    checker = Checker(file, Registry.discover())
    own = checker.plain(settings_of(SweepSettings), file.value.get("sweep"), ("sweep",))
    settings = SweepSettings(**own)
    _check_trials(file, settings)
    return Sweep(
        settings,
        Resources(**checker.plain(settings_of(Resources), settings.resources, ("sweep", "resources"))),
        Asha(**checker.plain(settings_of(Asha), settings.asha, ("sweep", "asha"))),
        _space(file, checker, settings),
        experiment,
        overrides,
        file,
        code,
    )


def _check_trials(file: Layer, settings: SweepSettings) -> None:
    if settings.search == "grid" and settings.trials is not None:
        _fail(file, ("trials",), "a grid runs all combinations of its lists. Remove trials.")
    if settings.search != "grid" and settings.trials is None:
        _fail(file, (), f"search: {settings.search} requires the setting 'trials', the number of trials to draw.")


def _space(file: Layer, checker: Checker, settings: SweepSettings) -> dict[str, Choices | Range]:
    if not settings.space:
        _fail(file, ("space",), "name at least one setting, such as model.channel_width: [8, 16].")
    found: dict[str, Choices | Range] = {}
    for name, value in settings.space.items():
        path = ("space", name)
        _check_name(file, path, name)
        if isinstance(value, list) and value:
            if len({repr(item) for item in value}) < len(value):
                _fail(file, path, "the list contains a value twice. Remove one of them.")
            found[name] = Choices(tuple(value))
        elif isinstance(value, dict):
            found[name] = Range(**checker.plain(settings_of(Range), value, ("sweep", *path)))
        else:
            _fail(
                file,
                path,
                f"expected a non-empty list of values or a range {{min: …, max: …}}, got {value!r:.40}.",
            )
        part = found[name]
        problem = part.problem() if isinstance(part, Range) else None
        if problem:
            _fail(file, path, problem)
        if settings.search == "grid" and isinstance(part, Range):
            _fail(file, path, "a grid supports only lists. Write the values, or use search: random.")
    return found


def _check_name(file: Layer, path: tuple[str, ...], name: str) -> None:
    section = name.partition(".")[0]
    if "=" in name or not all(name.split(".")):
        _fail(file, path, "write it as section.setting, such as train.learning_rate, without '='.")
    if section not in SECTIONS:
        raise ConfigError(f"{file.where(('sweep', *path))}: {unknown_setting('an experiment', section, SECTIONS)}")
    if section in _SHARED:
        _fail(file, path, f"'{section}' is the same for all trials. Set it in the experiment.")


def _fail(file: Layer, path: tuple[str, ...], message: str) -> None:
    place = ("sweep", *path)
    where = file.where(place)
    raise ConfigError(f"{where + ': ' if where else ''}{dotted(place)}: {message}")

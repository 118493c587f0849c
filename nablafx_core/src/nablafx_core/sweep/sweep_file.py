"""Reading a sweep's file, or what the record of a sweep holds of it."""

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
    """A sweep whose own settings are checked; whether its trials are experiments is found by `trials`.

    Args:
        settings: the section `sweep`.
        resources: of each trial.
        asha: for search: asha.
        space: by the path of a setting.
        experiment: what all trials have in common.
        overrides: of the command line, over that.
        file: its layer, for messages.
        code: where its import paths may lead.
        made_with: packs that its names mean, if it was started earlier; None for the installed ones.
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
        """Where a part of the section `sweep` was written, for the beginning of a message."""
        where = self.file.where(("sweep", *path))
        return f"{where}: " if where else ""

    @property
    def choices(self) -> dict[str, Choices]:
        """The space, where it has lists only."""
        return {name: part for name, part in self.space.items() if isinstance(part, Choices)}

    def record(self) -> dict[str, Any]:
        """The sweep as plain data that a run's record takes (no key with a dot); `recorded_sweep` reads it."""
        written = self.file.value["sweep"]
        space = [{"setting": name, "values": value} for name, value in written["space"].items()]
        own = {**written, "space": space}
        return {"experiment": self.experiment.value, "set": list(self.overrides), "sweep": own}


def read_sweep(path: Path, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep's file.

    Args:
        path: of the file.
        overrides: such as ``"train.max_steps=2000"`` for all trials, or ``"sweep.trials=5"``.

    Raises:
        ConfigError: with file, line and suggestion.
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
        config: the recorded data.
        made_with: packs of its record.
        code: where its import paths may lead.

    Raises:
        ConfigError: if it is no sweep's record.
    """
    try:
        space = {item["setting"]: item["values"] for item in config["sweep"]["space"]}
        file = Layer({"sweep": {**config["sweep"], "space": space}})
        sweep = _sweep(file, Layer(dict(config["experiment"])), tuple(map(str, config["set"])), code)
        return replace(sweep, made_with=made_with)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no record of a sweep: {type(error).__name__}: {error}.") from error


def _experiment(file: Layer, path: Path) -> Layer:
    """The experiment, from its own file or inline, with its places."""
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
        _fail(file, ("trials",), "a grid has as many trials as its lists have combinations. Take trials out.")
    if settings.search != "grid" and settings.trials is None:
        _fail(file, (), f"search: {settings.search} needs the setting 'trials', how many are drawn.")


def _space(file: Layer, checker: Checker, settings: SweepSettings) -> dict[str, Choices | Range]:
    if not settings.space:
        _fail(file, ("space",), "name at least one setting, such as model.channel_width: [8, 16].")
    found: dict[str, Choices | Range] = {}
    for name, value in settings.space.items():
        path = ("space", name)
        _check_name(file, path, name)
        if isinstance(value, list) and value:
            if len({repr(item) for item in value}) < len(value):
                _fail(file, path, "the same value stands twice in its list.")
            found[name] = Choices(tuple(value))
        elif isinstance(value, dict):
            found[name] = Range(**checker.plain(settings_of(Range), value, ("sweep", *path)))
        else:
            _fail(file, path, f"a list of values or a range {{min: …, max: …}}, not {value!r:.40}.")
        part = found[name]
        problem = part.problem() if isinstance(part, Range) else None
        if problem:
            _fail(file, path, problem)
        if settings.search == "grid" and isinstance(part, Range):
            _fail(file, path, "a grid takes lists only. Write the values, or use search: random.")
    return found


def _check_name(file: Layer, path: tuple[str, ...], name: str) -> None:
    section = name.partition(".")[0]
    if "=" in name or not all(name.split(".")):
        _fail(file, path, "write it as section.setting.")
    if section not in SECTIONS:
        raise ConfigError(f"{file.where(('sweep', *path))}: {unknown_setting('an experiment', section, SECTIONS)}")
    if section in _SHARED:
        _fail(file, path, f"'{section}' is the same for all trials. Set it in the experiment.")


def _fail(file: Layer, path: tuple[str, ...], message: str) -> None:
    place = ("sweep", *path)
    where = file.where(place)
    raise ConfigError(f"{where + ': ' if where else ''}{dotted(place)}: {message}")

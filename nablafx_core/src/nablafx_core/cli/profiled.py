"""The model that a name, a file or a bundle means, and the training step that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nablafx_core.bundles.allocation import build_within, memory_of_this_machine
from nablafx_core.bundles.loading import bundle_path, load
from nablafx_core.config import Experiment, load_experiment
from nablafx_core.controls import Control
from nablafx_core.errors import AmbiguousNameError, BundleError, ConfigError, NablafxError, RegistryError, RunError
from nablafx_core.interfaces import Model
from nablafx_core.registry import Registry
from nablafx_core.runs.find_model import find_model

#: Data for presets, whose own is not asked for.
_NO_DATA = "nablafx_core.testing.tiny:TinyData"


class Subject(NamedTuple):
    """What a cost card is made for.

    Args:
        model: built or loaded.
        experiment: whose batch and segment its training has; None without one.
    """

    model: Model
    experiment: Experiment | None


def find_subject(name: str, overrides: Sequence[str], num_controls: int | None, runs_dir: Path) -> Subject:
    """The model that a person means.

    Args:
        name: a bundle, a run's folder, id or ``latest``, ``pack/name``, an experiment file, a preset or a model's name.
        overrides: such as ``"model.channel_width=32"``; not for a model that is trained already.
        num_controls: knobs of a model that is not; None for those of the data, where there is any, or none.
        runs_dir: folder that holds the run folders.

    Raises:
        NablafxError: if there is nothing of that name, or the model cannot be built.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return _of_experiment(load_experiment([name], overrides), num_controls)
    trained = Path(name).suffix == ".nfx" or Path(name).is_dir()
    kind = None if trained else _kind(name)
    if kind is None:
        if overrides or num_controls is not None:
            raise ConfigError(f"'{name}' is no preset and no model's name, so that --set and --controls do not fit it.")
        return Subject(_loaded(name, runs_dir), None)
    sections: dict[str, Any] = {"data": {"name": _NO_DATA}}
    if kind == "model":
        sections["model"] = {"name": name}
        experiment = load_experiment(overrides=overrides, sections=sections)
        return Subject(_built(experiment, num_controls or 0), None)
    experiment = load_experiment(overrides=overrides, sections=sections, preset=name)
    return Subject(_built(experiment, num_controls or 0), experiment)


def _kind(name: str) -> str | None:
    """``"preset"`` or ``"model"``, if that is what is called so; a name that several packs have is an error."""
    for kind in ("preset", "model"):
        try:
            Registry.discover().find(kind, name)
        except AmbiguousNameError:
            raise
        except RegistryError:
            continue
        else:
            return kind
    return None


def _loaded(name: str, runs_dir: Path) -> Model:
    try:
        return load(find_model(name, runs_dir))
    except (RunError, BundleError) as error:
        if bundle_path(name) is not None:
            raise
        known = "`nablafx list presets` and `nablafx list models` show the names that there are."
        raise RegistryError(f"'{name}' is no preset, no model, no bundle and no run. {known}\n  {error}") from error


def _of_experiment(experiment: Experiment, num_controls: int | None) -> Subject:
    from nablafx_core.training.fit import prepared_data, prepared_model

    if num_controls is not None:
        return Subject(_built(experiment, num_controls), experiment)
    try:
        data = prepared_data(experiment)
    except NablafxError as error:
        hint = "Without the data, say how many knobs it has: --controls N."
        raise type(error)(f"{error}\n  {hint}") from error
    return Subject(prepared_model(experiment, data), experiment)


def _built(experiment: Experiment, num_controls: int) -> Model:
    section = experiment.config["model"]
    controls = [Control(f"knob{number}") for number in range(1, num_controls + 1)]
    with experiment.code.used():
        return build_within(section, memory_of_this_machine(), controls=controls)

"""Find the model for ``nablafx profile``, and the experiment for its training step."""

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

#: Dataset for presets and models, whose own data is not needed.
_NO_DATA = "nablafx_core.testing.tiny:TinyData"


class Subject(NamedTuple):
    """Model whose cost is measured.

    Args:
        model: model, built or loaded.
        experiment: experiment with the batch size and the segment length of its training; None without one.
    """

    model: Model
    experiment: Experiment | None


def find_subject(name: str, overrides: Sequence[str], num_controls: int | None, runs_dir: Path) -> Subject:
    """Find the model that a user names.

    Args:
        name: bundle, a run's folder or id, ``latest``, ``pack/name``, experiment file, or name of a preset or model.
        overrides: settings such as ``"model.channel_width=32"``; not allowed for a trained model.
        num_controls: number of knobs of an untrained model; None for the knobs of the data, or no knobs without data.
        runs_dir: folder that contains the run folders.

    Raises:
        NablafxError: if nothing has that name, or if the model cannot be built.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return _of_experiment(load_experiment([name], overrides), num_controls)
    trained = Path(name).suffix == ".nfx" or Path(name).is_dir()
    kind = None if trained else _kind(name)
    if kind is None:
        if overrides or num_controls is not None:
            raise ConfigError(
                f"'{name}' is not the name of a preset or a model; only these accept --set and --controls."
            )
        return Subject(_loaded(name, runs_dir), None)
    sections: dict[str, Any] = {"data": {"name": _NO_DATA}}
    if kind == "model":
        sections["model"] = {"name": name}
        experiment = load_experiment(overrides=overrides, sections=sections)
        return Subject(_built(experiment, num_controls or 0), None)
    experiment = load_experiment(overrides=overrides, sections=sections, preset=name)
    return Subject(_built(experiment, num_controls or 0), experiment)


def _kind(name: str) -> str | None:
    """Return ``"preset"`` or ``"model"`` if one has that name, else None; raise if several packs have the name."""
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
        known = "`nablafx list presets` and `nablafx list models` show the names."
        raise RegistryError(f"'{name}' is not a preset, a model, a bundle or a run. {known}\n  {error}") from error


def _of_experiment(experiment: Experiment, num_controls: int | None) -> Subject:
    from nablafx_core.training.prepared import prepared_data, prepared_model

    if num_controls is not None:
        return Subject(_built(experiment, num_controls), experiment)
    try:
        data = prepared_data(experiment)
    except NablafxError as error:
        hint = "To profile without the data, set the number of knobs: --controls N."
        raise type(error)(f"{error}\n  {hint}") from error
    return Subject(prepared_model(experiment, data), experiment)


def _built(experiment: Experiment, num_controls: int) -> Model:
    section = experiment.config["model"]
    controls = [Control(f"knob{number}") for number in range(1, num_controls + 1)]
    with experiment.code.used():
        return build_within(section, memory_of_this_machine(), controls=controls)

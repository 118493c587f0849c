"""Table of the laws that each kind of component must keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nablafx_core.causes import cause
from nablafx_core.config import Experiment
from nablafx_core.errors import ConfigError, NablafxError, RegistryError
from nablafx_core.interfaces import Controller, Model
from nablafx_core.registry.kinds import KINDS
from nablafx_core.testing import (
    laws,
    laws_bundle,
    laws_component,
    laws_dataset,
    laws_device,
    laws_embedding,
    laws_export,
    laws_gradients,
    laws_hooks,
    laws_import,
    laws_observer,
    laws_position,
    laws_preset,
    laws_saving,
    laws_scores,
    laws_shape,
    laws_steps,
)
from nablafx_core.testing.case import Case
from nablafx_core.testing.result import NotChecked
from nablafx_core.testing.subject import LawBroken

CUTS = (1, 2, 61, 64, 128, 300, 3, 153)


@dataclass(frozen=True)
class Law:
    """A law and the function that checks it.

    Args:
        name: name of the law in results and in `exceptions`.
        check: function that checks a case, and returns what it measured, if anything.
        first: if true, the laws after it are left out if this one is broken, a declared exception or not checked,
            because they would fail, too.
    """

    name: str
    check: Callable[[Case], Any]
    first: bool = False


def of_built(name: str, law: Callable[[Any], Any]) -> Law:
    """Return a law that is checked on the component built from its example."""
    return Law(name, lambda case: law(case.built))


def streamed(name: str, law: Callable[[Any], Any]) -> Law:
    """Return a law that is checked on the component built from its example, but not on a model that cannot stream."""

    def check(case: Case) -> Any:
        if isinstance(case.built, Model) and not case.built.streams:
            raise NotChecked("the model needs the whole file and cannot stream.")
        return law(case.built)

    return Law(name, check)


def _builds(case: Case) -> None:
    if isinstance(case.built, Controller) and case.built.num_parameters == 0:
        raise NotChecked("the controller has no parameters to control, so there is nothing to measure.")


def _observer_builds(case: Case) -> None:
    try:
        _ = case.built
    except (ConfigError, RegistryError) as error:
        if error.__cause__ is None or isinstance(error.__cause__, NablafxError):
            raise
        raise LawBroken(
            f"the observer raised {cause(error.__cause__, case.entry.package)} while it was built. If it needs a "
            "server, let it raise a NablafxError that names the server and the setting for it."
        ) from error
    except (NablafxError, OSError) as error:
        raise NotChecked(
            f"the observer cannot be built here ({cause(error)}). Check it on a machine that can reach its server."
        ) from error


def _experiment(case: Case) -> Experiment:
    return laws_preset.preset_experiment(case.entry)


def _exports(case: Case) -> Sequence[laws_export.Exported]:
    return laws_export.exports(case.entry, case.folder)


def _files(case: Case) -> Sequence[laws_export.Exported]:
    return laws_import.files_for(case.entry, case.folder)


_CODE = (
    Law("is what its kind says", lambda case: laws_component.is_of_its_kind(case.entry.load(), case.entry.kind), True),
    Law(
        "settings can be written",
        lambda case: laws_component.settings_can_be_written(case.entry.load(), case.entry.kind),
    ),
    Law(
        "settings are documented",
        lambda case: laws_component.settings_are_documented(case.entry.load(), case.entry.kind),
    ),
)
_BUILT = (*_CODE, Law("is built from its example", _builds, True))
_STREAMED = (
    *_BUILT,
    streamed("stream = offline, float64", lambda subject: laws.stream_equals_offline(subject, CUTS)),
    streamed(
        "stream = offline, float32", lambda subject: laws.stream_equals_offline(subject, CUTS, dtype=torch.float32)
    ),
    streamed(
        "stream = offline, moving controls",
        lambda subject: laws.stream_equals_offline(subject, CUTS, moving_controls=True),
    ),
    of_built("items are independent", laws.items_are_independent),
    of_built("silence gives no NaN", laws.silence_gives_no_nan),
    streamed("no look-ahead but the latency", laws.no_look_ahead),
    of_built("begins anywhere in a file", laws_position.begins_anywhere),
    of_built("every control moves the output", laws_gradients.every_control_moves_output),
    of_built("every parameter moves the output", laws_gradients.every_parameter_moves_output),
    of_built("gradients are right", laws_gradients.gradients_are_right),
    of_built("gradients are finite", laws_gradients.gradients_are_finite),
    Law("what it saves it loads", lambda case: laws_saving.saves_what_it_loads(case.built, case.build)),
)

MODEL = _STREAMED
PROCESSOR = (
    *_STREAMED,
    of_built("steps are their samples", laws_steps.steps_are_their_samples),
    of_built("has the shape that it says", laws_shape.has_its_shape),
)
CONTROLLER = _STREAMED
DATASET = (
    *_BUILT,
    of_built("recordings are well formed", laws_dataset.recordings_are_well_formed),
    of_built("settings fit the knobs", laws_dataset.settings_fit_the_knobs),
    of_built("pieces are the whole", laws_dataset.pieces_are_the_whole),
    of_built("recordings can be pickled", laws_dataset.recordings_can_be_pickled),
)
DEVICE = (
    *_BUILT,
    of_built("renders at every end of its knobs", laws_device.device_renders),
    of_built("keeps no state between calls", laws_device.device_keeps_no_state),
    of_built("every knob moves the output", laws_device.every_knob_moves_the_device),
)
LOSS = (
    *_BUILT,
    of_built("items are independent", laws_scores.loss_is_per_item),
    of_built("zero at equality", laws_scores.loss_is_zero_at_equality),
    of_built("silence gives no NaN", laws_scores.loss_survives_silence),
    of_built("takes min_samples and more", laws_scores.loss_takes_what_it_declares),
)
METRIC = (
    *_BUILT,
    of_built("a split is the sum of its items", laws_scores.metric_is_a_sum),
    of_built("a perfect prediction is best", laws_scores.metric_ranks),
    of_built("silence gives no NaN", laws_scores.metric_survives_silence),
    of_built("takes signals of any length", laws_scores.metric_takes_any_length),
)
EMBEDDING = (
    *_BUILT,
    of_built("items are independent", laws_embedding.embedding_is_per_item),
    of_built("silence gives no NaN", laws_embedding.embedding_survives_silence),
)
IMPORTER = (
    *_BUILT,
    Law("damage is refused", lambda case: laws_import.damage_is_refused(case.entry, case.folder, case.once(_files))),
    Law(
        "what it reads fits a bundle",
        lambda case: laws_import.imports_fit_a_bundle(case.entry, case.folder, case.once(_files)),
    ),
)
EXPORTER = (
    *_BUILT,
    Law("writes or refuses every model", lambda case: len(case.once(_exports)), True),
    Law(
        "is imported as it was",
        lambda case: laws_export.imported_as_exported(case.entry, case.once(_exports)),
    ),
)
OBSERVER = (
    *_CODE,
    Law("is built from its example", _observer_builds, True),
    Law(
        "takes every event of a run",
        lambda case: laws_observer.observer_survives(case.build, case.folder, case.entry.package),
    ),
)
COMMAND = (
    _CODE[0],
    Law("its help is printed", lambda case: laws_hooks.command_has_help(case.entry.load(), case.entry.package)),
)
PRESET = (
    Law("is an experiment", lambda case: bool(case.once(_experiment)) and None, True),
    Law("names its packs", lambda case: laws_preset.preset_names_packs(case.entry)),
    Law("its model builds", lambda case: laws_preset.preset_builds(case.once(_experiment)), True),
    Law("trains a step", lambda case: laws_preset.preset_trains(case.once(_experiment))),
)
BUNDLE = (
    Law("is declared with licence and hash", lambda case: laws_bundle.bundle_is_declared(case.entry), True),
    Law("renders", lambda case: laws_bundle.bundle_renders(case.entry), True),
    Law("stream = offline, float64", lambda case: laws_bundle.bundle_streams(case.entry)),
)

#: Laws by kind; the record of the kind names the tuple of this module.
LAWS: dict[str, tuple[Law, ...]] = {kind.name: globals()[kind.laws.partition(":")[2]] for kind in KINDS.values()}

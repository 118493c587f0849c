"""Laws of presets: each is an experiment whose sections can be built and whose model can be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from nablafx_core.config import Experiment, load_experiment
from nablafx_core.config.components import qualified_experiment
from nablafx_core.config.layers import read_yaml
from nablafx_core.errors import NablafxError
from nablafx_core.interfaces import Model
from nablafx_core.names import is_qualified
from nablafx_core.registry import Entry, Registry
from nablafx_core.registry.qualified import Noted
from nablafx_core.scoring.built import built_losses, built_metrics
from nablafx_core.state import detached
from nablafx_core.testing.candidates import model_of
from nablafx_core.testing.result import Remark
from nablafx_core.testing.subject import LawBroken, knobs, noise
from nablafx_core.testing.tiny import TINY_DATA, TinyData
from nablafx_core.training.optimizer import optimizer_of
from nablafx_core.training.task import chunk_length

#: Numbers of knobs of the data with which a preset is tried; it must work with at least one of them.
KNOBS = (0, 2)
#: Maximum number of samples of the optimiser step: enough for a window of 2048, and fast for any receptive field.
MOST_SAMPLES = 2048

_LOOK = "Check the output of the untrained model for noise."


def preset_experiment(preset: Entry) -> Experiment:
    """Return the experiment of a preset with its data replaced by `TinyData`.

    Every section is checked, and losses and metrics are built; the model is not built.

    Raises:
        NablafxError: if a section is invalid, or a loss or metric cannot be built.
    """
    experiment = load_experiment(sections={"data": {"name": TINY_DATA}}, preset=preset.qualified_name)
    rate = TinyData().sample_rate
    built_losses(experiment.config["loss"], rate)
    built_metrics(experiment.config["metrics"], rate)
    return experiment


def preset_names_packs(preset: Entry) -> int:
    """Check that every component in a preset is named with its pack, so that other packs may use the same names.

    Returns:
        The number of components in the preset.

    Raises:
        Remark: if components are named without a pack; the message names them.
    """
    noted = Noted(Registry.discover())
    written = read_yaml(preset.resource().read_text(encoding="utf-8"), f"preset {preset.qualified_name}").value
    qualified_experiment(written, noted)
    names = [name for name, _ in noted.found]
    bare = [name for name in dict.fromkeys(names) if not is_qualified(name)]
    if bare:
        text = f"{', '.join(bare)}: named without a pack. Write pack/name; another pack may have the same name."
        raise Remark(text, len(names))
    return len(names)


def preset_builds(experiment: Experiment) -> int:
    """Check that the model can be built for data with at least one of the numbers of knobs in `KNOBS`.

    If the preset names the model's controls, only their number is tried.

    Returns:
        The number of parameters of the model for the first number of knobs that it accepts.

    Raises:
        LawBroken: if the model refuses each number of knobs.
        NablafxError: if the model raises another error than a NablafxError while it is built.
    """
    models = [model for _, model in _models(experiment)]
    return sum(parameter.numel() for parameter in models[0].parameters())


def preset_trains(experiment: Experiment) -> float:
    """Check that one optimiser step works, with a finite loss and with gradients that are finite and not all 0.

    The step is made for each number of knobs in `KNOBS` that the model accepts, on a segment of noise of the
    experiment's length, at most `MOST_SAMPLES`; if the experiment trains by truncated backpropagation, from an initial
    state.

    Returns:
        The largest loss.

    Raises:
        LawBroken: if the loss or a gradient is NaN or infinite, all gradients are 0, or the model refuses each number
            of knobs.
    """
    return max(_step(model, experiment, f"with {count} knobs") for count, model in _models(experiment))


def _models(experiment: Experiment) -> Iterator[tuple[int, Model]]:
    section = experiment.config["model"]
    named = section.get("controls")
    refusals = []
    for count in KNOBS if named is None else (len(named),):
        try:
            model = model_of(section, TinyData(count))
        except NablafxError as refusal:
            if isinstance(refusal.__cause__, RuntimeError | TypeError | ArithmeticError):  # a defect, not a refusal
                raise
            refusals.append(f"  with {count} knobs: {refusal}")
        else:
            yield count, model
    if len(refusals) == len(KNOBS) or (named is not None and refusals):
        raise LawBroken("\n".join(["the preset's model cannot be built for any number of knobs tried:", *refusals]))


def _step(model: Model, experiment: Experiment, what: str) -> float:
    settings = experiment.train
    time = min(experiment.loading.segment_length, MOST_SAMPLES)
    dry, controls = noise(model, 1, time, torch.float32), knobs(model, 1, torch.float32)
    optimizer = optimizer_of(model.train(), settings)
    if chunk_length(model, settings) is None:
        prediction = model(dry, controls)[0]
    else:
        prediction = model(dry, controls, detached(model.initial_state(1, controls)))[0]
    losses = built_losses(experiment.config["loss"], model.sample_rate)
    loss, _ = losses(prediction, torch.tanh(3 * dry).expand_as(prediction))
    loss.backward()
    if not math.isfinite(loss.item()):
        raise LawBroken(f"{what}: the loss is {loss.item()} at the first step; expected a finite number. {_LOOK}")
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    endless = [name for name, gradient in gradients.items() if not bool(gradient.isfinite().all())]
    if endless:
        raise LawBroken(f"{what}: the gradient of {endless[0]} is NaN or infinite at the first step. {_LOOK}")
    if not any(bool(gradient.any()) for gradient in gradients.values()):
        raise LawBroken(f"{what}: all gradients are 0 at the first step. Check that the loss depends on the weights.")
    optimizer.step()
    return float(loss.item())

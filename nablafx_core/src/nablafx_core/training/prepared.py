"""Prepare the dataset, the model and the batches of an experiment."""

from __future__ import annotations

from contextlib import nullcontext

from nablafx_core.bundles.allocation import build_within, memory_of_this_machine
from nablafx_core.bundles.loading import load
from nablafx_core.config import Experiment
from nablafx_core.data.contract import check_channels, checked
from nablafx_core.data.module import AudioDataModule
from nablafx_core.errors import ConfigError
from nablafx_core.interfaces import Dataset, Model
from nablafx_core.registry.building import build
from nablafx_core.weights import weights_follow


def prepared_data(experiment: Experiment) -> Dataset:
    """Build the dataset of an experiment, and check it.

    Raises:
        DataError: if the recordings cannot be used; see `nablafx_core.data.contract.checked`.
        NablafxError: if the dataset cannot be built from its section.
    """
    with experiment.code.used():
        return checked(build("dataset", experiment.dataset))


def prepared_model(experiment: Experiment, dataset: Dataset, from_checkpoint: bool = False) -> Model:
    """Build the model of an experiment; its sample rate and controls default to those of the data.

    With ``train.init``, the model gets the weights of that bundle or run, unless `from_checkpoint` is true.

    Args:
        experiment: experiment whose model is built.
        dataset: dataset of the experiment.
        from_checkpoint: if true, read no initial weights, because the caller loads those of a checkpoint.

    Raises:
        ConfigError: if the sample rate, the number of controls or the channels differ from those of the data, or the
            weights of ``train.init`` do not fit the model.
        ModelError: if the model would need more memory than this machine has.
        NablafxError: if the model cannot be built from its section, or ``train.init`` cannot be loaded.
    """
    section = experiment.config["model"]
    controls = list(dataset.controls)
    with experiment.code.used(), weights_follow() if from_checkpoint else nullcontext():
        memory = memory_of_this_machine()
        model = build_within(section, memory, sample_rate=dataset.sample_rate, controls=controls)
    if model.sample_rate != dataset.sample_rate:
        raise ConfigError(
            f"model.sample_rate is {model.sample_rate} Hz, but the data has {dataset.sample_rate} Hz. "
            "Remove model.sample_rate, or resample the data if its dataset has a setting for that."
        )
    if len(model.controls) != len(dataset.controls):
        raise ConfigError(
            f"the model has {len(model.controls)} controls, but the data has {len(dataset.controls)}: "
            f"{', '.join(control.name for control in dataset.controls) or 'none'}. Remove model.controls."
        )
    check_channels(model, dataset)
    if experiment.train.init and not from_checkpoint:
        _initialise(model, experiment.train.init)
    return model


def _initialise(model: Model, source: str) -> None:
    try:
        model.load_state_dict(load(source).state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"train.init: the weights of {source} do not fit this model. Use a bundle or run of a model with the same "
            f"settings. {error}"
        ) from error


def data_module(experiment: Experiment, dataset: Dataset, model: Model) -> AudioDataModule:
    """Return the batches of an experiment, in which each segment follows as much audio as its model needs.

    Args:
        experiment: experiment whose data is split and cut into segments.
        dataset: dataset of the experiment.
        model: model of the experiment; with an unbounded memory, it needs ``train.warm_up`` samples.

    Raises:
        DataError: if the data cannot be split or cut into segments.
    """
    settings = experiment.train
    context = model.history(settings.warm_up)
    return AudioDataModule(dataset, experiment.loading, context=context, seed=settings.seed)

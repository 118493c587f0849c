"""Train a model from an experiment, and record the training as a run."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException

from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.bundles.loading import BUNDLE_IN_RUN, load
from nablafx_core.config import Experiment, load_experiment
from nablafx_core.config.defaults import MAIN_FIGURE
from nablafx_core.errors import ConfigError
from nablafx_core.evaluation.shown_progress import shown_progress
from nablafx_core.evaluation.test_folder import score
from nablafx_core.evaluation.verdict import LISTEN, advice, verdict
from nablafx_core.pictures.curves import draw_curves
from nablafx_core.registry.import_paths import remember
from nablafx_core.runs.devices import sampled_gpus
from nablafx_core.runs.moved_data import check_same_data, is_moved, keep_fingerprint, moved_explained
from nablafx_core.runs.observers import built_observers
from nablafx_core.runs.recorder import Run, record
from nablafx_core.runs.records import RunRecord
from nablafx_core.scoring.built import built_losses, built_metrics
from nablafx_core.scoring.labels import labels_of_losses
from nablafx_core.shell import command
from nablafx_core.threads import torch_threads
from nablafx_core.training.best import KeepBest
from nablafx_core.training.callbacks import CosineSchedule, EarlyStopping, EndEarly, RecordFigures, TimeLimit
from nablafx_core.training.checkpoints import CheckpointFiles, SaveCheckpoints, newest_checkpoint, set_damaged_aside
from nablafx_core.training.epochs import Epochs
from nablafx_core.training.failures import disk_explained, memory_explained
from nablafx_core.training.guarded import pack_callbacks
from nablafx_core.training.lengths import fit_lengths
from nablafx_core.training.machine_use import MachineUse, gpu_uuids
from nablafx_core.training.prepared import data_module, prepared_data, prepared_model
from nablafx_core.training.processes import (
    Children,
    SameTraining,
    ended_with_first,
    exchange_explained,
    is_first_process,
    told_to_children,
)
from nablafx_core.training.progress_bar import RichProgress
from nablafx_core.training.quiet import quiet_lightning
from nablafx_core.training.random_states import RandomStates
from nablafx_core.training.resumable import resumed_folder
from nablafx_core.training.task import TrainingTask
from nablafx_core.training.trainer import Trainer


@dataclass(frozen=True)
class TrainResult:
    """Result of a training.

    Only rank 0 returns all of it. On other ranks, `id`, `validation` and `test` are empty, and `folder` is the runs
    folder unless the run is resumed.

    Args:
        id: id of the run.
        folder: run folder.
        bundle: file of the best model.
        validation: figures of the best validation, with its ``step``.
        test: figures of the best model on the whole test recordings; empty if it was not tested.
    """

    id: str
    folder: Path
    bundle: Path
    validation: dict[str, float]
    test: dict[str, float]

    @property
    def verdict(self) -> str | None:
        """Description of the test's error-to-signal ratio in words; None without a test or this metric."""
        return verdict(self.test[MAIN_FIGURE]) if MAIN_FIGURE in self.test else None


def train(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    resume: str | None = None,
    callbacks: list[Callback] | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
    parent: str | None = None,
    mongo: str | None = None,
    run_id: str | None = None,
) -> TrainResult:
    """Train, test and record a model.

    With several processes, rank 0 records, tests and writes; the other ranks only train. A training that a callback
    `EndEarly` ends is not tested.

    Args:
        experiment: experiment returned by `load_experiment`, its sections as plain data, or an experiment file.
        resume: id of a run to continue from its newest usable checkpoint, or from the beginning if it has none yet;
            `experiment` must be the experiment of that run. None for a new run.
        callbacks: Lightning callbacks, in addition to those of packs.
        progress: if true, show the progress of the training on stderr.
        say: function that is called with each line for the user; if None, the lines go to stderr if `progress` is
            true, and nowhere if not.
        parent: id of the run that starts this one, such as a sweep.
        mongo: MongoDB that keeps a copy of the run: a URL or the name of a profile; ``""`` for the address in the
            environment or in the user's config file, if there is one; None for no copy.
        run_id: requested id of a new run; a generated id if None. Ignored with `resume`.

    Returns:
        Id, folder, bundle and figures of the run.

    Raises:
        NablafxError: if the experiment, the data or the run to resume is invalid, or the training fails.
    """
    checked = _experiment(experiment)
    with checked.code.used():
        told = say or (_to_stderr if progress else _discard)
        result = _train(checked, resume, callbacks or [], progress, told, parent, mongo, run_id)
        if told is _to_stderr and result.verdict:
            told(f"{result.verdict}. {LISTEN}")
        return result


def _train(
    checked: Experiment,
    resume: str | None,
    callbacks: list[Callback],
    progress: bool,
    say: Callable[[str], None],
    parent: str | None,
    mongo: str | None,
    run_id: str | None,
) -> TrainResult:
    runs_dir = Path(checked.track.runs_dir)
    first = is_first_process()
    resumed = resumed_folder(runs_dir, resume) if resume else None
    words = ("train", "--resume", resumed.name if resumed else "")
    with moved_explained(words, checked.config["data"], runs_dir) if resumed else nullcontext():
        training = _Training(checked, callbacks, say if first else _discard, resumed, progress)
    if not first:  # only rank 0 records the run and writes checkpoints; all ranks read them
        return training.run(None, resumed or runs_dir)
    if resumed is not None:
        moved = is_moved(checked, RunRecord.read(resumed).config)
        otherwise = f"To train its model on other data, start a new run with --init {shlex.quote(str(resumed))}."
        check_same_data(resumed, training.dataset, moved, otherwise)
    observers = built_observers(checked.track.observers)

    def body(run: Run) -> TrainResult:
        remember(run.id, checked.config)
        return training.run(run, run.folder)

    return record(
        "train",
        checked.config,
        runs_dir,
        body,
        run_id=resume or run_id,
        resume=resume is not None,
        observers=observers,
        parent=parent,
        mongo=mongo,
    )


def _experiment(experiment: Experiment | Mapping[str, Any] | str | Path) -> Experiment:
    if isinstance(experiment, Experiment):
        return experiment
    if isinstance(experiment, Mapping):
        return load_experiment(sections=experiment)
    return load_experiment([experiment])


class _Training:
    """One call of `train`; the constructor checks the experiment, the data and the model before a run is created."""

    def __init__(
        self,
        experiment: Experiment,
        callbacks: list[Callback],
        say: Callable[[str], None],
        resumed: Path | None,
        progress: bool = False,
    ) -> None:
        self.experiment = experiment
        self.settings = experiment.train
        self.callbacks = [*callbacks, *([RichProgress()] if progress else [])]
        self.progress = progress
        self.say = say
        self.resumed = resumed
        self.checkpoint = newest_checkpoint(resumed) if resumed else None
        seed_everything(self.settings.seed, verbose=False)
        dataset = self.dataset = prepared_data(experiment)
        self.model = prepared_model(experiment, dataset, from_checkpoint=self.checkpoint is not None)
        self.data = data_module(experiment, dataset, self.model)
        self.loss = built_losses(experiment.config["loss"], dataset.sample_rate)
        self.metrics = built_metrics(experiment.config["metrics"], dataset.sample_rate)
        fit_lengths(self.data, self.loss, self.metrics, self.model, self.settings)

    def run(self, run: Run | None, folder: Path) -> TrainResult:
        settings = self.settings
        with quiet_lightning(), torch_threads(settings.threads):
            seed_everything(settings.seed, verbose=False)
            for line in (*self.data.notes, *self._summary(folder), *self._resumption(folder)):
                self.say(line)
            task = TrainingTask(self.model, self.loss, settings, self.metrics)
            best, use = KeepBest(folder / BUNDLE_IN_RUN, {"run": folder.name}), MachineUse(run)
            if run is not None and self.resumed:
                best.resume()
                if self.checkpoint:
                    set_damaged_aside(folder, self.checkpoint)
            trainer = self._trainer(run, folder, best, use)
            if run is None:
                with memory_explained(self._batch_description()), exchange_explained(), ended_with_first():
                    self._fit(trainer, task)
                return TrainResult("", folder, best.path, best.best, {})
            keep_fingerprint(run, self.dataset)
            with sampled_gpus(run, gpu_uuids(trainer), self.experiment.track.sample_seconds):
                children = Children(trainer, partial(self._report_failed_process, run))
                with memory_explained(self._batch_description()), exchange_explained(), children.ended_with_this():
                    self._fit(trainer, task)
                resume = self._resume_command(run)
                with disk_explained(f"The model is trained: {best.path}. Free disk space, then run: {resume}"):
                    return self._finish(run, best, use, trainer.strategy.root_device)

    def _resume_command(self, run: Run) -> str:
        """Return the command that resumes a run."""
        return command("train", "--resume", run.id, runs_dir=self.experiment.track.runs_dir)

    def _fit(self, trainer: Trainer, task: TrainingTask) -> None:
        with told_to_children(self.resumed.name if self.resumed else None):
            trainer.fit(task, datamodule=self.data, ckpt_path=self.checkpoint, weights_only=True)

    def _report_failed_process(self, run: Run, message: str) -> None:
        self.say(f"Error: {message}")
        run.fail(message)

    def _summary(self, folder: Path) -> Iterator[str]:
        model, data = self.model, self.data
        field = model.receptive_field
        memory = "unbounded memory" if field is None else f"receptive field {1000 * field / model.sample_rate:.0f} ms"
        count = sum(parameter.numel() for parameter in model.parameters())
        seconds = data.loading.segment_length / model.sample_rate
        yield f"Run    {folder.name} in {folder}"
        yield f"Model  {type(model).__name__}, {count:,} parameters, {memory}, {len(model.controls)} controls"
        parts = f"{len(data.train)} to train, {len(data.validation)} to validate, {len(data.test)} to test"
        yield f"Data   {parts}; {data.num_segments} segments of {seconds:.2f} s, {data.batch_size} in a batch"
        yield f"Loss   {' + '.join(labels_of_losses(self.experiment.config['loss']).values())}"

    def _resumption(self, folder: Path) -> Iterator[str]:
        if self.checkpoint is not None:
            yield f"Resume from {self.checkpoint}"
        elif self.resumed is not None:
            yield f"Resume {folder.name} from the beginning: it was stopped before its first checkpoint."

    def _batch_description(self) -> str:
        before = f" with {self.data.context:,} before each" if self.data.context else ""
        length = self.data.loading.segment_length
        return f"a batch of {self.data.batch_size} segments of {length:,} samples{before}"

    def _trainer(self, run: Run | None, folder: Path, best: KeepBest, use: MachineUse) -> Trainer:
        settings = self.settings
        limit = TimeLimit(settings.max_minutes, shared=settings.validate_minutes not in (None, "auto"))
        callbacks: list[Callback] = [RandomStates(), SameTraining(self._facts()), limit, Epochs(limit, settings)]
        if settings.lr_schedule == "cosine":
            callbacks.append(CosineSchedule(limit, settings.max_steps, settings.lr_warm_up))
        if settings.early_stopping_patience is not None:
            callbacks.append(EarlyStopping(settings.early_stopping_patience))
        callbacks += [RecordFigures(run), use, *([best] if run else []), SaveCheckpoints(folder), *self.callbacks]
        try:
            return Trainer(
                max_epochs=-1,
                accelerator=settings.accelerator,
                devices=settings.devices,
                num_nodes=settings.num_nodes,
                strategy=settings.strategy,
                precision=settings.precision,
                callbacks=[*callbacks, *pack_callbacks(self.experiment.config, callbacks)],
                plugins=[CheckpointFiles()],
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                default_root_dir=folder,
            )
        except (MisconfigurationException, ValueError) as error:
            hardware = "accelerator, devices, strategy and precision"
            raise ConfigError(f"train: these settings do not work on this machine ({hardware}): {error}") from error

    def _facts(self) -> dict[str, str]:
        """Return values that must be equal in all processes of one training, by their names in the message."""
        config = json.dumps(self.experiment.config, sort_keys=True).encode()
        return {
            "the experiment": hashlib.sha256(config).hexdigest()[:12],
            "the run to resume": self.resumed.name if self.resumed else "",
            "its checkpoint": self.checkpoint.name if self.checkpoint else "",
        }

    def _finish(self, run: Run, best: KeepBest, use: MachineUse, device: torch.device) -> TrainResult:
        draw_curves(run.folder)
        reasons = [each.reason for each in self.callbacks if isinstance(each, EndEarly) and each.reason]
        if reasons:
            run.set_info("stopped_early", reasons[0])
            run.summary({**{f"validation/{name}": value for name, value in best.best.items()}, **use.peaks})
            run.artifact(run.folder / BUNDLE_IN_RUN)
            return TrainResult(run.id, run.folder, best.path, best.best, {})
        model = load(best.path)
        self.say("Testing the best model on whole recordings.")
        with shown_progress("Testing") if self.progress else nullcontext() as progress:
            evaluation = score(model, self.data.test, self.metrics, run.folder, device, progress=progress)
        for remark in evaluation.remarks(model.sample_rate):
            self.say(remark)
        if hint := advice(evaluation.split.get(MAIN_FIGURE, 0.0)):
            self.say(hint)
        figures = {f"test/{name}": value for name, value in evaluation.split.items()}
        run.summary({**{f"validation/{name}": value for name, value in best.best.items()}, **figures, **use.peaks})
        info = {**best.info, "validation": best.best, "test": evaluation.split}
        save_bundle(model, best.path, info | ({"stages": evaluation.stages} if evaluation.stages else {}))
        for name in (BUNDLE_IN_RUN, "test.json"):
            run.artifact(run.folder / name)
        run.artifacts_in("pictures", "audio")
        return TrainResult(run.id, run.folder, best.path, best.best, evaluation.split)


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _discard(text: str) -> None:
    pass

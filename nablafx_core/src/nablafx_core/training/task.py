"""The LightningModule that trains a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor

from nablafx_core.config.schema import TrainSettings
from nablafx_core.data.segments import Batch
from nablafx_core.errors import ModelError, RunError
from nablafx_core.interfaces import Metric, Model
from nablafx_core.interfaces.position import state_at
from nablafx_core.pack_code import contained
from nablafx_core.scoring.losses import WeightedLoss
from nablafx_core.state import detached
from nablafx_core.training.optimizer import optimizer_of


class BrokenStep(NamedTuple):
    """A step whose loss was NaN or infinite.

    Args:
        step: number of the optimiser step, counted from 1.
        batch: number of the batch in the stream, counted from 0.
        items: items of the batch, counted from 0, whose own loss was NaN or infinite.
        batch_size: number of items in the batch.
    """

    step: int
    batch: int
    items: list[int]
    batch_size: int


class TrainingTask(LightningModule):
    """Train a model on whole segments, or by truncated backpropagation through time.

    The context is the audio before a segment. Whole: the model runs offline over context and segment, and the context
    is left out of the loss.
    Truncated: the model runs over the context without gradients; then each chunk is one optimiser step and passes
    its state, detached from its gradients, to the next. The target is delayed by the model's latency.

    Args:
        model: model to train; Lightning sets its device and its precision.
        loss: objective to minimise.
        settings: settings of the training.
        metrics: metrics of the validation, by name.

    Attributes:
        chunk: length of a chunk in samples; None for whole segments.
        latest: losses of the last step, for a progress display; still on the device.
        validation: figures of the last validation.
        counts: true if the current validation counts for early stopping and for the plateau of the learning rate.
    """

    def __init__(
        self, model: Model, loss: WeightedLoss, settings: TrainSettings, metrics: Mapping[str, Metric]
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.loss = loss
        self.settings = settings
        self.metrics = dict(metrics)
        self.chunk = chunk_length(model, settings, loss.min_samples)
        self.latest: dict[str, Tensor] = {}
        self.validation: dict[str, float] = {}
        self.counts = True
        self._sums: dict[str, Tensor] = {}
        self._losses: dict[str, Tensor] = {}
        self._steps = 0
        self._noted: list[tuple[int, int, Tensor]] = []

    def configure_optimizers(self) -> Any:
        """Return AdamW; with ``lr_schedule: plateau``, also a schedule that lowers its rate if validations stagnate."""
        optimizer = optimizer_of(self.model, self.settings)
        if self.settings.lr_schedule != "plateau":
            return optimizer
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=self.settings.lr_factor, patience=self.settings.lr_patience
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "validation/loss"}}

    @contained()
    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Do one optimiser step for whole segments, or one for each chunk, but none after ``train.max_steps``."""
        if self.chunk is None:
            self._step(self.predict(batch), batch.wet)
            return
        for prediction, target in self._chunks(batch, self.chunk):
            self._step(prediction, target)
            if self.trainer.global_step == self.settings.max_steps:
                break

    def predict(self, batch: Batch) -> Tensor:
        """Return the offline output for the segments of a batch, without their context: (batch, channels, time)."""
        context = batch.dry.shape[-1] - batch.wet.shape[-1]
        return self.model.offline(batch.dry, _controls(batch), batch.start)[..., context:]

    def _chunks(self, batch: Batch, length: int) -> Iterator[tuple[Tensor, Tensor]]:
        controls = _controls(batch)
        context, latency = batch.dry.shape[-1] - batch.wet.shape[-1], self.model.latency
        with torch.no_grad():
            state = state_at(self.model, batch.dry.shape[0], controls, batch.start)
            if context:
                _, state = self.model(batch.dry[..., :context], controls, state)
        delayed = torch.nn.functional.pad(batch.wet, (latency, 0))[..., : batch.wet.shape[-1]]
        for start, stop in pairwise(chunk_cuts(batch.wet.shape[-1], length, latency, self.loss.min_samples)):
            prediction, state = self.model(batch.dry[..., context + start : context + stop], controls, detached(state))
            valid = max(latency - start, 0)  # the first outputs belong to the context
            if prediction.shape[-1] > valid:
                yield prediction[..., valid:], delayed[..., start + valid : stop]

    def _step(self, prediction: Tensor, target: Tensor) -> None:
        optimizer: Any = self.optimizers()
        items, parts = self.loss(_at_least_float32(prediction), _at_least_float32(target))
        loss = items.mean()
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.settings.gradient_clip_val is not None:
            self._unscale(optimizer)
            self.clip_gradients(
                optimizer,
                gradient_clip_val=self.settings.gradient_clip_val,
                gradient_clip_algorithm=self.settings.gradient_clip_algorithm,
            )
        optimizer.step()
        self.latest = {"loss": loss.detach(), **parts}
        self._steps += 1
        self._noted.append((self.trainer.global_step, self.trainer.fit_loop.total_batch_idx, items.detach()))
        for name, value in self.latest.items():
            self._losses[name] = self._losses[name] + value if name in self._losses else value

    def mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the steps since the last call, empty without one. Wait for the device."""
        means = {name: float(total) / self._steps for name, total in self._losses.items()}
        self._losses, self._steps = {}, 0
        return means

    def broken_step(self) -> BrokenStep | None:
        """Return the first step since the last call whose loss was NaN or infinite, or None. Wait for the device."""
        noted, self._noted = self._noted, []
        if not noted:
            return None
        bad = ~torch.stack([items for _, _, items in noted]).isfinite().cpu()
        if not bad.any():
            return None
        first = int(bad.any(dim=1).int().argmax())
        step, batch, items = noted[first]
        return BrokenStep(step, batch, bad[first].nonzero().flatten().tolist(), len(items))

    def _unscale(self, optimizer: Any) -> None:
        """Remove the scale of float16 gradients before they are clipped."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            scaler.unscale_(optimizer.optimizer)

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the last validation."""
        self._sums = {}

    @contained()
    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add a batch to the sums of losses (weighted by samples) and metrics."""
        prediction, target = _at_least_float32(self.predict(batch)), _at_least_float32(batch.wet)
        items, parts = self.loss(prediction, target)
        samples = torch.tensor(float(target.numel()), dtype=torch.float64)
        for name, value in {"loss": items.mean(), **parts}.items():
            # MPS has no float64.
            self._add(f"loss {name}", torch.stack([value.cpu().double() * samples, samples]))
        for name, metric in self.metrics.items():
            self._add(f"metric {name}", metric.statistics(prediction, target).sum(dim=0).cpu())

    def _add(self, key: str, value: Tensor) -> None:
        self._sums[key] = self._sums[key] + value if key in self._sums else value

    @contained()
    def on_validation_epoch_end(self) -> None:
        """Compute the figures of the whole split; if the validation counts, step the schedule of the plateau.

        All ranks use the figures of rank 0.
        """
        figures = {name: metric.value(self._sums[f"metric {name}"]) for name, metric in self.metrics.items()}
        losses = {key[5:]: float(sums[0] / sums[1]) for key, sums in self._sums.items() if key.startswith("loss ")}
        self.validation = {**{f"loss/{name}": value for name, value in losses.items() if name != "loss"}, **figures}
        self.validation["loss"] = losses["loss"]
        # Devices may round differently, but decisions that follow from the figures must be the same on all ranks.
        self.validation = self.trainer.strategy.broadcast(self.validation)
        self.log("validation/loss", self.validation["loss"])
        schedule: Any = self.lr_schedulers()
        if schedule is not None and self.counts:
            schedule.step(self.validation["loss"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reject a checkpoint of another model before anything is loaded.

        Raises:
            RunError: if the names or shapes of the weights, or the sizes of the optimiser's parameter groups, differ.
        """
        mine, theirs = self.state_dict(), checkpoint["state_dict"]
        wrong = [name for name in mine if name not in theirs or theirs[name].shape != mine[name].shape]
        wrong += [name for name in theirs if name not in mine]
        groups = [[len(group["params"]) for group in optimizer_of(self.model, self.settings).param_groups]]
        saved = [[len(group["params"]) for group in state["param_groups"]] for state in checkpoint["optimizer_states"]]
        if wrong or groups != saved:
            what = f"its weights {', '.join(wrong[:5])} are not" if wrong else "its groups of parameters are not"
            raise RunError(
                f"the checkpoint was written by a different version of the code: {what} those of this "
                f"{type(self.model).__name__}. Install the version of the packs with which the run was started, or "
                "start a new training."
            )


def chunk_length(model: Model, settings: TrainSettings, min_samples: int = 1) -> int | None:
    """Return the number of samples between two cuts of backpropagation; None for whole segments.

    Args:
        model: model whose `default_tbptt` is used for ``train.tbptt: auto``.
        settings: settings of the training.
        min_samples: minimum number of samples that the loss can use; with ``auto``, a chunk is at least as long.

    Raises:
        ModelError: if the result is not None and the model cannot stream.
    """
    length = model.default_tbptt if settings.tbptt == "auto" else settings.tbptt
    if length is not None and not model.streams:
        raise ModelError(f"train.tbptt is {length}, but {type(model).__name__} cannot stream. Set train.tbptt to null.")
    return max(length, min_samples) if length is not None and settings.tbptt == "auto" else length


def chunk_cuts(time: int, length: int, latency: int, min_samples: int) -> list[int]:
    """Return the cuts of a segment for truncated backpropagation: 0, …, `time`.

    Cuts are `length` apart, but a chunk whose outputs are too few for the loss is joined to the next chunk, or at the
    end to the previous one. The first `latency` outputs of the segment do not count, because they belong to the
    context; a chunk that has only such outputs stays, and gives no loss.

    Args:
        time: number of samples in the segment.
        length: number of samples in a chunk.
        latency: number of samples by which the model's stream lags.
        min_samples: minimum number of samples that the loss can use.
    """
    cuts = [0]
    for stop in (*range(length, time, length), time):
        outputs = stop - max(cuts[-1], latency)
        if outputs <= 0 or outputs >= min_samples:
            cuts.append(stop)
    if cuts[-1] != time:
        cuts[max(len(cuts) - 1, 1) :] = [time]
    return cuts


def _controls(batch: Batch) -> Tensor | None:
    return batch.controls if batch.controls.shape[-1] else None


def _at_least_float32(audio: Tensor) -> Tensor:
    """Return audio in at least float32, because spectra and sums in half precision are too inexact for a loss."""
    return audio.float() if audio.dtype in (torch.float16, torch.bfloat16) else audio

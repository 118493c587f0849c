"""Measure what a model costs to store, to run and to train."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nablafx_core.interfaces import Model
from nablafx_core.playing.streaming import Streamer
from nablafx_core.profiling.macs import count_macs
from nablafx_core.profiling.peak_memory import peak_memory
from nablafx_core.profiling.stopwatch import median_seconds
from nablafx_core.threads import torch_threads

BLOCK_SIZES = (64, 512, 4096)  # of plugins, of live applications, and of rendering


@dataclass(frozen=True)
class CostCard:
    """Cost of a model.

    Args:
        model: name of the model's class.
        sample_rate: sample rate in Hz.
        num_controls: number of knobs.
        parameters: number of all parameters.
        trained_parameters: number of parameters that training changes.
        macs_per_sample: multiply-accumulates per sample of audio while the knobs are not moved; see
            `nablafx_core.profiling.macs`.
        not_counted: modules whose multiply-accumulates are unknown and not included in `macs_per_sample`.
        receptive_field: receptive field in samples; None if unbounded.
        recurrent: True if the conditioning has unbounded memory despite a finite receptive field.
        remembers_position: True if the output depends on a sample's position in the file.
        latency: latency in samples.
        batch_size: batch size of the training step.
        segment_length: number of samples of a segment in the training step.
        step_seconds: duration of forward pass, backward pass and the optimiser's step.
        step_samples_per_second: batch_size segment_length / step_seconds.
        step_peak_bytes: peak memory of a training step, without weights and optimiser; None if it cannot be measured.
        real_time_factors: speed of the stream as a multiple of real time, by block size; empty if the model cannot
            stream.
        threads: number of threads of torch.
        device: device of the measurement, such as ``"cpu"``.
    """

    model: str
    sample_rate: int
    num_controls: int
    parameters: int
    trained_parameters: int
    macs_per_sample: float
    not_counted: tuple[str, ...]
    receptive_field: int | None
    recurrent: bool
    remembers_position: bool
    latency: int
    batch_size: int
    segment_length: int
    step_seconds: float
    step_samples_per_second: float
    step_peak_bytes: int | None
    real_time_factors: dict[int, float]
    threads: int
    device: str

    @property
    def receptive_field_ms(self) -> float | None:
        """Receptive field in milliseconds; None if unbounded."""
        return None if self.receptive_field is None else 1000 * self.receptive_field / self.sample_rate

    @property
    def latency_ms(self) -> float:
        """Latency in milliseconds."""
        return 1000 * self.latency / self.sample_rate


def cost_card(
    model: Model,
    batch_size: int = 4,
    segment_length: int = 16_384,
    *,
    block_sizes: Sequence[int] = BLOCK_SIZES,
    optimizer: Callable[[Model], torch.optim.Optimizer] | None = None,
    threads: int | None = 1,
    seconds: float = 4.0,
) -> CostCard:
    """Count and measure what a model costs; the model itself is not changed.

    The training step uses the mean squared error over whole segments without context, in the model's precision, and
    an optimiser. Times are medians. The stream is a `Streamer` on one item.

    Args:
        model: model on the device where it is measured.
        batch_size: batch size of the training step.
        segment_length: number of samples of a segment in the training step.
        block_sizes: block sizes of the stream in samples.
        optimizer: function that builds the optimiser of a model; AdamW over all trainable weights if None.
        threads: number of threads of torch; None leaves it unchanged.
        seconds: time for all measurements together; a slow model takes longer, because each measurement is repeated at
            least three times.
    """
    counted, weights = count_macs(model), list(model.parameters())
    share = seconds / (1 + len(block_sizes))
    with torch_threads(threads):
        step, device = _training_step(model, batch_size, segment_length, optimizer or _adamw)
        taken = median_seconds(step, share, device)
        peak = peak_memory(step, device)
        streamed = copy.deepcopy(model).eval()
        factors = {size: _real_time_factor(streamed, size, share) for size in block_sizes if model.streams}
        used = torch.get_num_threads()
    return CostCard(
        model=type(model).__name__,
        sample_rate=model.sample_rate,
        num_controls=len(model.controls),
        parameters=sum(weight.numel() for weight in weights),
        trained_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
        macs_per_sample=counted.per_sample,
        not_counted=counted.not_counted,
        receptive_field=model.receptive_field,
        recurrent=model.recurrent,
        remembers_position=model.remembers_position,
        latency=model.latency,
        batch_size=batch_size,
        segment_length=segment_length,
        step_seconds=taken,
        step_samples_per_second=batch_size * segment_length / taken,
        step_peak_bytes=peak,
        real_time_factors=factors,
        threads=used,
        device=str(device),
    )


def _adamw(model: Model) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weight for weight in model.parameters() if weight.requires_grad)


def _training_step(
    model: Model, batch_size: int, length: int, made: Callable[[Model], torch.optim.Optimizer]
) -> tuple[Callable[[], None], torch.device]:
    """Return a training step on a copy of the model, and its device."""
    trained = copy.deepcopy(model).train()
    like = _like(trained)
    dry = _noise(like, batch_size, model.in_channels, length)
    wet = torch.tanh(3 * dry[:, :1]).expand(-1, model.out_channels, -1)
    controls = like.new_full((batch_size, len(model.controls)), 0.5) if model.controls else None
    learns = any(weight.requires_grad for weight in trained.parameters())
    optimizer = made(trained) if learns else None

    def step() -> None:
        loss: Any = (trained.offline(dry, controls) - wet).square().mean()
        if optimizer is None:  # a chain of fixed effects has no weights to train
            return
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # last, so that gradients count as part of a step's memory

    return step, like.device


def _real_time_factor(model: Model, block_size: int, budget: float) -> float:
    """Measure the real-time factor over at least 4,096 samples, since models with internal blocks work in bursts."""
    like = _like(model)
    streamer, block = Streamer(model), _noise(like, 1, model.in_channels, block_size)
    blocks = -(-4096 // block_size)

    def push() -> None:
        for _ in range(blocks):
            streamer.push(block)

    return blocks * block_size / model.sample_rate / median_seconds(push, budget, like.device)


def _like(model: Model) -> Tensor:
    """Return a tensor with the model's device and dtype."""
    return next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(())).detach()


def _noise(like: Tensor, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (0.3 * torch.randn(shape, generator=generator)).to(like)

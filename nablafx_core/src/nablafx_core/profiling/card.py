"""The cost card: what a model costs to store, to run and to train."""

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
    """What a model costs.

    Args:
        model: its class.
        sample_rate: Hz.
        num_controls: knobs.
        parameters: in all.
        trained_parameters: those that training changes.
        macs_per_sample: multiply-accumulates for a sample of audio while the knobs stand still; see
            `nablafx_core.profiling.macs`.
        not_counted: modules that this leaves out, because what they do is not known.
        receptive_field: samples; None if unbounded.
        recurrent: remembers beyond it through its conditioning.
        remembers_position: its output depends on where in the file a sample stands.
        latency: samples.
        batch_size: of the training step.
        segment_length: of the training step, in samples.
        step_seconds: forward, backward and the optimiser's step.
        step_samples_per_second: batch_size segment_length / step_seconds.
        step_peak_bytes: the most that a step holds at one moment beside weights and optimiser; None where it cannot be
            measured.
        real_time_factors: how many times faster than real time the stream is, by block size; empty without a stream.
        threads: of torch.
        device: such as ``"cpu"``.
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
        """In milliseconds."""
        return None if self.receptive_field is None else 1000 * self.receptive_field / self.sample_rate

    @property
    def latency_ms(self) -> float:
        """In milliseconds."""
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
    """Count and measure what a model costs; the model itself stays as it is.

    The training step is that of a mean-square loss over whole segments without context, in the model's precision, with
    an optimiser; times are medians. The stream is `Streamer`'s, of one channel.

    Args:
        model: on the device where it is to be measured.
        batch_size: of the training step.
        segment_length: of the training step, in samples.
        block_sizes: of the stream.
        optimizer: function that makes the optimiser of a model; AdamW over all its weights if None.
        threads: of torch; None leaves them as they are.
        seconds: for all measurements together; a slow model takes longer, for each is repeated three times at least.
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
    """A step on a copy of the model, and where it runs."""
    trained = copy.deepcopy(model).train()
    like = _like(trained)
    dry = _noise(like, batch_size, model.in_channels, length)
    wet = torch.tanh(3 * dry[:, :1]).expand(-1, model.out_channels, -1)
    controls = like.new_full((batch_size, len(model.controls)), 0.5) if model.controls else None
    learns = any(weight.requires_grad for weight in trained.parameters())
    optimizer = made(trained) if learns else None

    def step() -> None:
        loss: Any = (trained.offline(dry, controls) - wet).square().mean()
        if optimizer is None:  # a chain of fixed effects: there is nothing to train
            return
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # last, so that gradients count as part of a step's memory

    return step, like.device


def _real_time_factor(model: Model, block_size: int, budget: float) -> float:
    """Seconds of audio in a second, over 4,096 samples at least: what works in blocks of its own comes in bursts."""
    like = _like(model)
    streamer, block = Streamer(model), _noise(like, 1, model.in_channels, block_size)
    blocks = -(-4096 // block_size)

    def push() -> None:
        for _ in range(blocks):
            streamer.push(block)

    return blocks * block_size / model.sample_rate / median_seconds(push, budget, like.device)


def _like(model: Model) -> Tensor:
    """A tensor of the model's device and precision."""
    return next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(())).detach()


def _noise(like: Tensor, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (0.3 * torch.randn(shape, generator=generator)).to(like)

"""Tremolo that remembers its position, as a model and as parts of a chain, optionally with one fault."""

from __future__ import annotations

import math

import torch

from nablafx_core.controls import Parameter
from nablafx_core.data.sources import ArraySource
from nablafx_core.interfaces import Controller, Dataset, Model, Processor, Recording

RATE_HZ = 3.3


def gain(position, sample_rate, rate_hz=RATE_HZ):
    """Return 1 - 0.4 (1 - cos(2 pi rate_hz n / sample_rate)) at positions n."""
    return 1 - 0.4 * (1 - torch.cos(2 * math.pi * rate_hz * torch.as_tensor(position).double() / sample_rate))


class _Counting:
    """Count the samples of the file."""

    def _positions(self, audio, state):
        first = torch.zeros(audio.shape[0], dtype=torch.int64) if state is None else state["n"]
        n = first[:, None] + torch.arange(audio.shape[-1])
        return n, {"n": first + audio.shape[-1]}

    def initial_state(self, batch_size, given=None, start=0):
        return {"n": torch.as_tensor(start).expand(batch_size).clone()}


class Tremolo(_Counting, Model):
    """y[n] = gain(n) x[n], with a gain of another rate for each channel.

    Args:
        declares: value of `remembers_position`.
        fault: "late": the position is one sample late in a stream; "whole": the offline output starts at another
            position.
    """

    receptive_field = 1

    def __init__(self, sample_rate=1000, controls=(), channels=1, declares=True, fault=""):
        super().__init__(sample_rate, controls)
        self.in_channels = self.out_channels = channels
        self.remembers_position, self.fault = declares, fault
        self.level = torch.nn.Parameter(torch.ones(()))

    def forward(self, audio, controls=None, state=None):
        if state is None and self.fault == "whole":
            state = self.initial_state(audio.shape[0], start=7)
        n, after = self._positions(audio, state)
        if self.fault == "late" and state is not None:
            n = n - n[:, :1].clamp(max=1)
        swing = torch.stack([gain(n, self.sample_rate, RATE_HZ + c) for c in range(self.in_channels)], dim=1)
        return self.level * audio * swing.to(audio), after


class TremoloProcessor(_Counting, Processor):
    """y[n] = gain(n) x[n]; a stream is delayed by `latency`."""

    remembers_position = True

    def __init__(self, sample_rate=1000, latency=0):
        super().__init__(sample_rate)
        self.latency = latency

    def initial_state(self, batch_size, parameters=None, start=0):
        return super().initial_state(batch_size, None, start) | {"past": torch.zeros(batch_size, 1, self.latency)}

    def forward(self, audio, parameters, state=None):
        n, after = self._positions(audio, state)
        out = audio * gain(n, self.sample_rate).to(audio)[:, None]
        if state is None:
            return out, after | {"past": out.new_zeros(audio.shape[0], 1, self.latency)}
        whole = torch.cat([state["past"].to(out), out], dim=-1)
        return whole[..., : audio.shape[-1]], after | {"past": whole[..., audio.shape[-1] :]}


class Swinging(_Counting, Controller):
    """Parameters that all follow the gain of the tremolo."""

    remembers_position = True

    def __init__(self, num_parameters=1, num_controls=0, sample_rate=1000):
        super().__init__(num_parameters, 0)
        self.sample_rate = sample_rate

    def forward(self, audio, controls=None, state=None):
        n, after = self._positions(audio, state)
        return gain(n, self.sample_rate).to(audio)[:, None].expand(-1, self.num_parameters, -1), after


class Level(Processor):
    """y = level x; a stream is delayed by `latency`."""

    effect_parameters = (Parameter("level", 0.0, 1.0),)

    def __init__(self, sample_rate=1000, latency=0):
        super().__init__(sample_rate)
        self.latency = latency

    def initial_state(self, batch_size, parameters=None):
        return {"past": torch.zeros(batch_size, 1, self.latency)}

    def forward(self, audio, parameters, state=None):
        level = parameters["level"]
        out = audio * (level[:, None] if level.ndim == 2 else level[:, None, None])
        if state is None:
            return out, self.initial_state(audio.shape[0])
        whole = torch.cat([state["past"].to(out), out], dim=-1)
        return whole[..., : audio.shape[-1]], {"past": whole[..., audio.shape[-1] :]}


class Idle(Controller):
    """Controller without parameters."""

    def __init__(self):
        super().__init__(0)

    def forward(self, audio, controls=None, state=None):
        return audio.new_zeros(audio.shape[0], 0), {}


class Swung(Dataset):
    """Noise through the tremolo; the dry file begins `offset` samples before the recordings."""

    def __init__(self, channels: int = 1, offset: int = 0, files: int = 1, samples: int = 90_000) -> None:
        self.sample_rate = 1000
        self.recordings = tuple(self._recording(number, channels, offset, samples) for number in range(files))

    def _recording(self, number, channels, offset, samples):
        dry = torch.randn(1, channels, offset + samples, generator=torch.Generator().manual_seed(number))
        wet = Tremolo(channels=channels)(dry)[0].detach()
        sources = (ArraySource(audio[0, :, offset:]) for audio in (dry, wet))
        return Recording(f"r{number}", *sources, f"r{number}", stop=samples, offset=offset)

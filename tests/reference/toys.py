"""A model, processors, controllers and scores that are easy to understand, correct or with one fault."""

from __future__ import annotations

import torch
from torch import nn

from nablafx_core.controls import Control, Parameter
from nablafx_core.interfaces import Controller, Loss, Metric, Model, Processor


class Echo(Model):
    """y[n] = weight (0.5 + knob[n]) x[n] + x[n + latency]; looks `latency` samples ahead.

    Args:
        fault: name of the fault; "" for none.
    """

    def __init__(self, latency=3, fault=""):
        super().__init__(controls=[Control("knob")])
        self.weight = nn.Parameter(torch.rand(1) + 0.5)
        if fault == "idle weight":
            self.idle = nn.Parameter(torch.ones(2))
        if fault == "unsaved":
            self.offset = torch.rand(1)
        self.fault, self.ahead = fault, latency
        self.latency = latency + {"latency too long": 1, "latency too short": -1}.get(fault, 0)
        self.causal = latency == 0

    def initial_state(self, batch_size, controls=None):
        past = self.weight.new_zeros(batch_size, 1, self.ahead)
        return {"past": past, "controls": self._controls_for(batch_size, controls, None)}

    def forward(self, audio, controls=None, state=None):
        controls = self.checked_controls(audio, controls)
        if state is None:
            start = controls[..., 0] if controls.ndim == 3 else controls
            out, state = self(audio, controls, self.initial_state(audio.shape[0], start))
            ahead = torch.zeros_like(audio[..., :1]).expand(-1, -1, self.ahead)
            tail = self(ahead, controls[..., -1] if controls.ndim == 3 else controls, state)[0]
            return torch.cat((out, tail), -1)[..., self.ahead :], state
        knob = controls[:, :1] if controls.ndim == 3 else controls[:, :1, None]
        if self.fault == "ignores its control":
            knob = torch.full_like(knob, 0.5)
        now = self._scaled(self.weight * (0.5 + knob) * audio, state)
        if self.fault == "unsaved":
            now = now + self.offset
        whole = torch.cat((state["past"], now), -1)
        last = controls[..., -1] if controls.ndim == 3 else controls
        past = whole[..., whole.shape[-1] - self.ahead :]
        if self.fault == "forgets":
            past = torch.zeros_like(past)
        return whole[..., : audio.shape[-1]] + audio, {"past": past, "controls": last}

    def _scaled(self, x, state):
        if self.fault == "sees the batch":
            return x - x.mean(0, keepdim=True)
        if self.fault == "NaN in silence":
            return x / x.abs().amax(-1, keepdim=True)
        if self.fault == "endless gradient":
            return x.abs().sqrt()
        if self.fault == "wrong gradient":
            return x * x.detach()
        return x


class Gain(Processor):
    """y[n] = x[n - latency] gain, delayed in the stream only."""

    effect_parameters = (Parameter("gain_db", -12, 12, "dB"),)

    def __init__(self, latency=0):
        super().__init__()
        self.latency = latency

    def initial_state(self, batch_size, parameters=None):
        like = parameters["gain_db"]
        return {"past": like.new_zeros(batch_size, 1, self.latency)}

    def forward(self, audio, parameters, state=None):
        gain_db = parameters["gain_db"]
        scaled = audio * 10 ** (gain_db.reshape(gain_db.shape[0], 1, -1) / 20)
        if state is None:
            return scaled, self.initial_state(audio.shape[0], parameters)
        whole = torch.cat((state["past"], scaled), -1)
        time = audio.shape[-1]
        return whole[..., :time], {"past": whole[..., time:]}


class Follower(Controller):
    """Controller of two parameters, from one knob and the running maximum of the audio."""

    def __init__(self, reads_ahead=False):
        super().__init__(num_parameters=2, num_controls=1)
        self.reads_ahead = reads_ahead

    def initial_state(self, batch_size, controls=None):
        return {"peak": controls.new_zeros(batch_size)}

    def forward(self, audio, controls=None, state=None):
        state = self.initial_state(audio.shape[0], controls) if state is None else state
        peaks = torch.maximum(audio[:, 0].abs().cummax(-1).values, state["peak"][:, None])
        if self.reads_ahead:
            peaks = peaks[:, -1:].expand_as(peaks)
        knob = controls[:, 0] if controls.ndim == 3 else controls[:, :1].expand_as(peaks)
        return torch.stack((peaks * knob, knob), 1), {"peak": peaks[:, -1]}


class Swell(Controller):
    """Controller of one parameter, the level of its audio input; without memory."""

    def __init__(self, num_parameters=1, num_controls=0):
        super().__init__(num_parameters, 0)

    def forward(self, audio, controls=None, state=None):
        return audio.abs().clamp(max=1).expand(-1, self.num_parameters, -1), {}


class Absolute(Loss):
    """Mean absolute error; `reduce` selects the reduction."""

    def __init__(self, reduce=lambda error: error.abs().mean((1, 2))):
        super().__init__()
        self.reduce = reduce

    def forward(self, prediction, target):
        return self.reduce(prediction - target)


class ErrorToSignal(Metric):
    """Error energy over signal energy; `floor` keeps silence finite."""

    def __init__(self, floor=1e-12):
        self.floor = floor

    def statistics(self, prediction, target):
        return torch.stack(
            ((prediction - target).double().square().sum((1, 2)), target.double().square().sum((1, 2))), 1
        )

    def value(self, sums):
        return float(sums[0] / sums[1].clamp(min=self.floor))

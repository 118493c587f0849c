"""Parts of a gray-box chain, each implemented twice (whole file, and in blocks), and a chain of them."""

from __future__ import annotations

import torch
from torch import nn

from nablafx_core.controls import Parameter
from nablafx_core.graybox import Parallel, Sidechain
from nablafx_core.interfaces import Controller, Processor
from nablafx_core.steps import Steps


def shifted(line, block):
    """Return a block delayed by the samples of `line`, and the samples that are left over."""
    whole = torch.cat([line, block], -1)
    return whole[..., : block.shape[-1]], whole[..., block.shape[-1] :]


class Leaky(Processor):
    """y[t] = x[t] + leak[t] y[t-1] + 0.1: its output before the file would not be zero."""

    effect_parameters = (Parameter("leak", -0.9, 0.9),)

    def initial_state(self, batch_size, parameters=None):
        return {"y": torch.zeros(batch_size, dtype=torch.float64)}

    def forward(self, audio, parameters, state=None):
        leak = parameters["leak"].reshape(audio.shape[0], -1).expand(-1, audio.shape[-1])
        y, out = (self.initial_state(audio.shape[0]) if state is None else state)["y"].to(audio), []
        for t in range(audio.shape[-1]):
            y = audio[:, 0, t] + leak[:, t] * y + 0.1
            out.append(y)
        return torch.stack(out, -1)[:, None], {"y": y}


class Ahead(Processor):
    """y[t] = x[t] + amount[t + 3] x[t + 1] + 0.3 x[t + 3]; after the end comes silence, with the last amount."""

    latency = 3
    effect_parameters = (Parameter("amount", -1, 1),)

    def initial_state(self, batch_size, parameters=None):
        return {"x": torch.zeros(batch_size, 1, 3)}

    def forward(self, audio, parameters, state=None):
        batch, _, time = audio.shape
        amount = parameters["amount"].reshape(batch, 1, -1).expand(-1, -1, time)
        if state is None:
            amount = torch.cat([amount, amount[..., -1:].expand(-1, -1, 3)], -1)[..., 3:]
            x = nn.functional.pad(audio, (0, 3))
            return x[..., :-3] + amount * x[..., 1:-2] + 0.3 * x[..., 3:], {}
        x = torch.cat([state["x"], audio], -1)
        return x[..., :-3] + amount * x[..., 1:-2] + 0.3 * x[..., 3:], {"x": x[..., -3:]}


class Envelope(Controller):
    """sigmoid(weight e[t + lag] + knob[t]), with e[t] = 0.8 e[t - 1] + |x[t]|; nothing comes after the end."""

    def __init__(self, lag, reads="chain", num_controls=0):
        super().__init__(1, num_controls)
        self.latency, self.reads = lag, reads
        self.weight = nn.Parameter(torch.tensor([0.5]))

    def initial_state(self, batch_size, controls=None):
        knobs = {"knob": torch.zeros(batch_size, 1, self.latency)} if self.num_controls and self.latency else {}
        return {"e": torch.zeros(batch_size, 1)} | knobs

    def forward(self, audio, controls=None, state=None):
        batch, _, time = audio.shape
        knob = 0 * audio if controls is None else controls[:, :1].reshape(batch, 1, -1).expand(-1, -1, time)
        if state is None:
            followed = self.follow(nn.functional.pad(audio, (0, self.latency)), audio.new_zeros(batch, 1))
            return (self.weight * followed[..., self.latency :] + knob).sigmoid(), {}
        followed = self.follow(audio, state["e"].to(audio))
        after = {"e": followed[..., -1]}
        if "knob" in state:
            knob, after["knob"] = shifted(state["knob"].to(audio), knob)
        return (self.weight * followed + knob).sigmoid(), after

    def follow(self, audio, e):
        out = []
        for t in range(audio.shape[-1]):
            e = 0.8 * e + audio[..., t].abs()
            out.append(e)
        return torch.stack(out, -1)


class Peaks(Controller):
    """sigmoid(weight (maximum of |x| over 4 samples + knob at their first)), in steps; after the end comes silence."""

    latency = 3

    def __init__(self, reads="chain", num_controls=0):
        super().__init__(1, num_controls)
        self.reads = reads
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def initial_state(self, batch_size, controls=None):
        knobs = {"knob": torch.zeros(batch_size, 1, 0)} if self.num_controls else {}
        return {"x": torch.zeros(batch_size, 1, 0)} | knobs

    def forward(self, audio, controls=None, state=None):
        batch, _, time = audio.shape
        after = self.initial_state(batch) if state is None else state
        after = {"x": torch.cat([after["x"].to(audio), audio], -1)} | (
            {} if controls is None else {"knob": torch.cat([after["knob"].to(audio), over(controls, time)], -1)}
        )
        seen = after["x"].shape[-1]
        last = seen - 1 if state is None else seen - 1 - self.latency
        blocks = range((last - time + 1) // 4, last // 4 + 1)
        steps = [self.step(after, max(block, 0)) for block in blocks]
        values = torch.stack(steps, -1) if time else audio.new_zeros(batch, 1, 0)
        return Steps(values, 4 * (last // 4 + 1) - 1 - last, 4), after

    def step(self, heard, block):
        knob = heard["knob"][..., 4 * block] if "knob" in heard and heard["knob"].shape[-1] > 4 * block else 0
        peak = nn.functional.pad(heard["x"].abs(), (0, 4))[..., 4 * block : 4 * block + 4]
        return (self.weight * ((peak.amax(-1) if peak.numel() else 0 * self.weight) + knob)).sigmoid()


class SampledPeaks(Peaks):
    """Peaks, with a value for each sample."""

    def forward(self, audio, controls=None, state=None):
        steps, after = super().forward(audio, controls, state)
        return steps.over(audio.shape[-1]), after


class SteppedLeaky(Leaky):
    """Leaky with parameters as steps."""

    takes_steps = True

    def forward(self, audio, parameters, state=None):
        leak, time = parameters["leak"], audio.shape[-1]
        if isinstance(leak, Steps):
            blocks = [(t - time - leak.skip) // leak.block_size for t in range(time)]
            assert not time or leak.values.shape[-1] == -blocks[0]
            leak = leak.values[:, blocks]
        return super().forward(audio, {"leak": leak}, state)


def over(controls, time):
    return controls if controls.ndim == 3 else controls[..., None].expand(-1, -1, time)


class Setting(Controller):
    """Learned numbers, times the first knob if the chain has one."""

    def __init__(self, num_controls=0, num_parameters=1):
        super().__init__(num_parameters, num_controls)
        self.weight = nn.Parameter(torch.full((num_parameters,), 0.7))

    def forward(self, audio, controls=None, state=None):
        if controls is None:
            return self.weight.expand(audio.shape[0], -1), {}
        weight = self.weight if controls.ndim == 2 else self.weight[:, None]
        return (weight * controls[:, :1] + 0.1), {}


def chain(line, audio, controls=None):
    """Return the offline output of a chain, from the offline outputs of its parts; audio may have a key channel."""
    return line_of(line, audio[:, :1], controls, {"chain": audio[:, :1], "key": audio[:, 1:]})


def line_of(line, signal, controls, signals):
    for item in line:
        if isinstance(item, Sidechain):
            signals[item.label] = line_of(item.line, signal, controls, signals)
            continue
        stage, given = (item.mix, signal) if isinstance(item, Parallel) else (item, signal)
        branches = [line_of(branch, signal, controls, signals) for branch in getattr(item, "branches", ())]
        heard = given if stage.controller.reads == "processor" else signals[stage.controller.reads]
        unit, _ = stage.controller(heard, controls)
        values = stage.given(unit, signal.shape[-1])
        if branches:
            levels = [level.reshape(len(signal), 1, -1) for level in values.values()]
            levels = [1 - levels[0], levels[0]] if len(branches) == 2 else levels
            signal = torch.stack([level * branch for level, branch in zip(levels, branches, strict=True)]).sum(0)
        else:
            signal, _ = stage.processor(signal, values)
        if item.label:
            signals[item.label] = signal
    return signal

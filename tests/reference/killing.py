"""A loss and a model that draw random numbers, and a process that is killed at the place that a variable selects."""

from __future__ import annotations

import os
import random
import signal
import time

import numpy as np
import torch
from torch import nn

from nablafx_core.interfaces import Loss, Model

#: ``PLACE COUNT [RANK [HOW]]``: in the COUNT-th call at PLACE of process RANK. Places: import; train and validation,
#: calls of the loss; replace:NAME and replaced:NAME, just before and after a file of that name is renamed to it.
#: HOW is kill (SIGKILL), raise, nan or hang.
VARIABLE = "REFERENCE_KILL"
_calls: dict[str, int] = {}


def due(place: str) -> str | None:
    """Return what must happen at this place now."""
    wanted, count, rank, how = (*os.environ.get(VARIABLE, "none 0").split(), "0", "kill")[:4]
    _calls[place] = _calls.get(place, 0) + 1
    return how if (wanted, int(count), rank) == (place, _calls[place], os.environ.get("LOCAL_RANK", "0")) else None


def at(place: str) -> str | None:
    """End this process, if the variable selects this place."""
    how = due(place)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise ValueError("broken on purpose")
    if how == "hang":
        time.sleep(1000)
    return how


class L1(Loss):
    """Mean absolute error, times a number drawn from all three random generators if `random` is true."""

    def __init__(self, random: bool = False) -> None:
        super().__init__()
        self.random = random

    def forward(self, prediction, target):
        how = at("train" if torch.is_grad_enabled() else "validation")
        values = (prediction - target).abs().mean(dim=(1, 2))
        if how == "nan":
            return values * torch.nan
        if self.random and torch.is_grad_enabled():
            values = values * (1 + float(np.random.random()) + random.random()) * (1 + torch.rand(()))  # noqa: NPY002
        return values


class Dropping(Model):
    """Convolution with dropout, so that each random draw affects the next weights."""

    causal = True
    receptive_field = 3

    def __init__(self, sample_rate: int = 48000, controls=()) -> None:
        super().__init__()
        self.sample_rate, self.controls = sample_rate, tuple(controls)
        self.first, self.second = nn.Conv1d(1, 8, 3), nn.Conv1d(8, 1, 1)

    def forward(self, audio, controls=None, state=None):
        padded = nn.functional.pad(audio, (2, 0)) if state is None else torch.cat([state["past"], audio], -1)
        hidden = nn.functional.dropout(torch.tanh(self.first(padded)), 0.3, self.training)
        return self.second(hidden), {"past": padded[..., -2:]}

    def initial_state(self, batch_size, controls=None):
        return {"past": torch.zeros(batch_size, 1, 2)}

    def flush(self, state):
        return next(iter(state.values()))[..., :0]


_replace = os.replace


def _counted_replace(source, target):
    name = os.path.basename(target)
    at(f"replace:{name}")
    _replace(source, target)
    at(f"replaced:{name}")


at("import")
if VARIABLE in os.environ:
    os.replace = _counted_replace

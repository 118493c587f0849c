"""Lightning callback that counts its calls and fails at a given place."""

from __future__ import annotations

from lightning import Callback


class Counting(Callback):
    def __init__(self, fault=None, at="on_train_batch_end"):
        self.fault, self.at, self.calls = fault, at, 0

    def called(self, hook):
        self.calls += 1
        if hook == self.at and self.fault is not None:
            raise self.fault

    def on_train_start(self, trainer, pl_module):
        self.called("on_train_start")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.called("on_train_batch_end")

    def state_dict(self):
        self.called("state_dict")
        return {"calls": self.calls}

    def load_state_dict(self, state_dict):
        self.calls = state_dict["calls"]

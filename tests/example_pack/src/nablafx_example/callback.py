"""A Lightning callback, which the pack adds to a training if its experiment requests it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning import Callback, Trainer

from nablafx_core.names import short_name


class StopWhenEnough(Callback):
    """Stop a training after the first validation whose metric is at least `enough`.

    Args:
        figure: name of the metric.
        enough: value at which the model is good enough.
    """

    def __init__(self, figure: str, enough: float) -> None:
        self.figure = figure
        self.enough = enough

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Stop if the metric is reached; every process has the same metrics, so that all of them stop."""
        if pl_module.validation[self.figure] >= self.enough:
            trainer.should_stop = True


def callbacks_for(config: Mapping[str, Any]) -> Iterable[Callback]:
    """Yield a callback for each metric of a validated experiment that is this pack's SNR and has `enough_db`."""
    for section in config["metrics"]:
        if section["name"] == "nablafx-example/snr" and section.get("enough_db") is not None:
            yield StopWhenEnough(short_name(section["name"]), section["enough_db"])

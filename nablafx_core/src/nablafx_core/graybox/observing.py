"""Observe a chain while it runs: the audio that reaches each processor, and its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.naming import labelled_stages
from nablafx_core.steps import Steps

Values = dict[str, Tensor | Steps]


@dataclass
class Range:
    """Smallest and largest of all values that were added; kept on their device until `ends` is called."""

    _ends: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """Widen the range by values of any shape."""
        if values.numel():
            ends = torch.stack(torch.aminmax(values.detach()))
            self._ends = ends if self._ends is None else torch.stack(torch.aminmax(torch.cat((self._ends, ends))))

    def ends(self) -> tuple[float, float] | None:
        """Return smallest and largest value; None if nothing was added, or a value was NaN or infinite."""
        if self._ends is None or not bool(self._ends.isfinite().all()):
            return None
        low, high = self._ends.tolist()
        return low, high


@dataclass
class StageRange:
    """Ranges of the inputs of a stage's processor.

    Args:
        audio: range of the samples of its input audio.
        parameters: ranges of its parameters in physical units, by name; only those that were observed.
    """

    audio: Range = field(default_factory=Range)
    parameters: dict[str, Range] = field(default_factory=dict)


@contextmanager
def observed_ranges(model: GrayBox) -> Iterator[dict[str, StageRange]]:
    """Yield the ranges of the inputs of every stage, by its place; they are updated during the ``with``."""
    seen = {place: StageRange() for place, _ in labelled_stages(model)}

    def add(place: str, audio: Tensor, parameters: Values) -> None:
        seen[place].audio.add(audio)
        for name, value in parameters.items():
            values = value.values if isinstance(value, Steps) else value
            seen[place].parameters.setdefault(name, Range()).add(values)

    with _calls(model, add):
        yield seen


def parameters_over_time(
    model: GrayBox, audio: Tensor, controls: Tensor | None, start: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Return the parameters of every stage, by its place, while a file runs through the chain.

    A processor receives each sample together with its parameters, beginning with the first sample of the file. So the
    parameters of all calls in a row are aligned with the file.

    Args:
        model: chain in eval mode.
        audio: audio of the whole file, (1, in_channels, time).
        controls: positions of the knobs in [0, 1], (1, num_controls); the defaults if None.
        start: position of the first sample of `audio`, if it is the rest of a longer file.

    Returns:
        For each place, values in physical units by the name of the parameter: () for constant ones, (time,) for others.
    """
    parts: dict[str, dict[str, list[Tensor]]] = {place: {} for place, _ in labelled_stages(model)}

    def keep(place: str, signal: Tensor, parameters: Values) -> None:
        time = signal.shape[-1]
        for name, value in parameters.items():
            held = value.over(time) if isinstance(value, Steps) else value
            parts[place].setdefault(name, []).append(held[0].reshape(-1).expand(time))

    with _calls(model, keep), torch.no_grad():
        model.offline(audio, controls, start)
    joined = {
        place: {name: torch.cat(pieces)[: audio.shape[-1]] for name, pieces in values.items()}
        for place, values in parts.items()
    }
    return {
        place: {name: curve[0] if bool((curve == curve[0]).all()) else curve for name, curve in values.items()}
        for place, values in joined.items()
    }


@contextmanager
def _calls(model: GrayBox, told: Callable[[str, Tensor, Values], None]) -> Iterator[None]:
    """Call `told` with place, audio and parameters for every call of a processor during the ``with``."""

    def hook(place: str) -> Callable[..., None]:
        def before(processor: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = dict(zip(("audio", "parameters", "state"), arguments, strict=False)) | named
            told(place, given["audio"], given["parameters"])

        return before

    handles = [
        stage.processor.register_forward_pre_hook(hook(place), with_kwargs=True)
        for place, stage in labelled_stages(model)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def moves(low: float, high: float) -> bool:
    """True if two values of a parameter differ by more than rounding: over 1e-5 of the larger one, and over 1e-9."""
    return not math.isclose(low, high, rel_tol=1e-5, abs_tol=1e-9)

"""A loudspeaker cabinet, or any other impulse response, from a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.errors import DataError, ModelError, NablafxError
from nablafx_core.interfaces import Processor
from nablafx_core.marks import Range
from nablafx_core.state import State
from nablafx_core.weights import are_weights_to_follow
from nablafx_dsp.functional.partitioned import partitioned_fir, partitions
from nablafx_dsp.impulse_response import check_impulse_response, read_impulse_response

logger = logging.getLogger(__name__)

_LOUD = 1e-4  # of a response's energy that may be cut off without a word


class Cabinet(Processor):
    """y[t] = sum over k of h[k] x[t - k], h an impulse response out of an audio file, without latency.

    The file is brought to the sample rate, its frequency response kept, and cut or filled up with zeros to `num_taps`.
    The response is ``taps``, (num_taps,), which is saved with the weights: a bundle needs no file. An experiment file
    that names one that cannot be used is refused; a processor built in Python says so when it is first used, unless
    its weights have been loaded. State: that of `nablafx_dsp.functional.partitioned.partitioned_fir`.

    Args:
        sample_rate: Hz.
        path: of a file with one channel; without, the response begins as an impulse, which lets the audio pass.
        num_taps: length of the response in samples of `sample_rate`.
        trainable: whether the response is learned on from there.

    Raises:
        ModelError: if there is to be no tap.
    """

    shape = "filter"
    title = "cabinet"
    taps: Tensor

    def __init__(
        self,
        sample_rate: int = 48000,
        path: str | None = None,
        num_taps: Annotated[int, Range(1, 1_048_576)] = 2048,
        trainable: bool = False,
    ) -> None:
        super().__init__(sample_rate)
        if num_taps < 1:
            raise ModelError(f"cabinet: a response has at least one tap, not {num_taps}.")
        self.missing: NablafxError | None = None
        taps = torch.zeros(num_taps)
        taps[0] = 1
        if path is not None:
            try:
                taps = cut(read_impulse_response(path, sample_rate), num_taps, path)
            except DataError as problem:
                self.missing = problem
        if trainable:
            self.taps = nn.Parameter(taps)
        else:
            self.register_buffer("taps", taps)

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Report a response that cannot be read, unless it is loaded from a bundle."""
        if settings["path"] is not None and not are_weights_to_follow():
            try:
                check_impulse_response(settings["path"])
            except DataError as problem:
                yield ("path",), str(problem)

    def macs_per_sample(self) -> float:
        """One for each tap, as if every sum were written out."""
        return float(self.taps.shape[-1])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *more)
        if f"{prefix}taps" in state_dict:
            self.missing = None

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Silence before the first sample."""
        return self._convolved(self.taps.new_zeros(batch_size, 0), None)[1]

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Filter audio (batch, 1, time).

        Raises:
            DataError: if the response could not be read, and no weights were loaded in its place.
        """
        output, after = self._convolved(audio[:, 0], state)
        return output[:, None], after

    def _convolved(self, audio: Tensor, state: State | None) -> tuple[Tensor, State]:
        if self.missing is not None:
            raise self.missing
        return partitioned_fir(audio, partitions(self.taps[None].to(audio)), state)


def cut(taps: Tensor, num_taps: int, path: str) -> Tensor:
    """A response of so many taps, (num_taps,); a warning if much of it is cut off."""
    energy = taps.square()
    lost = float(energy[num_taps:].sum() / energy.sum())
    if lost > _LOUD:
        logger.warning(
            "%s: %.2g %% of the response's energy lie beyond %d taps and are cut off. It has %d: set num_taps.",
            path, 100 * lost, num_taps, len(taps),
        )  # fmt: skip
    return F.pad(taps, (0, max(num_taps - len(taps), 0)))[:num_taps].clone()

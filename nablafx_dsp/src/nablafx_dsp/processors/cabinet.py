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
from nablafx_dsp.functional.partitioned_fir import partitioned_fir, partitions
from nablafx_dsp.impulse_response import check_impulse_response, read_impulse_response

logger = logging.getLogger(__name__)

_AUDIBLE = 1e-4  # share of a response's energy (-40 dB) that may be cut off without a warning


class Cabinet(Processor):
    """Filter by an impulse response h from an audio file, without latency: y[t] = sum over k of h[k] x[t - k].

    It has no parameters that a controller drives. The response is resampled with its frequency response preserved, then
    cut or padded with zeros to `num_taps`; a warning tells if more than 0.01 % of its energy is cut off. It is stored
    as ``taps``, (num_taps,), with the weights, so that a bundle needs no file. An experiment file whose response is
    missing, not mono or not readable audio is rejected. If such a file is named in Python, or if the file turns out to
    be silent or damaged, the first use of the processor raises the error, unless its weights have been loaded by then.
    State: that of `nablafx_dsp.functional.partitioned_fir.partitioned_fir`.

    Args:
        sample_rate: sample rate in Hz.
        path: path of a mono audio file; if not given, the response is an impulse, which passes the audio unchanged.
        num_taps: length of the response in samples of `sample_rate`.
        trainable: if true, the response is trained.

    Raises:
        ModelError: if `num_taps` is below 1.
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
            raise ModelError(f"cabinet: num_taps must be 1 or more, got {num_taps}.")
        self._unreadable: NablafxError | None = None
        taps = torch.zeros(num_taps)
        taps[0] = 1
        if path is not None:
            try:
                taps = _cut(read_impulse_response(path, sample_rate), num_taps, path)
            except DataError as problem:
                self._unreadable = problem
        if trainable:
            self.taps = nn.Parameter(taps)
        else:
            self.register_buffer("taps", taps)

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Report a file of `path` that is missing, not mono or not readable audio; see `check_impulse_response`.

        Nothing is reported without a path, or if the weights are loaded next, as from a bundle.

        Args:
            settings: complete section, with ``path``.

        Returns:
            The path of the setting inside the section and the message, or nothing.
        """
        if settings["path"] is not None and not are_weights_to_follow():
            try:
                check_impulse_response(settings["path"])
            except DataError as problem:
                yield ("path",), str(problem)

    def macs_per_sample(self) -> float:
        """Return one multiply-accumulate per tap, as if the sum over k were computed directly."""
        return float(self.taps.shape[-1])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *more)
        if f"{prefix}taps" in state_dict:
            self._unreadable = None

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state for silence before the first sample.

        Raises:
            DataError: if the response could not be read and no weights were loaded instead.
        """
        return self._convolved(self.taps.new_zeros(batch_size, 0), None)[1]

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Filter audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: not used.
            state: state after the previous audio; None for silence before.

        Returns:
            y, (batch, 1, time), and the state after it.

        Raises:
            DataError: if the response could not be read and no weights were loaded instead.
        """
        output, after = self._convolved(audio[:, 0], state)
        return output[:, None], after

    def _convolved(self, audio: Tensor, state: State | None) -> tuple[Tensor, State]:
        if self._unreadable is not None:
            raise self._unreadable
        return partitioned_fir(audio, partitions(self.taps[None].to(audio)), state)


def _cut(taps: Tensor, num_taps: int, path: str) -> Tensor:
    """Cut or zero-pad a response to `num_taps`, (num_taps,); warn if more than 0.01 % of its energy is cut off."""
    energy = taps.square()
    lost = float(energy[num_taps:].sum() / energy.sum())
    if lost > _AUDIBLE:
        logger.warning(
            "%s: %.2g %% of the response's energy lies beyond %d taps and is cut off. Set num_taps to %d to keep it.",
            path, 100 * lost, num_taps, len(taps),
        )  # fmt: skip
    return F.pad(taps, (0, max(num_taps - len(taps), 0)))[:num_taps].clone()

"""The same phase shift at all frequencies of a band."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Processor
from nablafx_core.state import State
from nablafx_dsp.functional.fir import fir
from nablafx_dsp.functional.hilbert import half_length, hilbert_taps

#: Largest ratio of the sample rate to `lowest_hz`; it limits the latency to 43,507 samples.
_LARGEST_RATIO = 48_000


class PhaseShift(Processor):
    """y = cos(s) x + sin(s) H{x}, where H is the Hilbert transform: every frequency is delayed by the angle s.

    The parameter is ``shift_deg``, s in degrees. H is a linear-phase finite impulse response
    (`nablafx_dsp.functional.hilbert`). From `lowest_hz` to sample_rate / 2 - `lowest_hz` its magnitude is within 0.25 %
    of 1. Outside this band it falls to 0, at 0 Hz and at half the sample rate, so that a shift of 90 degrees removes a
    constant. Its delay is the latency: 545 samples by default, at 48 kHz. A shift of 0 passes the audio and a shift of
    180 degrees inverts it. A moving shift is applied to the audio before H. State: ``direct``, the audio times cos(s)
    that is delayed, (batch, latency), and ``quadrature``, the past of the audio times sin(s) that H needs.

    Args:
        sample_rate: sample rate in Hz.
        min_shift_deg, max_shift_deg: range of the shift in degrees.
        quadrature: ``hilbert``, as above, or ``previous_sample`` for models made with NablAFx 1.0: H{x}[t] = x[t - 1],
            which is a phase shift of 90 degrees only near a quarter of the sample rate, and has no latency.
        lowest_hz: lower end of the band of ``hilbert`` in Hz; half the frequency doubles the latency.

    Raises:
        ModelError: if `lowest_hz` is below 1 / 48,000 of the sample rate, or not below a quarter of it (also for
            ``previous_sample``), or the range of the shift is reversed or infinite.
    """

    shape = "filter"
    title = "phase shift"
    _taps: Tensor

    def __init__(
        self,
        sample_rate: int = 48000,
        min_shift_deg: float = -180.0,
        max_shift_deg: float = 180.0,
        quadrature: Literal["hilbert", "previous_sample"] = "hilbert",
        lowest_hz: float = 80.0,
    ) -> None:
        super().__init__(sample_rate)
        lowest, highest = sample_rate / _LARGEST_RATIO, sample_rate / 4  # above, the band would be empty
        if not lowest <= lowest_hz < highest:
            raise ModelError(
                f"phase_shift: lowest_hz is {lowest_hz:g}; it must be at least {lowest:g} Hz and below {highest:g} Hz, "
                f"1 / 48,000 and a quarter of the sample rate of {sample_rate} Hz."
            )
        self.effect_parameters = (Parameter("shift_deg", min_shift_deg, max_shift_deg, "°"),)
        taps = torch.tensor([0.0, 1.0])
        if quadrature == "hilbert":
            self.latency = half_length(lowest_hz, sample_rate)
            taps = torch.from_numpy(hilbert_taps(self.latency))
        self.register_buffer("_taps", taps, persistent=False)

    def macs_per_sample(self) -> float:
        """Return one multiply-accumulate per non-zero tap of H, and two for cos(s) x + sin(s) H{x}."""
        return float(torch.count_nonzero(self._taps)) + 2

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state for silence before the first sample; `parameters` determine only its dtype and device."""
        like = self._taps if parameters is None else next(iter(parameters.values()))
        return {
            "direct": like.new_zeros(batch_size, self.latency),
            "quadrature": like.new_zeros(batch_size, len(self._taps) - 1),
        }

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Shift the phase of audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: ``shift_deg`` in degrees, (batch,) or (batch, time).
            state: state after the previous audio. None for a whole file: silence before and after it, and an output
                without delay.

        Returns:
            y, (batch, 1, time), and the state after the audio. With a given state, y lags by `latency` samples.
        """
        angle = torch.deg2rad(parameters["shift_deg"]).to(audio).reshape(audio.shape[0], -1)
        direct, quadrature = audio[:, 0] * torch.cos(angle), audio[:, 0] * torch.sin(angle)
        before = self.initial_state(audio.shape[0], parameters) if state is None else state
        output, after = self._stream(direct, quadrature, before)
        if state is None and self.latency:
            silence = output.new_zeros(output.shape[0], self.latency)
            rest, _ = self._stream(silence, silence, after)
            output = torch.cat([output, rest], dim=-1)[:, self.latency :]
        return output[:, None], after

    def _stream(self, direct: Tensor, quadrature: Tensor, state: State) -> tuple[Tensor, State]:
        shifted, past = fir(quadrature, self._taps[None].to(quadrature), state["quadrature"].to(quadrature))
        line = torch.cat([state["direct"].to(direct), direct], dim=-1)
        time = direct.shape[-1]
        return line[:, :time] + shifted, {"direct": line[:, time:], "quadrature": past}

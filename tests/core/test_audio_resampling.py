"""Resampling keeps what both rates can hold, where it was, and nothing else."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from nablafx_core.audio.resampling import resample

RATES = [(44100, 48000), (48000, 44100), (96000, 48000), (8000, 48000)]


def _sine(frequency, rate, time):
    return torch.sin(2 * math.pi * frequency * torch.arange(time, dtype=torch.float64) / rate)


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("frequency", [100.0, 997.0, 3000.0])
def test_a_sine_is_the_same_sine_undelayed(old, new, frequency):
    resampled = resample(_sine(frequency, old, 20011), old, new)
    wanted = _sine(frequency, new, len(resampled))
    assert len(resampled) == math.ceil(20011 * new / old)
    inner = slice(len(resampled) // 4, 3 * len(resampled) // 4)
    assert (resampled - wanted)[inner].abs().max() < 1e-5


def test_what_the_lower_rate_cannot_hold_is_removed():
    assert resample(_sine(23500.0, 48000, 20000), 48000, 44100)[5000:10000].abs().max() < 1e-4


def test_channels_are_independent_and_the_dtype_stays():
    audio = torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    both = resample(audio, 44100, 48000)
    assert both.dtype == torch.float32
    assert torch.equal(both[1], resample(audio[1], 44100, 48000))


def test_equal_rates_change_nothing_and_import_nothing():
    code = (
        "import sys, torch; from nablafx_core.audio.resampling import resample\n"
        "x = torch.ones(3); assert resample(x, 48000, 48000) is x\n"
        "assert not any(name.startswith('torchaudio') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

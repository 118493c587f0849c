"""Resampling keeps all frequencies below both Nyquist frequencies, with their phase, and removes all others."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from nablafx_core.audio import resampling
from nablafx_core.audio.resampling import resample, resample_blocks
from nablafx_core.audio.writing import writing

pytestmark = pytest.mark.slow

RATES = [(44100, 48000), (48000, 44100), (96000, 48000), (8000, 48000), (44056, 48000), (22255, 48000), (8000, 7999)]
EVERY_RATE = [*RATES, (88200, 44100), (192000, 44100), (48000, 192000), (48000, 44056)]


def _sine(frequency, rate, time):
    return torch.sin(2 * math.pi * frequency * torch.arange(time, dtype=torch.float64) / rate)


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("frequency", [100.0, 997.0, 3000.0])
def test_a_resampled_sine_has_the_same_amplitude_and_phase(old, new, frequency):
    resampled = resample(_sine(frequency, old, 20011), old, new)
    wanted = _sine(frequency, new, len(resampled))
    assert len(resampled) == math.ceil(20011 * new / old)
    inner = slice(len(resampled) // 4, 3 * len(resampled) // 4)
    assert (resampled - wanted)[inner].abs().max() < 1e-5


def test_frequencies_above_the_lower_nyquist_frequency_are_removed():
    assert resample(_sine(23500.0, 48000, 20000), 48000, 44100)[5000:10000].abs().max() < 1e-4


def _slowly(audio, old, new, index):
    """Compute the output samples `index`, each as a sum over every input sample."""
    band = 0.9475937167399596 * min(old, new)
    times = band * (np.arange(len(audio)) / old - index[:, None] / new)
    inside = np.abs(times) <= 64
    window = np.i0(14.769656459379492 * np.sqrt(np.where(inside, 1 - (times / 64) ** 2, 0))) / np.i0(14.769656459379492)
    return (np.where(inside, window * np.sinc(times), 0) * band / old) @ audio


@pytest.mark.parametrize(("old", "new"), EVERY_RATE)
def test_every_sample_equals_the_sum_of_the_formula(old, new, monkeypatch):
    monkeypatch.setattr(resampling, "_BLOCK", 100)  # many ends of blocks
    audio = np.random.default_rng(0).standard_normal(3001)
    resampled = resample(torch.from_numpy(audio), old, new).numpy()
    index = np.unique(np.linspace(0, len(resampled) - 1, 300).astype(int))
    dense = old * new // math.gcd(old, new) ** 2 <= 1 << 20  # torchaudio's window is computed in float32
    assert np.abs(resampled[index] - _slowly(audio, old, new, index)).max() < (1e-6 if dense else 1e-11)


@pytest.mark.parametrize(
    ("old", "new", "sizes"),
    [(*rates, [70_000, 1, 130_001]) for rates in EVERY_RATE]
    + [(*rates, ([1], [4096])[number % 2]) for number, rates in enumerate(EVERY_RATE)],
)
def test_blocks_of_any_length_give_the_same_output_bit_by_bit(old, new, sizes):
    time = 1_500 if sizes == [1] else 250_000
    audio = torch.randn(2, time, generator=torch.Generator().manual_seed(0))
    blocks, at = [], 0
    while at < time:
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(audio[:, at : at + size])
        at += size
    pieces = list(resample_blocks(iter(blocks), old, new))
    assert torch.equal(torch.cat(pieces, dim=-1), resample(audio, old, new))
    assert max(piece.shape[-1] for piece in pieces) <= 65_536 * max(1, new / old) + max(old, new)


@pytest.mark.parametrize("time", [0, 1, 2, 100])
def test_empty_and_very_short_signals_have_the_documented_length(time):
    for old, new in RATES[:3]:
        assert resample(torch.ones(3, time), old, new).shape == (3, math.ceil(time * new / old))
    assert list(resample_blocks(iter([]), 44100, 48000)) == []


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Peak memory is the same for 2 seconds and for 30, which would take 3 GB if resampled at once."""
    for seconds in (2, 30):
        with writing(tmp_path / f"{seconds}.wav", 96_000, 1, seconds * 96_000) as file:
            for _ in range(seconds):
                file.write(torch.zeros(1, 96_000))
    code = (
        "import resource, sys, torch; torch.set_num_threads(1)\n"
        "from nablafx_core.data.cache import resampled_file\n"
        "for path in sys.argv[1:]:\n"
        "    resampled_file(path, 48000)\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = {**os.environ, "NABLAFX_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, str(tmp_path / "2.wav"), str(tmp_path / "30.wav")]
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    short, long = (int(line) for line in done.stdout.split())
    assert long - short < 0.1 * short


def test_channels_are_independent_and_the_dtype_is_kept():
    audio = torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    both = resample(audio, 44100, 48000)
    assert both.dtype == torch.float32
    assert torch.equal(both[1], resample(audio[1], 44100, 48000))


def test_equal_rates_return_the_input_and_import_nothing():
    code = (
        "import sys, torch; from nablafx_core.audio.resampling import resample\n"
        "x = torch.ones(3); assert resample(x, 48000, 48000) is x\n"
        "assert not any(name.startswith('scipy') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Synthesised plucked strings: music to send through a device if no recording is available."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter  # type: ignore[import-untyped]

Array = npt.NDArray[np.float64]

# Semitones above the root. This table, and the tempi, weights and levels in `music` and `_play`, are a matter of taste.
_CHORDS = ((0, 7, 12), (0, 4, 7, 12), (0, 3, 7, 10), (0, 4, 7, 11, 14), (0, 5, 7, 12))
_SCALE = (0, 2, 3, 5, 7, 9, 10, 12, 15, 17, 19)


#: Lowest root: the low E of a bass.
_LOWEST_HZ = 41.2


def pluck(
    frequency_hz: float, seconds: float, sample_rate: int, random: np.random.Generator, brightness: float = 0.5
) -> Array:
    """Synthesise one plucked string, after Karplus and Strong (Computer Music Journal 7(2), 1983).

    y[n] = x[n] + g sum_k h_k y[n - N - k] with a noise burst x of about one period. The convolution
    h = (1 - s, s) * (1 - f, f) low-passes, and delays low frequencies by s + f, so that
    N + s + f = sample_rate / frequency_hz: fractional tuning by interpolation, as in Jaffe and Smith (ibid.).
    s = 0.5 - 0.35 brightness. g alone gives a decay by 60 dB in 4 sqrt(100 / frequency_hz) s; h shortens it.

    Args:
        frequency_hz: fundamental frequency in Hz, in (0, sample_rate / 8).
        seconds: length in s, rounded down to samples.
        sample_rate: sample rate in Hz.
        random: random generator of the burst.
        brightness: brightness of the burst and of the string, 0 to 1.

    Returns:
        The sound, (time,), with peak 1.
    """
    period = sample_rate / frequency_hz
    damping = 0.5 - 0.35 * brightness
    delay = int(period - damping)
    fraction = period - damping - delay
    loop = np.convolve([1 - damping, damping], [1 - fraction, fraction])
    loop *= 10 ** (-3 / (frequency_hz * 4 * (100 / frequency_hz) ** 0.5))
    burst = lfilter([brightness + 0.05], [1, brightness - 0.95], random.uniform(-1, 1, delay + 3))
    length = int(seconds * sample_rate)
    audio = np.zeros(delay + 2 + max(length, len(burst)))
    audio[delay + 2 : delay + 2 + len(burst)] = burst - burst.mean()
    # A block of one period depends only on the one before.
    for start in range(delay + 2, len(audio), delay):
        stop = min(start + delay, len(audio))
        for k, gain in enumerate(loop):
            audio[start:stop] += gain * audio[start - delay - k : stop - delay - k]
    audio = audio[delay + 2 : delay + 2 + length]
    return audio / max(float(np.abs(audio).max()), 1e-9)


def music(seconds: float, sample_rate: int, random: np.random.Generator) -> Array:
    """Compose a piece in a random key, register and tempo: notes, strummed chords and pauses of varying loudness.

    Args:
        seconds: length in s.
        sample_rate: sample rate in Hz.
        random: random generator that determines the piece.

    Returns:
        The audio, (time,), with peak 0.9.
    """
    length = int(seconds * sample_rate)
    audio = np.zeros(length)
    root_hz = _LOWEST_HZ * 2 ** random.uniform(0, 2)
    beat = random.uniform(0.15, 0.3)
    time = 0.0
    while time < seconds:
        beats = int(random.choice([1, 1, 2, 2, 4, 6]))
        what = random.choice(["note", "note", "note", "chord", "chord", "pause"]) if time else "chord"
        if what != "pause":
            _play(audio, time, beats * beat * random.uniform(0.9, 3), root_hz, what == "chord", sample_rate, random)
        time += beats * beat
    return 0.9 * audio / max(float(np.abs(audio).max()), 1e-9)


def _play(
    audio: Array,
    time: float,
    seconds: float,
    root_hz: float,
    chord: bool,
    sample_rate: int,
    random: np.random.Generator,
) -> None:
    """Add a note or a strummed chord to `audio` at `time` s, for `seconds` s, the last 20 ms of which fade out."""
    base = int(random.choice(_SCALE[:7]))
    steps = _CHORDS[random.integers(len(_CHORDS))] if chord else (int(random.choice(_SCALE)),)
    level = 10 ** (random.uniform(-24, 0) / 20) / len(steps) ** 0.5
    brightness = random.uniform(0.2, 0.9)
    for step in steps:
        detuned = base + step + random.normal(0, 0.05)
        string = level * pluck(root_hz * 2 ** (detuned / 12), seconds, sample_rate, random, brightness)
        fade = min(len(string), int(0.02 * sample_rate))
        string[len(string) - fade :] *= np.linspace(1, 0, fade)
        begin = int(time * sample_rate)
        piece = string[: max(len(audio) - begin, 0)]
        audio[begin : begin + len(piece)] += piece
        time += random.uniform(0.005, 0.03)

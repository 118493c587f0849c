"""Dynamic range processors, sample by sample, with two kinds of smoothing."""

from __future__ import annotations

import math


def output_db(kind, level, threshold, ratio, knee, span):
    """Return the output level for a constant input level, without make-up gain."""
    over = level - threshold
    if kind in ("compressor", "limiter"):
        slope = 1 / ratio if kind == "compressor" else 0.0
        if 2 * abs(over) < knee:
            return level + (slope - 1) * (over + knee / 2) ** 2 / (2 * knee)
        return level if over <= 0 else threshold + slope * over
    if 2 * abs(over) < knee:
        out = level - (ratio - 1) * (over - knee / 2) ** 2 / (2 * knee)
    else:
        out = level if over >= 0 else threshold + ratio * over
    return max(out, level - span)


def gains(kind, key, frame, smoothing, state):
    """Return the gain of each sample of one signal, and the final state.

    Args:
        kind: compressor, limiter, expander or gate.
        key: samples of the detected signal.
        frame: function from a sample's number to its parameters by name, with time constants in samples.
        smoothing: branching or decoupled.
        state: power, first stage and second stage of the smoothing: of the reduction in dB (compressor, limiter) or of
            the gain in dB (expander, gate).
    """
    power, first, second = state
    sign = -1 if kind in ("compressor", "limiter") else 1
    found = []
    for t, x in enumerate(key):
        p = frame(t)
        attack, release = math.exp(-1 / p["attack"]), math.exp(-1 / p["release"])
        averaging = math.exp(-1 / p["rms"]) if p["rms"] else 0.0
        power = averaging * power + (1 - averaging) * x**2
        level = 10 * math.log10(power + 1e-10)
        wanted = sign * (output_db(kind, level, p["threshold"], p["ratio"], p["knee"], p["range"]) - level)
        if smoothing == "branching":
            pole = attack if wanted > first else release
            first = second = pole * first + (1 - pole) * wanted
        else:
            first = max(wanted, release * first + (1 - release) * wanted)
            second = attack * second + (1 - attack) * first
        found.append(10 ** ((sign * second + p["makeup"]) / 20))
    return found, (power, first, second)

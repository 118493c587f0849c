"""Textbook LSTM, sample by sample."""

from __future__ import annotations

import numpy as np


def lstm(weights, audio, controls, *, residual):
    """Return the output for one item of a one-layer LSTM: audio (time,), controls (num_controls, time) or None."""
    hidden = cell = np.zeros(weights["lstm.weight_hh_l0"].shape[1])
    gain = weights["direct_gain.weight"].item() if "direct_gain.weight" in weights else 0.0
    out = []
    for n, sample in enumerate(audio):
        x = np.array([sample]) if controls is None else np.append(sample, controls[:, n])
        gates = weights["lstm.weight_ih_l0"] @ x + weights["lstm.bias_ih_l0"]
        gates = gates + weights["lstm.weight_hh_l0"] @ hidden + weights["lstm.bias_hh_l0"]
        into, forget, candidate, show = np.split(gates, 4)
        cell = _sigmoid(forget) * cell + _sigmoid(into) * np.tanh(candidate)
        hidden = _sigmoid(show) * np.tanh(cell)
        y = weights["lin.weight"] @ hidden + weights["lin.bias"]
        out.append(np.tanh(y[0] + residual * sample + np.tanh(gain * sample)))
    return np.array(out)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))

"""TCN by its definition: the whole padded file, sample by sample, without a state."""

from __future__ import annotations

import numpy as np


def tcn(weights, audio, controls, *, dilations, causal=True, conditioning="none", residual_delay=0, eps=1e-5):
    """Return the output of a TCN with tanh activations for one item.

    Args:
        weights: the model's state_dict as float64 arrays.
        audio: dry signal, (time,).
        controls: control values, (num_controls, time), or None.
        dilations: dilation of each block.
    """
    time = len(audio)
    reach = sum((weights[f"blocks.{n}.conv.weight"].shape[2] - 1) * d for n, d in enumerate(dilations))
    margin = 2 * reach + 2
    moments = np.clip(np.arange(-margin, time + margin), 0, time - 1)
    x = np.zeros((1, time + 2 * margin))
    x[0, margin : margin + time] = audio
    knobs = None if controls is None else controls[:, moments]
    dry = x
    if conditioning == "concatenated":
        x = np.concatenate([x, knobs])
    for n, dilation in enumerate(dilations):
        x = _block(weights, f"blocks.{n}.", x, knobs, dilation, causal, conditioning, residual_delay, eps)
    y = weights["output.weight"][:, :, 0] @ x + weights["output.bias"][:, None]
    if "direct_gain.weight" in weights:
        y = y + weights["direct_gain.weight"][0, 0, 0] * _shifted(dry, residual_delay)
    return np.tanh(y[0, margin : margin + time])


def _block(weights, name, x, knobs, dilation, causal, conditioning, residual_delay, eps):
    kernel = weights[name + "conv.weight"]
    taps = kernel.shape[2]
    newest = taps - 1 if causal else (taps - 1) // 2
    y = sum(kernel[:, :, k] @ _shifted(x, (newest - k) * dilation) for k in range(taps))
    if name + "conv.bias" in weights:
        y = y + weights[name + "conv.bias"][:, None]
    norm = next((name + p for p in ("film.bn.", "bn.") if name + p + "running_mean" in weights), None)
    if norm:
        y = (y - weights[norm + "running_mean"][:, None]) / np.sqrt(weights[norm + "running_var"][:, None] + eps)
    if norm and norm + "weight" in weights:
        y = y * weights[norm + "weight"][:, None] + weights[norm + "bias"][:, None]
    if conditioning == "film":
        gain, shift = np.split(_dense(weights, name + "film.adaptor", _mlp(weights, knobs)), 2)
        y = y * gain + shift
    y = np.tanh(y)
    if name + "res.weight" in weights:
        res = weights[name + "res.weight"][:, :, 0]
        groups = x.shape[0] // res.shape[1]
        late = np.split(_shifted(x, residual_delay), groups)
        y = y + np.concatenate([w @ part for w, part in zip(np.split(res, groups), late, strict=True)])
    return y


def _mlp(weights, knobs):
    for layer in (0, 2, 4):
        knobs = np.maximum(_dense(weights, f"cond_nn.layers.{layer}", knobs), 0)
    return knobs


def _dense(weights, name, x):
    return weights[name + ".weight"] @ x + weights[name + ".bias"][:, None]


def _shifted(x, samples):
    """Return x[n - samples]; beyond the ends, the value at the end is repeated."""
    index = np.clip(np.arange(x.shape[1]) - samples, 0, x.shape[1] - 1)
    return x[:, index]

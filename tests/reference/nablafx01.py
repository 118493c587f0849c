"""Offline output of the networks of NablAFx 1.0: whole signals, padded and cropped, in plain torch.

Written from the definition of each layer, sample grid and key; slow, and without a stream.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

BLOCK = 128


def output(name, arguments, weights, x, controls=None):
    """Return the output (batch, 1, time) of the network of that name, from its init_args and its state dict."""
    run = {"TCN": tcn, "GCN": gcn, "LSTM": lstm, "S4": s4}[name]
    return run(arguments, weights, x, controls)


def tcn(a, w, x, controls):
    x = padded(a, x)
    condition = conditioner(a, w, x, controls)
    y = x
    for n in range(a["num_blocks"]):
        p = f"blocks.{n}."
        convolved = F.conv1d(y, w[p + "conv.weight"], w.get(p + "conv.bias"), dilation=dilation(a, n))
        features = normed(w, p, modulated(a, w, p, convolved, condition, controls))
        features = activated(w, p + "act", a.get("act_type", "tanh"), features)
        if a["residual"]:
            res = F.conv1d(y, w[p + "res.weight"], groups=y.shape[1])
            features = features + cropped(a, res, features.shape[-1])
        y = features
    y = F.conv1d(y, w["output.weight"], w["output.bias"])
    if a["direct_path"]:
        y = y + cropped(a, x, y.shape[-1]) * w["direct_gain.weight"][0]
    return torch.tanh(y)


def gcn(a, w, x, controls):
    x = padded(a, x)
    condition = conditioner(a, w, x, controls)
    y, sums = x, []
    for n in range(a["num_blocks"]):
        p = f"blocks.{n}."
        convolved = F.conv1d(y, w[p + "conv.weight"], w.get(p + "conv.bias"), dilation=dilation(a, n))
        features = normed(w, p, modulated(a, w, p, convolved, condition, controls))
        half = features.shape[1] // 2
        z = torch.tanh(features[:, :half]) * torch.sigmoid(features[:, half:])
        sums.append(z)
        mixed = F.conv1d(z, w[p + "mix.weight"], w.get(p + "mix.bias"))
        y = mixed + cropped(a, y, z.shape[-1]) if a["residual"] else mixed
    together = torch.cat([cropped(a, z, sums[-1].shape[-1]) for z in sums], dim=1)
    y = F.conv1d(together, w["mix.weight"], w.get("mix.bias"))
    if a["direct_path"]:
        y = y + cropped(a, x, y.shape[-1]) * w["direct_gain.weight"][0]
    return y


def lstm(a, w, x, controls):
    inputs = x
    if a["cond_type"] == "fixed":
        inputs = torch.cat((x, controls[..., None].expand(-1, -1, x.shape[-1])), dim=1)
    if a["cond_type"] == "tvcond":
        held = conditioner(a, w, x, controls).repeat_interleave(BLOCK, dim=-1)[..., : x.shape[-1]]
        inputs = torch.cat((x, held), dim=1)
    features = recurrent(w, "lstm.", inputs.mT, a["num_layers"])
    y = (features @ w["lin.weight"].T + w["lin.bias"]).mT
    if a["residual"]:
        y = y + x
    if a["direct_path"]:
        y = y + torch.tanh(x * w["direct_gain.weight"][0])
    return torch.tanh(y)


def s4(a, w, x, controls):
    condition = conditioner(a, w, x, controls)
    y = torch.einsum("oc,bct->bot", w["expand.weight"], x) + w["expand.bias"][:, None]
    for n in range(a["num_blocks"]):
        p = f"blocks.{n}."
        features = torch.einsum("oc,bct->bot", w[p + "linear.weight"], y) + w[p + "linear.bias"][:, None]
        features = activated(w, p + "act1", a["act_type"], features)
        features = state_space(w, p + "s4.", features)
        features = normed(w, p, modulated(a, w, p, features, condition, controls))
        features = activated(w, p + "act2", a["act_type"], features)
        y = features + y * w[p + "res.weight"][:, 0] if a["residual"] else features
    out = torch.einsum("oc,bct->bot", w["contract.weight"], y) + w["contract.bias"][:, None]
    if a["direct_path"]:
        out = out + x * w["direct_gain.weight"][0]
    return torch.tanh(out)


def kernel(w, p, length):
    """K[l] = 2 Re sum of C (exp(A dt) - 1) / A exp(A dt l), by the whole Vandermonde matrix."""
    a = torch.complex(-torch.exp(w[p + "log_A_real"]), w[p + "A_imag"])
    step = a * torch.exp(w[p + "log_dt"])[:, None]
    c = torch.view_as_complex(w[p + "C"]) * (torch.exp(step) - 1) / a
    powers = torch.exp(step[..., None] * torch.arange(length))
    return 2 * torch.einsum("hn,hnl->hl", c, powers).real


def state_space(w, p, u):
    time = u.shape[-1]
    spectrum = torch.fft.rfft(kernel(w, p, time), 2 * time) * torch.fft.rfft(u, 2 * time)
    return torch.fft.irfft(spectrum, 2 * time)[..., :time] + u * w[p + "D"][:, None]


def dilation(a, n):
    return a["dilation_growth"] ** (n % a["stack_size"])


def padded(a, x):
    field = sum((a["kernel_size"] - 1) * dilation(a, n) for n in range(a["num_blocks"]))
    return F.pad(x, (field, 0) if a["causal"] else (field // 2, field // 2))


def cropped(a, x, length):
    if x.shape[-1] == length:
        return x
    stop = x.shape[-1] - 1 if a["causal"] else (x.shape[-1] + length) // 2
    return x[..., stop - length : stop]


def blocks_of(x):
    return F.pad(x, (0, -x.shape[-1] % BLOCK))


def recurrent(w, p, sequence, layers=1):
    network = nn.LSTM(sequence.shape[-1], w[p + "weight_hh_l0"].shape[1], layers, batch_first=True).to(sequence.dtype)
    network.load_state_dict({key.removeprefix(p): value for key, value in w.items() if key.startswith(p)})
    return network(sequence)[0]


def with_controls(m, controls):
    return m if controls is None else torch.cat((m, controls[..., None].expand(-1, -1, m.shape[-1])), dim=1)


def conditioner(a, w, x, controls):
    kind = a["cond_type"]
    if kind == "film":
        c = controls
        for layer in (0, 2, 4):
            c = torch.relu(c @ w[f"cond_nn.layers.{layer}.weight"].T + w[f"cond_nn.layers.{layer}.bias"])
        return c
    if kind in ("tvfilm", "tvcond"):
        peaks = F.max_pool1d(blocks_of(x).abs(), BLOCK)
        return recurrent(w, "cond_nn.lstm.", with_controls(peaks, controls).mT, a["cond_num_layers"]).mT
    return None


def modulated(a, w, p, x, condition, controls):
    kind, p = a["cond_type"], p + "film."
    if kind == "film":
        mean, variance = w[p + "bn.running_mean"][:, None], w[p + "bn.running_var"][:, None]
        g, b = (condition @ w[p + "adaptor.weight"].T + w[p + "adaptor.bias"])[..., None].chunk(2, dim=1)
        return (x - mean) / torch.sqrt(variance + 1e-5) * g + b
    if kind == "tvfilm":
        steps = F.conv1d(condition, w[p + "adaptor.weight"], w[p + "adaptor.bias"])
        return by_blocks(x, steps[..., -(blocks_of(x).shape[-1] // BLOCK) :])
    if kind in ("tfilm", "ttfilm"):
        m = F.max_pool1d(blocks_of(x), BLOCK)
        if kind == "ttfilm":
            m = F.conv1d(m, w[p + "conv.weight"], w[p + "conv.bias"])
        steps = recurrent(w, p + "lstm.", with_controls(m, controls).mT, a["cond_num_layers"]).mT
        for layer in (0, 2, 4) if kind == "ttfilm" else ():
            steps = torch.relu(F.conv1d(steps, w[p + f"adaptor.{layer}.weight"], w[p + f"adaptor.{layer}.bias"]))
        return by_blocks(x, steps)
    return x


def by_blocks(x, steps):
    g, b = steps.repeat_interleave(BLOCK, dim=-1)[..., : x.shape[-1]].chunk(2, dim=1)
    return x * g + b


def normed(w, p, x):
    if p + "bn.weight" not in w:
        return x
    mean, variance = w[p + "bn.running_mean"][:, None], w[p + "bn.running_var"][:, None]
    return (x - mean) / torch.sqrt(variance + 1e-5) * w[p + "bn.weight"][:, None] + w[p + "bn.bias"][:, None]


def activated(w, p, kind, x):
    if kind == "prelu":
        return F.prelu(x, w[p + ".weight"])
    if kind == "rational":
        top, bottom = w[p + ".numerator"], w[p + ".denominator"]
        p_x = sum(c * x**i for i, c in enumerate(top))
        return p_x / (1 + sum((c * x ** (j + 1)).abs() for j, c in enumerate(bottom)))
    return torch.tanh(x)

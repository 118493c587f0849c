"""MACs per sample equal those of torch's counter, which counts convolutions and matrix products."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nablafx_core.controls import Control
from nablafx_core.profiling import count_macs
from nablafx_models.gcn import GCN
from nablafx_models.lstm import LSTM
from nablafx_models.s4 import S4
from nablafx_models.s4d import S4D
from nablafx_models.tcn import TCN

pytestmark = pytest.mark.slow

KNOBS = (Control("drive"), Control("tone"))
BLOCK = 8
LENGTH = 8 * BLOCK


class WrittenLSTM(nn.Module):
    """An LSTM of linear layers, which the counter counts; it does not count torch's own LSTM."""

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.hidden_size, self.num_layers = lstm.hidden_size, lstm.num_layers
        self.weights = nn.ModuleList(nn.ParameterList(layer) for layer in lstm.all_weights)

    def forward(self, x, state):
        hiddens, cells = [], []
        for layer, (w_x, w_h, b_x, b_h) in enumerate(self.weights):
            hidden, cell = state[0][layer], state[1][layer]
            outputs = []
            for step in x.unbind(dim=1):
                gates = nn.functional.linear(step, w_x, b_x) + nn.functional.linear(hidden, w_h, b_h)
                into, forget, candidate, show = gates.chunk(4, dim=-1)
                cell = forget.sigmoid() * cell + into.sigmoid() * candidate.tanh()
                hidden = show.sigmoid() * cell.tanh()
                outputs.append(hidden)
            x = torch.stack(outputs, dim=1)
            hiddens.append(hidden)
            cells.append(cell)
        return x, (torch.stack(hiddens), torch.stack(cells))


class PassThrough(nn.Module):
    """Replace an S4D layer and return its input."""

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 1, device="meta")

    def forward(self, u, state):
        return u, state


def counted_by_torch(model):
    """Return MACs per sample, from the difference between two lengths, on a device that computes nothing."""
    model = model.to("meta").eval()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LSTM):
                setattr(module, name, WrittenLSTM(child))
    return (operations(model, 2 * LENGTH) - operations(model, LENGTH)) / LENGTH / 2


def operations(model, time):
    controls = torch.zeros(1, len(model.controls), device="meta") if model.controls else None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, time, device="meta"), controls)
    return counter.get_total_flops()


def test_the_written_lstm_equals_that_of_torch():
    lstm, x = nn.LSTM(3, 4, num_layers=2, batch_first=True), torch.randn(2, 7, 3)
    start = torch.randn(2, 2, 4), torch.randn(2, 2, 4)
    out, (hidden, cell) = WrittenLSTM(lstm)(x, start)
    expected, (expected_hidden, expected_cell) = lstm(x, start)
    torch.testing.assert_close((out, hidden, cell), (expected, expected_hidden, expected_cell))


@pytest.mark.parametrize("architecture", [TCN, GCN])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"causal": False},
        {"channel_growth": 2, "bias": False},
        {"residual": False},
        {"norm": "batch"},
        {"conditioning": "film", "controls": KNOBS},
        {"conditioning": "film", "controls": KNOBS, "norm": "batch"},
        {"conditioning": "concatenated", "controls": KNOBS},
        {"conditioning": "tfilm", "controls": KNOBS},
        {"conditioning": "tfilm", "cond_num_layers": 2, "lookahead": False},
        {"conditioning": "tfilm", "causal": False},
        {"conditioning": "ttfilm", "controls": KNOBS},
        {"conditioning": "tvfilm", "controls": KNOBS},
        {"conditioning": "tvfilm", "lookahead": False},
        {"conditioning": "tv_concatenated", "controls": KNOBS},
    ],
    ids=lambda settings: "-".join(f"{key}={value}" for key, value in settings.items() if key != "controls") or "plain",
)
def test_macs_of_convolutional_networks(architecture, settings):
    small = {"num_blocks": 3, "kernel_size": 5, "dilation_growth": 4, "channel_width": 6, "cond_block_size": BLOCK}
    model = architecture(**small, **settings)
    counted = count_macs(model)
    assert counted.not_counted == ()
    gains = sum(gains_of_residual(block) for block in model.blocks)
    assert counted.per_sample == pytest.approx(counted_by_torch(model) + gains, rel=1e-12)


def gains_of_residual(block):
    """Return the multiplications of a residual by a gain per channel, which the counter does not count."""
    res = getattr(block, "res", None)
    by_channel = res is not None and res.weight.shape[1] == 1 and res.in_channels in (1, res.out_channels)
    return res.weight.numel() if by_channel else 0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_layers": 2, "direct_path": True},
        {"conditioning": "concatenated", "controls": KNOBS},
        {"conditioning": "tv_concatenated", "controls": KNOBS, "cond_block_size": BLOCK},
    ],
)
def test_macs_of_recurrent_networks(settings):
    model = LSTM(hidden_size=5, pre_roll=0, **settings)
    assert count_macs(model).per_sample == pytest.approx(counted_by_torch(model), rel=1e-12)


@pytest.mark.parametrize("settings", [{}, {"conditioning": "tvfilm", "cond_block_size": BLOCK}, {"norm": "batch"}])
def test_macs_of_the_linear_layers_of_state_space_networks(settings):
    model = S4(num_blocks=2, num_states=3, channel_width=4, residual=False, pre_roll=0, **settings)
    recurrences = sum(count_macs(block.s4).per_sample for block in model.blocks)
    whole = count_macs(model).per_sample
    for block in model.blocks:
        block.s4 = PassThrough()
    assert whole - recurrences == pytest.approx(counted_by_torch(model), rel=1e-12)


def test_macs_of_a_state_space_layer_are_those_of_its_recurrence():
    layer = S4D(channels=3, num_states=2)
    with torch.no_grad():
        decay, readout = layer._recurrence()
    multiplications = 0

    def product(a, b):
        nonlocal multiplications
        multiplications += 1
        return a * b

    state, powers = [[0.0j] * 2 for _ in range(3)], decay.exp().tolist()
    u, out = torch.randn(3, 1), torch.zeros(3, 5)
    for t in range(5):
        for h in range(3):
            value = float(u[h]) if t == 0 else 0.0
            y = product(layer.D[h].item(), value)
            for n in range(2):
                a, s, c = powers[h][n], state[h][n], readout[h, n].item()
                real = product(a.real, s.real) - product(a.imag, s.imag)
                imaginary = product(a.real, s.imag) + product(a.imag, s.real)
                state[h][n] = s = complex(real + value, imaginary)
                y += 2 * (product(c.real, s.real) - product(c.imag, s.imag))
            out[h, t] = y
    signal = torch.nn.functional.pad(u, (0, 4))[None]
    torch.testing.assert_close(layer(signal, layer.initial_state(1))[0][0].detach(), out)
    assert count_macs(layer).per_sample == multiplications / 5

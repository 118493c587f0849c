"""Compute `torch.nn.LSTM` faster on the CPU."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.kernels import lstm as kernel
from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.lstm import LANES
from nablafx_core.kernels.workspace import Workspace

State = tuple[Tensor, Tensor]


def lstm(module: nn.LSTM, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Return ``module(x, state)``, computed by a compiled kernel if possible, else by torch.

    The kernel supports float32 on the CPU, `nn.LSTM` itself with ``batch_first=True``, one direction, biases, no
    projection and no dropout, where `compiled_for` allows it. Its outputs and gradients equal torch's within 1e-5.
    It does not support gradients of gradients.

    Args:
        module: LSTM with ``batch_first=True``.
        x: inputs, (batch, time, inputs), with at least one sample.
        state: h and c, each (num_layers, batch, hidden_size).

    Returns:
        h of the last layer at each sample, (batch, time, hidden_size), and the state after the last sample.

    Raises:
        ModelError: if the environment variable ``NABLAFX_KERNELS`` has an unknown value; in the backward pass of the
            kernel, if gradients of gradients are required.
    """
    if not (_covered(module, x) and compiled_for(x, *state, *chain.from_iterable(module.all_weights))):
        outputs, (hidden, cell) = module(x, state)
        return outputs, (hidden, cell)
    module.check_forward_args(x, state, None)
    after = []
    for h, c, (w_ih, w_hh, b_ih, b_hh) in zip(*state, module.all_weights, strict=True):
        inputs = (x, h, c, w_ih, w_hh, b_ih + b_hh)
        if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
            x, h, c = _Layer.apply(*inputs)  # type: ignore[no-untyped-call]
        else:
            x, h, c = _run(*inputs, None)
            x = x[..., : module.hidden_size]
        after.append((h, c))
    hidden, cell = (torch.stack(of_layers) for of_layers in zip(*after, strict=True))
    return x, (hidden, cell)


def _covered(module: nn.LSTM, x: Tensor) -> bool:
    if type(module) is not nn.LSTM:  # a subclass may compute something else
        return False
    plain = module.bias and module.batch_first and not (module.bidirectional or module.proj_size or module.dropout)
    return plain and x.ndim == 3 and x.numel() > 0


class _Layer(torch.autograd.Function):
    """One layer of an LSTM.

    i, f, g, o = w_ih x[n] + w_hh h[n-1] + bias
    c[n] = sigmoid(f) c[n-1] + sigmoid(i) tanh(g),  h[n] = sigmoid(o) tanh(c[n])

    The arguments are x, (batch, time, inputs), h and c, (batch, hidden), the weights of `nn.LSTM`, and one bias,
    (4 hidden,). The results are h at each sample, (batch, time, hidden), and h and c after the last sample. The number
    of units is padded to a multiple of LANES with units that stay 0 and whose gradients are 0.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, units = h.shape[1], _units(h)
        ctx.workspace = Workspace(5 * x.shape[0] * x.shape[1] * units)
        outputs, after, cell = _run(x, h, c, w_ih, w_hh, bias, ctx.workspace)
        ctx.save_for_backward(x, h, c, w_ih, w_hh, outputs)
        return outputs if hidden == units else outputs[..., :hidden].contiguous(), after, cell

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise ModelError(
                "LSTM: its compiled kernel does not support gradients of gradients (create_graph=True). Set the "
                "environment variable NABLAFX_KERNELS=torch to compute it with torch."
            )
        x, h, c, w_ih, w_hh, outputs = ctx.saved_tensors
        workspace = Workspace(4 * outputs.numel())
        grad_gates = workspace.values.view(-1, 4 * outputs.shape[2])
        grad_h, grad_c = _adjoint(ctx.workspace, outputs, c, w_hh, grads, grad_gates)
        grad_x = grad_w_ih = grad_w_hh = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_gates @ _in_blocks(w_ih, outputs.shape[2]).flatten(0, 2)).view_as(x)
        if any(ctx.needs_input_grad[3:]):
            per_weight, inputs = _weight_gradients(grad_gates, x, h, outputs), x.shape[2]
            grad_bias, grad_w_ih = per_weight[:, 0], per_weight[:, 1 : 1 + inputs]
            grad_w_hh = per_weight[:, 1 + inputs :]
        return grad_x, grad_h, grad_c, grad_w_ih, grad_w_hh, grad_bias


def _run(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, workspace: Workspace | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return h at each sample with the padding units, and h and c after the last sample without them."""
    (batch, time, inputs), hidden, units = x.shape, h.shape[1], _units(h)
    packed = _in_blocks(torch.cat((bias[:, None], w_ih, _filled(w_hh, units)), dim=1), units).permute(0, 3, 1, 2)
    outputs, hiddens = x.new_empty(batch, time, units), x.new_empty(2, batch, units)
    hiddens[0], cell = _filled(h, units), _filled(c, units).clone(memory_format=torch.contiguous_format)
    gates, cells = _gates_and_cells(x.new_empty(5 * LANES) if workspace is None else workspace.values)
    arrays = (x, packed, hiddens, cell, outputs, gates, cells)
    kernel.forward((batch, time, inputs, units), int(workspace is not None), *map(_flat, arrays))
    return outputs, hiddens[time % 2, :, :hidden], cell[:, :hidden]


def _adjoint(
    kept: Workspace, outputs: Tensor, c: Tensor, w_hh: Tensor, grads: tuple[Tensor, ...], grad_gates: Tensor
) -> tuple[Tensor, Tensor]:
    """Fill `grad_gates` and return the gradients of the state before the first sample."""
    (batch, time, units), hidden = outputs.shape, c.shape[1]
    gates, cells = _gates_and_cells(kept.values)
    grad_outputs, grad_h, grad_c, c = (_filled(t, units) for t in (*grads, c))
    grad_h, grad_c = (torch.clone(t, memory_format=torch.contiguous_format) for t in (grad_h, grad_c))
    by_gate = _in_blocks(_filled(w_hh, units), units).flatten(0, 2)
    packed = by_gate.view(4 * units, -1, LANES).transpose(0, 1)
    arrays = (grad_outputs, packed, gates, cells, c, grad_h, grad_c, grad_gates)
    kernel.backward((batch, time, units), *map(_flat, arrays))
    return grad_h[:, :hidden], grad_c[:, :hidden]


def _gates_and_cells(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of a buffer for the gates, four values per unit and sample, and for the cells, one value."""
    return values[: values.numel() // 5 * 4], values[values.numel() // 5 * 4 :]


def _weight_gradients(grad_gates: Tensor, x: Tensor, h: Tensor, outputs: Tensor) -> Tensor:
    """Return the gradients of bias, w_ih and w_hh side by side, (4 hidden, 1 + inputs + hidden)."""
    (batch, time, units), inputs, hidden = outputs.shape, x.shape[2], h.shape[1]
    workspace = Workspace(batch * time * (1 + inputs + hidden))
    seen = workspace.values.view(batch, time, -1)
    seen[..., 0] = 1
    seen[..., 1 : 1 + inputs] = x
    seen[:, 0, 1 + inputs :] = h
    seen[:, 1:, 1 + inputs :] = outputs[:, :-1, :hidden]
    product = grad_gates.mT @ seen.flatten(0, 1)
    by_block = product.view(units // LANES, 4, LANES, -1).transpose(0, 1)
    return by_block.reshape(4, units, -1)[:, :hidden].flatten(0, 1)


def _units(h: Tensor) -> int:
    """Return the number of hidden units including the padding of the last block."""
    return -(-h.shape[1] // LANES) * LANES


def _filled(values: Tensor, units: int) -> Tensor:
    """Append columns of zeros, so that there are `units` columns."""
    return nn.functional.pad(values, (0, units - values.shape[-1])) if values.shape[-1] < units else values


def _in_blocks(weights: Tensor, units: int) -> Tensor:
    """Arrange weights (4 hidden, columns) in the order of the kernels' gates, (blocks, 4, LANES, columns)."""
    columns = weights.shape[1]
    four = weights.reshape(4, -1, columns)
    filled = nn.functional.pad(four, (0, 0, 0, units - four.shape[1])) if four.shape[1] < units else four
    return filled.view(4, -1, LANES, columns).transpose(0, 1)


def _flat(values: Tensor) -> Any:
    return values.detach().contiguous().view(-1).numpy()

"""Kernels are used only for plain tensors on the CPU whose operations are not observed."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for


class Recorded(torch.Tensor):
    """Tensor of a subclass."""


@pytest.fixture(autouse=True)
def _chosen_by_layers(monkeypatch):
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)


def answer_inside(call):
    """Return the result of `compiled_for` inside a function that `call` calls."""
    answers = []

    def inner(x):
        answers.append(compiled_for(x))
        return 2 * x

    call(inner)
    return answers.pop()


def test_kernels_are_chosen_by_device_and_dtype():
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert compiled_for(single, torch.nn.Parameter(single))
    assert not compiled_for(single, double)
    assert not compiled_for(single, single.half())
    assert not compiled_for(single.to("meta"), single)
    assert compiled_for(single, double, dtypes=(torch.float32, torch.float64))
    assert not compiled_for(single, dtypes=(torch.float64,))


def test_torch_is_used_where_operations_are_observed():
    single = torch.zeros(1)
    with torch.autocast("cpu"):
        assert not compiled_for(single)
    with FlopCounterMode(display=False):
        assert not compiled_for(single)
    assert not compiled_for(single, single.as_subclass(Recorded))
    assert answer_inside(lambda inner: inner(single))
    assert not answer_inside(lambda inner: torch.func.vmap(inner)(single))
    assert not answer_inside(lambda inner: torch.func.functionalize(inner)(single))
    assert not answer_inside(lambda inner: torch.func.grad(lambda x: inner(x).sum())(single))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace`:DeprecationWarning")
def test_a_trace_records_torchs_operations():
    assert not answer_inside(lambda inner: torch.jit.trace(inner, torch.zeros(1), check_trace=False))


def test_a_compiler_records_torchs_operations():
    answers = []

    def inner(x):
        answers.append(compiled_for(x))
        return 2 * x

    torch.export.export(Module(inner), (torch.zeros(1),), strict=False)
    assert answers
    assert not any(answers)


class Module(torch.nn.Module):
    """Module that applies a function."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


def test_the_environment_variable_decides(monkeypatch):
    single = torch.zeros(1)
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    assert not compiled_for(single)
    monkeypatch.setenv("NABLAFX_KERNELS", "auto")
    assert compiled_for(single)
    monkeypatch.setenv("NABLAFX_KERNELS", "numba")
    with pytest.raises(ModelError, match="NABLAFX_KERNELS is 'numba'"):
        compiled_for(single)

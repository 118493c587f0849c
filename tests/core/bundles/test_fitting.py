"""A model that requests far more memory than its weights need is refused before allocation, for every function."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from nablafx_core.bundles.fitting import fitting_model
from nablafx_core.errors import BundleError, ConfigError
from nablafx_core.testing.tiny import TinyModel

LARGE = 2**40
MAKERS = {
    "empty": lambda n: torch.empty(n),
    "empty, two sizes": lambda n: torch.empty(2, n // 2),
    "zeros": lambda n: torch.zeros((n,)),
    "ones": lambda n: torch.ones([n]),
    "full": lambda n: torch.full((n,), 1.0),
    "rand": lambda n: torch.rand(n),
    "randn": lambda n: torch.randn(size=(n,)),
    "randint": lambda n: torch.randint(3, (n,)),
    "normal": lambda n: torch.normal(0.0, 1.0, (n,)),
    "arange": lambda n: torch.arange(n),
    "arange from": lambda n: torch.arange(0, n, 1.0),
    "arange in steps": lambda n: torch.arange(0.0, 1.0, 1 / n),
    "linspace": lambda n: torch.linspace(-1, 1, n),
    "linspace, named": lambda n: torch.linspace(-1, 1, steps=n),
    "eye": lambda n: torch.eye(2**20, n // 2**20),
    "a window": lambda n: torch.hann_window(n),
    "like a tensor": lambda n: torch.ones(1).new_zeros(n),
    "copies": lambda n: torch.ones(4).repeat(n // 4),
    "tiles": lambda n: torch.ones(4).tile((n // 4,)),
    "a layer": lambda n: nn.Linear(1024, n // 2**14),
}
made: list[int] = []


class Making(TinyModel):
    def __init__(self, sample_rate: int = 48000, controls=(), maker: str = "empty", size: int = 1) -> None:
        super().__init__(sample_rate, controls)
        made.append(MAKERS[maker](size))


def fitting(maker, size):
    made.clear()
    section = {"name": "test_fitting:Making", "sample_rate": 48000, "controls": [], "maker": maker, "size": size}
    return fitting_model(section, {"weight": torch.ones(())})


@pytest.fixture(autouse=True)
def _by_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "test_fitting", sys.modules[__name__])


@pytest.mark.parametrize("maker", MAKERS)
def test_a_large_tensor_is_refused_and_a_small_one_made(maker):
    with pytest.raises(BundleError, match="the model is larger than its weights"):
        fitting(maker, LARGE)
    assert not made
    fitting(maker, 2**20)
    assert len(made) == 1


def test_many_buffers_are_limited_like_a_large_one(monkeypatch):
    def tables(count):
        part = nn.Module()
        for number in range(count):
            part.register_buffer(f"table_{number}", torch.zeros(2**23, dtype=torch.int8), persistent=False)
        return part

    monkeypatch.setitem(MAKERS, "tables", tables)
    fitting("tables", 2)
    with pytest.raises(BundleError, match="the model is larger than its weights"):
        fitting("tables", 3)


def test_an_error_about_too_many_modules_does_not_blame_the_weights(monkeypatch):
    monkeypatch.setitem(MAKERS, "modules", lambda count: nn.ModuleList(nn.Identity() for _ in range(count)))
    fitting("modules", 3_900)
    with pytest.raises(BundleError, match="more than 4,000 modules and parameters"):
        fitting("modules", 4_100)


def test_an_error_of_the_function_itself_is_not_changed(monkeypatch):
    monkeypatch.setitem(MAKERS, "wrong", lambda n: torch.arange(0, n, 0))
    with pytest.raises(ConfigError, match="step must be nonzero"):
        fitting("wrong", 3)

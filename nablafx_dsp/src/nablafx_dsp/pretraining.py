"""Fits networks of processors to what they begin as.

The files of `nablafx_dsp.pretrained` were made by ``python -m nablafx_dsp.pretraining``, which writes them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_dsp.nn.siren import Siren

#: Where a nonlinearity is fitted; beyond, it is anything.
FIT_RANGE = 4.0

_FOLDER = Path(__file__).with_name("pretrained")


def fit(net: Siren, values: Tensor, targets: Tensor, *, steps: int = 1000) -> float:
    """Make a network's output at `values` the targets, in the mean square, by L-BFGS in float64.

    Args:
        net: changed in place.
        values, targets: (points,).
        steps: at most.

    Returns:
        The largest error at any of the values, in the network's own precision.
    """
    dtype = next(net.parameters()).dtype
    values, targets = values.double(), targets.double()
    net.double()
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=steps, history_size=50, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        error: Tensor = (net(values) - targets).square().mean()
        error.backward()  # type: ignore[no-untyped-call]
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    optimizer.zero_grad()
    net.to(dtype)
    with torch.no_grad():
        return float((net(values.to(dtype)) - targets).abs().max())


def load_pretrained(net: Siren, name: str) -> None:
    """Load the weights of that name, or of a file.

    Args:
        net: of the size that was fitted.
        name: ``tanh`` or ``impulse``, or the path of a safetensors file.

    Raises:
        ModelError: if there is no such file, or it is of a network of another size.
    """
    path = _FOLDER / f"{name}.safetensors" if name in FITTED else Path(name)
    if not path.is_file():
        raise ModelError(
            f"there are no pretrained weights '{name}'. Names: {', '.join(FITTED)}, or a safetensors file."
        )
    try:
        net.load_state_dict(safetensors.torch.load_file(path))
    except RuntimeError as problem:
        raise ModelError(
            f"the pretrained weights '{name}' are those of a network of another size. Leave the sizes as they are "
            f"by default, or begin with pretrained: none.\n{problem}"
        ) from problem


def _tanh() -> Siren:
    net = _slowed(Siren(32, 3, 30.0), 0.01)
    values = torch.linspace(-FIT_RANGE, FIT_RANGE, 401, dtype=torch.float64)
    fit(net, values, values.tanh(), steps=2000)
    return net


def _impulse() -> Siren:
    net = _slowed(Siren(32, 5, 1000.0), 0.1)
    targets = torch.zeros(64)
    targets[0] = 1
    fit(net, torch.linspace(-1, 1, 64), targets)
    return net


def _slowed(net: Siren, factor: float) -> Siren:
    """A network that begins slower, so that it is smooth between the points of a fit and needs less of float32."""
    with torch.no_grad():
        net.layers[0].get_parameter("weight").mul_(factor)
    return net


#: What networks begin as, and what makes it.
FITTED: dict[str, Callable[[], Siren]] = {"tanh": _tanh, "impulse": _impulse}


if __name__ == "__main__":
    for name, make in FITTED.items():
        torch.manual_seed(0)
        safetensors.torch.save_file(make().state_dict(), _FOLDER / f"{name}.safetensors")

"""A wrong shape of a processor is detected."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.interfaces import Processor
from nablafx_core.testing import laws_shape
from nablafx_core.testing.subject import LawBroken


class Written(Processor):
    """Processor whose effect is a function of the whole signal."""

    def __init__(self, shape, effect):
        super().__init__()
        self.shape, self.effect = shape, effect

    def forward(self, audio, parameters, state=None):
        return self.effect(audio), {}


def echo(audio):
    return audio + 0.5 * torch.nn.functional.pad(audio, (3, 0))[..., :-3]


def preview(audio):
    return torch.nn.functional.pad(audio, (0, 3))[..., 3:]


def swing(audio):
    return audio * torch.arange(audio.shape[-1]).cos()


EFFECTS = {
    "gain": (lambda x: 2 * x, {"filter", "nonlinearity", "value"}),
    "offset": (lambda x: 0.5 - x, {"nonlinearity", "value"}),
    "tanh": (torch.tanh, {"nonlinearity"}),
    "echo": (echo, {"filter"}),
    "preview": (preview, {"filter"}),
    "tremolo": (swing, set()),
    "echo into tanh": (lambda x: echo(x).tanh(), set()),
}


@pytest.mark.parametrize("shape", ["filter", "nonlinearity", "value", "other"])
@pytest.mark.parametrize(("effect", "shapes"), EFFECTS.values(), ids=EFFECTS)
def test_a_wrong_shape_is_detected(effect, shapes, shape):
    processor = Written(shape, effect)
    if shape == "other":
        assert laws_shape.has_its_shape(processor) == float("inf")
    elif shape in shapes:
        assert laws_shape.has_its_shape(processor) < 1e-12
    else:
        with pytest.raises(LawBroken, match=f"its shape, '{shape}' .Written.: .* measured .* `shape`"):
            laws_shape.has_its_shape(processor)


def test_an_unknown_shape_is_refused():
    with pytest.raises(LawBroken, match="shape 'round'. Shapes: filter, nonlinearity, value, other"):
        laws_shape.has_its_shape(Written("round", echo))

"""Curves through points: against scipy's interpolants, the laws, and a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import interpolate

from nablafx_core.errors import ModelError
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_shape
from nablafx_dsp.processors.look_up import LookUp

pytestmark = pytest.mark.slow

INTERPOLATIONS = ("linear", "cubic", "monotone")
every_interpolation = pytest.mark.parametrize("interpolation", INTERPOLATIONS)


def through(points, interpolation, max_input=1.5):
    processor = LookUp(num_points=len(points), max_input=max_input, interpolation=interpolation).double()
    with torch.no_grad():
        processor.points.copy_(torch.as_tensor(points, dtype=torch.float64))
    return processor


@every_interpolation
@pytest.mark.parametrize("function", ["identity", "tanh"])
def test_it_obeys_the_laws(interpolation, function):
    def make():
        return LookUp(num_points=7, max_input=0.7, interpolation=interpolation, function=function)

    torch.manual_seed(0)
    subject = make()
    with torch.no_grad():
        subject.points.add_(0.3 * torch.randn(7))
    laws.stream_equals_offline(subject, [1, 100, 64])
    laws.items_are_independent(subject)
    laws.silence_gives_no_nan(subject)
    laws.no_look_ahead(subject)
    laws_gradients.every_parameter_moves_output(subject)
    laws_gradients.gradients_are_right(subject)
    laws_gradients.gradients_are_finite(subject)
    laws_saving.saves_what_it_loads(subject, make)
    laws_shape.has_its_shape(subject)


@every_interpolation
@given(points=st.lists(st.floats(-2, 2, allow_subnormal=False).map(lambda y: round(y, 3)), min_size=3, max_size=9))
def test_interpolation_is_that_of_scipy(interpolation, points):
    x, inside = np.linspace(-1.5, 1.5, len(points)), np.linspace(-1.5, 1.5, 301)
    if interpolation == "linear":
        expected = np.interp(inside, x, points)
    elif interpolation == "monotone":
        expected = interpolate.PchipInterpolator(x, points)(inside)
    else:
        chords = np.gradient(points, x)
        expected = interpolate.CubicHermiteSpline(x, points, chords)(inside)
    output = through(points, interpolation)(torch.tensor(inside)[None, None], {})[0]
    np.testing.assert_allclose(output.detach().numpy()[0, 0], expected, atol=1e-9)


@every_interpolation
def test_it_is_linear_beyond_the_points(interpolation):
    processor = through([-1.0, 0.2, 0.3, 0.9], interpolation)
    audio = torch.tensor([-9.0, -1.5 - 1e-6, -1.5, -1.5 + 1e-6, 1.5 - 1e-6, 1.5, 1.5 + 1e-6, 9.0], dtype=torch.float64)
    output = processor(audio[None, None], {})[0][0, 0].detach()
    slopes = output.diff() / audio.diff()
    torch.testing.assert_close(slopes[:2], slopes[2:3].expand(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(slopes[-2:], slopes[-3:-2].expand(2), rtol=0, atol=1e-4)


@given(points=st.lists(st.floats(0, 1), min_size=3, max_size=9))
def test_monotone_interpolation_does_not_overshoot(points):
    output = through(np.cumsum(points), "monotone")(torch.linspace(-2, 2, 400, dtype=torch.float64)[None, None], {})[0]
    assert float(output.detach().diff().min()) >= -1e-12


@every_interpolation
def test_points_are_found_by_gradient(interpolation):
    audio = torch.linspace(-1.5, 1.5, 1000)[None, None]
    target = through([-0.8, -0.9, -0.1, 0.3, 0.5, 0.6], interpolation).float()
    begun = LookUp(num_points=6, max_input=1.5, interpolation=interpolation)
    wanted = target(audio, {})[0].detach()
    optimizer = torch.optim.Adam(begun.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        (begun(audio, {})[0] - wanted).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(begun.points, target.points, rtol=0, atol=0.02)


def test_too_few_points_or_no_range_are_refused():
    with pytest.raises(ModelError, match="curve: num_points .* 2 and 2"):
        LookUp(num_points=2)
    with pytest.raises(ModelError, match="max_input .* 5 and 0"):
        LookUp(num_points=5, max_input=0.0)

"""Nonlinearities given by formulas: curves, antiderivatives, antialiasing and the laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special

from nablafx_core.errors import ModelError
from nablafx_core.graybox import GrayBox
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_shape
from nablafx_dsp.functional.waveshaping import NEAR, segment_mean
from nablafx_dsp.functional.wright_omega import wright_omega
from nablafx_dsp.processors.nonlinearities import AsymmetricTanh, Diode, HardClip, SoftClip, Tanh, WaveFolder

FAMILY = (Tanh, HardClip, SoftClip, AsymmetricTanh, WaveFolder, Diode)
every_one = pytest.mark.parametrize("cls", FAMILY)


def scalars(cls, position):
    """Return the parameters of a curve at one position of their ranges."""
    return {
        p.name: torch.tensor(p.from_unit(position), dtype=torch.float64)
        for p in cls.formula.parameters
        if p.name != "drive_db"
    }


@every_one
@pytest.mark.parametrize("antialiasing", ["none", "adaa1"])
def test_they_obey_the_laws(cls, antialiasing):
    def make():
        return cls(antialiasing=antialiasing)

    subject, cuts = make(), [1, 100, 3, 64, 130]
    for dtype in (torch.float64, torch.float32):
        for moving in (False, True):
            laws.stream_equals_offline(subject, cuts, dtype=dtype, moving_controls=moving)
    laws.items_are_independent(subject)
    laws.no_look_ahead(subject)
    laws.silence_gives_no_nan(subject)
    laws_gradients.every_control_moves_output(subject)
    for moving in (False, True):
        laws_gradients.gradients_are_right(subject, moving_controls=moving)
    laws_gradients.gradients_are_finite(subject)
    laws_saving.saves_what_it_loads(subject, make)
    assert (subject.shape == "nonlinearity") == (antialiasing == "none")
    laws_shape.has_its_shape(subject)


@every_one
@pytest.mark.parametrize("position", [0.0, 0.4, 1.0])
def test_the_integral_is_that_of_the_curve(cls, position):
    formula, values = cls.formula, scalars(cls, position)

    def curve(x):
        return float(formula.curve(torch.tensor(x, dtype=torch.float64), **values))

    for end in (-3.0, -0.2, 0.03, 0.7, 5.0):
        of_formula = formula.integral(torch.tensor([0.0, end], dtype=torch.float64), **values).diff()
        corners = sorted(np.sign(end) * np.array([c for c in (0.04, 0.3, 0.99, 1.01, 2.0) if c < abs(end)]))
        by_quadrature = integrate.quad(curve, 0, end, points=corners or None, epsabs=1e-11, limit=400)[0]
        assert float(of_formula) == pytest.approx(by_quadrature, abs=1e-8)


@every_one
def test_silence_stays_silence_and_has_a_gradient(cls):
    audio = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    values = {p.name: torch.tensor([p.from_unit(0.3)], dtype=torch.float64) for p in cls.formula.parameters}
    output = cls()(audio, values)[0]
    assert float(output.detach().abs()) < 1e-12
    assert float(torch.autograd.grad(output.sum(), audio)[0]) > 0.1


def test_clippers_are_their_formulas():
    audio = torch.linspace(-2, 2, 401, dtype=torch.float64)[None, None]
    values = {"drive_db": torch.tensor([20.0]).double(), "threshold": torch.tensor([0.5]).double()}
    expected = (10 * audio).clamp(-0.5, 0.5)
    torch.testing.assert_close(HardClip()(audio, values)[0], expected)
    rounded = SoftClip()(audio / 10, values | {"knee": torch.tensor([0.2]).double()})[0]
    inside, outside = audio.abs() <= 0.4, audio.abs() >= 0.6
    torch.testing.assert_close(rounded[inside], audio[inside])
    torch.testing.assert_close(rounded[outside], audio[outside].sign() / 2)
    slopes = rounded.diff() / audio.diff()
    assert float(slopes.diff().abs().max()) < 0.06  # no corner; that of the hard clipper is a step of 1
    sharp = SoftClip(ranges={"knee": (1e-6, 1)})(audio / 10, values | {"knee": torch.tensor([1e-6]).double()})[0]
    torch.testing.assert_close(sharp, audio.clamp(-0.5, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_wright_omega_is_that_of_scipy(kernels, monkeypatch):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
    for dtype, tolerance in ((torch.float64, 4e-15), (torch.float32, 1e-6)):
        z = torch.cat([torch.linspace(-30, 10, 4001), torch.logspace(1, 5, 100)]).to(dtype).requires_grad_()
        expected = special.wrightomega(z.detach().double().numpy())
        omega = wright_omega(z)
        np.testing.assert_allclose(omega.detach().double().numpy(), expected, rtol=tolerance)
        slope = torch.autograd.grad(omega.sum(), z)[0]
        np.testing.assert_allclose(slope.double().numpy(), expected / (1 + expected), rtol=tolerance)


@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_wright_omega_at_extreme_inputs(kernels, dtype, monkeypatch):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
    largest = torch.finfo(dtype).max
    z = torch.tensor([-largest, -800.0, -104.0, -87.0, -41.0, 1e9, 1e11, 1e30, largest, torch.inf], dtype=dtype)
    z.requires_grad_()
    omega = wright_omega(z)
    expected = special.wrightomega(z.detach().double().numpy())
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).tiny}
    np.testing.assert_allclose(omega.detach().double().numpy(), expected, **tolerance)
    slope = torch.autograd.grad(omega.sum(), z)[0]
    assert bool(((slope >= 0) & (slope <= 1)).all())
    assert slope[-1] == 1
    assert wright_omega(torch.tensor([torch.nan], dtype=dtype)).isnan().all()


def test_wright_omega_has_second_derivatives():
    z = torch.linspace(-3, 6, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(wright_omega, (z,))


@pytest.mark.parametrize("thermal", [0.02, 0.045])
def test_the_diodes_solve_their_circuit(thermal):
    saturation = 5.5e-6
    x = np.array([-40.0, -1.0, -0.3, 0.05, 0.4, 2.0])
    solved = [
        optimize.brentq(lambda y, x=x: abs(x) - y - saturation * math.expm1(y / thermal), 0, min(abs(x), 1), xtol=1e-15)
        for x in x
    ]
    given = {"drive_db": 0.0, "thermal_voltage_volt": thermal, "saturation_volt": saturation}
    values = {name: torch.tensor([value], dtype=torch.float64) for name, value in given.items()}
    output = Diode()(torch.tensor(x)[None, None], values)[0][0, 0]
    np.testing.assert_allclose(output.numpy(), np.sign(x) * solved, rtol=1e-9)


@every_one
def test_antialiasing_is_the_mean_of_the_curve(cls):
    """Compare with a mean of many points, also for samples that hardly differ and in float32."""
    torch.manual_seed(0)
    steps = torch.logspace(-9, 0, 300, dtype=torch.float64)
    audio = torch.stack([torch.zeros_like(steps), steps], dim=-1).flatten() + 0.21
    given = {p.name: torch.tensor([p.from_unit(0.5)], dtype=torch.float64) for p in cls.formula.parameters}
    if given:
        given["drive_db"] *= 0
    points = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    line = audio[:-1, None] + audio.diff()[:, None] * points
    expected = cls()(line.reshape(1, 1, -1), given)[0].reshape(line.shape).mean(-1)
    for dtype, tolerance in ((torch.float64, 3e-6), (torch.float32, 4e-6)):
        values = {name: value.to(dtype) for name, value in given.items()}
        output = cls(antialiasing="adaa1")(audio.to(dtype)[None, None], values)[0][0, 0, 1:]
        torch.testing.assert_close(output.double(), expected, rtol=0, atol=tolerance)
        assert float(audio.diff().abs().min()) < NEAR[torch.float64] < float(audio.diff().abs().max())


@pytest.mark.parametrize("cls", [Tanh, AsymmetricTanh, WaveFolder, Diode])
def test_gradients_of_a_mean_are_the_mean_of_gradients(cls):
    """Compare on both sides of the distance at which the method changes."""
    formula, values = cls.formula, scalars(cls, 0.3)
    steps = NEAR[torch.float64] * torch.tensor([0.0, 0.1, 0.9, 1.1, 10.0, 1000.0], dtype=torch.float64)
    start = torch.full_like(steps, 0.17).requires_grad_()
    end = (start.detach() + steps).requires_grad_()
    mean = segment_mean(formula.curve, formula.integral, start, end, **values)
    points = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    of_many = formula.curve(start[:, None] + (end - start)[:, None] * points, **values).mean(-1)
    for gradient, expected in zip(*(torch.autograd.grad(m.sum(), (start, end)) for m in (mean, of_many)), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=2e-6)


def test_antialiasing_of_an_undistorted_signal_is_the_mean_of_two_samples():
    audio = torch.rand(2, 1, 50) * 0.1
    values = {"drive_db": torch.zeros(2), "threshold": torch.ones(2)}
    output = HardClip(antialiasing="adaa1")(audio, values)[0]
    before = torch.cat([torch.zeros(2, 1, 1), audio[..., :-1]], dim=-1)
    torch.testing.assert_close(output, (audio + before) / 2)


def test_ranges_are_settings_and_invalid_ones_are_refused():
    chain = [{"name": "soft_clip", "ranges": {"drive_db": [0, 6]}, "controller": "static", "fixed": {"knee": 0.5}}]
    drive, threshold, _ = GrayBox(chain).processors[0].effect_parameters
    assert (drive.minimum, drive.maximum, drive.unit, threshold.maximum) == (0, 6, "dB", 1)
    with pytest.raises(ModelError, match="hard clipper: .* 'knee'"):
        HardClip(ranges={"knee": (0, 1)})
    with pytest.raises(ModelError, match="soft clipper: .*knee .* 0;"):
        SoftClip(ranges={"knee": (0, 1)})
    with pytest.raises(ModelError, match="not a range"):
        HardClip(ranges={"drive_db": (3, 1)})

"""The diode clipper against a stiff ODE solver, and as a distortion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from nablafx_core.errors import DataError
from nablafx_dsp.circuits.diode_clipper import DiodeClipper

pytestmark = pytest.mark.slow

RATE = 48000


def tone(frequency_hz, amplitude, seconds=0.2, rate=RATE):
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate)) / rate)


def spectrum(signal):
    """Return magnitudes of the second half, 10 Hz per bin."""
    tail = signal[-RATE // 10 :]
    return np.abs(np.fft.rfft(tail * np.hanning(len(tail))))


def harmonics(signal, bin_of_fundamental, count=5):
    magnitudes = spectrum(signal)
    return np.array([magnitudes[k * bin_of_fundamental] for k in range(1, count + 1)]) / magnitudes.max()


@pytest.mark.parametrize(("gain", "error"), [(0.1, 2e-4), (1.0, 2e-4), (5.0, 3e-3), (30.0, 3e-2)])
def test_the_circuit_is_its_equation(gain, error):
    """Errors are relative to the peak at 8 x 48 kHz, and 64 times smaller at an eight times higher rate."""
    circuit, rate = DiodeClipper(), 8 * RATE
    time = np.arange(int(0.002 * rate)) / rate
    rc = circuit.resistance_ohm * circuit.capacitance_farad
    leak = 2 * circuit.saturation_current_ampere / circuit.capacitance_farad

    def slope(t, v):
        return (gain * np.sin(2 * np.pi * 1000 * t) - v) / rc - leak * np.sinh(v / circuit.thermal_voltage_volt)

    exact = solve_ivp(slope, (0, time[-1]), [0.0], method="Radau", t_eval=time, rtol=1e-9, atol=1e-12).y[0]
    peak = np.abs(exact).max()
    assert np.abs(circuit.clip(tone(1000, gain, 0.002, rate), rate) - exact).max() < error * peak
    finer = circuit.clip(tone(1000, gain, 0.002, 8 * rate), 8 * rate)[::8]
    assert np.abs(finer - exact).max() < 1.5 * error / 64 * peak


def test_more_drive_is_more_distortion():
    circuit = DiodeClipper()
    third = [harmonics(circuit.render(tone(500, 0.3), RATE, [drive, 1.0]), 50)[2] for drive in (0, 0.25, 0.5, 1)]
    assert np.all(np.diff(third) > 0)
    assert third[0] < 0.01
    assert third[-1] > 0.2


def test_it_is_odd_bounded_and_at_rest_in_silence():
    circuit, audio = DiodeClipper(), np.random.default_rng(0).uniform(-1, 1, 4000)
    for drive in (0.0, 1.0):
        output = circuit.render(audio, RATE, [drive, 0.5])
        np.testing.assert_allclose(circuit.render(-audio, RATE, [drive, 0.5]), -output, atol=1e-9)
        assert np.abs(output).max() < 0.9
    assert not circuit.render(np.zeros(100), RATE, [1.0, 0.5]).any()


def test_aliases_are_below_the_harmonics():
    for drive, below_db in ((0.5, -70), (1.0, -45)):
        magnitudes = spectrum(DiodeClipper().render(tone(5010, 0.5), RATE, [drive, 1.0]))
        true = np.zeros(len(magnitudes), bool)
        for harmonic in range(5):
            true[max(harmonic * 501 - 4, 0) : harmonic * 501 + 5] = True
        assert 20 * np.log10(magnitudes[~true].max() / magnitudes.max()) < below_db


def test_quiet_audio_passes_the_resampling_filters_without_delay():
    """At low levels, where the diodes only leak, the circuit is two one-pole filters without delay."""
    circuit = DiodeClipper()
    for frequency in (100, 1000, 5000):
        dry = tone(frequency, 1e-3)
        wet = circuit.render(dry, RATE, [0.0, 1.0])
        s = 2j * np.pi * frequency
        slope = 2 * circuit.saturation_current_ampere * circuit.resistance_ohm / circuit.thermal_voltage_volt
        rc = circuit.resistance_ohm * circuit.capacitance_farad
        expected = 1 / (1 + slope + s * rc) / (1 + s / (2 * np.pi * 20000))
        probe = np.exp(-2j * np.pi * frequency * np.arange(4800) / RATE)
        assert abs((wet[-4800:] @ probe) / (dry[-4800:] @ probe) - expected) < 1e-2


def test_the_tone_knob_darkens():
    circuit, audio = DiodeClipper(), np.random.default_rng(0).uniform(-0.1, 0.1, 48000)
    highs = [spectrum(circuit.render(audio, RATE, [0.5, knob]))[500:].sum() for knob in (0, 0.5, 1)]
    assert np.all(np.diff(highs) > 0)


def test_samples_without_convergence_are_warned_of():
    with pytest.warns(UserWarning, match=r"diode_clipper: .* \d+ of 10 samples"):
        DiodeClipper().clip(np.eye(1, 10, 3)[0] * 1e200, RATE)


@pytest.mark.parametrize(("shape", "controls"), [((2, 100), []), ((100,), [0.5])])
def test_wrong_audio_or_controls_are_refused(shape, controls):
    with pytest.raises(DataError, match=r"diode_clipper: .* 2 controls \(drive, tone\)"):
        DiodeClipper().render(np.zeros(shape), RATE, controls)

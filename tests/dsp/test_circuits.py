"""Circuits against scipy's stiff solvers and Kirchhoff's law, and as effects.

Errors are relative to the peak, at a multiple of 48 kHz; they are 64 times smaller at an eight times higher rate
(second order).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import root

from nablafx_core.errors import DataError, ModelError
from nablafx_core.testing import laws_device
from nablafx_dsp.circuits.diode_clipper import DiodeClipper
from nablafx_dsp.circuits.fuzz_face import FuzzFace
from nablafx_dsp.circuits.opto_compressor import OptoCompressor
from nablafx_dsp.circuits.tube_screamer import TubeScreamer

pytestmark = pytest.mark.slow

RATE = 48000
CIRCUITS = [DiodeClipper, TubeScreamer, FuzzFace, OptoCompressor]


def tone(frequency_hz, amplitude, seconds=0.2, rate=RATE):
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)


def level(audio):
    return np.sqrt(np.mean(audio[len(audio) // 2 :] ** 2))


def harmonic(audio, frequency_hz, number):
    """Return the magnitude of a harmonic in the second half of a signal, relative to the first harmonic."""
    tail = audio[len(audio) // 2 :] * np.hanning(len(audio) - len(audio) // 2)
    time = np.arange(len(tail)) / RATE
    first, wanted = (abs(tail @ np.exp(-2j * np.pi * k * frequency_hz * time)) for k in (1, number))
    return wanted / first


def errors(circuit, values, exact, amplitude, frequency_hz, seconds, rates):
    """Return the largest error at each rate relative to the peak, at the samples of the lowest rate."""
    time = np.arange(round(seconds * rates[0])) / rates[0]
    expected = exact(lambda t: amplitude * np.sin(2 * np.pi * frequency_hz * t), time)
    found = [circuit.solve(tone(frequency_hz, amplitude, seconds, r), r, values)[:: r // rates[0]] for r in rates]
    return [np.abs(one - expected).max() / np.abs(expected).max() for one in found]


def stiff(slope, start, time, method="Radau"):
    solved = solve_ivp(slope, (0, time[-1]), start, method=method, t_eval=time, rtol=1e-8, atol=1e-11, max_step=1e-5)
    assert solved.success
    return solved.y


@pytest.mark.parametrize(
    ("amplitude", "drive", "position", "error"), [(0.01, 0.0, 0.3, 5e-5), (0.2, 0.5, 0.5, 4e-4), (1.0, 1.0, 0.9, 7e-4)]
)
def test_the_tube_screamer_is_its_equations(amplitude, drive, position, error):
    circuit = TubeScreamer()

    def pot(x):
        """Return the voltage of the tone pot's wiper from both of its ends (kept equal) and its branch to ground."""
        left, right = max(position * 20e3, 1e-9), max((1 - position) * 20e3, 1e-9)
        wiper = (x[3] / left + x[3] / right + x[4] / 220) / (1 / left + 1 / right + 1 / 220)
        return wiper, left, right

    def exact(source, time):
        def slope(t, x):
            high_passed = source(t) - x[0]
            current = (high_passed - x[1]) / 4.7e3
            diodes = 2 * circuit.saturation_current_ampere * np.sinh(x[2] / circuit.thermal_voltage_volt)
            wiper, left, _ = pot(x)
            into_node = (high_passed + x[2] - x[3]) / 1e3 - x[3] / 10e3 - (x[3] - wiper) / left
            return [
                high_passed / 10e3 / 1e-6,
                current / 47e-9,
                (current - diodes - x[2] / (51e3 + drive * 500e3)) / 51e-12,
                into_node / 220e-9,
                (wiper - x[4]) / 220 / 220e-9,
            ]

        x = stiff(slope, np.zeros(5), time)
        wiper, _, right = pot(x)
        return x[3] + 1e3 * (x[3] - wiper) / right

    values = {"drive": drive, "tone": position, "level": 0.0}
    coarse, fine = errors(circuit, values, exact, amplitude, 1000, 0.002, (8 * RATE, 64 * RATE))
    assert coarse < error
    assert fine < 1.5 * error / 64


@pytest.mark.parametrize(("amplitude", "fuzz", "error"), [(0.001, 0.5, 2e-5), (0.1, 0.0, 3e-5), (0.3, 1.0, 1.5e-3)])
def test_the_fuzz_face_is_kirchhoffs_law(amplitude, fuzz, error):
    """The node voltages are solved, with complex-step derivatives, at each evaluation of the stiff solver."""
    circuit = FuzzFace()
    above, below = 1 + (1 - fuzz) * 998, 1 + fuzz * 998
    saturation, thermal = circuit.saturation_current_ampere, circuit.thermal_voltage_volt

    def transistor(base, collector, emitter, gain):
        f, r = (saturation * (np.exp((base - v) / thermal) - 1) for v in (emitter, collector))
        return f / gain + r / circuit.reverse_gain, f - r * (1 + 1 / circuit.reverse_gain)

    def laws(nodes, x, u):
        b, c, e, k, o = nodes
        (base_1, collector_1), (base_2, collector_2) = transistor(b, c, 0, 75), transistor(c, k, e, 120)
        return 1e3 * np.array(
            [
                (u - x[0] - b) / circuit.source_ohm + (e - b) / 100e3 - base_1,
                (9 - c) / 33e3 - collector_1 - base_2,
                base_2 + collector_2 - (e - b) / 100e3 - (e - x[1]) / above,
                (o - k) / 8.2e3 - collector_2,
                (9 - o) / 470 - (o - k) / 8.2e3 - (o - x[2]) / 500e3,
            ]
        )

    guess = np.array([0.15, 0.6, 0.45, 5.0, 8.8])

    def nodes_at(x, u):
        nonlocal guess
        nodes, step = guess, np.ones(5)
        for _ in range(500):
            slopes = np.stack([laws(nodes + 1e-30j * axis, x, u).imag for axis in np.eye(5)], axis=1) / 1e-30
            step = np.linalg.solve(slopes, laws(nodes, x, u))
            nodes = nodes - np.clip(step, -0.05, 0.05)
            if np.abs(step).max() < 1e-12:
                break
        assert np.abs(step).max() < 1e-12
        guess = nodes
        return nodes

    def slope(x, u):
        b, _, e, _, o = nodes_at(x, u)
        return [
            (u - x[0] - b) / circuit.source_ohm / 2.2e-6,
            ((e - x[1]) / above - x[1] / below) / 20e-6,
            (o - x[2]) / 500e3 / 10e-9,
        ]

    rest = root(lambda x: slope(x, 0.0), circuit.state_space({"fuzz": fuzz, "volume": 0.0}).at_rest()[0] + 1e-5).x

    def exact(source, time):
        x = stiff(lambda t, x: slope(x, source(t)), rest, time, "LSODA")
        return np.array([nodes_at(x[:, i], source(t))[4] - x[2, i] for i, t in enumerate(time)])

    values = {"fuzz": fuzz, "volume": 0.0}
    coarse, fine = errors(circuit, values, exact, amplitude, 1000, 0.002, (4 * RATE, 32 * RATE))
    assert coarse < error
    assert fine < 1.5 * error / 64


@pytest.mark.parametrize(
    ("amplitude", "peak_reduction", "error"), [(0.5, 0.0, 1e-7), (0.5, 20.0, 1e-4), (1.0, 40.0, 1e-2)]
)
def test_the_opto_compressor_is_its_equations(amplitude, peak_reduction, error):
    circuit = OptoCompressor()

    def exact(source, time):
        def slope(t, x):
            light, g, m = x
            fed = (10 ** (peak_reduction / 20) * source(t) / (1 + g)) ** 4
            freed = circuit.recombination_s * (m / circuit.empty_s - g / circuit.fill_s)
            return [
                (fed - light) / circuit.lag_s,
                (light - g * g + freed) / circuit.recombination_s,
                g / circuit.fill_s - m / circuit.empty_s,
            ]

        return source(time) / (1 + stiff(slope, np.zeros(3), time)[1])

    values = {"peak_reduction": peak_reduction, "gain": 0.0}
    coarse, fine = errors(circuit, values, exact, amplitude, 1000, 0.02, (4 * RATE, 32 * RATE))
    assert coarse < error
    assert fine < 1.5 * error / 64


@pytest.mark.parametrize("make", CIRCUITS)
def test_circuits_obey_the_laws_of_devices(make):
    laws_device.device_renders(make())
    laws_device.device_keeps_no_state(make())
    laws_device.every_knob_moves_the_device(make())


@pytest.mark.parametrize("make", CIRCUITS)
def test_silence_is_silent(make):
    """The operating point is found to about 1e-14 V and is constant."""
    for knob in (0.0, 1.0):
        assert np.abs(make().render(np.zeros(2000), RATE, [knob] * len(make.controls))).max() < 1e-10


def test_the_knobs_of_the_tube_screamer():
    circuit, audio = TubeScreamer(), tone(440, 0.1)
    third = [harmonic(circuit.render(audio, RATE, [drive, 0.5, 1.0]), 440, 3) for drive in (0, 0.3, 0.6, 1)]
    assert np.all(np.diff(third) > 0)
    assert harmonic(circuit.render(audio, RATE, [1.0, 0.5, 1.0]), 440, 2) < 1e-4  # equal diodes: odd harmonics only
    bright = [level(circuit.render(tone(5000, 1e-3), RATE, [0.5, knob, 1.0])) for knob in (0, 0.3, 0.6, 1)]
    assert np.all(np.diff(bright) > 0)
    loud, soft = (level(circuit.render(audio, RATE, [0.5, 0.5, knob])) for knob in (1.0, 0.5))
    assert loud / soft == pytest.approx(10)


def test_the_knobs_of_the_fuzz_face():
    circuit = FuzzFace()
    gains = [level(circuit.render(tone(1000, 1e-3), RATE, [fuzz, 1.0])) for fuzz in (0, 0.5, 0.9, 1)]
    assert np.all(np.diff(gains) > 0)
    loud, soft = (level(circuit.render(tone(1000, 0.1), RATE, [0.5, knob])) for knob in (1.0, 0.5))
    assert loud / soft == pytest.approx(10)
    assert harmonic(circuit.render(tone(1000, 0.02), RATE, [0.8, 1.0]), 1000, 2) > 0.01  # single transistors: even too


def test_the_fuzz_face_rests_at_half_the_supply():
    x, v, failures = FuzzFace().state_space({"fuzz": 0.5, "volume": 0.0}).at_rest()
    base, collector = v[0], v[0] - v[1]
    assert not failures
    assert 4 < collector - v[3] < 5.5
    assert 0.1 < base < 0.3
    np.testing.assert_allclose(-x[0], base)


def test_the_opto_compressor_compresses_by_its_ratio():
    circuit = OptoCompressor()
    reduced = [level(circuit.render(tone(1000, 0.3, 0.5), RATE, [knob, 0.0])) for knob in (0, 0.4, 0.7, 1)]
    assert np.all(np.diff(reduced) < 0)
    louder = [level(circuit.render(tone(1000, a, 4.0), RATE, [1.0, 0.0])) for a in (0.1, 1.0)]
    assert 2.5 < 20 / (20 * np.log10(louder[1] / louder[0])) < 3.2  # 3:1, reduced by the trapped charge
    quiet = tone(1000, 1e-4)
    np.testing.assert_allclose(circuit.render(quiet, RATE, [0.5, 0.0])[1000:-1000], quiet[1000:-1000], atol=2e-7)
    louder = level(circuit.render(tone(1000, 0.3), RATE, [0.5, 0.5])) / level(
        circuit.render(tone(1000, 0.3), RATE, [0.5, 0.0])
    )
    assert louder == pytest.approx(10 ** (15 / 20))


def test_the_opto_compressor_releases_more_slowly_after_a_longer_passage():
    def gain_after(loud_s, wait_s):
        size = [round(s * RATE) for s in (loud_s, wait_s)]
        audio = tone(1000, 1.0, loud_s + wait_s)
        audio[size[0] :] *= 1e-3
        out = OptoCompressor().render(audio, RATE, [0.8, 0.0])[-RATE // 100 - 200 : -200]
        return level(out) / level(audio[-RATE // 100 - 200 : -200])

    short, long = gain_after(0.1, 0.3), gain_after(3.0, 0.3)
    assert long < 0.9 * short
    recovery = [gain_after(1.0, wait) for wait in (0.02, 0.06, 0.3, 2.0)]
    assert np.all(np.diff(recovery) > 0)
    assert recovery[-1] < 1 < recovery[-1] + 0.5


@pytest.mark.parametrize("make", CIRCUITS)
def test_samples_without_convergence_are_counted_and_warned_of(make):
    values = {control.name: control.maximum for control in make.controls}
    with pytest.warns(UserWarning, match=rf"{make.name}: .* \d+ of 10 samples"):
        make().solve(np.where(np.arange(10) == 3, np.inf, 0.0), RATE, values)


def test_circuits_refuse_invalid_arguments():
    with pytest.raises(DataError, match=r"fuzz_face: .* 2 controls \(fuzz, volume\)"):
        FuzzFace().render(np.zeros((2, 10)), RATE)
    with pytest.raises(ModelError, match="tube_screamer: oversampling .* 0"):
        TubeScreamer(oversampling=0)

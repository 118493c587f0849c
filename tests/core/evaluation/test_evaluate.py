"""Scores of whole recordings equal those of the whole signal computed directly, however it is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import DataError, ModelError
from nablafx_core.evaluation import evaluate as module
from nablafx_core.evaluation.evaluate import evaluate
from nablafx_core.interfaces import Model, Recording, position
from nablafx_core.scoring import metrics as metrics_module
from nablafx_core.scoring.metrics import DC, ESR, MAE, MultiResolutionSTFT

METRICS = {
    "esr": ESR(),
    "mae": MAE(),
    "dc": DC(),
    "mr_stft": MultiResolutionSTFT(fft_sizes=[64], hop_sizes=[16], win_lengths=[40]),
}
TAPS = np.array([0.7, -0.2, 0.1, 0.05, 0.3])


class Source:
    """Signal in memory that records which samples are read."""

    def __init__(self, audio: np.ndarray) -> None:
        self.audio, self.longest, self.first, self.last = torch.from_numpy(audio).float(), 0, len(audio), 0

    @property
    def num_samples(self) -> int:
        return len(self.audio)

    def read(self, start: int, stop: int) -> torch.Tensor:
        assert 0 <= start <= stop <= self.num_samples
        self.longest = max(self.longest, stop - start)
        self.first, self.last = min(self.first, start), max(self.last, stop)
        return self.audio[start:stop]


class LateFIR(Model):
    """y[n] = gain sum_k TAPS[k] x[n-k]; as a stream it lags by 3 samples."""

    latency = 3
    receptive_field = len(TAPS)

    def __init__(self, controls=()) -> None:
        super().__init__(controls=controls)
        self.taps = torch.nn.Parameter(torch.from_numpy(TAPS))

    def initial_state(self, batch_size, controls=None):
        controls = self._controls_for(batch_size, controls, None)
        past = torch.zeros(batch_size, 1, len(TAPS) - 1 + self.latency).double()
        return {"past": past} | ({} if controls is None else {"controls": controls})

    def forward(self, audio, controls=None, state=None):
        assert not self.training and state is not None
        controls = self.checked_controls(audio, controls)
        past = torch.cat([state["past"], audio], dim=-1)
        late = past[..., : past.shape[-1] - self.latency]
        output = torch.nn.functional.conv1d(late, self.taps.flip(0).view(1, 1, -1))
        after = state | {"past": past[..., audio.shape[-1] :]}
        if controls is None:
            return output, after
        return output * controls[..., None], after | {"controls": controls}


class Blockwise(Model):
    """Model with unbounded memory that multiplies every other block of 512 samples by 0.5."""

    def initial_state(self, batch_size, controls=None):
        return {"position": torch.zeros(batch_size, dtype=torch.long)}

    def forward(self, audio, controls=None, state=None):
        place = state["position"][:, None] + torch.arange(audio.shape[-1])
        gain = 1 - 0.5 * (place // 512 % 2)
        return audio * gain[:, None], {"position": state["position"] + audio.shape[-1]}


class ZeroPhase(Model):
    """Symmetric moving average of 5 samples, which cannot stream."""

    receptive_field = 5
    causal = False
    streams = False

    def forward(self, audio, controls=None, state=None):
        return torch.nn.functional.avg_pool1d(audio, 5, 1, padding=2), {}


def recording(name="a", time=2000, seed=0, start=0, stop=None, **about) -> Recording:
    generator = np.random.default_rng(seed)
    dry = generator.standard_normal(time) * 0.3
    wet = np.tanh(scipy.signal.lfilter([0.6, -0.1], 1, dry)) + 0.001
    stop = time if stop is None else stop
    return Recording(name, Source(dry), Source(wet), **{"source": name, **about}, start=start, stop=stop)


def direct(files: list[Recording], gain=lambda file: 1.0) -> dict[str, float]:
    """Return the figures of `LateFIR` from whole signals, computed with scipy."""
    sums = dict.fromkeys(METRICS, 0.0)
    for file in files:
        prediction = gain(file) * scipy.signal.lfilter(TAPS, 1, file.dry.audio.double().numpy())
        part = slice(file.start, file.stop)
        pair = torch.from_numpy(prediction)[part].view(1, 1, -1), file.wet.audio[part].view(1, 1, -1)
        sums = {name: sums[name] + metric.statistics(*pair)[0] for name, metric in METRICS.items()}
    return {name: metric.value(sums[name]) for name, metric in METRICS.items()}


@settings(derandomize=True, deadline=None, max_examples=15)
@given(block_size=st.integers(1, 3000), starts=st.tuples(st.integers(0, 900), st.integers(0, 400)))
def test_figures_equal_those_of_whole_signals_for_any_block_size(block_size, starts):
    files = [recording("a", start=starts[0], stop=1500), recording("b", time=500, seed=1, start=starts[1])]
    result = evaluate(LateFIR(), files, METRICS, block_size=max(block_size, 50))
    assert result.split == pytest.approx(direct(files), rel=1e-6)
    for file, row in zip(files, result.files, strict=True):
        assert {name: row[name] for name in METRICS} == pytest.approx(direct([file]), rel=1e-6)
        assert (row["name"], row["samples"]) == (file.name, file.num_samples)


def test_rendering_reads_the_left_context_and_only_it(monkeypatch):
    monkeypatch.setattr(position, "_PHASE", 1)
    file = recording(start=1000, stop=1500)
    evaluate(LateFIR(), [file], METRICS)
    assert (file.dry.first, file.dry.last) == (1000 - (len(TAPS) - 1), 1500 + LateFIR.latency)
    assert (file.wet.first, file.wet.last) == (1000, 1500)


def test_unbounded_model_warms_up_and_keeps_the_phase_of_its_blocks(monkeypatch):
    monkeypatch.setattr(position, "_PHASE", 1024)
    file = recording(time=6000, start=4700)
    whole = 1 - 0.5 * (torch.arange(6000) // 512 % 2)
    seen = {}

    def keep(recording, prediction, target):
        seen["prediction"], seen["target"] = prediction, target

    evaluate(Blockwise(sample_rate=1000), [file], METRICS, on_rendered=keep, warm_up_seconds=1.0)
    assert file.dry.first == 3 * 1024
    torch.testing.assert_close(seen["prediction"][0], (file.dry.audio * whole)[4700:])
    torch.testing.assert_close(seen["target"][0], file.wet.audio[4700:])


def test_a_model_that_cannot_stream_is_rendered_offline_with_context_on_both_sides():
    file = recording(start=700, stop=1300)
    predictions = []
    evaluate(ZeroPhase(), [file], METRICS, on_rendered=lambda _, prediction, __: predictions.append(prediction))
    expected = scipy.signal.lfilter(np.ones(5) / 5, 1, file.dry.audio.numpy())[702:1302]
    np.testing.assert_allclose(predictions[0][0].numpy(), expected, atol=1e-6)


def test_long_files_are_read_in_blocks_and_scored_in_pieces(monkeypatch):
    for owner in (module, metrics_module):
        monkeypatch.setattr(owner, "PIECE", 300)
    file = recording(time=5000)
    result = evaluate(LateFIR(), [file], METRICS, block_size=128)
    assert (file.dry.longest, file.wet.longest) == (128, 300)
    assert result.split == pytest.approx(direct([file]), rel=1e-6)


def test_tables_group_by_setting_and_by_source():
    model = LateFIR(controls=[Control("gain")])
    settings_of = {"a1": ("a", (0.5,)), "a2": ("a", (1.0,)), "b1": ("b", (0.5,))}
    files = [
        recording(name, time=700 + 100 * seed, seed=seed, source=source, controls=controls)
        for seed, (name, (source, controls)) in enumerate(settings_of.items())
    ]
    result = evaluate(model, files, METRICS)
    by_setting, by_source = result.table("controls"), result.table("source")
    assert [(row["controls"], row["files"], row["samples"]) for row in by_setting] == [
        ((0.5,), 2, 1600),
        ((1.0,), 1, 800),
    ]
    assert [row["source"] for row in by_source] == ["a", "b"]
    for row, members in zip(by_setting + by_source, ([0, 2], [1], [0, 1], [2]), strict=True):
        expected = direct([files[i] for i in members], gain=lambda file: file.controls[0])
        assert {name: row[name] for name in METRICS} == pytest.approx(expected, rel=1e-6)


def test_interval_covers_the_figure_and_shrinks_to_it_for_one_recording():
    files = [recording(str(seed), time=300, seed=seed) for seed in range(6)]
    result = evaluate(LateFIR(), files, METRICS)
    low, high = result.interval("esr")
    assert min(row["esr"] for row in result.files) <= low < result.split["esr"] < high
    narrow = result.interval("esr", confidence=0.5)
    assert low < narrow[0] < narrow[1] < high
    alone = evaluate(LateFIR(), files[:1], METRICS)
    assert alone.interval("esr") == pytest.approx((alone.split["esr"],) * 2)


def test_mode_is_restored_and_progress_reaches_the_total():
    model = LateFIR()
    model.train()
    model.part = torch.nn.Dropout().eval()
    seen = []
    evaluate(model, [recording(), recording("b", time=500)], METRICS, progress=lambda *done: seen.append(done))
    assert seen == [(2000, 2500), (2500, 2500)]
    assert model.training and not model.part.training


def test_a_silent_target_is_reported_and_has_no_ratio():
    def source(audio):
        return ArraySource(torch.as_tensor(audio, dtype=torch.float32))

    dry = np.random.default_rng(0).normal(size=12_000)
    half = np.where(np.arange(12_000) < 6000, np.tanh(dry), 0.001)  # holds a value from there on
    files = [
        Recording(name=name, dry=source(dry), wet=source(wet), source=name, stop=len(dry))
        for name, wet in (("dead", 0 * dry), ("half", half), ("whole", np.tanh(dry)))
    ]
    result = evaluate(LateFIR(), files, METRICS)
    dead, half, whole = result.files
    assert math.isnan(dead["esr"])
    assert math.isfinite(dead["mae"])
    assert (dead["silent_samples"], half["silent_samples"], "silent_samples" in whole) == (12_000, 4800, False)
    assert math.isfinite(half["esr"])
    assert math.isfinite(result.split["esr"])
    said = list(result.remarks(6000))
    assert said[0].startswith("dead: its target is silent; esr")
    assert said[1].startswith("half: its target is silent for 0.8 of 2.0 s")
    assert len(said) == 2
    assert math.isnan(evaluate(LateFIR(), files[:1], METRICS).split["esr"])


@pytest.mark.parametrize("rest", [1, 3])
def test_the_last_samples_of_a_target_are_too_few_to_count_as_silent(rest):
    audio = torch.from_numpy(np.random.default_rng(0).normal(size=4800 + rest)).float()
    audio[4800:] = 0.1
    silent = ArraySource(torch.zeros(2400 + rest))
    files = [
        Recording("whole", ArraySource(audio), ArraySource(audio), "whole", stop=4800 + rest),
        Recording("dead", silent, silent, "dead", stop=2400 + rest),
    ]
    whole, dead = evaluate(LateFIR(), files, METRICS).files
    assert ("silent_samples" in whole, dead["silent_samples"]) == (False, 2400 + rest)


def test_invalid_evaluations_are_errors():
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(LateFIR(), [recording(stop=0)], METRICS)

    class Hasty(LateFIR):
        def flush(self, state):
            return super().flush(state)[..., 1:]

    with pytest.raises(ModelError, match="1,999 of the 2,000 samples of 'a'"):
        evaluate(Hasty(), [recording()], METRICS)

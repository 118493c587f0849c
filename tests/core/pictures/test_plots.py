"""Pictures are written atomically, have the right size, and show their data."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.pictures import curves, figure
from nablafx_core.pictures.curves import draw_curves, plot_losses
from nablafx_core.pictures.plots import loudest, plot_prediction, spectrogram_db
from nablafx_core.runs import metrics_file as metrics

pytestmark = [pytest.mark.pictures, pytest.mark.slow]

RATE = 48000
SECONDS = np.arange(RATE) / RATE
TONE = 0.5 * np.sin(2 * np.pi * 1000 * SECONDS)


def pixels(path) -> np.ndarray:
    return matplotlib.image.imread(path)


def test_prediction_is_1200_pixels_wide_and_shows_the_prediction(tmp_path):
    target = torch.from_numpy(TONE)[None]
    for name, prediction in (("good", target), ("bad", target.tanh() * 0.5)):
        plot_prediction(target, prediction, RATE, tmp_path / f"{name}.png", name)
    good, bad = pixels(tmp_path / "good.png"), pixels(tmp_path / "bad.png")
    assert good.shape[:2] == bad.shape[:2] == (1260, 1200)
    changed = (good != bad).any(axis=(1, 2))
    predicted = (abs(bad[..., :3] - np.array([213, 94, 0]) / 255) < 0.05).all(axis=2).any(axis=1)
    whole, error, zoom, spectra = slice(50, 310), slice(350, 480), slice(560, 850), slice(930, 1200)
    assert min(changed[whole].mean(), changed[error].mean(), predicted[zoom].mean(), changed[spectra].mean()) > 0.1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "good.png"]


@pytest.mark.parametrize(
    ("target", "prediction"),
    [
        (np.zeros(RATE), np.zeros(RATE)),
        (TONE, np.full(RATE, np.nan)),
        (TONE[:1], TONE[:1]),
        (TONE[:300], TONE[:300]),
        (np.stack([TONE, TONE]), np.stack([TONE, TONE])),
    ],
    ids=["silence", "diverged", "one sample", "shorter than a window", "stereo"],
)
def test_any_signal_can_be_drawn(tmp_path, target, prediction):
    plot_prediction(target, prediction, RATE, tmp_path / "p.png", "50$ amp_{ 3$")
    assert pixels(tmp_path / "p.png").std() > 0.01


def test_a_picture_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "p.png"
    path.write_bytes(b"old")

    def torn(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure.Figure, "savefig", torn)
    with pytest.raises(OSError, match="disk full"):
        plot_losses({}, path)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("p.png", b"old")]


def test_spectrogram_has_the_level_and_the_frequency_of_a_tone():
    levels = spectrogram_db(TONE)[:, 10:-10]
    np.testing.assert_allclose(levels.max(axis=0), 20 * np.log10(0.5), atol=1.5)  # a Hann window scallops 1.4 dB
    assert (abs(levels.argmax(axis=0) * RATE / 2048 - 1000) < RATE / 2048).all()
    assert spectrogram_db(np.tile(TONE, 20)).shape[1] <= 1010


@settings(derandomize=True, deadline=None, max_examples=20)
@given(size=st.integers(1, 60), seed=st.integers(0, 100))
def test_loudest_window_beats_every_other(size, seed):
    audio = np.random.default_rng(seed).standard_normal(50)
    part = loudest(audio, size)
    size = min(size, 50)
    assert part.stop - part.start == size
    energies = [np.sum(audio[start : start + size] ** 2) for start in range(51 - size)]
    assert np.sum(audio[part] ** 2) == pytest.approx(max(energies))


def test_losses_and_validation_figures_have_their_own_panels(tmp_path, monkeypatch):
    drawn = {}

    def keep(axis, group):
        drawn[axis.get_title(loc="left")] = {
            quantity: {part: list(points) for part, points in parts.items()} for quantity, parts in group.items()
        }

    monkeypatch.setattr(curves, "_draw", keep)
    series = {
        "train/loss": [(1, 2.0)],
        "train/mr_stft": [(1, 4.0)],
        "validation/loss": [(1, 3.0)],
        "validation/loss/mr_stft": [(1, 5.0)],
        "validation/mr_stft": [(1, 6.0)],
    }
    plot_losses(series, tmp_path / "l.png", {"mr_stft": "mr_stft (eps 1)"})
    assert drawn == {
        "Training losses": {
            "loss": {"train": [(1, 2.0)], "validation": [(1, 3.0)]},
            "loss mr_stft (eps 1)": {"train": [(1, 4.0)], "validation": [(1, 5.0)]},
        },
        "Metrics of the validation": {"metric mr_stft": {"validation": [(1, 6.0)]}},
    }


@pytest.mark.parametrize("count", [0, 1, 50, 3000])
def test_losses_of_any_length_are_drawn_without_values_that_have_no_logarithm(tmp_path, count):
    drawable = [(step, 1 / step) for step in range(1, count + 1)]
    rest = [(0, 0.0), (0, -1.0), (0, float("nan")), (0, float("inf"))]
    for name, points in (("clean", drawable), ("all", rest + drawable)):
        plot_losses({"train/loss": points, "validation/loss": points}, tmp_path / f"{name}.png")
    picture = pixels(tmp_path / "all.png")
    assert picture.shape[1] == 1200
    assert picture.std() > 0.01
    assert np.array_equal(picture, pixels(tmp_path / "clean.png"))


def test_curves_of_a_run_are_drawn_from_its_record(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "COMPLETED"}')
    errors = []
    record = metrics.MetricsFile(tmp_path / "metrics.jsonl", errors.append)
    for step in range(1, 100):
        record.append("train/loss", step, 1 / step, "2026-01-01T00:00:00")
        record.append("learning_rate", step, 1e-3, "2026-01-01T00:00:00")
    record.close()
    draw_curves(tmp_path)
    shown = pixels(tmp_path / "pictures" / "losses.png")
    plot_losses({"train/loss": [(step, 1 / step) for step in range(1, 100)]}, tmp_path / "direct.png")
    assert np.array_equal(shown, pixels(tmp_path / "direct.png"))
    assert not errors


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        ([{"name": "nablafx-core/esr", "weight": 1.0}], []),
        ([{"name": "nablafx-core/esr"}], []),
        ([{"name": "nablafx-core/esr", "weight": 0.5}], ["esr"]),
        ([{"name": "nablafx-core/esr", "weight": 1.0}, {"name": "nablafx-core/mae", "weight": 1.0}], ["esr", "mae"]),
    ],
)
def test_a_single_loss_and_the_total_that_equals_it_are_drawn_once(tmp_path, monkeypatch, loss, parts):
    (tmp_path / "run.json").write_text('{"status": "COMPLETED"}')
    (tmp_path / "config.yaml").write_text(json.dumps({"loss": loss}))
    record = metrics.MetricsFile(tmp_path / "metrics.jsonl", pytest.fail)
    names = [section["name"].partition("/")[2] for section in loss]
    whole = {"train/loss", "validation/loss", "validation/esr"}
    for name in (*whole, *(f"train/{name}" for name in names), *(f"validation/loss/{name}" for name in names)):
        record.append(name, 1, 0.5, "2026-01-01T00:00:00")
    record.close()
    drawn = []
    monkeypatch.setattr(curves, "plot_losses", lambda series, *_: drawn.append(set(series)))
    draw_curves(tmp_path)
    assert drawn == [whole | {f"{place}/{part}" for part in parts for place in ("train", "validation/loss")}]

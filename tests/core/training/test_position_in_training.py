"""The exact tremolo is exact in training, in validation, in every part of a split and in the test."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.audio.reading import read, write
from nablafx_core.config import load_experiment
from nablafx_core.data.splits import split
from nablafx_core.errors import ConfigError
from nablafx_core.evaluation.evaluate import evaluate
from nablafx_core.playing.render_file import render_file
from nablafx_core.scoring.metrics import ESR
from nablafx_core.testing import laws_dataset
from nablafx_core.training.fit import train
from nablafx_core.training.prepared import prepared_data, prepared_model
from reference.tremolo import Swung, Tremolo, gain

pytestmark = pytest.mark.slow

EXACT, WRONG = 1e-10, 0.05


def sections(tmp_path, model=None, data=None, train=None):
    return {
        "data": {"name": "reference.tremolo:Swung", "segment_length": 700, "batch_size": 3, **(data or {})},
        "model": {"name": "reference.tremolo:Tremolo", **(model or {})},
        "loss": [{"name": "esr"}],
        "metrics": ["esr"],
        "train": {"max_steps": 6, "validate_every": 3, "accelerator": "cpu", "learning_rate": 1e-12, **(train or {})},
        "track": {"runs_dir": str(tmp_path / "runs")},
    }


class Keep:
    """Return the losses of every step."""

    def __init__(self, monkeypatch):
        from nablafx_core.training.task import TrainingTask

        self.losses, step = [], TrainingTask._step

        def kept(task, *given):
            step(task, *given)
            self.losses.append(float(task.latest["loss"]))

        monkeypatch.setattr(TrainingTask, "_step", kept)


@pytest.mark.parametrize(
    ("model", "data", "settings"),
    [
        ({}, {}, {}),
        ({}, {"offset": 321, "num_workers": 1}, {"tbptt": 256}),
        ({"channels": 2}, {"channels": 2, "files": 3, "samples": 5000, "preload": True}, {"tbptt": 350}),
    ],
)
def test_training_validation_and_test_score_the_exact_model_as_exact(tmp_path, monkeypatch, model, data, settings):
    kept = Keep(monkeypatch)
    result = train(sections(tmp_path, model, data, settings))
    assert len(kept.losses) >= 6 and max(kept.losses) < EXACT
    assert result.validation["esr"] < EXACT
    assert result.test["esr"] < EXACT


@pytest.mark.parametrize("declares", [True, False])
def test_every_part_of_a_time_split_has_the_score_of_the_whole_file(tmp_path, declares):
    dataset, model = Swung(offset=77), Tremolo(declares=declares)
    experiment = load_experiment(sections=sections(tmp_path))
    parts = split(dataset.recordings, experiment.loading, gap=100)
    esr = [evaluate(model, parts[part], {"esr": ESR()}).split["esr"] for part in ("train", "validation", "test")]
    assert max(esr) < EXACT if declares else max(esr) > WRONG


def test_a_file_is_rendered_from_its_beginning(tmp_path):
    dry = 0.1 * torch.randn(1, 150_000, generator=torch.Generator().manual_seed(0))
    write(tmp_path / "in.wav", dry, 1000)
    render_file(Tremolo().eval(), tmp_path / "in.wav", tmp_path / "out.wav", block_size=1000)
    torch.testing.assert_close(read(tmp_path / "out.wav"), dry * gain(torch.arange(150_000), 1000).float())


class TestStereo:
    def test_the_laws_of_datasets_hold(self):
        data = Swung(channels=2, files=3, samples=1000)
        assert laws_dataset.recordings_are_well_formed(data) == 3
        assert laws_dataset.pieces_are_the_whole(data) == 6000
        assert laws_dataset.recordings_can_be_pickled(data) == 6000

    @pytest.mark.parametrize(("model", "data"), [(1, 2), (2, 1), (2, 3)])
    def test_a_model_with_other_channels_is_rejected_before_a_run_begins(self, tmp_path, model, data):
        experiment = load_experiment(sections=sections(tmp_path, {"channels": model}, {"channels": data}))
        told = rf"Tremolo .*{model} channels? .*{model}; the recordings have {data} channels? dry and {data}"
        with pytest.raises(ConfigError, match=told):
            prepared_model(experiment, prepared_data(experiment))
        with pytest.raises(ConfigError, match=told):
            train(experiment)
        assert not (tmp_path / "runs").exists()

    def test_a_mono_model_is_scored_on_each_channel(self):
        data = Swung(channels=2, samples=2000)
        (recording,) = data.recordings
        wet = recording.dry.audio * gain(torch.arange(2000), 1000).float()
        recording.wet.audio.copy_(wet)
        assert evaluate(Tremolo(), data.recordings, {"esr": ESR()}).split["esr"] < EXACT

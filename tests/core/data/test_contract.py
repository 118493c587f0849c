"""A dataset that breaks its contract is rejected before a model is trained or tested on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.config import load_experiment
from nablafx_core.controls import Control
from nablafx_core.data.contract import checked
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import DataError
from nablafx_core.evaluation.record_test import record_test
from nablafx_core.interfaces import Dataset, Recording
from nablafx_core.registry.building import build
from nablafx_core.training.fit import train
from reference.tiny import TanhDataset

GOOD = Recording("riff", ArraySource(torch.zeros(10)), ArraySource(torch.zeros(10)), "riff", (0.5, 1.0), stop=10)


def dataset(*recordings, rate=48000):
    made = Dataset()
    made.sample_rate, made.recordings = rate, recordings
    made.controls = (Control("drive", 0, 10), Control("tone", 0, 10))
    return made


def test_a_valid_dataset_is_returned_unchanged():
    given = dataset(
        GOOD, replace(GOOD, name="edges", controls=(0.0, 1.0), start=10), replace(GOOD, name="x", part="test")
    )
    assert checked(given) is given


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"controls": (0.5, 5.0)}, "recording 'riff' has the knob 'tone' at 5; control values must be in [0, 1]"),
        ({"controls": (-0.01, 1.0)}, "knob 'drive' at -0.01"),
        ({"controls": (float("nan"), 1.0)}, "knob 'drive' at nan"),
        ({"controls": (0.5,)}, "has 1 knobs; the dataset has 2: drive, tone"),
        ({"controls": (0.5, 0.5, 0.5)}, "has 3 knobs"),
        ({"wet": ArraySource(torch.zeros(9))}, "has 10 samples dry and 9 wet"),
        ({"stop": 11}, "start 0 and stop 11"),
        ({"start": 8, "stop": 7}, "start 8 and stop 7"),
        ({"start": -1}, "start -1 and stop 10"),
        ({"part": "evaluation"}, "part 'evaluation'"),
        ({"take": 7}, "has take 7 and offset 0; expected a string and an int"),
        ({"offset": 0.5}, "has take 'riff' and offset 0.5; expected a string and an int"),
        ({"wet": ArraySource(torch.zeros(2, 10))}, "has 1 channel dry and 2 wet, 'other' has 1 and 1."),
        ({"dry": ArraySource(torch.zeros(0, 10))}, "has sources of 0 and 1 channels; expected at least 1"),
    ],
)
def test_a_faulty_recording_is_named_in_the_error(wrong, message):
    with pytest.raises(DataError) as error:
        checked(dataset(replace(GOOD, name="other"), replace(GOOD, **wrong)))
    assert message in str(error.value)


def test_duplicate_names_and_invalid_sample_rates_are_rejected():
    with pytest.raises(DataError, match="'riff' occurs twice"):
        checked(dataset(GOOD, GOOD))
    for rate in (0, 1, None, "48000"):
        with pytest.raises(DataError, match="sample rate is"):
            checked(dataset(GOOD, rate=rate))


class Turned(TanhDataset):
    """Dataset whose first knob is outside [0, 1]."""

    def __init__(self):
        super().__init__()
        self.controls = (Control("drive"),)
        self.recordings = tuple(replace(recording, controls=(1.5,)) for recording in self.recordings)


def test_train_and_test_reject_a_faulty_dataset_and_leave_no_run(tmp_path):
    model = {"name": "tcn", "num_blocks": 2, "conditioning": "film"}
    sections = {"data": {"name": "tests.core.data.test_contract:Turned"}, "model": model}
    experiment = load_experiment(sections=sections, overrides=[f"track.runs_dir={tmp_path / 'runs'}"])
    with pytest.raises(DataError, match="knob 'drive' at 1.5"):
        train(experiment)
    bundle = save_bundle(build("model", model, controls=(Control("drive"),)), tmp_path / "m.nfx")
    with pytest.raises(DataError, match="knob 'drive' at 1.5"):
        record_test(bundle, experiment)
    assert [path.name for path in tmp_path.iterdir()] == ["m.nfx"]

"""The laws of devices and datasets hold for correct ones, and break with a helpful message for each fault."""

from __future__ import annotations

import pytest

from nablafx_core.testing import laws_dataset, laws_device
from nablafx_core.testing.subject import LawBroken
from nablafx_core.testing.tiny import TinyData
from reference.faulty import Clipper, Noise

DEVICE_LAWS = (
    laws_device.device_renders,
    laws_device.device_keeps_no_state,
    laws_device.every_knob_moves_the_device,
)
DATASET_LAWS = (
    laws_dataset.recordings_are_well_formed,
    laws_dataset.settings_fit_the_knobs,
    laws_dataset.pieces_are_the_whole,
    laws_dataset.recordings_can_be_pickled,
)


def test_a_right_device_keeps_every_law():
    peak, difference, moved = (law(Clipper()) for law in DEVICE_LAWS)
    assert 0.9 < peak <= 1.5
    assert difference == 0
    assert 0.1 < moved < 1


def test_a_device_without_knobs():
    class Plain(Clipper):
        controls = ()

    assert [law(Plain()) for law in DEVICE_LAWS][2] == float("inf")


@pytest.mark.parametrize(
    ("fault", "law", "message"),
    [
        ("delays", 0, r"returned float64 of shape \(1025,\) for silence of 1024 samples at 44100 Hz, knobs at 0.5, 0"),
        ("single", 0, r"returned float32 of shape \(1024,\) .* float64 of shape \(1024,\)"),
        ("list", 0, "returned list for silence"),
        ("divides", 0, "1024 values .* infinite for silence of 1024 samples at 44100 Hz, knobs at 0.5, 0"),
        ("one rate", 0, "infinite for silence of 1024 samples at 96000 Hz"),
        (
            "one end",
            0,
            "infinite for silence of 1024 samples at 44100 Hz, knobs at 0, 0.5, 0.5;",
        ),
        ("in place", 0, "changed its input, for full scale .* Work on a copy"),
        ("remembers", 1, "same input after another rendering: measured 1.*e-06, allowed 0"),
        ("deaf", 2, "turning gain from end to end changed the output by at most 0; expected more than 1e-06"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_a_faulty_device_breaks_its_law_and_no_other(fault, law, message):
    with pytest.raises(LawBroken, match=f"Clipper.*{message}"):
        DEVICE_LAWS[law](Clipper(fault))
    if law > 0:
        DEVICE_LAWS[0](Clipper(fault))


def test_a_right_dataset_keeps_every_law():
    assert [law(Noise()) for law in DATASET_LAWS] == [3, 1, 6000, 6000]
    assert [law(TinyData(num_samples=1)) for law in DATASET_LAWS] == [4, 0, 8, 8]


@pytest.mark.parametrize(
    ("fault", "law", "message"),
    [
        ("rate", 0, "sample_rate is 44100.0"),
        ("no rate", 0, "sample_rate is 0"),
        ("nothing", 0, "no recordings"),
        ("same name", 0, "3 recordings have the name 'r'"),
        ("shorter", 0, "r0: dry has 1000 samples and wet has 999; expected the same number. Cut both"),
        ("no stop", 0, "r0: start 0 and stop 0 of 1000 samples"),
        ("too far", 0, "r0: start 0 and stop 1001 of 1000 samples"),
        ("outside", 1, r"r0: level is 5; .* \[0, 1\]. Convert with Control.to_unit"),
        ("NaN knob", 1, r"r0: level is nan"),
        ("no knob", 1, "r0: has 0 values in `controls`; expected one for each of the 1 knobs of the dataset: level"),
        ("drifts", 2, "reading at once and in pieces cut at .0, 1, 333, 500, 1000. "),
        ("NaN", 2, r"r0 \(wet\): .* NaN or infinite"),
        ("double", 2, r"r0 \(wet\): reading 1000 samples gave torch.float64 of shape \(1000,\); expected torch.float"),
        ("two channels", 0, "r1: wet has 2 channels, but 1 in r0"),
        ("stereo", 2, r"r \(wet\): reading 1000 samples gave torch.float32 of shape \(1000, 1\)"),
        ("open", 3, r"r0 \(dry\): cannot be pickled \(TypeError: .*data.num_workers must stay 0. Keep the path"),
        ("forgets", 3, r"r0 \(dry\): a pickled copy"),
    ],
)
def test_a_faulty_dataset_breaks_its_law(fault, law, message):
    with pytest.raises(LawBroken, match=message):
        DATASET_LAWS[law](Noise(fault))


def test_only_a_part_of_large_data_is_read():
    class Counting(TinyData):
        read = 0

    data = Counting(num_samples=300_000)
    read = []
    for recording in data.recordings:
        source = recording.dry
        original = source.read
        source.read = lambda start, stop, original=original: read.append((start, stop)) or original(start, stop)
    assert laws_dataset.pieces_are_the_whole(data) == 8 * laws_dataset.MOST_SAMPLES
    assert max(stop - start for start, stop in read) == laws_dataset.MOST_SAMPLES
    assert (300_000 - laws_dataset.MOST_SAMPLES, 300_000) in read

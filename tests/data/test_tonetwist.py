"""Recordings in the ToneTwist layout: paired by name, knobs from the names, bad files refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import DataError
from nablafx_data.device_file import format_setting, parse_setting, read_knobs, write_knobs
from nablafx_data.plucked import music
from nablafx_data.tonetwist import ToneTwist

RATE = 24000


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


def dry_of(name, seconds=1.5):
    return music(seconds, RATE, np.random.default_rng(list(name.encode())))


def wet_of(dry, drive=0.5):
    return np.tanh((1 + 10 * drive) * dry)


def write(path, audio, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype="FLOAT")


class Folder:
    """Writes data in the layout."""

    def __init__(self, path, device="Pedal", dry="DRY"):
        self.path, self.device, self.dry = path, device, dry

    def add(self, part, source, *settings):
        write(self.path / self.dry / part / f"{source}.input.wav", dry_of(source))
        for setting in settings:
            drive = (parse_setting(setting) or {}).get("D", 0.5)
            write(self.target(part, source, setting), wet_of(dry_of(source), drive))

    def target(self, part, source, setting):
        return self.path / self.device / part / setting / f"{setting}.{source}.target.wav"


@pytest.fixture
def plain(tmp_path):
    folder = Folder(tmp_path / "data")
    folder.add("trainval", "riff", "D050_T070")
    folder.add("trainval", "bass", "D050_T070")
    folder.add("test", "solo", "D050_T070")
    return folder


@pytest.fixture
def knobs(tmp_path):
    folder = Folder(tmp_path / "data")
    folder.add("trainval", "riff", "D000_T100", "D100_T100")
    folder.add("test", "solo", "D025_T000")
    return folder


def test_one_setting_has_no_knobs_and_every_file_is_there(plain):
    data = ToneTwist(str(plain.path), "Pedal")
    assert data.controls == ()
    assert data.sample_rate == RATE
    assert data.notes == ()
    assert {(r.name, r.source, r.part, r.controls) for r in data.recordings} == {
        ("D050_T070.riff", "riff", "trainval", ()),
        ("D050_T070.bass", "bass", "trainval", ()),
        ("D050_T070.solo", "solo", "test", ()),
    }
    for recording in data.recordings:
        dry = torch.from_numpy(dry_of(recording.source)).float()
        assert (recording.start, recording.stop) == (0, len(dry))
        assert torch.equal(recording.dry.read(0, len(dry)), dry)
        assert torch.equal(recording.wet.read(5, 99), torch.from_numpy(wet_of(dry_of(recording.source))).float()[5:99])


def test_knobs_come_from_the_names(knobs):
    data = ToneTwist(str(knobs.path), "Pedal")
    assert [(c.name, c.minimum, c.maximum) for c in data.controls] == [("D", 0, 10), ("T", 0, 10)]
    assert {r.name: r.controls for r in data.recordings} == {
        "D000_T100.riff": (0.0, 1.0),
        "D100_T100.riff": (1.0, 1.0),
        "D025_T000.solo": (0.25, 0.0),
    }


def test_a_device_file_names_and_orders_the_knobs(knobs):
    (knobs.path / "Pedal" / "device.yaml").write_text(
        "knobs:\n  T: {name: tone, unit: Hz, minimum: 500, maximum: 5000, taper: log, default: 1000}\n"
        "  D: {name: mode, positions: [low, mid, high]}\n"
    )
    data = ToneTwist(str(knobs.path), "Pedal")
    tone, mode = data.controls
    assert (tone.name, tone.unit, tone.curve, tone.default) == ("tone", "Hz", "log", 1000)
    assert mode.positions == ("low", "mid", "high")
    assert data.recordings[0].controls == (1.0, 0.0)


def test_a_device_file_gives_knobs_to_a_single_setting_too(plain):
    (plain.path / "Pedal" / "device.yaml").write_text("knobs:\n  D: {name: drive}\n  T: {}\n")
    data = ToneTwist(str(plain.path), "Pedal")
    assert [control.name for control in data.controls] == ["drive", "T"]
    assert "drive stands at 0.50" in data.notes[0]


def test_what_is_derived_can_be_written_and_is_read_back(knobs):
    data = ToneTwist(str(knobs.path), "Pedal")
    data.write_device_yaml()
    assert ToneTwist(str(knobs.path), "Pedal").controls == data.controls
    with pytest.raises(DataError, match="exists already"):
        data.write_device_yaml()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("knobs:\n  D: {name: drive}\n", "describes D; the files are named D, T"),
        ("knobs:\n  D: {naem: drive}\n  T: {}\n", "knobs.D takes name"),
        ("knobs:\n  D: {minimum: 5, maximum: 1}\n  T: {}\n", "knobs.D: .*not a range"),
        ("knobs:\n  D: {name: x}\n  T: {name: x}\n", "two knobs"),
        ("D: {name: x}\n", "has no 'knobs:'"),
        ("knobs: [", "cannot be read"),
    ],
)
def test_a_device_file_that_does_not_fit_is_refused(knobs, content, message):
    (knobs.path / "Pedal" / "device.yaml").write_text(content)
    with pytest.raises(DataError, match=rf"device\.yaml: .*{message}"):
        ToneTwist(str(knobs.path), "Pedal")


def test_one_setting_of_many_can_be_chosen(knobs):
    knobs.add("test", "solo", "D100_T100")
    data = ToneTwist(str(knobs.path), "Pedal", setting="D100_T100")
    assert data.controls == ()
    assert {r.name for r in data.recordings} == {"D100_T100.riff", "D100_T100.solo"}
    with pytest.raises(DataError, match="D042"):
        ToneTwist(str(knobs.path), "Pedal", setting="D042")


@pytest.mark.parametrize(("device", "inside"), [("Pedal", "ANALOG/Pedal"), ("ANALOG/Pedal", "ANALOG/Pedal")])
@pytest.mark.parametrize("dry", ["DRY", "DRY-with-markers", "ANALOG/DRY"])
def test_categories_and_dry_folders_are_found(tmp_path, device, inside, dry):
    folder = Folder(tmp_path, inside, dry)
    folder.add("trainval", "riff", "D050")
    assert len(ToneTwist(str(tmp_path), device).recordings) == 1
    assert len(ToneTwist(str(tmp_path), device, dry=dry).recordings) == 1


def test_sources_called_train_and_val_say_their_part(tmp_path):
    folder = Folder(tmp_path)
    for part, source in (("trainval", "train"), ("trainval", "val"), ("test", "test")):
        folder.add(part, source, "G050_V100")
    parts = {r.source: r.part for r in ToneTwist(str(tmp_path), "Pedal").recordings}
    assert parts == {"train": "train", "val": "validation", "test": "test"}


def test_dry_files_without_a_recording_are_noted(knobs):
    knobs.add("trainval", "unused")
    knobs.add("trainval", "partly", "D000_T100")
    notes = " ".join(ToneTwist(str(knobs.path), "Pedal").notes)
    assert "unused.input.wav: the device has no recording of it" in notes
    assert "partly.input.wav: has no recording at D100_T100" in notes


def test_another_rate_is_resampled(plain):
    data = ToneTwist(str(plain.path), "Pedal", sample_rate=48000)
    assert data.sample_rate == 48000
    assert data.recordings[0].num_samples == 2 * len(dry_of("riff"))


def test_a_delay_is_taken_out(plain):
    target = plain.target("trainval", "riff", "D050_T070")
    wet = wet_of(dry_of("riff"))
    write(target, np.concatenate([np.zeros(20), wet])[: len(wet)])
    riff = next(r for r in ToneTwist(str(plain.path), "Pedal", delay=20, check=False).recordings if r.source == "riff")
    assert riff.num_samples == len(wet) - 20
    assert torch.equal(riff.wet.read(0, 100), torch.from_numpy(wet[:100]).float())
    ahead = next(
        r for r in ToneTwist(str(plain.path), "Pedal", delay=-20, check=False).recordings if r.source == "bass"
    )
    assert torch.equal(ahead.dry.read(0, 100), torch.from_numpy(dry_of("bass")[20:120]).float())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda wet: wet[:-1003], r"is 1,003 samples shorter than its dry file"),
        (lambda wet: np.append(wet, 0), r"is 1 samples longer"),
        (lambda wet: 0 * wet, r"is silent"),
        (lambda wet: np.where(np.arange(len(wet)) == 777, np.nan, wet), r": sample 777 is NaN"),
        (lambda wet: np.roll(wet, 2000), r"lags its dry file by 2000\.\d"),
        (lambda wet: np.roll(wet, 60), r"is shifted: it lags its dry file by 60\.\d samples, the others by"),
        (lambda wet: -wet, r"opposite polarity"),
    ],
)
def test_a_bad_recording_is_refused_by_its_name(plain, spoil, message):
    plain.add("trainval", "third", "D050_T070")
    write(plain.target("trainval", "bass", "D050_T070"), spoil(wet_of(dry_of("bass"))))
    with pytest.raises(DataError, match=rf"D050_T070\.bass\.target\.wav.*{message}"):
        ToneTwist(str(plain.path), "Pedal")


def test_what_is_refused_can_be_taken_as_it_is(plain):
    wet = np.roll(wet_of(dry_of("bass")), 2000)
    write(plain.target("trainval", "bass", "D050_T070"), wet)
    data = ToneTwist(str(plain.path), "Pedal", check=False)
    assert len(data.recordings) == 3
    assert "2000." in " ".join(data.notes)


def test_a_common_lag_is_noted_and_not_refused(plain):
    for part, source in (("trainval", "riff"), ("trainval", "bass"), ("test", "solo")):
        write(plain.target(part, source, "D050_T070"), np.roll(wet_of(dry_of(source)), 33))
    assert "mostly 33." in ToneTwist(str(plain.path), "Pedal").notes[0]


def test_a_repaired_file_is_examined_again(plain):
    target = plain.target("trainval", "bass", "D050_T070")
    good = target.read_bytes()
    write(target, 0 * dry_of("bass"))
    with pytest.raises(DataError, match="silent"):
        ToneTwist(str(plain.path), "Pedal")
    target.write_bytes(good)
    assert ToneTwist(str(plain.path), "Pedal").notes == ()


def test_missing_files_are_named(plain):
    (plain.path / "DRY" / "trainval" / "bass.input.wav").unlink()
    with pytest.raises(DataError, match=r"D050_T070\.bass\.target\.wav has no dry file; .*bass\.input\.wav is missing"):
        ToneTwist(str(plain.path), "Pedal")
    with pytest.raises(DataError, match="no device 'Peddal'. Devices: Pedal"):
        ToneTwist(str(plain.path), "Peddal")
    with pytest.raises(DataError, match="no folder of dry files"):
        ToneTwist(str(plain.path), "Pedal", dry="WET")
    with pytest.raises(DataError, match="no such folder"):
        ToneTwist(str(plain.path / "nowhere"), "Pedal")


def test_rates_that_differ_are_refused(plain):
    write(plain.target("trainval", "bass", "D050_T070"), wet_of(dry_of("bass")), 48000)
    with pytest.raises(DataError, match=r"bass.target.wav has 48000 Hz, its dry file .* has 24000 Hz"):
        ToneTwist(str(plain.path), "Pedal")


def test_settings_with_different_knobs_are_refused(knobs):
    knobs.add("trainval", "riff", "D050_V050")
    with pytest.raises(DataError, match="D050_V050 do not name the same knobs"):
        ToneTwist(str(knobs.path), "Pedal")


@given(st.lists(st.tuples(st.sampled_from("DTV"), st.integers(0, 100)), min_size=1, max_size=5))
def test_settings_are_read_as_they_are_written(parts):
    token = "_".join(f"{letter}{number:03d}" for letter, number in parts)
    knobs = parse_setting(token)
    assert list(knobs.values()) == [number / 100 for _, number in parts]
    assert format_setting(knobs) == token


def test_what_is_no_setting_is_none_and_beyond_the_end_is_refused():
    assert [parse_setting(text) for text in ("riff", "D50", "D0500", "", "D050-T050")] == [None] * 5
    with pytest.raises(DataError, match="T101"):
        parse_setting("D050_T101")


def test_knobs_are_read_as_they_are_written(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "knobs:\n  A: {name: a, unit: Hz, minimum: 20, maximum: 3000, taper: log, default: 100}\n"
        "  B: {positions: [on, off], default: off}\n"
    )
    knobs = read_knobs(tmp_path / "a.yaml")
    assert (knobs["A"].default, knobs["B"].positions, knobs["B"].default) == (100, ("on", "off"), "off")
    write_knobs(tmp_path / "b.yaml", knobs)
    assert read_knobs(tmp_path / "b.yaml") == knobs

"""Recordings in the ToneTwist layout: paired by name, with knobs from their names; invalid files are named."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.errors import DataError
from nablafx_data.device_file import format_setting, parse_setting, read_knobs, write_knobs
from nablafx_data.plucked import music
from nablafx_data.tonetwist import ToneTwist
from reference.small_disk import small_disk

pytestmark = pytest.mark.slow

RATE = 24000


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


@cache
def dry_of(name, seconds=1.5):
    return music(seconds, RATE, np.random.default_rng(list(name.encode())))


def wet_of(dry, drive=0.5):
    return np.tanh((1 + 10 * drive) * dry)


def write(path, audio, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype="FLOAT")


class Folder:
    """Write data in the layout."""

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
    assert "drive is at 0.50" in data.notes[0]


def test_derived_knobs_can_be_written_and_read_back(knobs):
    data = ToneTwist(str(knobs.path), "Pedal")
    data.write_device_yaml()
    assert ToneTwist(str(knobs.path), "Pedal").controls == data.controls
    with pytest.raises(DataError, match="device.yaml: already exists"):
        data.write_device_yaml()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("knobs:\n  D: {name: drive}\n", "describes D; the files are named D, T"),
        ("knobs:\n  D: {naem: drive}\n  T: {}\n", "knobs.D: .*name.*naem"),
        ("knobs:\n  D: {minimum: 5, maximum: 1}\n  T: {}\n", "knobs.D: .*not a range"),
        ("knobs:\n  D: {name: x}\n  T: {name: x}\n", "two knobs"),
        ("D: {name: x}\n", "'knobs:'"),
        ("knobs: {D: {positions: [a, {b: c}]}, T: {}}\n", "knobs.D: .*positions"),
        ("knobs: {D: {positions: [a, b], default: c}, T: {}}\n", "knobs.D: .*no position 'c'"),
    ],
)
def test_a_device_file_that_does_not_fit_is_refused(knobs, content, message):
    (knobs.path / "Pedal" / "device.yaml").write_text(content)
    with pytest.raises(DataError, match=rf"device\.yaml: .*{message}"):
        ToneTwist(str(knobs.path), "Pedal")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"knobs: [", r"device\.yaml:1: this is not YAML"),
        (b"knobs: \xff\xfe", r"device\.yaml: this is not YAML: unacceptable character"),
        (
            b"knobs: !!python/object/apply:os.system [ls]",
            r"device\.yaml:1: the tag .* is not allowed; a device file is",
        ),
        (b"knobs: " + b"[" * 10_000, r"device\.yaml:1: nested more than 64 levels deep"),
        (b"knobs: {D: {name: x}, D: {name: y}}", r"device\.yaml:1: knobs\.D is set twice"),
    ],
)
def test_a_device_file_that_is_not_plain_data_is_refused(knobs, content, message):
    (knobs.path / "Pedal" / "device.yaml").write_bytes(content)
    with pytest.raises(DataError, match=message):
        ToneTwist(str(knobs.path), "Pedal")


def test_a_device_file_that_expands_too_far_is_refused(knobs):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    lines += ["knobs: {D: {positions: *a29}, T: {}}"]
    (knobs.path / "Pedal" / "device.yaml").write_text("\n".join(lines))
    with pytest.raises(DataError, match="larger than a device file can be"):
        ToneTwist(str(knobs.path), "Pedal")


def test_a_folder_named_device_yaml_is_refused(knobs):
    (knobs.path / "Pedal" / "device.yaml").mkdir()
    with pytest.raises(DataError, match=r"device\.yaml: cannot be read: Is a directory"):
        ToneTwist(str(knobs.path), "Pedal")


@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_a_device_file_that_cannot_be_written_leaves_no_file(tmp_path, read_only):
    knobs = {f"K{n}": Control(f"a knob with a long name, number {n}", 0, 10, "dB") for n in range(200)}
    with small_disk(tmp_path / "disk", 4096, read_only=read_only):
        with pytest.raises(DataError, match=r"device\.yaml: cannot be written: .*\."):
            write_knobs(tmp_path / "disk" / "device.yaml", knobs)
        assert not list((tmp_path / "disk").iterdir())


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


def test_sources_named_train_and_val_are_in_those_parts(tmp_path):
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


def test_another_sample_rate_is_resampled(plain):
    data = ToneTwist(str(plain.path), "Pedal", sample_rate=48000)
    assert data.sample_rate == 48000
    assert data.recordings[0].num_samples == 2 * len(dry_of("riff"))


def test_a_delay_is_removed(plain):
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
    assert (riff.offset, ahead.offset) == (0, 20)


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


def test_a_refused_recording_is_accepted_without_the_check(plain):
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


def test_the_order_of_the_letters_does_not_matter(knobs):
    knobs.add("trainval", "bass", "T070_D050")
    data = ToneTwist(str(knobs.path), "Pedal")
    assert {r.name: r.controls for r in data.recordings}["T070_D050.bass"] == (0.5, 0.7)


@pytest.mark.parametrize("wrong", ["D05_T070", "D050-T070", "Dxx_T070", "D050_T0700", "D050_T"])
def test_a_setting_that_cannot_be_read_is_named(plain, wrong):
    target = plain.target("trainval", "bass", "D050_T070")
    moved = target.parent.with_name(wrong) / f"{wrong}.bass.target.wav"
    moved.parent.mkdir()
    target.rename(moved)
    with pytest.raises(
        DataError, match=rf"{wrong}\.bass\.target\.wav: the setting '{wrong}' cannot be read\. .*D050_T100"
    ):
        ToneTwist(str(plain.path), "Pedal")


def test_a_position_above_100_is_named_with_its_file(plain):
    target = plain.target("trainval", "bass", "D050_T070")
    target.rename(target.with_name("D050_T101.bass.target.wav"))
    with pytest.raises(DataError, match=r"D050_T070: D050_T101\.bass\.target\.wav: .*T101 is outside 000 to 100"):
        ToneTwist(str(plain.path), "Pedal")


def test_a_file_without_a_setting_among_others_is_named(plain):
    target = plain.target("trainval", "bass", "D050_T070")
    target.rename(plain.path / "Pedal" / "trainval" / "bass.target.wav")
    with pytest.raises(DataError, match=r"bass\.target\.wav in .*trainval .*D050_T070.* has one"):
        ToneTwist(str(plain.path), "Pedal")


def test_a_setting_may_be_in_the_name_of_the_folder_alone(knobs):
    for target in list((knobs.path / "Pedal").rglob("*.target.wav")):
        target.rename(target.with_name(target.name.partition(".")[2]))
    controls = sorted(r.controls for r in ToneTwist(str(knobs.path), "Pedal").recordings)
    assert controls == [(0.0, 1.0), (0.25, 0.0), (1.0, 1.0)]


def test_a_folder_with_another_setting_than_its_file_is_refused(plain):
    target = plain.target("trainval", "bass", "D050_T070")
    other = target.parent.with_name("D050_T090")
    other.mkdir()
    target.rename(other / target.name)
    with pytest.raises(DataError, match="D050_T090: D050_T070.* another setting .* than its folder"):
        ToneTwist(str(plain.path), "Pedal")


def test_one_dry_file_twice_at_one_setting_is_refused(plain):
    target = plain.target("trainval", "bass", "D050_T070")
    again = target.parent / "again"
    again.mkdir()
    (again / target.name).write_bytes(target.read_bytes())
    with pytest.raises(DataError, match="are both bass at D050_T070"):
        ToneTwist(str(plain.path), "Pedal")


def test_two_parts_may_have_files_of_the_same_name(plain):
    plain.add("test", "bass", "D050_T070")
    write(plain.target("test", "bass", "D050_T070"), 0 * dry_of("bass"))
    with pytest.raises(DataError, match=r"test/D050_T070: D050_T070\.bass\.target\.wav is silent"):
        ToneTwist(str(plain.path), "Pedal")
    names = {r.name: r.part for r in ToneTwist(str(plain.path), "Pedal", check=False).recordings}
    assert (names["test/D050_T070.bass"], names["trainval/D050_T070.bass"]) == ("test", "trainval")


def test_hidden_files_of_macos_are_ignored(plain):
    plain.target("trainval", "bass", "D050_T070").with_name("._D050_T070.bass.target.wav").write_bytes(b"Mac OS X")
    assert len(ToneTwist(str(plain.path), "Pedal").recordings) == 3


def test_one_channel_of_stereo_files_is_used_and_noted(plain):
    wet = wet_of(dry_of("bass")).astype(np.float32)
    write(plain.target("trainval", "bass", "D050_T070"), np.stack([wet, 0.5 * wet], axis=1))
    for channel, gain in ((0, 1.0), (1, 0.5)):
        data = ToneTwist(str(plain.path), "Pedal", channel=channel)
        recording = next(r for r in data.recordings if r.source == "bass")
        assert np.array_equal(recording.wet.read(0, len(wet)).numpy(), np.float32(gain) * wet)
        assert f"bass.target.wav: has 2 channels; channel {channel} is used (data.channel)." in data.notes[0]
    with pytest.raises(DataError, match=r"bass\.target\.wav: has no channel 2; it has 2"):
        ToneTwist(str(plain.path), "Pedal", channel=2)


def test_many_stereo_files_are_noted_once(plain):
    for part, source in (("trainval", "riff"), ("trainval", "bass"), ("test", "solo")):
        dry = dry_of(source)
        write(plain.path / "DRY" / part / f"{source}.input.wav", np.stack([dry, dry], axis=1))
        write(plain.target(part, source, "D050_T070"), np.stack([wet_of(dry), wet_of(dry)], axis=1))
    (note,) = ToneTwist(str(plain.path), "Pedal").notes
    assert "and 5 more files have several channels; channel 0" in note


def test_another_take_is_refused_by_its_name(tmp_path):
    folder = Folder(tmp_path)
    for part, source in (("trainval", "riff"), ("trainval", "bass"), ("trainval", "lead"), ("test", "solo")):
        folder.add(part, source)
        write(tmp_path / "DRY" / part / f"{source}.input.wav", dry_of(source, 4))
        write(folder.target(part, source, "D050"), wet_of(dry_of("another" if source == "lead" else source, 4)))
    with pytest.raises(DataError, match=r"D050\.lead\.target\.wav (is another take than|has nothing in common)"):
        ToneTwist(str(tmp_path), "Pedal")
    assert "D050.lead" in " ".join(ToneTwist(str(tmp_path), "Pedal", check=False).notes)


@pytest.mark.parametrize("delay", [36_000, -36_000, 10**9])
def test_a_delay_that_leaves_nothing_is_refused(plain, delay):
    with pytest.raises(DataError, match=rf"has 36,000 samples, and data\.delay removes {abs(delay):,}"):
        ToneTwist(str(plain.path), "Pedal", delay=delay)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "", "/nowhere"])
def test_impossible_folder_names_are_refused(plain, name):
    for arguments in ((str(plain.path), name or "x"), (name or "x", "Pedal"), (str(plain.path), "Pedal", name or "x")):
        with pytest.raises(DataError, match=r"has no device|no such folder|no folder of dry files"):
            ToneTwist(*arguments)


@given(st.lists(st.tuples(st.sampled_from("DTV"), st.integers(0, 100)), min_size=1, max_size=5))
def test_settings_are_read_as_they_are_written(parts):
    token = "_".join(f"{letter}{number:03d}" for letter, number in parts)
    knobs = parse_setting(token)
    assert list(knobs.values()) == [number / 100 for _, number in parts]
    assert format_setting(knobs) == token


def test_invalid_settings_are_none_and_positions_above_100_are_refused():
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

"""What people get wrong, through the command line: what it says, and that nothing is lost or left half-written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from reference.world import BOMB, RUNS_CODE, SETTING, World, pedal, played, run_main, snapshot, whole_world, world

pytestmark = pytest.mark.slow

__all__ = ["whole_world", "world"]  # fixtures


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Args:
        name: what it is.
        make: makes it in a `World`.
        command: as a person types it, split at blanks.
        message: what stands on stderr; for what is no error, anywhere.
        code: the exit status.
    """

    name: str
    command: str
    message: str
    make: object = lambda w: None
    code: int = 1


def with_nan(audio: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(audio)) == 40_000, np.nan, audio)


PAIR = "data pair dry=di.wav wet=amp.wav"
TRAIN = "train --dry di.wav --wet amp.wav"
TWIST = "data tonetwist path=data device=Pedal"
RENDER = "render m.nfx di.wav out.wav"
TWIST_YAML = "data: {name: tonetwist, path: data, device: Pedal}\nmodel: {name: tcn, num_blocks: 2}\n"
AT = f"data/Pedal/trainval/{SETTING}"
BASS = f"{AT}: {SETTING}.bass.target.wav"

FAULTS = [
    # Two recordings
    Fault("no such file", "data pair dry=none.wav wet=amp.wav", "Error: none.wav: there is no such file."),
    Fault("no such file, train", "train --dry none.wav --wet amp.wav", "Error: none.wav: there is no such file."),
    Fault("a folder for a file", "data pair dry=data wet=amp.wav", "Error: data: is a folder, not an audio file."),
    Fault(
        "a name that is too long",
        f"data pair dry={'a' * 5000} wet=amp.wav",
        f"Error: {'a' * 5000}: there is no such file.",
    ),
    Fault(
        "not audio",
        PAIR,
        "Error: amp.wav: is not an audio file that can be read: Format not recognised.",
        lambda w: w.write("amp.wav", "hello" * 99),
    ),
    Fault(
        "an empty file",
        PAIR,
        "Error: amp.wav: is not an audio file that can be read: Format not recognised.",
        lambda w: w.write("amp.wav", ""),
    ),
    Fault(
        "a truncated WAV",
        TRAIN,
        "Error: amp.wav: is cut off: it has 282,960 of the 288,000 bytes",
        lambda w: w.cut("amp.wav", 5040),
    ),
    Fault(
        "a header of 1 Hz",
        PAIR,
        "Error: di.wav: its header declares 1 Hz, which is outside 1,000 to 1,000,000 Hz.",
        lambda w: w.sound("di.wav", played("di"), 1),
    ),
    Fault(
        "two lengths",
        TRAIN,
        "Error: amp.wav: has 30,000 samples after alignment, its dry file di.wav has 72,000.",
        lambda w: w.sound("amp.wav", pedal(played("di"))[:30_000]),
    ),
    Fault(
        "two sample rates",
        TRAIN,
        "Error: amp.wav: has 48000 Hz, its dry file di.wav has 24000 Hz. Set data.sample_rate.",
        lambda w: w.sound("amp.wav", pedal(played("di")), 48000),
    ),
    Fault(
        "NaN",
        TRAIN,
        "Error: amp.wav: sample 40000 is NaN or infinite (1 such values).",
        lambda w: w.sound("amp.wav", with_nan(pedal(played("di")))),
    ),
    Fault(
        "NaN, unchecked",
        f"{PAIR} delay=0 check=false",
        "Error: amp.wav: sample 40000 is NaN or infinite (1 such values).",
        lambda w: w.sound("amp.wav", with_nan(pedal(played("di")))),
    ),
    Fault(
        "silence",
        TRAIN,
        "Error: amp.wav: is silent (peak 0.0e+00 of full scale).",
        lambda w: w.sound("amp.wav", 0 * played("di")),
    ),
    Fault(
        "a silent dry file",
        PAIR,
        "Error: amp.wav: its dry file is silent (peak 0.0e+00 of full scale).",
        lambda w: w.sound("di.wav", 0 * played("di")),
    ),
    Fault(
        "another take",
        TRAIN,
        "Error: amp.wav: its delay to di.wav could not be measured, because the two have little in common. Check that "
        "wet is not another take. If you know the delay, set data.delay.",
        lambda w: w.sound("amp.wav", pedal(played("other"))),
    ),
    Fault(
        "nothing in common",
        f"{PAIR} delay=0",
        "Error: amp.wav: has nothing in common with its dry file (",
        lambda w: w.sound("amp.wav", np.random.default_rng(0).normal(0, 0.1, 72_000)),
    ),
    Fault(
        "a rate that none has",
        f"{PAIR} sample_rate=0",
        "Error: di.wav: cannot be resampled to 0 Hz",
    ),
    Fault("no such channel", f"{PAIR} channel=1", "Error: di.wav: has no channel 1; it has 1, counted from 0."),
    Fault(
        "a delay beyond the file",
        f"{PAIR} delay=1000000",
        "Error: amp.wav: has 72,000 samples, and data.delay removes 1,000,000 of them.",
    ),
    Fault(
        "no range", f"{PAIR} max_delay_ms=.nan", "Error: data.max_delay_ms must be above 0 and at most 60,000, got nan."
    ),
    Fault(
        "an unknown setting",
        f"{PAIR} chanel=1",
        "Error: data.chanel: Pair has no setting 'chanel'. Did you mean 'channel'?\n  settings: ",
    ),
    Fault(
        "a wrong type",
        f"{PAIR} channel=left",
        "Error: data.channel: should be a valid integer, not 'left'.",
    ),
    Fault("no value", "data pair dry", "Error: dry: write it as setting=value.", code=2),
    Fault("no YAML", f"{PAIR} delay=[", "\n  this is not YAML: expected the node content"),
    Fault("no dataset", "data pear", "Error: data.name: No dataset named 'pear'. Did you mean 'pair'?"),
    Fault(
        "code for a dataset",
        "data os:system",
        "Error: data.name: 'os:system' is not a dataset: it does not derive from",
    ),
    # A folder of recordings
    Fault("no such folder", "data tonetwist path=none device=Pedal", "Error: none: there is no such folder."),
    Fault(
        "an empty folder",
        TWIST,
        "Error: data: has no device 'Pedal'. Devices: none. The layout is DEVICE/{trainval,test}/SETTING/",
        lambda w: (shutil.rmtree(w.folder / "data"), (w.folder / "data").mkdir()),
    ),
    Fault(
        "no recordings",
        TWIST,
        "Error: data/Pedal: no recordings were found. The layout is DEVICE/{trainval,test}/SETTING/",
        lambda w: [path.unlink() for path in (w.folder / "data/Pedal").rglob("*.wav")],
    ),
    Fault(
        "no such device",
        "data tonetwist path=data device=Peddal",
        "Error: data: has no device 'Peddal'. Devices: Pedal.",
    ),
    Fault(
        "a target with no dry partner",
        TWIST,
        f"Error: {BASS} has no dry file; data/DRY/trainval/bass.input.wav is missing.",
        lambda w: (w.folder / "data/DRY/trainval/bass.input.wav").unlink(),
    ),
    Fault(
        "no dry folder",
        TWIST,
        "Error: data/DRY: there is no folder of dry files. Name it with data.dry.",
        lambda w: shutil.rmtree(w.folder / "data/DRY"),
    ),
    *(
        Fault(
            f"a setting that cannot be read, {wrong}",
            TWIST,
            f"Error: data/Pedal/trainval/{wrong}: {wrong}.bass.target.wav: the setting '{wrong}' cannot be read. A "
            "setting is a letter and three digits for each knob, 000 to 100, such as D050_T100.",
            lambda w, wrong=wrong: w.move(w.target(), w.target(setting=wrong)),
        )
        for wrong in ("D05_T070", "D050-T070", "Dxx_T070")
    ),
    Fault(
        "a knob beyond its end",
        TWIST,
        "Error: data/Pedal/trainval/D050_T101: D050_T101.bass.target.wav: D050_T101: T101 is outside 000 to 100",
        lambda w: w.move(w.target(), w.target(setting="D050_T101")),
    ),
    Fault(
        "no setting among settings",
        TWIST,
        f"Error: data/Pedal: bass.target.wav in data/Pedal/trainval has no setting in its name, and "
        f"{SETTING}.lead.target.wav has one. A setting is a letter and three digits",
        lambda w: w.move(w.target(), "data/Pedal/trainval/bass.target.wav"),
    ),
    Fault(
        "a knob in one folder and not in another",
        TWIST,
        f"Error: data/Pedal: settings D050 and {SETTING} do not name the same knobs. Every setting must name every",
        lambda w: w.move(w.target(), w.target(setting="D050")),
    ),
    Fault(
        "a folder of another setting",
        TWIST,
        f"Error: data/Pedal/trainval/D050_T090: {SETTING}.bass.target.wav has another setting in its name than",
        lambda w: w.move(w.target(), f"data/Pedal/trainval/D050_T090/{SETTING}.bass.target.wav"),
    ),
    Fault(
        "two lengths in a set",
        TWIST,
        f"Error: {BASS} is 1,003 samples shorter than its dry file data/DRY/trainval/bass.input.wav. Cut both to",
        lambda w: w.sound(w.target(), pedal(played("bass"))[:-1003]),
    ),
    Fault(
        "two rates in a set",
        TWIST,
        f"Error: {BASS} has 48000 Hz, its dry file data/DRY/trainval/bass.input.wav has 24000 Hz. Record",
        lambda w: w.sound(w.target(), pedal(played("bass")), 48000),
    ),
    Fault(
        "NaN in a set",
        TWIST,
        f"Error: {AT}/{SETTING}.bass.target.wav: sample 40000 is NaN or infinite (1 such values).",
        lambda w: w.sound(w.target(), with_nan(pedal(played("bass")))),
    ),
    Fault(
        "silence in a set",
        TWIST,
        f"Error: {BASS} is silent (peak 0.0e+00",
        lambda w: w.sound(w.target(), 0 * played("bass")),
    ),
    Fault(
        "another take in a set",
        TWIST,
        f"Error: {BASS} is another take than its dry file",
        lambda w: w.sound(w.target(), pedal(played("strange"))),
    ),
    Fault(
        "inverted polarity in a set",
        TWIST,
        f"Error: {BASS} has the opposite polarity of the others. Invert it, or leave it out.",
        lambda w: w.sound(w.target(), -pedal(played("bass"))),
    ),
    Fault(
        "a shift in a set",
        TWIST,
        f"Error: {BASS} is shifted: it lags its dry file by 60.",
        lambda w: w.sound(w.target(), np.roll(pedal(played("bass")), 60)),
    ),
    *(
        Fault(f"device.yaml: {name}", TWIST, message, lambda w, text=text: w.write("data/Pedal/device.yaml", text))
        for name, text, message in (
            (
                "tags",
                f"knobs: {RUNS_CODE}",
                "device.yaml:1: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is",
            ),
            ("ten thousand levels", "knobs: " + "[" * 10_000, "device.yaml:1: nested more than 64 levels deep."),
            (
                "a bomb",
                f"{BOMB}\nknobs: {{D: {{positions: *a29}}}}",
                "levels deep, or larger than a device file can be.",
            ),
            ("no text", b"knobs: \xff", "device.yaml: this is not YAML: unacceptable character"),
            ("other letters", "knobs: {D: {name: x}}", "device.yaml: describes D; the files are named D, T."),
            ("a range that is none", "knobs: {D: {minimum: 9, maximum: 1}, T: {}}", "range 9.0 to 1.0 is not a range"),
        )
    ),
    Fault(
        "a device file that is there",
        f"{TWIST} --write-device-file",
        "Error: data/Pedal/device.yaml: already exists. Delete it first, or edit it.",
        lambda w: w.write("data/Pedal/device.yaml", "knobs: {D: {}, T: {}}"),
    ),
    # Simulated recordings
    Fault(
        "a folder of something else",
        "data simulated path=data",
        "Error: data: does not contain simulated data",
    ),
    *(
        Fault(
            f"simulated.yaml: {name}",
            "data simulated path=sim",
            message,
            lambda w, text=text: ((w.folder / "sim").mkdir(), w.write("sim/simulated.yaml", text)),
        )
        for name, text, message in (
            ("tags", RUNS_CODE, "damaged (sim/simulated.yaml:1: the tag"),
            ("ten thousand levels", "[" * 10_000, "damaged (sim/simulated.yaml:1: nested more than 64 levels deep)."),
            ("a bomb", BOMB, "or larger than a manifest can be). Choose another data.path, or delete it."),
            ("other settings", "seconds: 9.0", "Error: sim: was rendered with other settings (version None,"),
        )
    ),
    Fault(
        "a knob that the device has not",
        "data simulated path=sim settings={gain:[1]}",
        "Error: data.settings: the device has no knob 'gain'. Knobs: drive, tone",
    ),
    Fault("endless music", "data simulated path=sim seconds=1e12", "Error: data.seconds must be 1 to 36,000, got"),
    # Experiments
    Fault(
        "no such experiment",
        "config none.yaml",
        "Error: none.yaml: cannot read the experiment: No such file or directory.",
    ),
    Fault("an experiment that is audio", "config di.wav", "Error: di.wav: cannot read the experiment: it is not text."),
    *(
        Fault(
            f"experiment: {name}, {command}", f"{command} w.yaml", message, lambda w, text=text: w.write("w.yaml", text)
        )
        for command in ("config", "train", "test plain.nfx")
        for name, text, message in (
            (
                "tags",
                f"data: {RUNS_CODE}",
                "Error: w.yaml:1: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is",
            ),
            ("ten thousand levels", "data: " + "[" * 10_000, "Error: w.yaml:1: nested more than 64 levels deep."),
            ("a bomb", BOMB, "Error: w.yaml:1: nested more than 64 levels deep, or larger than an experiment can be."),
        )
    ),
    Fault(
        "an unknown setting of a model",
        "config e.yaml --set model.chanel_width=3",
        "Error: --set model.chanel_width: model.chanel_width: TCN has no setting 'chanel_width'. Did you mean",
    ),
    Fault(
        "a wrong type of a model's",
        "train e.yaml --set model.channel_width=wide",
        "Error: --set model.channel_width: model.channel_width: should be a valid integer, not 'wide'.",
    ),
    Fault(
        "a setting that the model refuses",
        "train e.yaml --set model.channel_width=-1",
        "Error: --set model.channel_width: model.channel_width: should be ",
    ),
    Fault(
        "a seed that numpy does not take",
        "train e.yaml --set train.seed=4294967296",
        "Error: --set train.seed: train.seed: should be less than or equal to 4294967295, not 4294967296.",
    ),
    Fault("no --set", "config e.yaml --set model", "Error: --set model: write it as section.setting=value."),
    Fault(
        "code for a model",
        "train e.yaml --set model=os:system",
        "Error: --set model: model.name: 'os:system' is not a model: it does not derive from",
    ),
    # Bundles
    Fault("no such bundle", "render none.nfx di.wav out.wav", "Error: none.nfx: there is no such file."),
    Fault("no such bundle, show", "show none.nfx", "Error: none.nfx: there is no such file."),
    Fault("no such run", "render latest di.wav out.wav", "Error: no run in runs has a model yet."),
    *(
        Fault(f"bundle: {name}, {command.split()[0]}", command, message, make)
        for command in ("render b.nfx di.wav out.wav", "show b.nfx", "test b.nfx e.yaml")
        for name, make, message in (
            (
                "truncated",
                lambda w: (shutil.copy(w.folder / "m.nfx", w.folder / "b.nfx"), w.cut("b.nfx")),
                "Error: b.nfx: is damaged, or not a NablAFx bundle: File is not a zip file.",
            ),
            (
                "tampered with",
                World.tamper,
                "Error: b.nfx: the weights are damaged: their hash differs",
            ),
            (
                "of a newer version",
                lambda w: w.bundle(format=2),
                "Error: b.nfx: has format 2; this version reads up to 1.",
            ),
            (
                "of a missing pack",
                lambda w: w.bundle(model={"name": "nablafx-acme/ladder"}, packs={"nablafx-acme": "2.1"}),
                "Error: b.nfx: cannot build its model. It was made with nablafx-acme 2.1.\nNo model named",
            ),
            (
                "a path that escapes",
                lambda w: w.bundle(extra={"../../escaped": b"x"}),
                "Error: b.nfx: is not a NablAFx bundle; it contains model.yaml, weights.safetensors, ../../escaped.",
            ),
            (
                "tags",
                lambda w: w.bundle(RUNS_CODE),
                "Error: b.nfx: is damaged: model.yaml:1: the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
            ),
            (
                "ten thousand levels",
                lambda w: w.bundle("model: " + "[" * 10_000),
                "Error: b.nfx: is damaged: model.yaml:1: nested more than 64 levels deep.",
            ),
            ("a bomb", lambda w: w.bundle(BOMB), "or larger than a description of a model can be."),
            (
                "no mapping of packs",
                lambda w: w.bundle(packs=[1]),
                "Error: b.nfx: model.yaml is damaged: 'packs' is not a mapping.",
            ),
            (
                "no model",
                lambda w: w.bundle(model=[1]),
                "Error: b.nfx: model.yaml is damaged: 'model'",
            ),
            (
                "code for a model",
                lambda w: w.bundle(model={"name": "os:system", "command": "touch called"}),
                "'os:system' is not a model: it does not derive from nablafx_core.interfaces.Model.",
            ),
        )
    ),
    Fault(
        "an experiment for a bundle",
        "test plain.nfx",
        "Error: 'plain.nfx' is a model without an experiment. Add the experiment FILE",
    ),
    Fault(
        "other knobs than the data",
        "test m.nfx e.yaml",
        "Error: m.nfx is a model for 24000 Hz with 1 controls; the data has",
    ),
    # The same recordings, in a training and a test
    *(
        Fault(f"{name}, {command.split()[0]}", f"{command} w.yaml", f"Error: {BASS} {message}", make)
        for command in ("train", "test plain.nfx")
        for name, message, make in (
            (
                "another take in a set",
                "is another take than its dry file",
                lambda w: (w.write("w.yaml", TWIST_YAML), w.sound(w.target(), pedal(played("strange")))),
            ),
            (
                "no dry file in a set",
                "has no dry file; data/DRY/trainval/bass.input.wav is missing.",
                lambda w: (w.write("w.yaml", TWIST_YAML), (w.folder / "data/DRY/trainval/bass.input.wav").unlink()),
            ),
        )
    ),
    Fault(
        "NaN, test",
        "test plain.nfx e.yaml",
        "Error: amp.wav: sample 40000 is NaN or infinite (1 such values).",
        lambda w: w.sound("amp.wav", with_nan(pedal(played("di")))),
    ),
    # Rendering
    Fault("nothing to render", "render m.nfx none.wav out.wav", "Error: none.wav: there is no such file."),
    Fault("no audio to render", "render m.nfx e.yaml out.wav", "Error: e.yaml: is not an audio file that can be read:"),
    Fault(
        "NaN to render",
        RENDER,
        "Error: di.wav: sample 40000 is NaN or infinite (1 such values).",
        lambda w: w.sound("di.wav", with_nan(played("di"))),
    ),
    Fault("a truncated file to render", RENDER, "Error: di.wav: is cut off: ", lambda w: w.cut("di.wav")),
    Fault(
        "over itself",
        "render m.nfx di.wav di.wav",
        "Error: di.wav: is the file to render. Choose another name",
    ),
    Fault(
        "a rate without a common factor",
        RENDER,
        "Error: di.wav: 999983 Hz cannot be resampled to 24000 Hz",
        lambda w: w.sound("di.wav", played("di"), 999_983),
    ),
    Fault("an unknown control", f"{RENDER} -c driv=3", "Error: the model has no control 'driv'. Did you mean 'drive'?"),
    Fault("a control beyond its end", f"{RENDER} -c drive=11", "Error: control 'drive': 11 is outside 0 to 10 dB."),
    Fault("a control that is NaN", f"{RENDER} -c drive=nan", "Error: control 'drive': nan is outside 0 to 10 dB."),
    Fault("a control that is no number", f"{RENDER} -c drive=loud", "Error: control 'drive': 'loud' is not a number."),
    Fault("a control without a value", f"{RENDER} -c drive", "Error: --control drive: expected name=value", code=2),
    Fault(
        "an ending that is none",
        "render m.nfx di.wav out.xyz",
        "Error: out.xyz: cannot write '.xyz' files. Extensions: .wav,",
    ),
    Fault(
        "no folder for it",
        "render m.nfx di.wav none/out.wav",
        "Error: none/out.wav: the folder none does not exist.",
    ),
    # Packs and files of other projects
    Fault(
        "a name that is none",
        "packs new Acme!",
        "Error: 'Acme!' is not a valid name of a pack: use lower-case letters, digits and dashes",
    ),
    Fault(
        "a folder that is there",
        "packs new acme --folder data",
        "Error: data exists already. Choose another name or",
    ),
    Fault("nothing to import", "import none.echo -o x.nfx", "Error: none.echo: there is no such file."),
    Fault("no importer", "import e.yaml -o x.nfx", "Error: e.yaml: no importers"),
    Fault("no exporter", "export m.nfx -o x.echo", "Error: x.echo: no exporters"),
    Fault("nothing to export", "export none.nfx -o x.echo", "Error: x.echo: no exporters"),
]

#: What can be worked with, and what is said of it.
SAID = [
    Fault(
        "stereo",
        PAIR,
        "note: amp.wav: has 2 channels; channel 0 is used (data.channel).",
        lambda w: w.sound("amp.wav", np.stack([pedal(played("di"))] * 2, axis=1)),
        0,
    ),
    Fault(
        "stereo in a set",
        TWIST,
        f"note: {AT}/{SETTING}.bass.target.wav: has 2 channels; channel 0 is used (data.channel).",
        lambda w: w.sound(w.target(), np.stack([pedal(played("bass"))] * 2, axis=1)),
        0,
    ),
    Fault(
        "stereo to render",
        "render m.nfx di.wav new.wav",
        "di.wav: has 2 channels; the model is mono",
        lambda w: w.sound("di.wav", np.stack([played("di")] * 2, axis=1)),
        0,
    ),
    Fault(
        "another rate to render",
        "render m.nfx di.wav new.wav",
        "di.wav: resampled from 44100 to 24000 Hz, the model's rate.",
        lambda w: w.sound("di.wav", played("di"), 44100),
        0,
    ),
    Fault(
        "clipping", PAIR, "note: amp.wav: clips (", lambda w: w.sound("amp.wav", np.clip(20 * played("di"), -1, 1)), 0
    ),
    Fault(
        "clipping in a set",
        TWIST,
        f"note: {SETTING}.bass.target.wav clips (",
        lambda w: w.sound(w.target(), np.clip(20 * played("bass"), -1, 1)),
        0,
    ),
    Fault(
        "inverted polarity",
        PAIR,
        "note: amp.wav: the effect inverts the polarity, and so will the model.",
        lambda w: w.sound("amp.wav", -pedal(played("di"))),
        0,
    ),
    Fault(
        "a dry file without a recording",
        TWIST,
        "note: trainval/extra.input.wav: the device has no recording of it; it is skipped.",
        lambda w: w.sound("data/DRY/trainval/extra.input.wav", played("extra")),
        0,
    ),
]


def check_told(fault: Fault, code: int, said: str) -> None:
    assert fault.message in said
    assert code == fault.code
    assert "This is a defect" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_and_changes_nothing(fault, world, monkeypatch, capsys):
    fault.make(world)
    before = snapshot(world.folder)
    code, out, err = run_main(fault.command, monkeypatch, capsys)
    check_told(fault, code, err)
    assert out == ""
    assert snapshot(world.folder) == before


@pytest.mark.parametrize("fault", SAID, ids=lambda fault: fault.name)
def test_what_can_be_used_is_used_and_said(fault, world, monkeypatch, capsys):
    fault.make(world)
    before = snapshot(world.folder)
    code, out, err = run_main(fault.command, monkeypatch, capsys)
    check_told(fault, code, out + err)
    after = snapshot(world.folder)
    assert {name: content for name, content in after.items() if name != "new.wav"} == before

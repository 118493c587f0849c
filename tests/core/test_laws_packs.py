"""What is checked of a whole pack: each law that can fail does, and says the component, the measure and what to do."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest
import torch
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.cli import cli
from nablafx_core.export.bundle import save_bundle
from nablafx_core.testing import LawBroken, check_pack, pack_results
from nablafx_core.testing.table import LAWS
from reference.toys import Echo

KINDS = {
    "model": "nablafx_models",
    "device": "nablafx_devices",
    "dataset": "nablafx_datasets",
    "exporter": "nablafx_exporters",
    "importer": "nablafx_importers",
    "observer": "nablafx_observers",
    "command": "nablafx_commands",
    "metric": "nablafx_metrics",
    "embedding": "nablafx_embeddings",
}


def plugin(*components: tuple[str, str, dict]) -> str:
    """A plugin module that registers (kind, target, example) under the name of the target's last part."""
    hooks = {}
    for kind, target, example in components:
        name = target.rpartition(":")[2].lower()
        hooks.setdefault(KINDS[kind], []).append(f"Component({name!r}, {target!r}, 'A {kind}', {example!r})")
    return "".join(f"@hookimpl\ndef {hook}():\n    return [{', '.join(made)}]\n" for hook, made in hooks.items())


def results(install, *components):
    """The results of a pack by (kind, law); its name is nablafx-acme."""
    install("nablafx-acme", plugin(*components))
    return {(result.kind, result.law): result for result in pack_results("acme")}


def faulty(kind, name, fault=""):
    return kind, f"reference.faulty:{name}", {"fault": fault} if fault else {}


def test_everything_right_holds(install):
    found = results(
        install,
        faulty("device", "Clipper"),
        faulty("dataset", "Noise"),
        faulty("exporter", "Writer"),
        faulty("importer", "Reader"),
        faulty("observer", "Listener"),
        faulty("command", "good"),
        ("model", "nablafx_core.testing.tiny:TinyModel", {}),
    )
    assert {(result.outcome, result.failure) for result in found.values()} == {("holds", None)}
    assert found["exporter", "writes or refuses every model"].measured == 1
    assert found["exporter", "is imported as it was"].measured == 0
    assert found["importer", "damage is refused"].measured > 20
    assert found["observer", "takes every event of a run"].measured > 8
    for kind in ("device", "dataset", "exporter", "importer", "observer", "command"):
        assert [law for which, law in found if which == kind] == [law.name for law in LAWS[kind]]


@pytest.mark.parametrize(
    ("component", "law", "failure"),
    [
        (
            ("model", "reference.faulty:NoModel", {}),
            "is what its kind says",
            "the target of a model must be a subclass of nablafx_core.interfaces.Model: derive it from that. It is the "
            "class NoModel.",
        ),
        (
            ("command", "reference.faulty:NoModel", {}),
            "is what its kind says",
            "the target of a command must be a click.Command: decorate it with @click.command(). It is the "
            "class NoModel.",
        ),
        (
            ("model", "reference.faulty:good", {}),
            "is what its kind says",
            "the target of a model must be a subclass of nablafx_core.interfaces.Model: derive it from that. It is "
            "<Command good>.",
        ),
        (
            ("model", "reference.faulty:Gone", {}),
            "is what its kind says",
            "model 'gone' of nablafx-acme 1.0 cannot be imported from reference.faulty:Gone: AttributeError: module "
            "'reference.faulty' has no attribute 'Gone'. Tell its author",
        ),
        (
            ("model", "reference.faulty:Unwritable", {}),
            "settings can be written",
            "shape (NoModel): no file can hold it, and it has no default. Use numbers, text, lists or map",
        ),
        (
            ("model", "reference.faulty:Contradicting", {}),
            "settings can be written",
            "width (int): its annotation refuses its own default: should be a valid integer, not 0.5. It takes: int. "
            "Change one of the two.",
        ),
        (
            ("model", "reference.faulty:ByPosition", {}),
            "settings can be written",
            "width: given by position only. Take the '/' out of the constructor.",
        ),
        (
            faulty("device", "Clipper", "deaf"),
            "every knob moves the output",
            "Clipper: turning gain from end to end moved the output by at most 0; more than 1e-06 is due.",
        ),
        (faulty("dataset", "Noise", "shorter"), "recordings are well formed", "r0: dry has 1000 samples, wet 999."),
        (
            faulty("command", "silent"),
            "its help is printed",
            "--help says nothing about the command. Write a docstring",
        ),
        (
            faulty("command", "hasty"),
            "its help is printed",
            "--help raised OSError: no display (reference/faulty.py:LINE). Help must need nothing.",
        ),
        (
            faulty("observer", "Listener", "broken"),
            "is built from its example",
            "it raised KeyError: 'url' (reference/faulty.py:LINE) where it was built. If it needs a server, let it "
            "raise a NablafxError that says which one, and how to set it.",
        ),
        (
            faulty("observer", "Listener", "result"),
            "takes every event of a run",
            "in a run that ends well it raised in heartbeat_event: ValueError: no room for a result "
            "(reference/faulty.py:LINE). A run goes on",
        ),
        (
            faulty("observer", "Listener", "artifact"),
            "takes every event of a run",
            "in a run that ends well it raised in artifact_event: OSError: no room (reference/faulty.py:LINE).",
        ),
        (
            faulty("observer", "Listener", "failure"),
            "takes every event of a run",
            "in a run that fails it raised in failed_event: ValueError: no words (reference/faulty.py:LINE).",
        ),
        (
            ("metric", "reference.toys:ErrorToSignal", {"floor": 0}),
            "silence gives no NaN",
            "silence gives no NaN (ErrorToSignal): nan for peaks of 0 (prediction) and 0 (target); a finite",
        ),
    ],
)
def test_a_fault_is_told_with_what_to_do(install, component, law, failure):
    found = results(install, component)
    assert found[component[0], law].outcome == "broken"
    said = found[component[0], law].failure
    head, line, rest = failure.partition("LINE")
    assert said.startswith(head)
    assert not line or said[len(head) :].lstrip("0123456789").startswith(rest)


CONVERSION = (("model", "nablafx_core.testing.tiny:TinyModel", {"controls": [{"name": "a"}]}),)


@pytest.mark.parametrize(
    ("writer", "reader", "law", "failure"),
    [
        (
            "refuses",
            "",
            "writes or refuses every model",
            "it refused all 4 models that it was given; it must",
        ),
        (
            "raises",
            "",
            "writes or refuses every model",
            "given echo, it raised TypeError: only TinyModel. (reference/faulty.py:LINE). Refuse what the format "
            "cannot hold with a ConversionError that says which part.",
        ),
        (
            "leaves",
            "",
            "writes or refuses every model",
            "refusing echo, it left left.bin; due is nothing. Write to the path that `write` is given",
        ),
        (
            "beside",
            "",
            "writes or refuses every model",
            "writing tinymodel, it left beside.bin, model.tiny; due is model.tiny.",
        ),
        (
            "spoils",
            "",
            "writes or refuses every model",
            "given tinymodel, it changed weight of the model. Work on a copy.",
        ),
        (
            "rounds",
            "",
            "is imported as it was",
            "tinymodel, exported and imported by reader, renders differently: measured 0.000",
        ),
        (
            "",
            "no knobs",
            "is imported as it was",
            "tinymodel, exported and imported by reader, has 0 knobs instead of 1.",
        ),
        (
            "",
            "own rate",
            "is imported as it was",
            "tinymodel, exported and imported by reader, has sample_rate 8000 instead of 48000.",
        ),
        (
            "",
            "trusts",
            "damage is refused",
            "a file of 0 bytes that begins with b'' made it raise JSONDecodeError: Expecting value: line 1 column 1 "
            "(char 0) (reference/faulty.py:LINE). Refuse such a file with a ConversionError that says why.",
        ),
        ("", "reads nothing", "damage is refused", "it read an empty file. Refuse it with a ConversionError."),
        (
            "",
            "trains",
            "what it reads fits a bundle",
            "tinymodel: it was read into a model in training mode. Return model.eval().",
        ),
        (
            "",
            "unsaved",
            "what it reads fits a bundle",
            "tinymodel, imported and saved as a bundle, renders differently: measured",
        ),
    ],
)
def test_a_faulty_exporter_or_importer(install, writer, reader, law, failure):
    found = results(
        install,
        ("model", "reference.toys:Echo", {"latency": 1}),
        *CONVERSION,
        faulty("exporter", "Writer", writer),
        faulty("importer", "Reader", reader),
    )
    (said,) = [result.failure for (_, name), result in found.items() if name == law and result.failure]
    head, line, rest = failure.partition("LINE")
    assert said.startswith(head)
    assert not line or said[len(head) :].lstrip("0123456789").startswith(rest)


def test_what_cannot_be_checked_says_why(install):
    found = results(
        install,
        faulty("observer", "Listener", "no server"),
        faulty("exporter", "Writer"),
        ("dataset", "nablafx_data.pair:Pair", {}),
        ("model", "reference.faulty:Whole", {}),
    )
    assert {name: result.note for name, result in found.items() if result.outcome == "not checked"} == {
        ("observer", "is built from its example"): "it cannot be built here (ConnectionRefusedError: no server at "
        "localhost:1). Check it where its server is.",
        ("exporter", "is imported as it was"): "its pack has no importer of .tiny, with which the files could be read "
        "back.",
        ("dataset", "is built from its example"): "its Component has no example with dry, wet. Write "
        "Component(…, example={'dry': …, 'wet': …}).",
        **{
            ("model", law): "it needs the whole file and has no stream."
            for law in (
                "stream = offline, float64",
                "stream = offline, float32",
                "stream = offline, moving controls",
                "no look-ahead but the latency",
            )
        },
    }
    assert {result.outcome for result in found.values()} == {"holds", "not checked"}


def test_an_observer_that_says_what_it_needs_and_an_importer_without_files(install):
    found = results(install, faulty("observer", "Listener", "says so"), faulty("importer", "Reader"))
    assert found["observer", "is built from its example"].note == (
        "it cannot be built here (NablafxError: no server: set LISTENER_URL.). Check it where its server is."
    )
    assert found["importer", "damage is refused"].measured == 10
    assert found["importer", "what it reads fits a bundle"].note == (
        "no exporter of its pack writes .tiny, to read a file of."
    )


def test_settings_without_documentation_are_a_warning(install):
    found = results(install, ("model", "reference.faulty:Settings", {}))
    result = found["model", "settings are documented"]
    assert (result.outcome, result.measured, result.failure) == ("warning", 2, None)
    assert result.note == "no line under `Args:` in the class's docstring for depth."
    assert check_pack("acme")


def test_an_exporter_is_tried_on_the_presets_where_no_registered_model_fits(install):
    install(
        "nablafx-acme",
        plugin(faulty("exporter", "Writer"))
        + "@hookimpl\ndef nablafx_presets():\n    return [Component('p', 'acme_files:p.yaml', '')]\n",
    )
    preset_file(install, "model: {name: nablafx_core.testing.tiny:TinyModel}")
    found = {(result.kind, result.law): result for result in pack_results("acme")}
    assert found["exporter", "writes or refuses every model"].measured == 2  # without knobs, and with two


def preset_file(install, text):
    folder = install.folder / "acme_files"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "p.yaml").write_text(text)


PRESET = """
model: {name: nablafx_core.testing.tiny:TinyModel}
loss: [{name: l1}, {name: mr_stft, weight: 0.1}]
train: {learning_rate: 0.1}
"""


def checked_preset(install, text):
    install("nablafx-acme", "@hookimpl\ndef nablafx_presets():\n    return [Component('p', 'acme_files:p.yaml', '')]\n")
    preset_file(install, text)
    return {result.law: result for result in pack_results("acme")}


@pytest.mark.parametrize(
    "more", ["", "data: {segment_length: 1500}", "metrics: [esr]", "requires: [nablafx-core>=0.1]"]
)
def test_a_right_preset_holds(install, more):
    found = checked_preset(install, f"{PRESET}\n{more}")
    assert {result.failure for result in found.values()} == {None}
    assert found["its model builds"].measured == 1
    assert 0.3 < found["trains a step"].measured < 3


@pytest.mark.parametrize(
    ("text", "law", "failure"),
    [
        ("model: {name: nablafx_core.testing.tiny:TinyModl}", 0, "preset nablafx-acme/p:1: model.name: model"),
        (
            "model: {name: nablafx_core.testing.tiny:TinyModel, wdth: 3}",
            0,
            "preset nablafx-acme/p:1: model.wdth: TinyModel",
        ),
        (f"{PRESET}\ntrane: {{}}", 0, "an experiment has no setting 'trane'. Did you mean 'train'?"),
        (f"{PRESET}\nmetrics: [snr]", 0, "preset nablafx-acme/p:6: metrics.0.name: No metric named 'snr'."),
        (f"{PRESET}\nrequires: [nablafx-core>=9]", 0, "The experiment requires packs that are not here:"),
        (f"{PRESET}\ndata: {{segment_lenth: 3}}", 0, "preset nablafx-acme/p:6: data.segment_lenth: TinyData has no"),
        ("train: {}", 0, "The experiment has no section 'model'."),
        (
            "model: {name: reference.refusing:Refusing}",
            1,
            "its model builds for no data:\n  with 0 knobs: one knob, not 0.",
        ),
        (
            "model: {name: reference.refusing:Refusing, error: true}",
            1,
            "its model builds for no data:\n  with 0 knobs: model 'reference.refusing:Refusing' cannot be made",
        ),
        ("model: {name: reference.refusing:Idle}", 2, "with 0 knobs: no weight has a gradient at the first step."),
        ("model: {name: reference.refusing:Endless}", 2, "with 0 knobs: the loss is nan at the first step;"),
        ("model: {name: reference.refusing:Steep}", 2, "with 0 knobs: the gradient of weight is not finite"),
    ],
)
def test_a_faulty_preset(install, text, law, failure):
    found = checked_preset(install, text)
    assert list(found.values())[law].failure.startswith(failure)
    assert len(found) == law + 1
    assert [result.outcome for result in found.values()] == ["holds"] * law + ["broken"]


def test_a_preset_is_trained_with_the_knobs_that_it_names_or_accepts(install):
    """The model takes one knob only, which the preset gives it."""
    found = checked_preset(install, "model: {name: reference.refusing:Refusing, controls: [{name: a}]}")
    assert {result.failure for result in found.values()} == {None}


def test_a_stateful_preset_is_trained_in_chunks(install):
    found = checked_preset(
        install, "model: {name: reference.refusing:Chunked}\ntrain: {tbptt: 100, learning_rate: 0.1}\n"
    )
    assert {result.failure for result in found.values()} == {None}


@pytest.fixture
def bundle(install):
    """A bundle in the package `acme_models`; its name is `ts9`."""
    folder = install.folder / "acme_models"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def made(more, **settings):
        torch.manual_seed(0)
        model = nfx.build("model", {"name": "reference.toys:Echo", "latency": 2, **settings})
        path = save_bundle(model, folder / "ts9.nfx")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        component = f"Component('ts9', 'acme_models:ts9.nfx', 'TS9'{more.replace('DIGEST', digest)})"
        install("nablafx-acme", f"@hookimpl\ndef nablafx_bundles():\n    return [{component}]\n")
        return digest, {result.law: result for result in pack_results("acme")}

    return made


def test_a_right_bundle_holds(bundle):
    _, found = bundle(", licence='CC0-1.0', sha256='DIGEST'")
    assert [law.name for law in LAWS["bundle"]] == list(found)
    assert {result.failure for result in found.values()} == {None}
    assert found["stream = offline, float64"].measured < 1e-12


@pytest.mark.parametrize(
    ("more", "settings", "law", "failure"),
    [
        (
            "",
            {},
            0,
            'its Component has no licence and no sha256. Write licence="CC-BY-4.0", or whatever its terms are, ',
        ),
        (", licence='CC0-1.0'", {}, 0, 'its Component has no sha256. Write sha256="DIGEST".'),
        (", licence='CC0-1.0', sha256='00'", {}, 0, "the file's sha256 is DIGEST, the declared one 00. Ship"),
        (", licence='CC0-1.0', sha256='DIGEST'", {"fault": "NaN in silence"}, 1, "silence gives no NaN (Echo): "),
        (", licence='CC0-1.0', sha256='DIGEST'", {"fault": "forgets"}, 2, "stream = offline (Echo, blocks [1, 61,"),
    ],
)
def test_a_faulty_bundle(bundle, more, settings, law, failure):
    digest, found = bundle(more, **settings)
    assert list(found.values())[law].failure.startswith(failure.replace("DIGEST", digest))
    assert len(found) == law + 1


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("return [Counting()]", None),
        ("return []", None),
        (
            "return [config['model']]",
            "it returned dict: {'name': 'nablafx_core.testing.tiny:TinyModel'}; only lightning",
        ),
        ("return config['no']", "nablafx_callbacks() failed: KeyError: 'no' (nablafx_acme.py:7). Tell its author"),
    ],
)
def test_the_hook_for_callbacks(install, body, failure):
    install(
        "nablafx-acme",
        f"from reference.callbacks import Counting\n@hookimpl\ndef nablafx_callbacks(config):\n    {body}\n",
    )
    (result,) = pack_results("acme")
    assert (result.kind, result.law) == ("hook", "gives callbacks")
    assert (result.failure or "").startswith(failure or "") and bool(result.failure) == bool(failure)


def test_the_packs_own_line_is_shown_and_what_it_prints_is_kept_out(install):
    install.module(
        "nablafx_acme_ladder",
        """
        from reference.toys import Echo

        class Ladder(Echo):
            def forward(self, audio, controls=None, state=None):
                print("in forward")
                if audio.shape[0] == 3:
                    return helper(audio)
                return super().forward(audio, controls, state)

        def helper(audio):
            return audio.reshape(7, -1)
        """,
    )
    install("nablafx-acme", plugin(("model", "nablafx_acme_ladder:Ladder", {})))
    shown = CliRunner().invoke(cli, ["packs", "check", "acme"])
    assert shown.exit_code == 1
    assert "in forward" not in shown.stdout
    told = shown.stdout[shown.stdout.index("broken: model ladder: items are independent") :]
    assert told.splitlines()[1] == (
        "  RuntimeError: shape '[7, -1]' is invalid for input of size 1536 (nablafx_acme_ladder.py:12). It was given "
        "what its interface allows, and must not raise."
    )


def test_what_would_fail_for_the_same_reason_again_is_left_out(install):
    install(
        "nablafx-acme", plugin(("model", "reference.faulty:Gone", {}), ("device", "reference.faulty:Clipper", {"x": 1}))
    )
    found = list(pack_results("acme"))
    assert [(result.component, result.law) for result in found if result.failure] == [
        ("gone", "is what its kind says"),
        ("clipper", "is built from its example"),
    ]
    assert len(found) == 1 + 4
    with pytest.raises(
        LawBroken, match="acme breaks 2 of 5 laws:\n  model gone: is what its kind says: model 'gone' of"
    ):
        check_pack("acme")


def test_problems_and_warnings_of_the_pack_are_rows_too(install):
    install("nablafx-acme", "@hookimpl\ndef nablafx_modles():\n    return []\n", requires=["nablafx-core>=9"])
    broken, warning = pack_results("acme")
    assert (broken.outcome, broken.failure[:22]) == ("broken", "needs nablafx-core>=9,")
    assert (warning.outcome, warning.note[:30]) == ("warning", "this core has no hook 'nablafx")


def test_the_table(install):
    install(
        "nablafx-acme",
        plugin(
            ("model", "reference.toys:Echo", {"fault": "latency too short"}),
            ("model", "reference.faulty:Settings", {}),
            faulty("observer", "Listener", "no server"),
        ),
    )
    shown = CliRunner().invoke(cli, ["packs", "check", "acme"])
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["COMPONENT", "LAW", "RESULT", "MEASURED", "TIME"]
    at = {title: lines[0].index(title) for title in ("LAW", "RESULT", "MEASURED")}
    rows = [
        line for line in lines[1 : lines.index("not checked: observer listener: is built from its example")] if line
    ]
    assert [row[: at["LAW"]].strip() for row in rows] == ["model echo"] * 15 + ["model settings"] * 15 + [
        "observer listener"
    ] * 4
    assert {row[at["RESULT"] : at["MEASURED"]].strip() for row in rows} == {"holds", "broken", "warning", "not checked"}
    assert {len(row) for row in rows} == {len(lines[0])}
    order = [
        lines.index(next(line for line in lines if line.startswith(f"{what}: ")))
        for what in ("not checked", "warning", "broken")
    ]
    assert order == sorted(order)
    assert lines[-1].endswith("4 broken, 2 warning, 1 not checked.")
    asked = json.loads(CliRunner().invoke(cli, ["packs", "check", "acme", "--json"]).stdout)
    assert [row["outcome"] for row in asked] == [row[at["RESULT"] : at["MEASURED"]].strip() for row in rows]


def test_results_are_there_as_they_come(install, monkeypatch):
    """The first ones can be read while the last component has not been asked yet."""
    install.module("nablafx_acme_last", "raise KeyboardInterrupt")
    install(
        "nablafx-acme",
        plugin(("model", "reference.toys:Echo", {}), ("embedding", "nablafx_acme_last:Last", {})),
    )
    shown = CliRunner().invoke(cli, ["packs", "check", "acme"])
    assert shown.exception is not None
    assert "model echo" in shown.stdout and "what it saves it loads" in shown.stdout


def test_an_example_may_name_files_and_the_working_directory_is_put_back(install, tmp_path, monkeypatch):
    install.module(
        "nablafx_acme_writes",
        """
        from reference.faulty import Noise

        class Writes(Noise):
            def __init__(self, path: str = ""):
                open(path, "x").close()
                super().__init__()
        """,
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = list(sys.path)
    found = results(install, ("dataset", "nablafx_acme_writes:Writes", {"path": "rendered"}))
    assert {result.failure for result in found.values()} == {None}
    assert (list(tmp_path.iterdir()), sys.path) == ([], before)


def test_weights_that_are_not_saved_are_found(install):
    found = results(install, ("model", "reference.toys:Echo", {"fault": "unsaved"}))
    assert isinstance(nfx.build("model", {"name": "acme/echo"}), Echo)
    assert found["model", "what it saves it loads"].outcome == "broken"

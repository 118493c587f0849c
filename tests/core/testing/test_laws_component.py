"""Each law fails for a faulty component, and its message says what was measured and what to do."""

from __future__ import annotations

import pytest

import nablafx_core as nfx
from nablafx_core.testing import check_pack, pack_results
from nablafx_core.testing.table import LAWS
from reference.registered import faulty, results, told
from reference.toys import Echo


def test_correct_components_keep_all_laws(install):
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
            "'reference.faulty' has no attribute 'Gone'.",
        ),
        (
            ("model", "reference.faulty:Unwritable", {}),
            "settings can be written",
            "shape (NoModel): has no default",
        ),
        (
            ("model", "reference.faulty:Contradicting", {}),
            "settings can be written",
            "width (int): its default does not fit its annotation: should be a valid integer, not 0.5",
        ),
        (
            ("model", "reference.faulty:ByPosition", {}),
            "settings can be written",
            "width: positional-only, ",
        ),
        (
            faulty("device", "Clipper", "deaf"),
            "every knob moves the output",
            "Clipper: turning gain from end to end changed the output by at most 0; expected more than 1e-06.",
        ),
        (
            faulty("dataset", "Noise", "shorter"),
            "recordings are well formed",
            "r0: dry has 1000 samples and wet has 999; ",
        ),
        (
            faulty("command", "silent"),
            "its help is printed",
            "--help does not describe the command.",
        ),
        (
            faulty("command", "hasty"),
            "its help is printed",
            "--help raised OSError: no display (reference/faulty.py:LINE). ",
        ),
        (
            faulty("observer", "Listener", "broken"),
            "is built from its example",
            "the observer raised KeyError: 'url' (reference/faulty.py:LINE) while it was built. ",
        ),
        (
            faulty("observer", "Listener", "result"),
            "takes every event of a run",
            "in a run that ends well, the observer raised in heartbeat_event: ValueError: no room for a result "
            "(reference/faulty.py:LINE). ",
        ),
        (
            faulty("observer", "Listener", "artifact"),
            "takes every event of a run",
            "in a run that ends well, the observer raised in artifact_event: OSError: no room (reference/faulty.py",
        ),
        (
            faulty("observer", "Listener", "failure"),
            "takes every event of a run",
            "in a run that fails, the observer raised in failed_event: ValueError: no words (reference/faulty.py",
        ),
        (
            ("metric", "reference.toys:ErrorToSignal", {"floor": 0}),
            "silence gives no NaN",
            "silence gives no NaN (ErrorToSignal): nan for peaks of 0 (prediction) and 0 (target);",
        ),
    ],
)
def test_the_failure_of_a_faulty_component_says_what_to_do(install, component, law, failure):
    found = results(install, component)
    assert found[component[0], law].outcome == "broken"
    said = found[component[0], law].failure
    assert told(said, failure)


def test_a_law_that_cannot_be_checked_says_why(install):
    found = results(
        install,
        faulty("observer", "Listener", "no server"),
        faulty("exporter", "Writer"),
        ("dataset", "nablafx_data.pair:Pair", {}),
        ("model", "reference.faulty:Whole", {}),
    )
    assert {name: result.note for name, result in found.items() if result.outcome == "not checked"} == {
        ("observer", "is built from its example"): "the observer cannot be built here (ConnectionRefusedError: no "
        "server at localhost:1). Check it on a machine that can reach its server.",
        ("exporter", "is imported as it was"): "its pack has no importer of .tiny that could read the files.",
        ("dataset", "is built from its example"): "the example of the Component has no dry and no wet, which "
        "the constructor requires. Write Component(…, example={'dry': …, 'wet': …}).",
        **{
            ("model", law): "the model needs the whole file and cannot stream."
            for law in (
                "stream = offline, float64",
                "stream = offline, float32",
                "stream = offline, moving controls",
                "no look-ahead but the latency",
            )
        },
    }
    assert {result.outcome for result in found.values()} == {"holds", "not checked"}


def test_an_observer_without_its_server_and_an_importer_without_files_are_not_checked(install):
    found = results(install, faulty("observer", "Listener", "says so"), faulty("importer", "Reader"))
    assert "NablafxError: no server: set LISTENER_URL." in found["observer", "is built from its example"].note
    assert found["importer", "damage is refused"].measured == 10
    assert ".tiny" in found["importer", "what it reads fits a bundle"].note


def test_settings_without_documentation_are_a_warning(install):
    found = results(install, ("model", "reference.faulty:Settings", {}))
    result = found["model", "settings are documented"]
    assert (result.outcome, result.measured, result.failure) == ("warning", 2, None)
    assert result.note.endswith(" for depth.")
    assert check_pack("acme")


def test_weights_that_are_not_saved_are_found(install):
    found = results(install, ("model", "reference.toys:Echo", {"fault": "unsaved"}))
    assert isinstance(nfx.build("model", {"name": "acme/echo"}), Echo)
    assert found["model", "what it saves it loads"].outcome == "broken"


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("return [Counting()]", None),
        ("return []", None),
        (
            "return [config['model']]",
            "nablafx_callbacks returned dict: {'name': 'nablafx_core.testing.tiny:TinyModel'}; expected",
        ),
        ("return config['no']", "nablafx_callbacks() failed: KeyError: 'no' (nablafx_acme.py:7)."),
    ],
)
def test_faults_of_the_hook_for_callbacks(install, body, failure):
    install(
        "nablafx-acme",
        f"from reference.callbacks import Counting\n@hookimpl\ndef nablafx_callbacks(config):\n    {body}\n",
    )
    (result,) = pack_results("acme")
    assert (result.kind, result.law) == ("hook", "gives callbacks")
    assert (result.failure or "").startswith(failure or "") and bool(result.failure) == bool(failure)

"""The output of `packs check` and the errors of `check_pack` for a whole pack."""

from __future__ import annotations

import itertools
import json
import sys

import pytest
from click.testing import CliRunner

from nablafx_core.cli import cli
from nablafx_core.testing import LawBroken, check_pack, pack_results
from nablafx_core.testing.table import LAWS
from reference.registered import faulty, plugin, results

pytestmark = pytest.mark.slow


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
        "  RuntimeError: shape '[7, -1]' is invalid for input of size 1536 (nablafx_acme_ladder.py:12). The arguments "
        "were valid for its interface, so it must not raise."
    )


def test_laws_after_a_broken_first_law_are_left_out(install):
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


def test_packs_check_prints_a_table(install):
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
    components = [row[: at["LAW"]].strip() for row in rows]
    assert [name for name, _ in itertools.groupby(components)] == ["model echo", "model settings", "observer listener"]
    assert components.count("model echo") == components.count("model settings") == len(LAWS["model"])
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


def test_results_are_yielded_immediately(install, monkeypatch):
    """The first results can be read before the last component is checked."""
    install.module("nablafx_acme_last", "raise KeyboardInterrupt")
    install(
        "nablafx-acme",
        plugin(("model", "reference.toys:Echo", {}), ("embedding", "nablafx_acme_last:Last", {})),
    )
    shown = CliRunner().invoke(cli, ["packs", "check", "acme"])
    assert shown.exception is not None
    assert "model echo" in shown.stdout and "what it saves it loads" in shown.stdout


def test_an_example_may_name_files_and_the_working_directory_is_restored(install, tmp_path, monkeypatch):
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

"""The example pack is damaged, and uninstalled: what is left works, and what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installing import Elsewhere

pytestmark = pytest.mark.slow

PACK = Path(__file__).parent


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """An environment with core and the pack, and in its folder a bundle of the pack's."""
    made = Elsewhere(tmp_path_factory.mktemp("apart"))
    made.install("nablafx_core", PACK)
    (made.cwd / "warm.nfx").write_bytes((made.site / "nablafx_example/bundles/warm.nfx").read_bytes())
    return made


def test_a_bundle_that_was_changed_is_refused(apart):
    bundle = apart.site / "nablafx_example/bundles/warm.nfx"
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"cutoff_hz: 1000.0", b"cutoff_hz: 1001.0"))
    try:
        told = apart.refusal("render", "example/warm", "in.wav", "out.wav")
    finally:
        bundle.write_bytes(content)
    assert "nablafx-example/warm: the file is not the one that the pack declares" in told


def test_it_is_gone_and_what_it_leaves_is_said(apart):
    apart.uninstall("nablafx-example")
    assert not list(apart.site.glob("nablafx_example*"))
    packs = json.loads(apart.nablafx("packs", "--json"))
    assert [(pack["name"], pack["problems"], pack["warnings"]) for pack in packs] == [("nablafx-core", [], [])]
    listed = json.loads(apart.nablafx("list", "--json"))
    assert {row["pack"] for row in listed} == {"nablafx-core"} and len(listed) > 10
    assert "soft-tone" not in apart.nablafx("--help")
    told = apart.refusal("config", str(PACK / "experiment.yaml"))
    assert "nablafx-example>=0.1: not installed. Try: pip install 'nablafx-example>=0.1'" in told
    told = apart.refusal("render", "warm.nfx", "in.wav", "out.wav")
    assert "warm.nfx: cannot build its model. It was made with nablafx-example 0.1.0" in told
    assert "Error-to-signal ratio" in apart.nablafx("show", "esr", "--kind", "loss")

"""The example pack is damaged or uninstalled: the rest works, and messages name the missing parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installing import Elsewhere

pytestmark = pytest.mark.slow

PACK = Path(__file__).parent


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Return an environment with core and the pack, with a copy of the pack's bundle in its folder."""
    made = Elsewhere(tmp_path_factory.mktemp("apart"))
    made.install("nablafx_core", PACK)
    (made.cwd / "warm.nfx").write_bytes((made.site / "nablafx_example/bundles/warm.nfx").read_bytes())
    return made


def test_a_modified_bundle_is_refused(apart):
    bundle = apart.site / "nablafx_example/bundles/warm.nfx"
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"cutoff_hz: 1000.0", b"cutoff_hz: 1001.0"))
    try:
        told = apart.refusal("render", "example/warm", "in.wav", "out.wav")
    finally:
        bundle.write_bytes(content)
    assert "nablafx-example/warm: the file's hash differs" in told


def test_an_uninstalled_pack_is_named(apart):
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

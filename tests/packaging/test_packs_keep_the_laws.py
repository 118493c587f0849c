"""Everything that the four packages register keeps the laws."""

import pytest

from nablafx_core.registry import Registry
from nablafx_core.testing import LawBroken, check_pack


@pytest.mark.parametrize("pack", ["nablafx-core", "nablafx-models", "nablafx-dsp", "nablafx-data"])
def test_pack(pack):
    results = check_pack(pack)
    kinds = ("model", "processor", "controller", "loss", "metric")
    expected = {
        (e.kind.name, e.component.name) for k in kinds for e in Registry.discover().entries(k) if e.pack.name == pack
    }
    assert {(result.kind, result.component) for result in results} == expected


def test_a_broken_component_is_named(install):
    install(
        "nablafx-bad",
        """
        @hookimpl
        def nablafx_models():
            fault = {"fault": "latency too short"}
            return [Component("peeks", "reference.toys:Echo", "looks further ahead than it says", fault)]
        """,
    )
    with pytest.raises(LawBroken, match="model peeks: no look-ahead .*looks 3 samples ahead"):
        check_pack("bad")

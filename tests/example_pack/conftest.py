"""The example pack, built as a wheel and installed: in a fresh environment, and in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from installing import Elsewhere
from nablafx_core.registry import Registry

PACK = Path(__file__).parent


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """An environment with core, the pack, and the datasets that render its device."""
    made = Elsewhere(tmp_path_factory.mktemp("example"))
    made.install("nablafx_core", "nablafx_data", PACK)
    return made


@pytest.fixture(scope="session")
def _site(elsewhere, tmp_path_factory):
    """The installed pack alone, without the copy of core that is beside it."""
    folder = tmp_path_factory.mktemp("pack")
    for item in elsewhere.site.glob("nablafx_example*"):
        (folder / item.name).symlink_to(item)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _installed(_site):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(_site))
        Registry.discover.cache_clear()
        yield
    Registry.discover.cache_clear()

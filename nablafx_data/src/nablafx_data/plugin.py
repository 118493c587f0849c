"""What this pack provides. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from nablafx_core.component import Component
from nablafx_core.hookspecs import hookimpl


@hookimpl
def nablafx_datasets() -> Iterable[Component]:
    """Datasets."""
    return [
        Component("tonetwist", "nablafx_data.tonetwist:ToneTwist", "Folders of recordings in the ToneTwist AFx layout"),
    ]

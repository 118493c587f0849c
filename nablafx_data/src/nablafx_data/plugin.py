"""Components of this pack. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from nablafx_core.registry.component import Component
from nablafx_core.registry.hookspecs import hookimpl


@hookimpl
def nablafx_datasets() -> Iterable[Component]:
    """Return the datasets of this pack."""
    return [
        Component("tonetwist", "nablafx_data.tonetwist:ToneTwist", "Folders of recordings in the ToneTwist AFx layout"),
        Component("pair", "nablafx_data.pair:Pair", "One dry and one wet file; finds the delay between them"),
        Component("simulated", "nablafx_data.simulated:Simulated", "Plucked strings through a simulated device"),
    ]

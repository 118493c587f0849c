"""Hooks that a pack may implement.

All hooks but `nablafx_callbacks` return a `Component` for each component of their kind. They must import nothing heavy,
because commands that only list components call them too.

A pack is a distribution with an entry point in the group ``nablafx`` that names a module::

    [project.entry-points.nablafx]
    acme = "nablafx_acme.plugin"

The hooks of each pack are called apart, so that a failing hook does not affect other packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pluggy

from nablafx_core.registry.component import Component
from nablafx_core.registry.kinds import KINDS, Kind

hookspec = pluggy.HookspecMarker("nablafx")
hookimpl = pluggy.HookimplMarker("nablafx")


def _specified(kind: Kind) -> Callable[[], Iterable[Component]]:
    def components() -> Iterable[Component]:
        return ()

    components.__name__ = components.__qualname__ = kind.hook
    components.__doc__ = kind.doc
    return hookspec(components)


globals().update({kind.hook: _specified(kind) for kind in KINDS.values()})


@hookspec
def nablafx_callbacks(config: Mapping[str, Any]) -> Iterable[Any]:
    """Return Lightning callbacks for a training whose validated experiment is `config`. ::

    @hookimpl
    def nablafx_callbacks(config):
        return [StopWhenHot()] if config["train"].get("accelerator") == "gpu" else []
    """
    return ()

"""The sections of a chain: what stands beside a processor's settings, parallel branches and side-chains."""

from __future__ import annotations

from typing import Annotated, Any

from nablafx_core.marks import Section
from nablafx_core.registry.settings import REQUIRED, Setting

#: Settings of a section whose parameters are driven.
DRIVEN = (
    Setting("controller", Annotated[dict[str, Any], Section("controller")], None, "What drives its parameters."),
    Setting("fixed", dict[str, float], {}, "Values, in units, of parameters that nothing drives."),
    Setting("lr_multiplier", float | None, None, "Factor on the learning rate of the processor and its controller."),
)
_LABEL = Setting("label", str | None, None, "Names its output, for controllers after it to read.")
_LINE = list[Annotated[dict[str, Any], Section("processor")]]

#: Settings that are written beside a processor's own.
BESIDE = (*DRIVEN, _LABEL)

#: Sections that may stand in place of a processor, by their key, with their settings.
STRUCTURES = {
    "parallel": (
        Setting("parallel", list[_LINE], REQUIRED, "A list of processors for each branch."),
        Setting("mix", Annotated[dict[str, Any], Section("mix")], None, "What drives the mix of the branches."),
        _LABEL,
    ),
    "sidechain": (
        Setting("sidechain", _LINE, REQUIRED, "Processors whose output is for controllers alone."),
        Setting("label", str, REQUIRED, "By which controllers read it."),
    ),
}

"""Settings in the sections of a chain: the framework's keys of a processor, parallel branches and side-chains."""

from __future__ import annotations

from typing import Annotated, Any

from nablafx_core.marks import Section
from nablafx_core.registry.settings import REQUIRED, Setting

#: Settings of a section that has driven parameters.
DRIVEN = (
    Setting("controller", Annotated[dict[str, Any], Section("controller")], None, "Controller of the parameters."),
    Setting("fixed", dict[str, float], {}, "Values, in their units, of parameters that no controller drives."),
    Setting("lr_multiplier", float | None, None, "Factor on the learning rate of the processor and its controller."),
)
_LABEL = Setting("label", str | None, None, "Name of the output, which controllers after it can read.")
_LINE = list[Annotated[dict[str, Any], Section("processor")]]

#: Settings of the framework that are written beside the settings of a processor.
BESIDE = (*DRIVEN, _LABEL)

#: Settings of the sections that may replace a processor, by the key that identifies the section.
STRUCTURES = {
    "parallel": (
        Setting("parallel", list[_LINE], REQUIRED, "List of processors for each branch."),
        Setting("mix", Annotated[dict[str, Any], Section("mix")], None, "Controller or values of the mix."),
        _LABEL,
    ),
    "sidechain": (
        Setting("sidechain", _LINE, REQUIRED, "Processors whose output only controllers read."),
        Setting("label", str, REQUIRED, "Name under which controllers read the output."),
    ),
}

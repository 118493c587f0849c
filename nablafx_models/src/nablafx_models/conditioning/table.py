"""The conditionings by name. To add one, write its file and add its row here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nablafx_core.marks import Described
from nablafx_models.conditioning.concatenated import CONCATENATED
from nablafx_models.conditioning.film import FILM
from nablafx_models.conditioning.interface import Conditioning
from nablafx_models.conditioning.tfilm import TFILM
from nablafx_models.conditioning.ttfilm import TTFILM
from nablafx_models.conditioning.tv_concatenated import TV_CONCATENATED
from nablafx_models.conditioning.tvfilm import TVFILM

CONDITIONINGS: dict[str, Conditioning] = {
    "none": Conditioning("has no controls", allows_norm=True),
    "film": FILM,
    "tfilm": TFILM,
    "ttfilm": TTFILM,
    "tvfilm": TVFILM,
    "concatenated": CONCATENATED,
    "tv_concatenated": TV_CONCATENATED,
}

#: Names of the conditionings that do not modulate layers.
APPENDED = tuple(name for name, conditioning in CONDITIONINGS.items() if conditioning.modulation is None)


def _name_setting(names: Iterable[str]) -> Any:
    """Return the type of the setting `conditioning` that allows these names, with its documentation."""
    names = tuple(names)
    summaries = "; ".join(f"``{name}`` {CONDITIONINGS[name].summary}" for name in names if name != "none")
    return Annotated[Literal[names], Described(f"how the controls reach the network: {summaries}.")]


if TYPE_CHECKING:
    ConditioningName = str
    AppendedName = str
else:
    ConditioningName = _name_setting(CONDITIONINGS)
    AppendedName = _name_setting(APPENDED)

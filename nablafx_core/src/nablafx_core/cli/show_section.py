"""Describe the experiment file and its sections for ``nablafx show``."""

from __future__ import annotations

from typing import Any

from nablafx_core.cli.show_settings import described_settings, settings_table
from nablafx_core.commands import table
from nablafx_core.config.sections import SectionHelp, sections
from nablafx_core.registry import Registry, listed
from nablafx_core.registry.kinds import KINDS

#: Name that shows all sections in brief.
OVERVIEW = "experiment"

_LAYERS = (
    "Later layers override earlier ones: preset < files < --set. Mappings merge, lists are replaced. `nablafx config "
    "FILE` prints the whole experiment, checked and complete, which is an experiment file itself."
)


def section_names() -> list[str]:
    """Return the names that `described_section` accepts."""
    return [OVERVIEW, *sections()]


def described_section(name: str) -> dict[str, Any]:
    """Describe a section, or all of them for ``"experiment"``, as plain data."""
    known = sections()
    if name == OVERVIEW:
        rows = [{"section": key, "summary": one.summary, "example": one.example} for key, one in known.items()]
        return {"section": OVERVIEW, "documentation": _LAYERS, "sections": rows}
    section = known[name]
    described = {
        "section": name,
        "summary": section.summary,
        "documentation": section.documentation,
        "example": section.example,
        "settings": described_settings(section.settings.values()),
    }
    return described | ({"components": _components(section)} if section.kind else {})


def _components(section: SectionHelp) -> list[str]:
    return sorted({entry.component.name for entry in Registry.discover().entries(str(section.kind))})


def section_text(described: dict[str, Any]) -> str:
    """Format the result of `described_section` for people."""
    if described["section"] == OVERVIEW:
        rows = [(f"  {row['section']}", row["summary"]) for row in described["sections"]]
        examples = "\n".join(f"  {row['example']}" for row in described["sections"] if row["section"] != "sweep")
        more = "`nablafx show SECTION` shows every key of a section."
        parts = ("An experiment file", table(rows), more, f"For example\n{examples}", described["documentation"])
        return "\n\n".join(parts)
    head = f"section {described['section']}: {described['summary']}\n\n{described['documentation']}"
    text = f"{head}\n\n  {described['example']}\n\nSettings\n{settings_table(described['settings'])}"
    return f"{text}\n\n{_names(described)}" if "components" in described else text


def _names(described: dict[str, Any]) -> str:
    kind = KINDS[sections()[described["section"]].kind or ""]
    names = listed(kind, described["components"])
    return f"{kind.plural.capitalize()}: {names or 'none installed'}.\n`nablafx show NAME` shows the settings of one."

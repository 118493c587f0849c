"""``nablafx show``: one component and its settings."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click

from nablafx_core.cli.options import answer, as_json, control_settings, controls_option, table, trust_option, yaml_text
from nablafx_core.errors import RegistryError
from nablafx_core.kinds import KINDS
from nablafx_core.registry import Entry, Registry

_WIDEST_TYPE = 30


@click.command()
@click.argument("name")
@click.option("--kind", help="Where several kinds have the name.")
@controls_option
@trust_option
@as_json
def show(name: str, kind: str | None, controls: tuple[str, ...], as_json: bool) -> None:
    """Show the component NAME: what it is, where it comes from, its settings with types, defaults and documentation.

    NAME may also be a bundle or a run's folder: what the model is, its knobs, and what a gray-box chain learned, with
    the knobs at their defaults or where --control sets them.
    """
    if name.endswith(".nfx") or ("/" in name and Path(name).is_dir()):
        from nablafx_core.cli.show_bundle import described_bundle, learned_table

        bundle = described_bundle(name, control_settings(controls))
        if as_json:
            answer(bundle)
            return
        learned = bundle.pop("learned", None)
        click.echo(yaml_text(bundle), nl=False)
        if learned:
            click.echo(f"\n{learned_table(learned)}")
        return
    if controls:
        raise click.UsageError(f"--control sets a knob of a trained model; '{name}' is a component's name.")
    described = [_described(entry) for entry in _found(name, kind)]
    if as_json:
        answer(described if len(described) > 1 else described[0])
        return
    click.echo("\n\n".join(_text(item) for item in described))


def _found(name: str, kind: str | None) -> list[Entry]:
    registry = Registry.discover()
    if kind:
        return [registry.find(kind, name)]
    if ":" in name:
        raise RegistryError(f"'{name}' is an import path; say what it is with --kind.")
    found, clash = [], None
    for which in KINDS.values():
        try:
            found.append(registry.find(which.name, name))
        except RegistryError as error:
            clash = error if "provided by" in str(error) else clash
    if found:
        return found
    names = sorted({entry.component.name for which in KINDS for entry in registry.entries(which)})
    head = f"Nothing is named '{name}'. Named are: {', '.join(names)}."
    raise clash or RegistryError("\n".join([head, *registry.problems()]))


def _described(entry: Entry) -> dict[str, Any]:
    pack = entry.pack
    described: dict[str, Any] = {
        "kind": entry.kind.name,
        "name": entry.component.name,
        "summary": entry.component.summary,
        "pack": f"{pack.name} {pack.version}" if pack else None,
        "target": entry.component.target,
    }
    if entry.kind.content:
        described.update(licence=entry.component.licence, sha256=entry.component.sha256)
        if entry.kind.name == "preset":
            described["text"] = entry.resource().read_text(encoding="utf-8")
        return described
    from nablafx_core.building import component_class
    from nablafx_core.import_paths import code_of_files
    from nablafx_core.settings import REQUIRED, plain_default, settings_of

    with code_of_files([]).used():
        target = component_class(entry)
    described["documentation"] = inspect.getdoc(target) or ""
    described["settings"] = [
        {
            "name": setting.name,
            "type": setting.type_text,
            **({} if plain_default(setting) is REQUIRED else {"default": plain_default(setting)}),
            "required": setting.default is REQUIRED and setting.name not in entry.kind.from_data,
            **({"from_data": True} if setting.name in entry.kind.from_data else {}),
            "doc": setting.doc,
        }
        for setting in settings_of(target, without=entry.kind.injected).values()
    ]
    return described


def _text(item: dict[str, Any]) -> str:
    head = f"{item['kind']} {item['name']}: {item['summary']}\n  from {item['pack']}, {item['target']}"
    if "text" in item:
        return f"{head}\n\n{item['text'].rstrip()}"
    if "settings" not in item:
        return f"{head}\n  licence {item['licence']}, sha256 {item['sha256']}"
    documentation = item["documentation"].split("\n\nArgs:")[0]
    rows = [(f"  {s['name']}", *_kind_and_doc(s, _default_text(s))) for s in item["settings"]]
    return f"{head}\n\n{documentation}\n\nSettings\n{table(rows) if rows else '  none'}"


def _kind_and_doc(setting: dict[str, Any], default: str) -> tuple[str, str, str]:
    """The columns after a setting's name; many choices stand after the documentation, where they widen no column."""
    kind, doc = setting["type"], setting["doc"]
    if len(kind) > _WIDEST_TYPE and " | " in kind:
        kind, doc = "choice", f"{doc} One of: {kind.replace(' | ', ', ')}.".lstrip()
    return kind, default, doc


def _default_text(setting: dict[str, Any]) -> str:
    if setting.get("from_data"):
        return "from the data"
    return "required" if setting["required"] else f"= {_written(setting)}"


def _written(setting: dict[str, Any]) -> str:
    """A default as an experiment file says it; one that a file cannot hold is three dots."""
    default = setting.get("default", "…")
    return default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)

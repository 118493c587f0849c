"""``nablafx show``: show a component, a kind, a section of the experiment file, or a trained model."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from nablafx_core.commands import answer, as_json, control_settings, controls_option, runs_dir, trust_option, yaml_text
from nablafx_core.errors import AmbiguousNameError, RegistryError
from nablafx_core.hints import did_you_mean
from nablafx_core.registry import Entry, Registry
from nablafx_core.registry.kinds import KINDS


@click.command()
@click.argument("name")
@click.option("--kind", help="Kind of the component, if several kinds have the name.")
@controls_option
@runs_dir
@trust_option
@as_json
def show(name: str, kind: str | None, controls: tuple[str, ...], runs_dir: str, as_json: bool) -> None:
    """Show NAME: a component, a kind, a section of the experiment file, or a trained model.

    \b
    nablafx show tcn           a component: its settings with types, defaults and documentation
    nablafx show processors    a kind: what it is, and its components; also devices, presets, …
    nablafx show train         a section: every key; also data, loss, track, …
    nablafx show experiment    all sections in brief
    nablafx show latest        a model: a run's id or its beginning, a run's folder, or a bundle

    For a trained model, show its description, its knobs, and the learned parameters of a gray-box chain; --control
    sets knobs that are not at their defaults.
    """
    model = None if kind else _model(name, Path(runs_dir))
    if model is not None:
        _show_model(str(model), controls, as_json)
        return
    if controls:
        raise click.UsageError(f"--control sets a knob of a trained model; '{name}' is a component's name.")
    if not kind and not _entries(name):
        from nablafx_core.cli.show_section import described_section, section_names, section_text

        if name in section_names():
            section = described_section(name)
            answer(section) if as_json else click.echo(section_text(section))
            return
        from nablafx_core.cli.show_kind import described_kind, kind_names, kind_text

        if name in kind_names():
            of_kind = described_kind(name)
            answer(of_kind) if as_json else click.echo(kind_text(of_kind))
            return
    described = [_described(entry) for entry in _found(name, kind, Path(runs_dir))]
    if as_json:
        answer(described if len(described) > 1 else described[0])
        return
    click.echo("\n\n".join(_text(item) for item in described))


def _model(name: str, runs_dir: Path) -> str | Path | None:
    """Return the bundle or the run folder with that name; None if there is none."""
    if name.endswith(".nfx") or ("/" in name and Path(name).is_dir()):
        return name
    if name != "latest" and ("/" in name or ":" in name or _entries(name)):
        return None
    from nablafx_core.runs.records import begun_by, run_folders

    if name != "latest" and not begun_by([folder.name for folder in run_folders(runs_dir)], name):
        return None
    from nablafx_core.runs.find_model import find_model

    return find_model(name, runs_dir)


def _show_model(name: str, controls: tuple[str, ...], as_json: bool) -> None:
    from nablafx_core.cli.show_bundle import described_bundle, learned_table

    bundle = described_bundle(name, control_settings(controls))
    if as_json:
        answer(bundle)
        return
    learned = bundle.pop("learned", None)
    click.echo(yaml_text(bundle), nl=False)
    if learned:
        click.echo(f"\n{learned_table(learned)}")


def _entries(name: str) -> list[Entry]:
    """Return the components with that short name, of any kind."""
    registry = Registry.discover()
    return [entry for kind in KINDS for entry in registry.entries(kind) if entry.component.name == name]


def _found(name: str, kind: str | None, runs_dir: Path) -> list[Entry]:
    registry = Registry.discover()
    if kind:
        return [registry.find(kind, name)]
    if ":" in name:
        raise RegistryError(f"'{name}' is an import path. Add --kind, such as --kind model.")
    found, clash = [], None
    for which in KINDS.values():
        try:
            found.append(registry.find(which.name, name))
        except RegistryError as error:
            clash = error if isinstance(error, AmbiguousNameError) else clash
    if found:
        return found
    raise clash or RegistryError("\n".join([_unknown_message(name, runs_dir), *registry.problems()]))


def _unknown_message(name: str, runs_dir: Path) -> str:
    from nablafx_core.cli.show_kind import kind_names
    from nablafx_core.cli.show_section import section_names
    from nablafx_core.runs.records import run_folders

    registry = Registry.discover()
    known = {entry.component.name for kind in KINDS for entry in registry.entries(kind)}
    known |= {*section_names(), *kind_names(), "latest", *(folder.name for folder in run_folders(runs_dir))}
    hint = did_you_mean(name.rpartition("/")[2], sorted(known))
    return (
        f"Nothing is named '{name}'.{hint} `nablafx list` lists the components, `nablafx show experiment` the sections "
        "of a file, `nablafx runs` the runs."
    )


def _described(entry: Entry) -> dict[str, Any]:
    pack = entry.pack
    described: dict[str, Any] = {
        "kind": entry.kind.name,
        "name": entry.component.name,
        "summary": entry.component.summary,
        "experimental": entry.component.experimental,
        "pack": f"{pack.name} {pack.version}" if pack else None,
        "target": entry.component.target,
    }
    if entry.kind.content:
        described.update(licence=entry.component.licence, sha256=entry.component.sha256)
        if entry.kind.name == "preset":
            described["text"] = entry.resource().read_text(encoding="utf-8")
        return described
    from nablafx_core.cli.show_settings import described_settings
    from nablafx_core.registry.building import component_class
    from nablafx_core.registry.import_paths import code_of_files
    from nablafx_core.registry.settings import settings_of

    with code_of_files([]).used():
        target = component_class(entry)
    described["documentation"] = inspect.getdoc(target) or ""
    settings = settings_of(target, without=entry.kind.injected).values()
    described["settings"] = described_settings(settings, entry.kind.from_data)
    return described


def _text(item: dict[str, Any]) -> str:
    from nablafx_core.cli.show_settings import settings_table

    head = f"{item['kind']} {item['name']}: {item['summary']}\n  from {item['pack']}, {item['target']}"
    if item["experimental"]:
        head += "\n  experimental: its settings, its sound and its files may change in any release"
    if "text" in item:
        return f"{head}\n\n{item['text'].rstrip()}"
    if "settings" not in item:
        return f"{head}\n  licence {item['licence']}, sha256 {item['sha256']}"
    documentation = item["documentation"].split("\n\nArgs:")[0]
    return f"{head}\n\n{documentation}\n\nSettings\n{settings_table(item['settings'])}"

"""Packs of components that are correct or have a fault, and the results of their check."""

from __future__ import annotations

from nablafx_core.registry.kinds import kind_named
from nablafx_core.testing import pack_results


def plugin(*components: tuple[str, str, dict]) -> str:
    """Return a plugin module that registers (kind, target, example) under the name of the target's last part."""
    hooks = {}
    for kind, target, example in components:
        name = target.rpartition(":")[2].lower()
        hooks.setdefault(kind_named(kind).hook, []).append(f"Component({name!r}, {target!r}, 'A {kind}', {example!r})")
    return "".join(f"@hookimpl\ndef {hook}():\n    return [{', '.join(made)}]\n" for hook, made in hooks.items())


def results(install, *components):
    """Check the pack nablafx-acme, and return the results by (kind, law)."""
    install("nablafx-acme", plugin(*components))
    return {(result.kind, result.law): result for result in pack_results("acme")}


def faulty(kind, name, fault=""):
    return kind, f"reference.faulty:{name}", {"fault": fault} if fault else {}


def told(said, failure):
    """Return whether the message of a failure begins as expected; LINE stands for any line number."""
    head, line, rest = failure.partition("LINE")
    return said.startswith(head) and (not line or said[len(head) :].lstrip("0123456789").startswith(rest))


def preset_file(install, text):
    """Write a preset into the package `acme_files`, as p.yaml."""
    folder = install.folder / "acme_files"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "p.yaml").write_text(text)

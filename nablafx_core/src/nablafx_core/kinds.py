"""The kinds of component that packs provide, as one table."""

from __future__ import annotations

from dataclasses import dataclass

from nablafx_core.errors import RegistryError


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Args:
        name: in the singular, as messages say it.
        plural: as ``nablafx list`` takes it; the hook is ``nablafx_`` + plural.
        content: True if targets are files inside a package, False if they are imported.
        injected: constructor arguments that the framework fills, never the experiment.
    """

    name: str
    plural: str
    content: bool = False
    injected: frozenset[str] = frozenset()

    @property
    def hook(self) -> str:
        """The hook that packs implement to provide this kind."""
        return f"nablafx_{self.plural}"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("model", "models"),
        Kind("processor", "processors", injected=frozenset({"sample_rate"})),
        Kind("controller", "controllers", injected=frozenset({"num_parameters", "num_controls", "sample_rate"})),
        Kind("dataset", "datasets"),
        Kind("device", "devices"),
        Kind("loss", "losses"),
        Kind("metric", "metrics"),
        Kind("embedding", "embeddings"),
        Kind("importer", "importers"),
        Kind("exporter", "exporters"),
        Kind("observer", "observers"),
        Kind("command", "commands"),
        Kind("preset", "presets", content=True),
        Kind("bundle", "bundles", content=True),
    )
}


def kind_named(name: str) -> Kind:
    """The kind called `name`, in the singular or the plural.

    Raises:
        RegistryError: if there is none.
    """
    for kind in KINDS.values():
        if name in (kind.name, kind.plural):
            return kind
    raise RegistryError(f"There is no kind '{name}'. Kinds: {', '.join(kind.plural for kind in KINDS.values())}.")

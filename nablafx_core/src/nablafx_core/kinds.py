"""The kinds of component that packs provide, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nablafx_core.errors import RegistryError


@dataclass(frozen=True)
class Given:
    """Constructor argument that the framework passes to a component that has it.

    Args:
        name: name of the argument.
        what: description, for documents.
        settable: True if an experiment may set it instead; False if only the framework passes it.
        source: source of the value; values from the experiment are known before the data.
    """

    name: str
    what: str
    settable: bool = False
    source: Literal["chain", "data", "experiment"] = "data"


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Args:
        name: in the singular, as messages say it.
        plural: as ``nablafx list`` takes it; the hook is ``nablafx_`` + plural.
        interface: ``module:Class`` that a component derives from (for `instances`: that it is an object of). An import
            path in a file may name anything, so nothing is called before it is known to fit. Empty for content only.
        content: True if targets are files inside a package, False if they are imported.
        instances: True if targets are objects, False if they are classes.
        given: constructor arguments that the framework gives.

    Raises:
        ValueError: if a kind of code has no interface, or content has one.
    """

    name: str
    plural: str
    interface: str = ""
    content: bool = False
    instances: bool = False
    given: tuple[Given, ...] = ()

    def __post_init__(self) -> None:
        if self.content is bool(self.interface):
            raise ValueError(f"kind '{self.name}': code needs an interface, content has none.")

    @property
    def injected(self) -> frozenset[str]:
        """Arguments that only the framework passes; they are not settings."""
        return frozenset(one.name for one in self.given if not one.settable)

    @property
    def from_data(self) -> frozenset[str]:
        """Settings that come from the data unless the experiment sets them."""
        return frozenset(one.name for one in self.given if one.settable and one.source == "data")

    @property
    def hook(self) -> str:
        """The hook that packs implement to provide this kind."""
        return f"nablafx_{self.plural}"

    def fits(self, target: object, interface: type) -> bool:
        """Return whether a target is of this kind, without calling it.

        Args:
            target: target of a component's import path.
            interface: imported class that `interface` names.
        """
        if self.instances:
            return isinstance(target, interface)
        return isinstance(target, type) and issubclass(target, interface)


_CONTRACTS = "nablafx_core.interfaces"
_CONVERSION = "nablafx_core.export.conversion"
_RATE = Given("sample_rate", "Hz of the data", settable=True)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "model",
            "models",
            f"{_CONTRACTS}:Model",
            given=(_RATE, Given("controls", "knobs of the data", settable=True)),
        ),
        Kind(
            "processor",
            "processors",
            f"{_CONTRACTS}:Processor",
            given=(Given("sample_rate", "Hz at which it runs", source="chain"),),
        ),
        Kind(
            "controller",
            "controllers",
            f"{_CONTRACTS}:Controller",
            given=(
                Given("num_parameters", "parameters of its processor that are not fixed", source="chain"),
                Given("num_controls", "knobs of the model", source="chain"),
                Given("sample_rate", "Hz at which its processor runs", source="chain"),
            ),
        ),
        Kind(
            "dataset",
            "datasets",
            "nablafx_core.data.recording:Dataset",
            given=(Given("sample_rate", "`model.sample_rate`, where the experiment sets it", True, "experiment"),),
        ),
        Kind("device", "devices", f"{_CONTRACTS}:Device"),
        Kind("loss", "losses", f"{_CONTRACTS}:Loss", given=(_RATE,)),
        Kind("metric", "metrics", f"{_CONTRACTS}:Metric", given=(_RATE,)),
        Kind("embedding", "embeddings", f"{_CONTRACTS}:Embedding"),
        Kind("importer", "importers", f"{_CONVERSION}:Importer"),
        Kind("exporter", "exporters", f"{_CONVERSION}:Exporter"),
        Kind("observer", "observers", "nablafx_core.tracking.observer:RunObserver"),
        Kind("command", "commands", "click:Command", instances=True),
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

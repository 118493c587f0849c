"""Table of the kinds of component that packs provide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nablafx_core.errors import RegistryError


@dataclass(frozen=True)
class Given:
    """Constructor argument that the framework passes to components that accept it.

    Args:
        name: name of the argument.
        what: description of the value, for the documentation.
        settable: True if an experiment may set the argument, and the framework passes it only if none does; False if
            only the framework passes it.
        source: source of the value: the gray-box chain, the data, or other sections of the experiment, whose values are
            known before the data is read.
    """

    name: str
    what: str
    settable: bool = False
    source: Literal["chain", "data", "experiment"] = "data"


@dataclass(frozen=True)
class Kind:
    """A kind of component, with everything that the framework knows about it.

    Strings of the form ``module:NAME`` are imported at their first use, so that importing the table is fast.

    Args:
        name: name in the singular, for messages.
        plural: name in the plural, for ``nablafx list``; the hook is ``nablafx_`` + plural.
        summary: description of such components, the beginning of the hook's documentation.
        example: arguments of the `Component` in the hook's example, as source text.
        laws: ``module:TABLE`` of the laws for its components, see `nablafx_core.testing.table`.
        interface: ``module:Class`` of the base class of its components (for `instances`: the class of the objects). An
            import path in a file may name anything, so a target is checked against it before it is called. Empty only
            for content.
        content: True if targets are files inside a package, False if they are imported.
        instances: True if targets are objects, False if they are classes.
        given: constructor arguments that the framework passes.
        beside: ``module:TABLE`` of the framework's settings that a section has beside the component's own; empty for
            none.
        structures: ``module:TABLE`` of the settings of sections that may replace a component in a list of its kind, by
            the key that such a section has; empty for none.
        keys: other keys that the framework reads in sections of this kind.
        adapted: ``module:function`` that turns a component's class into one whose settings a file can contain.
        template: template file of the component that ``nablafx packs new`` writes; empty if there is none.
        needs: names of the kinds that ``nablafx packs new`` adds with it.

    Raises:
        ValueError: if a kind of code has no interface, or if a kind of content has one.
    """

    name: str
    plural: str
    summary: str
    example: str
    laws: str
    interface: str = ""
    content: bool = False
    instances: bool = False
    given: tuple[Given, ...] = ()
    beside: str = ""
    structures: str = ""
    keys: tuple[str, ...] = ()
    adapted: str = ""
    template: str = ""
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.content is bool(self.interface):
            raise ValueError(f"kind '{self.name}': code needs an interface, content has none.")

    @property
    def injected(self) -> frozenset[str]:
        """Names of the constructor arguments that only the framework passes; they are not settings."""
        return frozenset(one.name for one in self.given if not one.settable)

    @property
    def from_data(self) -> frozenset[str]:
        """Names of the settings that come from the data unless the experiment sets them."""
        return frozenset(one.name for one in self.given if one.settable and one.source == "data")

    @property
    def hook(self) -> str:
        """Name of the hook that packs implement to provide this kind."""
        return f"nablafx_{self.plural}"

    def fits(self, target: object, interface: type) -> bool:
        """Return True if a target has this kind of code, without calling it.

        The target must be an object of the interface for `instances`, else a subclass of it.

        Args:
            target: target of a component's import path.
            interface: imported class that the field `interface` names.
        """
        if self.instances:
            return isinstance(target, interface)
        return isinstance(target, type) and issubclass(target, interface)

    @property
    def doc(self) -> str:
        """Documentation of the hook, with a complete example."""
        derived = "" if self.content or self.instances else f", subclasses of `{self.interface.replace(':', '.')}`"
        return (
            f"{self.summary.removesuffix('.')}{derived}::\n\n    @hookimpl\n    def {self.hook}():\n"
            f"        return [Component({self.example})]\n"
        )


_CONTRACTS = "nablafx_core.interfaces"
_LAWS = "nablafx_core.testing.table"
_RATE = Given("sample_rate", "sample rate of the data in Hz", settable=True)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "model",
            "models",
            "Models.",
            '"ladder", "nablafx_acme.ladder:Ladder", "4-pole transistor ladder filter"',
            laws=f"{_LAWS}:MODEL",
            interface=f"{_CONTRACTS}:Model",
            given=(_RATE, Given("controls", "knobs of the data", settable=True)),
            keys=("preset",),
            template="drive.py",
        ),
        Kind(
            "processor",
            "processors",
            "Parts of gray-box chains.",
            '"ring_mod", "nablafx_acme.ring_mod:RingMod", "Ring modulator"',
            laws=f"{_LAWS}:PROCESSOR",
            interface=f"{_CONTRACTS}:Processor",
            given=(Given("sample_rate", "sample rate in Hz at which it runs", source="chain"),),
            beside="nablafx_core.graybox.grammar:BESIDE",
            structures="nablafx_core.graybox.grammar:STRUCTURES",
            template="clip.py",
        ),
        Kind(
            "controller",
            "controllers",
            "Sources of a processor's parameters.",
            '"lfo", "nablafx_acme.lfo:LFO", "Low-frequency oscillator with learned rate and depth"',
            laws=f"{_LAWS}:CONTROLLER",
            interface=f"{_CONTRACTS}:Controller",
            given=(
                Given("num_parameters", "number of parameters of its processor that are not fixed", source="chain"),
                Given("num_controls", "number of knobs of the model", source="chain"),
                Given("sample_rate", "sample rate in Hz at which its processor runs", source="chain"),
            ),
            template="knobs.py",
        ),
        Kind(
            "dataset",
            "datasets",
            "Datasets.",
            '"egfxset", "nablafx_acme.egfxset:EGFxSet", "EGFxSet: guitar notes through 12 effects"',
            laws=f"{_LAWS}:DATASET",
            interface=f"{_CONTRACTS}:Dataset",
            given=(Given("sample_rate", "`model.sample_rate`, if the experiment sets it", True, "experiment"),),
            beside="nablafx_core.config.schema:BESIDE_DATASET",
            template="tones.py",
        ),
        Kind(
            "device",
            "devices",
            "Ground-truth effects that render audio.",
            '"diode_clipper", "nablafx_acme.diode:DiodeClipper", "Two diodes and a capacitor"',
            laws=f"{_LAWS}:DEVICE",
            interface=f"{_CONTRACTS}:Device",
            template="crunch.py",
        ),
        Kind(
            "loss",
            "losses",
            "Training losses.",
            '"log_cosh", "nablafx_acme.losses:LogCosh", "Mean of log cosh of the error"',
            laws=f"{_LAWS}:LOSS",
            interface=f"{_CONTRACTS}:Loss",
            given=(_RATE,),
            beside="nablafx_core.config.schema:BESIDE_LOSS",
            template="treble.py",
        ),
        Kind(
            "metric",
            "metrics",
            "Figures of merit of a split.",
            '"snr", "nablafx_acme.metrics:SNR", "Signal-to-noise ratio in dB"',
            laws=f"{_LAWS}:METRIC",
            interface=f"{_CONTRACTS}:Metric",
            given=(_RATE,),
            template="error_db.py",
        ),
        Kind(
            "embedding",
            "embeddings",
            "Networks that map audio to vectors.",
            '"vggish", "nablafx_acme.vggish:VGGish", "VGGish; loads weights from a path"',
            laws=f"{_LAWS}:EMBEDDING",
            interface=f"{_CONTRACTS}:Embedding",
            template="spectrum.py",
        ),
        Kind(
            "importer",
            "importers",
            "Readers of other projects' model files.",
            '"nam", "nablafx_acme.nam:NAMImporter", "Neural Amp Modeler files"',
            laws=f"{_LAWS}:IMPORTER",
            interface=f"{_CONTRACTS}:Importer",
            keys=("path",),
            template="drive_file.py",
            needs=("model", "exporter"),
        ),
        Kind(
            "exporter",
            "exporters",
            "Writers of other projects' model files.",
            '"rtneural", "nablafx_acme.rtneural:RTNeuralExporter", "RTNeural JSON"',
            laws=f"{_LAWS}:EXPORTER",
            interface=f"{_CONTRACTS}:Exporter",
            keys=("model", "path"),
            template="drive_file.py",
            needs=("model", "importer"),
        ),
        Kind(
            "observer",
            "observers",
            "Sacred observers; `track.observers` names them.",
            '"slack", "nablafx_acme.slack:SlackObserver", "A message when a run ends"',
            laws=f"{_LAWS}:OBSERVER",
            interface=f"{_CONTRACTS}:RunObserver",
            beside="nablafx_core.config.schema:BESIDE_OBSERVER",
            adapted="nablafx_core.runs.stock:with_plain_settings",
            template="diary.py",
        ),
        Kind(
            "command",
            "commands",
            "click commands, added to the command line; imported when called.",
            '"play", "nablafx_acme.play:play", "Play a bundle through the sound card"',
            laws=f"{_LAWS}:COMMAND",
            interface="click:Command",
            instances=True,
            template="peak.py",
        ),
        Kind(
            "preset",
            "presets",
            "YAML files for the lowest layer of an experiment; `model.preset` names one.",
            '"tcn-45-s", "nablafx_acme:presets/tcn-45-s.yaml", "TCN, 45 ms, 5 blocks"',
            laws=f"{_LAWS}:PRESET",
            content=True,
            template="presets/drive-hot.yaml",
            needs=("model",),
        ),
        Kind(
            "bundle",
            "bundles",
            "Trained models, with the licence and the hash of the file.",
            '"ts9", "nablafx_acme:bundles/ts9.nfx", "TS9", licence="CC-BY-4.0", sha256="…"',
            laws=f"{_LAWS}:BUNDLE",
            content=True,
            needs=("model",),
        ),
    )
}

#: Sections that name no component, by the kind in their `Section` mark: ``module:TABLE`` of their settings.
PLAIN_SECTIONS = {"mix": "nablafx_core.graybox.grammar:DRIVEN"}


def kind_named(name: str) -> Kind:
    """Return the kind called `name`, in the singular or the plural.

    Raises:
        RegistryError: if there is no such kind.
    """
    for kind in KINDS.values():
        if name in (kind.name, kind.plural):
            return kind
    raise RegistryError(f"There is no kind '{name}'. Kinds: {', '.join(kind.plural for kind in KINDS.values())}.")

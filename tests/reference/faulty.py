"""Devices, datasets, exporters, importers and observers that are correct or have one fault."""

from __future__ import annotations

import json

import click
import numpy as np
import torch
from sacred.observers import RunObserver

from nablafx_core import build
from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import ConversionError, NablafxError
from nablafx_core.interfaces import Dataset, Device, Exporter, Importer, Recording
from nablafx_core.testing.tiny import TINY_MODEL, TinyModel


class Clipper(Device):
    """tanh(gain x), with a switch that inverts the sign, and a level.

    Args:
        fault: what is wrong.
    """

    controls = (Control("gain"), Control("sign", positions=("+", "-", "+ again")), Control("level"))

    def __init__(self, fault: str = "") -> None:
        self.fault, self.rendered = fault, 0

    def render(self, audio, sample_rate, controls=()):
        gain, sign, level = controls or (0.5, 0.0, 0.5)
        self.rendered += 1
        out = np.tanh((1 + gain) * audio) * np.cos(2 * np.pi * sign) * (0.5 + level)
        if self.fault == "delays":
            out = np.append(out, 0.0)
        elif self.fault == "single":
            out = out.astype(np.float32)
        elif self.fault == "divides":
            out = out / np.abs(audio).max(initial=0.0) if np.any(audio) or level < 1 else out * np.nan
        elif self.fault == "one rate":
            out = out if sample_rate < 50_000 else np.full_like(out, np.inf)
        elif self.fault == "one end":
            out = out if gain > 0 or level != 0.5 else np.full_like(out, np.nan)
        elif self.fault == "in place":
            audio *= 0
        elif self.fault == "remembers":
            out = out * (1 + 1e-6 * self.rendered)
        elif self.fault == "deaf":
            out = np.tanh(audio) * np.cos(2 * np.pi * sign) * (0.5 + level)
        elif self.fault == "list":
            out = out.tolist()
        return out


class Drifting(ArraySource):
    """Source that reads different samples at the start of a piece."""

    def read(self, start, stop):
        audio = super().read(start, stop).clone()
        if stop > start:
            audio[0] += 0.01
        return audio


class Open(ArraySource):
    """Source that cannot be pickled."""

    def __init__(self, audio):
        super().__init__(audio)
        self.file = open(__file__, "rb")  # noqa: SIM115

    def __del__(self):
        self.file.close()


class Forgetful(ArraySource):
    """Source that loses its samples when it is pickled."""

    def __reduce__(self):
        return ArraySource, (torch.zeros_like(self.audio),)


class Noise(Dataset):
    """Recordings of noise, with half of it as the target.

    Args:
        fault: what is wrong.
    """

    def __init__(self, fault: str = "") -> None:
        self.sample_rate = {"rate": 44100.0, "no rate": 0}.get(fault, 48000)
        self.controls = (Control("level"),)
        self.recordings = () if fault == "nothing" else tuple(self.recording(i, fault) for i in range(3))

    def recording(self, number, fault):
        dry = 0.1 * torch.randn(1000, generator=torch.Generator().manual_seed(number))
        wet = dry / 2
        source = {"drifts": Drifting, "open": Open, "forgets": Forgetful}.get(fault, ArraySource)
        if fault == "NaN":
            wet = wet / (wet != wet[500])
        elif fault == "double":
            wet = wet.double()
        elif fault == "two channels" and number == 1:
            wet = torch.stack([wet, wet])
        elif fault == "stereo":
            wet = wet[:, None]
            return Recording("r", ArraySource(dry), Sideways(wet), "r", (0.5,), stop=1000)
        knobs = {"outside": (5.0,), "no knob": (), "NaN knob": (float("nan"),)}.get(fault, (0.5,))
        stop = {"no stop": 0, "too far": 1001}.get(fault, 1000)
        wet = wet[:-1] if fault == "shorter" else wet
        name = "r" if fault == "same name" else f"r{number}"
        return Recording(name, source(dry), source(wet), f"r{number}", knobs, stop=stop)


class Sideways(ArraySource):
    @property
    def num_samples(self):
        return self.audio.shape[0]


class Writer(Exporter):
    """Exporter that writes TinyModel as JSON.

    Args:
        fault: what is wrong.
    """

    suffix = ".tiny"

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def write(self, model, path):
        if self.fault == "refuses":
            raise ConversionError("not today.")
        if not isinstance(model, TinyModel):
            if self.fault == "leaves":
                path.with_name("left.bin").write_bytes(b"")
            raise (TypeError if self.fault == "raises" else ConversionError)("only TinyModel.")
        if self.fault == "beside":
            path.with_name("beside.bin").write_bytes(b"")
        if self.fault == "spoils":
            model.weight.data.fill_(0)
        weight = model.weight.item() + (1e-3 if self.fault == "rounds" else 0)
        controls = [control.name for control in model.controls]
        path.write_text(json.dumps({"weight": weight, "sample_rate": model.sample_rate, "controls": controls}))


class Reader(Importer):
    """Importer that reads the files of `Writer`.

    Args:
        fault: what is wrong.
    """

    suffixes = (".tiny",)

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def read(self, path):
        if self.fault == "trusts":
            content = json.loads(path.read_text())
        elif self.fault == "reads nothing" and not path.read_bytes():
            content = {"weight": 1.0, "sample_rate": 1, "controls": []}
        else:
            try:
                content = json.loads(path.read_text())
                content["weight"] * 1.0, content["sample_rate"] + 1, [name + "" for name in content["controls"]]
            except (ValueError, TypeError, KeyError, RecursionError):
                raise ConversionError(f"{path}: no such model.") from None
        controls = [] if self.fault == "no knobs" else [{"name": name} for name in content["controls"]]
        rate = 8000 if self.fault == "own rate" else content["sample_rate"]
        model = build("model", {"name": TINY_MODEL}, sample_rate=rate, controls=controls)
        model.weight.data.fill_(content["weight"])
        if self.fault == "unsaved":
            model.weight = torch.nn.Parameter(model.weight.detach(), requires_grad=False)
            model.forward = lambda audio, controls=None, state=None: (0.5 * audio, {})
        return model.train(self.fault == "trains")


class Listener(RunObserver):
    """Observer that counts events.

    Args:
        fault: what is wrong.
    """

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        if fault == "no server":
            raise ConnectionRefusedError("no server at localhost:1")
        if fault == "says so":
            raise NablafxError("no server: set LISTENER_URL.")
        if fault == "broken":
            raise KeyError("url")

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        return _id

    def heartbeat_event(self, info, captured_out, beat_time, result):
        if self.fault == "result" and result:
            raise ValueError("no room for a result")

    def artifact_event(self, name, filename, metadata=None, content_type=None):
        if self.fault == "artifact":
            raise OSError("no room")

    def failed_event(self, fail_time, fail_trace):
        if self.fault == "failure":
            raise ValueError("no words")


@click.command()
def good():
    """Do something."""


@click.command()
def silent():
    click.echo("did it")


class Hasty(click.Command):
    def parse_args(self, ctx, args):
        raise OSError("no display")


hasty = Hasty("hasty", help="Do something at once.")


class NoModel:
    """Class of no kind of component."""


class Settings(TinyModel):
    """A model with settings.

    Args:
        width: told.
        kind: told
            at length.
    """

    def __init__(self, sample_rate: int, controls=(), *, width: int = 4, kind: str = "a", depth: int = 2):
        super().__init__(sample_rate, controls)


class Unwritable(TinyModel):
    """Settings that cannot be written to a file."""

    def __init__(self, shape: NoModel, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)


class Contradicting(TinyModel):
    """Component with a default that its annotation refuses."""

    def __init__(self, width: int = 0.5, choice: str = "a", sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)


class ByPosition(TinyModel):
    """Component with a positional-only setting."""

    def __init__(self, width: int = 1, /, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)


class Whole(TinyModel):
    """y = weight x / peak(x); needs the whole file."""

    streams = False
    causal = False

    def initial_state(self, batch_size, controls=None):
        return super(TinyModel, self).initial_state(batch_size, controls)

    def forward(self, audio, controls=None, state=None):
        self.checked_controls(audio, controls)
        return self.weight * audio / audio.square().mean(-1, keepdim=True).add(1e-3), {}

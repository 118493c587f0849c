"""Write the bundles and the run that later versions must still read: ``python tests/kept/write.py`` in the root folder.

Run it once for a release. The files of earlier releases are never written again: they are what the test reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import nablafx_core as nfx

HERE = Path(__file__).parent
KNOBS = [nfx.Control("drive"), nfx.Control("tone", 500.0, 8000.0, "Hz", "log")]
MODELS = {
    "tcn": {
        "name": "tcn",
        "num_blocks": 3,
        "channel_width": 4,
        "kernel_size": 3,
        "dilation_growth": 2,
        "conditioning": "film",
        "activation": "rational",
    },
    "gcn": {"name": "gcn", "num_blocks": 3, "channel_width": 4, "kernel_size": 3, "conditioning": "tvfilm"},
    "lstm": {"name": "lstm", "hidden_size": 8, "conditioning": "concatenated"},
    "s4": {"name": "s4", "num_blocks": 2, "channel_width": 4, "conditioning": "none"},
    "graybox": {
        "name": "graybox",
        "processors": [
            {"name": "parametric_eq", "controller": "static"},
            {"name": "compressor", "controller": "static_cond"},
            {"parallel": [[{"name": "gain", "controller": "static"}], [{"name": "tanh"}]]},
        ],
    },
}


@contextmanager
def chdir(folder: str) -> Iterator[None]:
    """Work in a folder."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def write(folder: Path) -> None:
    """Write everything of this version into a folder that does not exist."""
    with TemporaryDirectory(dir=HERE) as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        outputs = {"dry": 0.3 * np.random.default_rng(1).standard_normal(2400).astype(np.float32)}
        for name, section in MODELS.items():
            torch.manual_seed(1)
            controls = [] if section.get("conditioning") == "none" else KNOBS
            model = nfx.build("model", section, sample_rate=48000, controls=controls).eval()
            nfx.save_bundle(model, made / f"{name}.nfx", info={"written by": version("nablafx-core")})
            with torch.no_grad():
                outputs[name] = model(torch.from_numpy(outputs["dry"])[None, None])[0][0, 0].numpy()
        np.savez_compressed(made / "outputs.npz", **outputs)
        train = {"max_steps": 4, "validate_every": 2, "warm_up": 0}
        data = {"name": "nablafx_core.testing.tiny:TinyData", "num_controls": 1, "segment_length": 1024}
        model = {"name": "lstm", "hidden_size": 4, "conditioning": "concatenated"}
        with chdir(temporary):  # the record names no folder of this machine
            result = nfx.train({"data": data, "model": model, "train": train}, progress=False)
            for part in ("pictures", "audio"):
                shutil.rmtree(result.folder / part)
            run = shutil.copytree(result.folder, made / "runs" / "20261201-kept-run-0001")
        entry = json.loads((run / "run.json").read_text())
        entry |= {"machine": "another", "host": {**entry["host"], "hostname": "studio"}}
        (run / "run.json").write_text(json.dumps(entry, indent=2))
        made.rename(folder)


if __name__ == "__main__":
    write(HERE / ".".join(version("nablafx-core").split(".")[:2]))

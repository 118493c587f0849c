"""Our presets for compressors, overdrives and fuzzes against the chains of NablAFx 1.0 of the same kind.

    python benchmarks/presets.py
    python benchmarks/presets.py --only comp --minutes 10 --seeds 3

Each is trained on plucked strings through a simulated circuit at its knobs' defaults, for the same time, with the same
segments, loss and learning rate, from the same seeds; the score is the error-to-signal ratio (ESR) on a file that is
not in the training data. One thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import nablafx_core as nfx
from nablafx_core.training.allocator import keep_freed_memory

#: A device, our preset, and the preset of NablAFx 1.0 of the same kind.
ROWS = {
    "comp": ("opto_compressor", "comp", "gb-comp"),
    "overdrive": ("tube_screamer", "overdrive", "gb-dist-rnl"),
    "fuzz": ("fuzz_face", "fuzz", "gb-fuzz-rnl"),
    "amp": ("fuzz_face", "amp", "gb-dist-rnl"),
}
SEGMENTS = {"comp": {"segment_length": 32768, "batch_size": 4}}


def trained(row: str, preset: str, seed: int, minutes: float, folder: Path) -> float:
    """Train a preset and return its ESR."""
    device = ROWS[row][0]
    data = {"name": "simulated", "path": str(folder / device), "device": device, "num_settings": 1}
    data |= SEGMENTS.get(row, {"segment_length": 16384, "batch_size": 6})
    train = {"seed": seed, "max_minutes": minutes, "lr_schedule": "cosine", "learning_rate": 0.03, "threads": 1}
    experiment = {
        "data": data,
        "model": {"preset": preset},
        "loss": [{"name": "esr", "weight": 1.0}],
        "train": train | {"max_steps": 100000, "validate_every": 100},
        "track": {"runs_dir": str(folder / "runs")},
    }
    return nfx.train(experiment).test["esr"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(ROWS), help="a row; may be given several times")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{'ROW':<11}{'DEVICE':<17}{'PRESET':<13}{'MEDIAN ESR':>10}  SEEDS")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for row in options.only or ROWS:
            device, *presets = ROWS[row]
            for preset in presets:
                found = [trained(row, preset, seed, options.minutes, Path(folder)) for seed in range(options.seeds)]
                each = "  ".join(f"{esr:.3g}" for esr in found)
                print(f"{row:<11}{device:<17}{preset:<13}{statistics.median(found):>10.3g}  {each}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

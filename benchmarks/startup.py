"""Start-up of the command line, with the installed packs alone and with many more, against importing click and pluggy.

    python benchmarks/startup.py

Each repeat runs every case once, one after the other, so that a busy moment of the machine affects all of them; the
table shows medians. The first run of each case, which compiles the fake packs, is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASELINE = "import click, pluggy"
PROGRAM = "from nablafx_core.cli import main; main()"
COMMANDS = (["--help"], ["packs"], ["list", "models"])

PLUGIN = '''"""What this pack provides."""

from nablafx_core import Component, hookimpl


@hookimpl
def nablafx_models():
    return [Component("model-{number}", "nablafx_bench_{number}.model:Model", "One of many models")]


@hookimpl
def nablafx_presets():
    return [Component(f"preset-{number}-{{i}}", "nablafx_bench_{number}:p.yaml", "A preset") for i in range(5)]
'''
METADATA = """Metadata-Version: 2.1
Name: nablafx-bench-{number}
Version: 1.{number}
Requires-Dist: nablafx-core>=0.1
Requires-Dist: torch>=2.8

{description}
"""


def write_packs(folder: Path, count: int) -> None:
    """Write distributions as pip installs them: a package with a plugin module, and its metadata with a README."""
    for number in range(count):
        package = folder / f"nablafx_bench_{number}"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(PLUGIN.format(number=number))
        info = folder / f"nablafx_bench_{number}-1.{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(METADATA.format(number=number, description="A line of the README.\n" * 200))
        (info / "entry_points.txt").write_text(f"[nablafx]\nbench-{number} = nablafx_bench_{number}.plugin\n")


def seconds(arguments: list[str], path: str) -> float:
    """Return the wall-clock time of one Python process, with one thread."""
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("NABLAFX_PACKS", None)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--packs", type=int, default=200, help="fake packs beside those that are installed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_packs(Path(folder), options.packs)
        cases = {("python -c 'import click, pluggy'", 0): ([BASELINE], "")}
        for command in COMMANDS:
            for count, path in ((0, ""), (options.packs, folder)):
                cases[f"nablafx {' '.join(command)}", count] = ([PROGRAM, *command], path)
        times = {case: [] for case in cases}
        for repeat in range(options.repeats + 1):
            for case, call in cases.items():
                taken = seconds(*call)
                if repeat:
                    times[case].append(taken)
    baseline = statistics.median(next(iter(times.values())))
    print(f"{'COMMAND':<34}{'EXTRA PACKS':>12}{'MEDIAN':>11}{'RATIO':>8}")  # noqa: T201
    for (name, count), taken in times.items():
        median = statistics.median(taken)
        print(f"{name:<34}{count:>12}{1000 * median:>8.0f} ms{median / baseline:>8.2f}")  # noqa: T201


if __name__ == "__main__":
    main()

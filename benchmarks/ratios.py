"""Shared code of the benchmarks that measure ratios: rows of two functions to compare, and their table.

One thread. Each repeat runs ours and the baseline one after the other and gives a ratio; the result is the median of
the ratios, with the quartiles beside it. The first run of each, which compiles, is left out. Freed memory is kept for
the next run in both cases, as `nablafx train` does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from nablafx_core.training.allocator import keep_freed_memory


class Row(NamedTuple):
    """Two functions to compare.

    Args:
        ours: function to measure.
        baseline: function to compare it with.
        described: description of the baseline.
        cost: True if the ratio is our time over the baseline's, so that smaller is better; False for the inverse.
    """

    ours: Callable[[], object]
    baseline: Callable[[], object]
    described: str
    cost: bool = False


def parser_for(rows: Iterable[str], doc: str) -> argparse.ArgumentParser:
    """Return the parser for the options of a benchmark with these rows."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(rows), help="a row; may be given several times")
    parser.add_argument("--repeats", type=int, default=9)
    return parser


def compare(rows: dict[str, Callable[[], Row]], options: argparse.Namespace) -> None:
    """Measure the rows that the options name, and print a line for each."""
    if options.repeats < 2:
        raise SystemExit("quartiles need --repeats 2 or more")
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"{'ROW':<28}{'OURS':>11}{'BASELINE':>12}{'RATIO':>8}  {'QUARTILES':<16}RATIO IS")  # noqa: T201
    for name in options.only or rows:
        torch.manual_seed(0)
        row = rows[name]()
        own, others = _measured(row, options.repeats)
        ratios = [a / b if row.cost else b / a for a, b in zip(own, others, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        spread = f"{low:.2f} to {high:.2f}"
        meaning = "times the time of" if row.cost else "times as fast as"
        print(  # noqa: T201
            f"{name:<28}{1000 * statistics.median(own):>8.1f} ms{1000 * statistics.median(others):>9.1f} ms"
            f"{middle:>8.2f}  {spread:<16}{meaning} {row.described}",
            flush=True,
        )


def _measured(row: Row, repeats: int) -> tuple[list[float], list[float]]:
    """Return the times of ours and of the baseline, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for taken, run in zip(times, (row.ours, row.baseline), strict=True):
            began = time.perf_counter()
            run()
            if repeat:
                taken.append(time.perf_counter() - began)
    return times

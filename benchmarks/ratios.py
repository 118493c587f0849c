"""What the benchmarks of ratios have in common: rows of two things to compare, and the table of them.

One thread. A repeat runs ours and the baseline one after the other, and the ratio of each repeat is what counts: its
median, with the quartiles beside it. The first run of each, which compiles, is left out. Freed memory is kept for the
next run, as `nablafx train` does, for both alike.
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
    """Two things to compare.

    Args:
        ours: that is measured.
        baseline: what it is measured against.
        described: the baseline in words.
        cost: the ratio is our time over the baseline's, where it is to be small; otherwise the other way round.
    """

    ours: Callable[[], object]
    baseline: Callable[[], object]
    described: str
    cost: bool = False


def parser_for(rows: Iterable[str], doc: str) -> argparse.ArgumentParser:
    """The options of a benchmark that has these rows."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(rows), help="a row; may be given several times")
    parser.add_argument("--repeats", type=int, default=9)
    return parser


def compare(rows: dict[str, Callable[[], Row]], options: argparse.Namespace) -> None:
    """Measure the rows that the options name and print a line for each."""
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
    """Times of ours and of the baseline, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for taken, run in zip(times, (row.ours, row.baseline), strict=True):
            began = time.perf_counter()
            run()
            if repeat:
                taken.append(time.perf_counter() - began)
    return times

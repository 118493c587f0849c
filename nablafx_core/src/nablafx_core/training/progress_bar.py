"""Show the progress of a training in one line on the terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning import Callback, Trainer
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nablafx_core.training.callbacks import TimeLimit

_REDRAW_SECONDS = 0.25  # reading the loss waits for the GPU, so it is rare
_RECENT = 40  # number of redraws over which the speed is measured: at least ten seconds


@dataclass(frozen=True)
class Status:
    """Progress of a training.

    Args:
        step: number of optimiser steps so far.
        total_steps: number of optimiser steps at the end; None for no limit.
        elapsed: seconds of training so far, including those before a resume.
        limit: seconds after which the training ends; None for no limit.
        speed: recent steps per second, without validations; None if unknown.
        pace: steps per second since this process began to train, including validations; None if unknown.
        figures: text of the losses and the learning rate.
        doing: current activity, such as ``"validating"``; empty while it trains.
    """

    step: int
    total_steps: int | None
    elapsed: float
    limit: float | None
    speed: float | None
    pace: float | None
    figures: str
    doing: str = ""

    @property
    def done(self) -> float:
        """Fraction of the training that is done, from 0 to 1: the larger of the fractions of steps and of time."""
        by_steps = self.step / self.total_steps if self.total_steps else 0.0
        return min(1.0, max(by_steps, self.elapsed / self.limit if self.limit else 0.0))

    @property
    def left(self) -> float | None:
        """Seconds until the end by time or by steps, whichever comes first; None if unknown."""
        by_time = None if self.limit is None else self.limit - self.elapsed
        by_steps = (self.total_steps - self.step) / self.pace if self.total_steps and self.pace else None
        known = [max(0.0, seconds) for seconds in (by_time, by_steps) if seconds is not None]
        return min(known, default=None)

    @property
    def steps(self) -> str:
        """Step as text, such as ``step 1,200/15,000``."""
        return f"step {self.step:,}" + (f"/{self.total_steps:,}" if self.total_steps else "")

    @property
    def details(self) -> str:
        """Text after the bar: percentage, speed, figures, elapsed and remaining time, and current activity."""
        speed = "" if self.speed is None else f"{self.speed:.3g} steps/s"
        left = "" if self.left is None else f", {_clock(self.left)} left"
        parts = (f"{100 * self.done:.0f} %", speed, self.figures, f"{_clock(self.elapsed)}{left}", self.doing)
        return "  ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    """Return a duration as text, such as ``4:05`` or ``1:02:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class RichProgress(Callback):
    """Show the progress of the training on stderr: one redrawn line on a terminal, else a new line at intervals.

    Reading the loss makes a GPU wait, so it is read at most four times a second on a terminal, and else once per line.
    The training loss is ``pl_module.latest["loss"]``, the validation loss ``pl_module.validation["loss"]``. The last
    step is ``trainer.max_steps`` or ``pl_module.settings.max_steps``, the time limit
    ``pl_module.settings.max_minutes``.

    Args:
        seconds_per_line: seconds between two lines if stderr is not a terminal.
        console: console to draw on; stderr if None.
        clock: function that returns a time in seconds; tests replace it.
    """

    def __init__(
        self,
        seconds_per_line: float = 30.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console(stderr=True)
        self.best: float | None = None
        self._redraws = self.console.is_terminal and not self.console.is_dumb_terminal
        self._interval = _REDRAW_SECONDS if self._redraws else seconds_per_line
        self._clock = clock
        self._live: Live | None = None
        self._running = False
        self._validation: float | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)

    def state_dict(self) -> dict[str, Any]:
        """Return the best validation loss, for checkpoints."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best validation loss from a checkpoint."""
        self.best = state_dict["best"]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start to draw, on rank 0 only."""
        if not trainer.is_global_zero:
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        before = sum(callback.elapsed for callback in callbacks if isinstance(callback, TimeLimit))
        self._drawn = self._clock()
        self._start = self._drawn, trainer.global_step, before
        self._recent.append((self._drawn, trainer.global_step))
        self._running = True
        if self._redraws:
            # Rich would move stdout to stderr, also when stdout is piped to another program.
            self._live = Live(console=self.console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
            self._live.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Draw if the interval has passed."""
        now = self._clock()
        if self._running and now - self._drawn >= self._interval:
            self._recent.append((now, trainer.global_step))
            self._draw(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Show on a terminal that the training validates."""
        if self._live:
            self._draw(trainer, pl_module, "validating")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Store the validation loss, and leave the time of the validation out of the speed."""
        self._validation = pl_module.validation.get("loss")
        if self._validation is not None:
            self.best = self._validation if self.best is None else min(self.best, self._validation)
        self._recent.clear()
        self._recent.append((self._clock(), trainer.global_step))
        if self._live:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the last progress, which stays on the screen."""
        if self._running:
            self._draw(trainer, pl_module, "done")
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Release the terminal, also after Ctrl-C; the last line stays on the screen."""
        self._close()

    def _close(self) -> None:
        self._running = False
        if self._live:
            self._live.stop()
            self._live = None

    def _draw(self, trainer: Trainer, pl_module: Any, doing: str = "") -> None:
        self._drawn = self._clock()
        status = self._status(trainer, pl_module, doing)
        if self._live is None:
            line = f"{status.steps}  {status.details}"
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)
            return
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(no_wrap=True)
        row.add_column()
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_row(status.steps, ProgressBar(1.0, status.done, width=20), Text(status.details))
        self._live.update(row, refresh=True)

    def _status(self, trainer: Trainer, pl_module: Any, doing: str) -> Status:
        started, first_step, before = self._start
        now, step = self._drawn, trainer.global_step
        minutes = pl_module.settings.max_minutes
        return Status(
            step=step,
            total_steps=trainer.max_steps if trainer.max_steps > 0 else pl_module.settings.max_steps,
            elapsed=before + now - started,
            limit=None if minutes is None else 60 * minutes,
            speed=_rate(self._recent[0], self._recent[-1]),
            pace=_rate((started, first_step), (now, step)),
            figures=self._figures(trainer, pl_module),
            doing=doing,
        )

    def _figures(self, trainer: Trainer, pl_module: Any) -> str:
        parts = []
        if "loss" in pl_module.latest:
            parts.append(f"training loss {float(pl_module.latest['loss']):.4g}")
        if self._validation is not None:
            parts.append(f"validation loss {self._validation:.4g} (best {self.best:.4g})")
        if trainer.optimizers:
            parts.append(f"lr {trainer.optimizers[0].param_groups[0]['lr']:.3g}")
        return "  ".join(parts)


def _rate(first: tuple[float, int], last: tuple[float, int]) -> float | None:
    seconds, steps = last[0] - first[0], last[1] - first[1]
    return steps / seconds if seconds > 0 and steps > 0 else None

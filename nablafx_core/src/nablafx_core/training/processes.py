"""Several processes that train one model: what they agree on, and that none of them waits for a dead one."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed
from lightning import Callback, Trainer

from nablafx_core.errors import NablafxError, TrainingError

T = TypeVar("T")

#: Seconds in which a process should notice by itself that another has ended: its next exchange with it fails.
GRACE_SECONDS = 15.0
#: Names, for the processes that Lightning starts, the run that is resumed.
RUN_VARIABLE = "NABLAFX_RUN"
_PARENT_VARIABLE = "NABLAFX_FIRST_PROCESS"
_POLL_SECONDS = 0.2  # between two looks at the other processes


def is_first_process() -> bool:
    """Whether this process records the run: rank zero, as torchrun, SLURM or Lightning number it, or a lone one."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def gathered(value: T) -> list[T]:
    """The values of all processes by rank; every process must call it."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


class SameTraining(Callback):
    """Refuses processes that were started for different trainings, before the first of them trains.

    Args:
        facts: name and value of what must be the same everywhere.
    """

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Compare.

        Raises:
            TrainingError: in every process, with what differs.
        """
        all_facts = gathered(self.facts)
        for name, first in all_facts[0].items():
            for rank, facts in enumerate(all_facts):
                if facts[name] != first:
                    raise TrainingError(
                        f"the processes do not train the same: {name} is {first or 'none'} in process 0 and "
                        f"{facts[name] or 'none'} in process {rank}. Give all of them the same command, with a run's "
                        "full id, and the runs folder on a disk that all hosts share."
                    )


class Children:
    """The processes that Lightning starts for one training, watched in place of Lightning's own watcher.

    Lightning kills this process without a word when one of them fails, and leaves them alone when this one fails.

    Args:
        trainer: that has not begun.
        hangs: called from another thread, with a message, when a process has failed and this one has not noticed in
            `GRACE_SECONDS`; it hangs in an exchange that nothing can interrupt, and is ended after the call.
    """

    def __init__(self, trainer: Trainer, hangs: Callable[[str], None]) -> None:
        self._hangs = hangs
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        if hasattr(trainer.strategy.launcher, "procs"):
            self._take_over(trainer.strategy.launcher)

    def _take_over(self, launcher: Any) -> None:
        launch = launcher.launch

        def launch_watched(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
            def watched(*given: Any, **more: Any) -> T:
                # A watcher without processes ends; the list is its own.
                self._processes, launcher.procs[:] = list(launcher.procs), []
                threading.Thread(target=self._watch, daemon=True).start()
                return function(*given, **more)

            result: T = launch(watched, *arguments, **named)
            return result

        launcher.launch = launch_watched

    def failure(self, wait: float = 0.0) -> str | None:
        """Which process failed, in words.

        Args:
            wait: seconds to wait for it, if none has yet.
        """
        until = time.monotonic() + wait
        while True:
            for rank, process in enumerate(self._processes, 1):
                if process.poll():
                    return _ended(rank, process.returncode)
            if not self._processes or time.monotonic() > until:
                return None
            time.sleep(_POLL_SECONDS / 4)

    @contextmanager
    def ended_with_this(self) -> Iterator[None]:
        """End them with the ``with``: at once if it raises; what they have to say they have said."""
        try:
            yield
        except BaseException as error:
            ours = isinstance(error, NablafxError) or not isinstance(error, Exception)
            failure = None if ours else self.failure(wait=2.0)
            self._end()
            if failure is None:
                raise
            raise TrainingError(f"{failure} What was written before is kept.") from error
        finally:
            self._over.set()

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _watch(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            failure = self.failure()
            if failure is not None and not self._over.wait(GRACE_SECONDS):
                self._hangs(f"{failure} What was written before is kept.")
                self._end()
                os._exit(1)
            if all(process.returncode == 0 for process in self._processes):
                return


def _ended(rank: int, code: int) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"process {rank} of this training {how}, so that the others cannot go on."


@contextmanager
def told_to_children(run_id: str | None) -> Iterator[None]:
    """Let the processes that are started within know the first one, and the run that is resumed."""
    told = {_PARENT_VARIABLE: str(os.getpid()), **({RUN_VARIABLE: run_id} if run_id else {})}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def ended_with_first() -> Iterator[None]:
    """In another process than the first: end soon after that one is gone, whatever this one waits for."""
    over = threading.Event()
    parent = int(os.environ.get(_PARENT_VARIABLE, 0))
    if parent == os.getppid():
        threading.Thread(target=_end_without, args=(parent, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def exchange_explained() -> Iterator[None]:
    """Turn the error of an exchange with a process that has ended into ours.

    Raises:
        TrainingError: if an exchange between the processes failed.
    """
    try:
        yield
    except RuntimeError as error:
        broken = isinstance(error, torch.distributed.DistError)
        if not broken and not any(word in str(error) for word in ("gloo", "Connection closed by peer", "NCCL")):
            raise
        raise TrainingError(
            "another process of this training has ended, or does not answer. What was written before is kept."
        ) from error


def _end_without(parent: int, over: threading.Event) -> None:
    while os.getppid() == parent:
        if over.wait(_POLL_SECONDS):
            return
    if not over.wait(GRACE_SECONDS):
        os._exit(1)

"""Train one model in several processes: check that they agree, and shut down all of them when one dies."""

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

#: Seconds in which a process should notice by itself that another has ended, because its next exchange fails.
GRACE_SECONDS = 15.0
#: Environment variable with the resumed run's id, for the processes that Lightning starts.
RUN_VARIABLE = "NABLAFX_RUN"
_PARENT_VARIABLE = "NABLAFX_FIRST_PROCESS"
_POLL_SECONDS = 0.2  # between two looks at the other processes


def is_first_process() -> bool:
    """Return true on rank 0 of torchrun, SLURM or Lightning, and in a single process; only this process records."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def gathered(value: T) -> list[T]:
    """Return the values of all processes, ordered by rank; every process must call this at the same point.

    In a single process, return its own value alone. The value must be picklable.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


class SameTraining(Callback):
    """Reject processes that were started for different trainings, before any of them trains.

    Args:
        facts: values that must be the same in all processes, by their name in the message.
    """

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Compare the facts of all processes.

        Raises:
            TrainingError: in every process, if a fact of a process differs from that of rank 0.
        """
        all_facts = gathered(self.facts)
        for name, first in all_facts[0].items():
            for rank, facts in enumerate(all_facts):
                if facts[name] != first:
                    raise TrainingError(
                        f"the processes have different trainings: {name} is {first or 'none'} on rank 0 and "
                        f"{facts[name] or 'none'} on rank {rank}. Start all of them with the same command and the "
                        "run's full id, and keep the runs folder on a disk that all hosts share."
                    )


class Children:
    """Watch the processes that Lightning starts for one training, in place of Lightning's own watcher.

    Lightning kills this process without a message when a child fails, and does not end the children when this
    process fails.

    Args:
        trainer: trainer that has not started yet.
        hangs: function that is called from another thread, with a message, when a child has failed and this process
            has not noticed it in `GRACE_SECONDS`. This process then hangs in an exchange that cannot be interrupted,
            and is ended after the call.
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
                # Lightning's watcher ends because its list of processes is now empty.
                self._processes, launcher.procs[:] = list(launcher.procs), []
                threading.Thread(target=self._watch, daemon=True).start()
                return function(*given, **more)

            result: T = launch(watched, *arguments, **named)
            return result

        launcher.launch = launch_watched

    def failure(self, wait: float = 0.0) -> str | None:
        """Return a message about a child process that ended with an error, the lowest rank first, or None.

        Args:
            wait: seconds to wait for a failure, if no child has failed yet.
        """
        until = time.monotonic() + wait
        while True:
            for rank, process in enumerate(self._processes, 1):
                if process.poll():
                    return _exit_message(rank, process.returncode)
            if not self._processes or time.monotonic() > until:
                return None
            time.sleep(_POLL_SECONDS / 4)

    @contextmanager
    def ended_with_this(self) -> Iterator[None]:
        """Stop watching at the end of the ``with``; if an exception leaves it, kill the children.

        An exception that is not a NablafxError may be caused by a child; the children then have two seconds to end.

        Raises:
            TrainingError: in place of such an exception, if a child ended with an error.
        """
        try:
            yield
        except BaseException as error:
            ours = isinstance(error, NablafxError) or not isinstance(error, Exception)
            failure = None if ours else self.failure(wait=2.0)
            self._end()
            if failure is None:
                raise
            raise TrainingError(f"{failure} The files written so far are kept.") from error
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
                self._hangs(f"{failure} The files written so far are kept.")
                self._end()
                os._exit(1)
            if all(process.returncode == 0 for process in self._processes):
                return


def _exit_message(rank: int, code: int) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"process {rank} of this training {how}, so the other processes cannot continue."


@contextmanager
def told_to_children(run_id: str | None) -> Iterator[None]:
    """Pass this process's pid and, if not None, the resumed run's id to child processes started inside the ``with``."""
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
    """End this process if it is still inside the ``with`` `GRACE_SECONDS` after its parent, rank 0, has ended.

    It may hang in an exchange. Do nothing if this process was not started by rank 0 inside `told_to_children`.
    """
    over = threading.Event()
    parent = int(os.environ.get(_PARENT_VARIABLE, 0))
    if parent == os.getppid():
        threading.Thread(target=_exit_after_parent, args=(parent, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def exchange_explained() -> Iterator[None]:
    """Turn the error of torch.distributed about a failed exchange between processes into a TrainingError.

    Raises:
        TrainingError: if an exchange inside the ``with`` failed, usually because another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        broken = isinstance(error, torch.distributed.DistError)
        if not broken and not any(word in str(error) for word in ("gloo", "Connection closed by peer", "NCCL")):
            raise
        raise TrainingError(
            "another process of this training has ended or does not answer. Its own output says why. The files written "
            "so far are kept."
        ) from error


def _exit_after_parent(parent: int, over: threading.Event) -> None:
    while os.getppid() == parent:
        if over.wait(_POLL_SECONDS):
            return
    if not over.wait(GRACE_SECONDS):
        os._exit(1)

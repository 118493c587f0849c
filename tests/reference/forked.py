"""The command line in processes that are forked from one which has imported everything: seconds less for each.

``python -m reference.forked`` reads a JSON list of (arguments, environment) a line, runs ``nablafx ARGUMENTS`` of each
in a fork, all at once, and answers with their process ids and then with their exit codes, below 0 for a signal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path


class Forked:
    """Runs commands one after the other.

    Args:
        log: a file for what they say.
    """

    def __init__(self, log: Path) -> None:
        paths = [str(Path(__file__).parents[1]), *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self.log = log
        with open(log, "w") as file:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "reference.forked"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=environment,
            )

    def start(self, *commands: tuple[list[str], dict[str, str]]) -> list[int]:
        """Begin commands, each its arguments and environment, at the same time; their process ids."""
        self._server.stdin.write(json.dumps(commands) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def wait(self) -> list[int]:
        """The exit codes of what was begun, when all have ended."""
        return json.loads(self._server.stdout.readline())

    def __call__(self, *arguments: str, **environment: str) -> int:
        """Run a command; its exit code."""
        self.start((list(arguments), environment))
        return self.wait()[0]

    def close(self) -> None:
        """End it."""
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def _serve() -> None:
    # Everything that a training imports, and nothing that starts a thread, which a fork would not have.
    import nablafx_core.cli.train
    import nablafx_core.training.fit
    import nablafx_core.training.progress_bar  # noqa: F401

    assert threading.active_count() == 1
    for line in sys.stdin:
        children = [_forked(arguments, environment) for arguments, environment in json.loads(line)]
        _answer(children)
        _answer([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


def _forked(arguments: list[str], environment: dict[str, str]) -> int:
    child = os.fork()
    if not child:
        os.environ.update(environment)
        _run(arguments)
    return child


def _run(arguments: list[str]) -> None:
    from nablafx_core.cli import main

    os.dup2(2, 1)
    sys.argv = ["nablafx", *arguments]
    try:
        main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    os._exit(0)


def _answer(numbers: list[int]) -> None:
    sys.stdout.write(json.dumps(numbers) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()

"""Python processes forked from one that has imported everything, which saves each the seconds of its imports.

``python forked.py SOCKET MODULES`` imports what trainings and commands need and then starts a process for each
connection to a Unix socket, with the arguments, environment, folder and streams that the connection brings. It answers
with the process id, and with the exit code when the process has ended. It ends, and kills what it started, when its
standard input does. ``python forked.py --ask SOCKET PYTHON SITE SCRIPT …`` is such a process where a shell starts one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import site
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

#: Arguments of Python that run the command line.
NABLAFX = ("-m", "nablafx_core")

#: What commands import of others, and then of this project.
OTHERS = ("lightning", "matplotlib.backends.backend_agg", "numba", "sacred", "scipy.signal", "soundfile", "torch")
CORE = (
    "nablafx_core.cli.train",
    "nablafx_core.cli.render",
    "nablafx_core.evaluation.evaluate",
    "nablafx_core.bundles.bundle",
    "nablafx_core.kernels.compiled",
    "nablafx_core.pictures.plots",
    "nablafx_core.training.fit",
    "nablafx_core.training.progress_bar",
)
_HEADER = struct.Struct("!I")


class Forked:
    """Starts processes like `subprocess`, with the same meaning of the arguments; without fork, by `subprocess`.

    What a process has imported, and what is read while a module is imported, is not under test then.

    Args:
        python: the interpreter.
        imports: modules.
        environment: the variables with which it imports. What its ``PYTHONPATH`` names is found by each process.
    """

    def __init__(
        self,
        python: str | Path = sys.executable,
        imports: Sequence[str] = OTHERS + CORE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._python, self._imports, self._environment = str(python), imports, environment
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def popen(
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        text: bool = False,
        start_new_session: bool = False,
        python: str | Path | None = None,
        site: str | Path | None = None,
    ) -> Process | subprocess.Popen[Any]:
        """Start ``python ARGUMENTS``, which begin with ``-c CODE``, ``-m MODULE`` or a script's path.

        Args:
            arguments: of Python.
            env: variables; those of this process if None.
            cwd: the folder; that of this process if None.
            stdin: a descriptor or what `subprocess` has; nothing if None.
            stdout: as `stdin`; that of this process if None.
            stderr: as `stdout`.
            text: whether pipes are text.
            start_new_session: whether it leaves the process group.
            python: the interpreter of another environment that has the same packages.
            site: the packages of that.
        """
        given = [str(argument) for argument in arguments]
        if not hasattr(os, "fork"):
            streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "text": text}
            return subprocess.Popen([str(python or self._python), *given], env=env, cwd=cwd, **streams)
        request = _request(given, env, cwd, start_new_session, python, site)
        return Process(self.path(), request, (stdin, stdout, stderr), text)

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        capture_output: bool = False,
        check: bool = False,
        timeout: float | None = None,
        **settings: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Start a process and wait for its end."""
        if capture_output:
            settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.popen(arguments, **settings)
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        done = subprocess.CompletedProcess(list(arguments), process.returncode, output, errors)
        if check:
            done.check_returncode()
        return done

    def close(self) -> None:
        """End the server and what it has started."""
        if self._server is not None:
            self._server.stdin.close()
            self._server.wait()
            shutil.rmtree(self._folder)
            self._server = None

    def path(self) -> str:
        """The server's socket."""
        if self._server is None:
            self._folder = Path(tempfile.mkdtemp(prefix="forked-"))
            path = self._folder / "socket"
            self._server = subprocess.Popen(
                [self._python, __file__, str(path), ",".join(self._imports)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment,
            )
            assert self._server.stdout.read() == b"ready\n"
            self._server.stdout.close()
        return str(self._folder / "socket")


def _request(
    arguments: Sequence[str],
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    session: bool = False,
    python: str | Path | None = None,
    site: str | Path | None = None,
) -> dict[str, Any]:
    return {
        "arguments": list(arguments),
        "environment": dict(os.environ if env is None else env),
        "folder": os.path.abspath(cwd or os.getcwd()),
        "session": session,
        "python": python and str(python),
        "site": site and str(site),
    }


class Process:
    """A process that was forked, with what `subprocess.Popen` has.

    Args:
        path: of the server's socket.
        request: what to run.
        streams: standard input, output and error, as `subprocess.Popen` takes them.
        text: whether pipes are read and written as text.
    """

    def __init__(self, path: str, request: dict[str, Any], streams: Sequence[int | None], text: bool) -> None:
        self.returncode: int | None = None
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.connect(path)
        with contextlib.ExitStack() as theirs:
            opened = [self._opened(stream, number, text, theirs) for number, stream in enumerate(streams)]
            body = json.dumps(request).encode()
            socket.send_fds(self._channel, [_HEADER.pack(len(body))], [number for number, _ in opened])
            self._channel.sendall(body)
        self.stdin, self.stdout, self.stderr = (ours for _, ours in opened)
        self._answers = self._channel.makefile("r")
        self.pid = int(self._answers.readline())

    @staticmethod
    def _opened(stream: Any, number: int, text: bool, theirs: contextlib.ExitStack) -> tuple[int, IO[Any] | None]:
        """The stream's descriptor for the process, and its other end."""
        if stream == subprocess.PIPE:
            ends = os.pipe()
            their, our = ends if number == 0 else ends[::-1]
            theirs.callback(os.close, their)
            mode = "w" if number == 0 else "r"
            return their, open(our, mode, encoding="utf-8") if text else open(our, mode + "b")
        if stream == subprocess.STDOUT:
            raise ValueError("give stdout and stderr one file or pipe in place of STDOUT")
        if stream == subprocess.DEVNULL or (stream is None and number == 0):
            their = os.open(os.devnull, os.O_RDWR)
            theirs.callback(os.close, their)
            return their, None
        if stream is None:
            return number, None
        return stream if isinstance(stream, int) else stream.fileno(), None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code.

        Raises:
            subprocess.TimeoutExpired: if it has not ended after so many seconds.
        """
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return self.returncode

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._channel], [], [], timeout)[0]:
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._channel.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """Read what it writes until it ends.

        Raises:
            subprocess.TimeoutExpired: if it has not ended after so many seconds.
        """
        if self.stdin is not None:
            self.stdin.close()
        read: dict[int, Any] = {}

        def reader(number: int, stream: IO[Any]) -> None:
            with stream:
                read[number] = stream.read()

        streams = [(n, s) for n, s in ((1, self.stdout), (2, self.stderr)) if s is not None and not s.closed]
        threads = [threading.Thread(target=reader, args=pair, daemon=True) for pair in streams]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise subprocess.TimeoutExpired("a forked process", timeout)
        return read.get(1), read.get(2)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _serve(path: str, modules: str) -> Callable[[], None]:
    """Fork for each connection, forever; returns only in what was forked, with what that is to run."""
    from_here, *base = sys.path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules.split(","):
            importlib.import_module(name)
    import blank
    import numba
    import one_caller

    blank.blank_pictures()
    one_caller.find_only_the_caller()
    sys.path.remove(from_here)
    assert threading.active_count() == 1, "a fork would not have the other threads"
    if "nablafx_core.registry" in sys.modules:
        sys.modules["nablafx_core.registry"].Registry.discover.cache_clear()  # what is installed may change
    numba.njit(lambda number: number)(1)  # what numba sets up at its first call
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    os.write(1, b"ready\n")
    os.dup2(2, 1)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.freeze()
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([0, woken, listener], [], [])
        if 0 in ready:
            for child in running:
                os.kill(child, signal.SIGKILL)
            os._exit(0)
        if woken in ready:
            os.read(woken, 4096)
            for child in list(running):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    with contextlib.suppress(OSError), running.pop(child) as channel:
                        channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        if listener in ready:
            channel, _ = listener.accept()
            request, streams = _received(channel)
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, before)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                for opened in (*streams, woken, wake):
                    os.close(opened)
                for opened in (listener, channel, *running.values()):
                    opened.close()
                return _prepared(request, base)
            for stream in streams:
                os.close(stream)
            running[child] = channel
            with contextlib.suppress(OSError):
                channel.sendall(b"%d\n" % child)


def _received(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    header, streams, _, _ = socket.recv_fds(channel, _HEADER.size, 3)
    (size,) = _HEADER.unpack(header)
    with channel.makefile("rb") as file:
        return json.loads(file.read(size)), streams


def _prepared(request: dict[str, Any], base: list[str]) -> Callable[[], None]:
    """Make this process what ``python ARGUMENTS`` would be and return what that runs."""
    if request["session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    head, *rest = request["arguments"]
    own = os.path.dirname(os.path.abspath(head)) if not head.startswith("-") else "" if head == "-c" else os.getcwd()
    if request["python"]:
        sys.executable, sys.prefix = request["python"], str(Path(request["python"]).parents[1])
        base = base[: base.index(sysconfig.get_path("purelib"))]
    sys.path[:] = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *base]
    if request["site"]:
        site.addsitedir(request["site"])
    importlib.invalidate_caches()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if head == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        return lambda: exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    if head == "-m":
        sys.argv[:] = rest
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    sys.argv[:] = [head, *rest]
    return lambda: runpy.run_path(head, run_name="__main__")


def _run(program: Callable[[], None]) -> NoReturn:
    """End this process as Python does, but for taking the modules apart, which takes longer than most programs."""
    code: Any = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        code = -signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    if sys.argv[1] == "--ask":
        path, python, packages, *arguments = sys.argv[2:]
        sys.exit(Process(path, _request(arguments, python=python, site=packages), (0, None, None), False).wait())
    _run(_serve(*sys.argv[1:]))

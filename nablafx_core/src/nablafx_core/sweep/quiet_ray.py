"""Start Ray, on this machine unless an address is given, without messages and usage statistics, and shut it down."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nablafx_core.config.schema import Resources
from nablafx_core.errors import ConfigError, NablafxError

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without GPUs must not see any; Ray warns if this is not set
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer output prints even with verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails immediately has no value
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",  # a trial continues only after the scheduler has judged its last validation
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
#: Bytes of Ray's shared memory: its minimum suffices, because trials exchange only numbers.
_OBJECT_STORE = 80 * 2**20
#: Timeout of a connection to a cluster, in seconds.
_SECONDS = 5.0
_LARGEST_PORT = 65535
#: Longest path of a temporary folder, because a system allows 107 characters for the paths of Ray's sockets.
_LONGEST_FOLDER = 30


#: Connects to a cluster in a separate process and reports success: Ray repeats a refusal twenty times on stderr.
_PROBE = (
    "import logging, sys, ray\n"
    "ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)\n"
    "print('connected to the cluster', flush=True)"
)
_PROBE_SECONDS = 60.0  # for a first connection to a cluster
_CONNECTED = "connected to the cluster"
_REFUSALS = ("InvalidAuthToken", "Unauthenticated", "authentication token")
_MODE = "RAY_AUTH_MODE"


def require_ray() -> None:
    """Check that Ray Tune is installed.

    Raises:
        ConfigError: if it is not installed; the message says how to install it.
    """
    found = find_spec("ray")  # find_spec("ray.tune") would import ray
    if found is None or not any(Path(place, "tune").is_dir() for place in found.submodule_search_locations or ()):
        raise ConfigError("a sweep requires Ray Tune, which is not installed: pip install 'nablafx-core[sweep]'")


def check_address(address: str | None) -> None:
    """Check that a cluster answers at an address and accepts this machine; Ray itself would print attempts for minutes.

    If the cluster requires a token, and `RAY_AUTH_MODE` is not set, it is set so that Ray uses this machine's token.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT``, or ``auto`` for the cluster of this machine; None checks nothing.

    Raises:
        ConfigError: if no cluster answers, the cluster requires a token that this machine does not have, or the address
            is invalid.
    """
    if address is None:
        return
    if address != "auto":
        _check_answers(address)
    _check_token(address)


def _check_answers(address: str) -> None:
    host, _, port = str(address).removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or int(port) > _LARGEST_PORT:
        raise ConfigError(
            f"--address {address}: write it as HOST:PORT or ray://HOST:PORT (PORT up to {_LARGEST_PORT}), or auto."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except OSError as error:
        raise ConfigError(_no_cluster(address, error.strerror or str(error))) from error


def _check_token(address: str) -> None:
    said = _asked(address, os.environ)
    if said == _CONNECTED:
        return
    if said not in _REFUSALS:
        raise ConfigError(_no_cluster(address, said))
    if _MODE not in os.environ and _asked(address, {**os.environ, _MODE: "token"}) == _CONNECTED:
        os.environ[_MODE] = "token"  # must be set before the import of Ray, or Ray does not use this machine's token
        if "ray._raylet" in sys.modules:
            sys.modules["ray._raylet"].Config.initialize("")  # makes Ray read the token again
        return
    raise ConfigError(
        f"--address {address}: the Ray cluster requires a token, but the token of this machine is missing or wrong. "
        f"Set {_MODE}=token, and RAY_AUTH_TOKEN to the cluster's token or RAY_AUTH_TOKEN_PATH to a file that contains "
        "it (on the machine of `ray start --head` it is in ~/.ray/auth_token). Or, in a network that you trust, start "
        f"the cluster and the sweep with {_MODE}=disabled."
    )


def _asked(address: str, environment: Mapping[str, str]) -> str:
    """Return `_CONNECTED`, one of `_REFUSALS` if the cluster rejects the token, or the reason why it cannot be used."""
    command = [sys.executable, "-c", _PROBE, address]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    alarm = threading.Timer(_PROBE_SECONDS, process.kill)
    alarm.start()
    last = ""
    try:
        with process:
            for line in process.stdout or ():
                last = line.strip() or last
                for answer in (*_REFUSALS, _CONNECTED):
                    if answer in line:
                        process.kill()
                        return answer
    finally:
        alarm.cancel()
    return "the server is not a Ray cluster" if process.returncode < 0 else last.partition(": ")[2] or last


@contextmanager
def ray_session(address: str | None, needed: Resources) -> Iterator[Path]:
    """Start Ray for this process, yield a temporary folder for its files, and remove both at the end of the block.

    Args:
        address: address of a running cluster, ``"auto"`` to find it; None starts Ray on this machine.
        needed: resources of one trial.

    Raises:
        ConfigError: if Ray is not installed, the cluster cannot be reached, or no machine has the resources of a trial.
    """
    require_ray()
    os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    ray = import_module("ray")  # untyped in part
    folder = Path(tempfile.mkdtemp(prefix="nablafx-", dir=_short_folder()))
    try:
        with _own_signals():
            _connect(ray, address, folder)
        for name in ("ray", "ray.tune", "ray.data", "ray.train"):  # connecting sets them again
            logging.getLogger(name).setLevel(logging.CRITICAL)
        _check_resources(ray.nodes(), needed)
        yield folder
    finally:
        with _own_signals():
            ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, address: str | None, folder: Path) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE, _temp_dir=str(folder), **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(_no_cluster(address, str(error).strip().partition("\n")[0])) from error


def _no_cluster(address: str, reason: str) -> str:
    problem = f"--address {address}: no Ray cluster answers there: {reason.rstrip('.')}."
    return f"{problem} Start one with `ray start --head`, or omit --address to sweep on this machine."


def _check_resources(nodes: list[dict[str, Any]], needed: Resources) -> None:
    has = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(each.get("CPU", 0) >= needed.cpus and each.get("GPU", 0) >= needed.gpus for each in has):
        known = "; ".join(f"{each.get('CPU', 0):g} CPUs and {each.get('GPU', 0):g} GPUs" for each in has)
        raise ConfigError(
            f"sweep.resources: a trial needs {needed.cpus} CPUs and {needed.gpus:g} GPUs, but no machine has them "
            f"(available: {known}). Lower sweep.resources."
        )


def _short_folder() -> str | None:
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual) > _LONGEST_FOLDER and os.path.isdir("/tmp") else usual


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the handlers of Ctrl-C and SIGTERM, which Ray replaces, at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def explained(error: BaseException) -> NablafxError:
    """Return an error of Ray as a NablafxError with the first line of its message."""
    return NablafxError(f"Ray failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")

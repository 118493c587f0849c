"""Settings and fixtures of all test folders."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

# Two busy threads on two cores are slower than one by orders of magnitude; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# Many runners start tests in the background, where Ctrl-C is ignored, and processes of tests would inherit this.
if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

from installing import SHARED
from nablafx_core.registry import Registry
from reference.blank import blank_pictures, drawn
from reference.forked import Forked
from reference.one_caller import find_only_the_caller

settings.register_profile("nablafx", derandomize=True, deadline=None)
settings.load_profile("nablafx")

blank_pictures()
find_only_the_caller()

HEAD = """
from nablafx_core.registry.component import Component
from nablafx_core.registry.hookspecs import hookimpl
"""


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all processes of a test run share; those of xdist inherit its name."""
    if SHARED not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="nablafx-tests-")
        os.environ[SHARED] = folder.name
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop(SHARED))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow modules first, so that the processes that share the tests end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Spare each garbage collection of the tests what has been imported, which stays."""
    gc.collect()
    gc.freeze()


class Installer:
    """Installer of distributions from source text: a module and a ``*.dist-info`` on the import path.

    Each installed distribution is added to ``NABLAFX_PACKS``, so that a test sees only its own packs and the core.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._names: list[str] = []

    def __call__(
        self, name: str, plugin: str, version: str = "1.0", entry: str | None = None, requires: Sequence[str] = ()
    ) -> None:
        """Install the distribution `name` whose plugin module has the source `plugin`.

        Args:
            entry: the entry point, ``name`` or ``name = module``; the distribution's name and its module if None.
            requires: requirements in its metadata.
        """
        module = name.replace("-", "_").replace(".", "_")
        self.module(module, HEAD + textwrap.dedent(plugin))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
        line = entry if entry and "=" in entry else f"{entry or name} = {module}"
        (info / "entry_points.txt").write_text(f"[nablafx]\n{line}\n", encoding="utf-8")
        self._names.append(name)
        self._monkeypatch.setenv("NABLAFX_PACKS", ",".join(self._names))
        Registry.discover.cache_clear()

    def module(self, name: str, source: str) -> None:
        """Put a module on the import path."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the index of runs, which any command may write, out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "NABLAFX_CACHE" not in os.environ:
            patch.setenv("NABLAFX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def _pictures_of_module(request: pytest.FixtureRequest) -> Iterator[None]:
    with drawn() if request.node.get_closest_marker("pictures") else nullcontext():
        yield


@pytest.fixture(autouse=True)
def _pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Draw the pictures of tests that are marked so."""
    with drawn() if request.node.get_closest_marker("pictures") else nullcontext():
        yield


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Restore the signal handlers, which the command line and Lightning disable when they end a program."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def forked() -> Iterator[Forked]:
    """Start Python processes that have imported everything; they find ``tests`` and what this process finds."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    server = Forked(environment={**os.environ, "PYTHONPATH": path})
    yield server
    server.close()


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Install packs for the length of one test."""
    folder, before = tmp_path_factory.mktemp("site"), set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("NABLAFX_PACKS", "")
    Registry.discover.cache_clear()
    yield Installer(folder, monkeypatch)
    Registry.discover.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]

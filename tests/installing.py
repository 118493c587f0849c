"""Fresh virtual environments outside the checkout, with packages installed into them."""

from __future__ import annotations

import atexit
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from filelock import FileLock

from reference import forked
from reference.forked import OTHERS, Forked

CHECKOUT = Path(__file__).parents[1]

#: The variable with the folder that all processes of a test run share.
SHARED = "NABLAFX_TEST_SHARED"

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_OFFLINE = """
import sys


def refuse(event, arguments):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        raise OSError("this environment has no network")


sys.addaudithook(refuse)
"""


class Elsewhere:
    """Virtual environment with the packages of this one, except nablafx; packages are installed into it as wheels.

    Nothing is copied or downloaded: a ``.pth`` file names a folder of links to the packages of this environment,
    whose own ``.pth`` files (editable installations) then do not count. No Python in it reaches the network.

    Attributes:
        site: its site-packages.
        bin: its scripts, ``nablafx`` among them.
        cwd: empty folder in which its programs run.
    """

    #: Starts the programs of all of them, which differ in the packages of this project.
    _forked: Forked | None = None

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "cwd"
        others = folder / "others"
        for made in (self.cwd, others):
            made.mkdir()
        root = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
        self.bin = root / ("Scripts" if sys.platform == "win32" else "bin")
        place = "import sysconfig; print(sysconfig.get_path('purelib'))"
        where = subprocess.run([self.bin / "python", "-c", place], capture_output=True, text=True, check=True)
        self.site = Path(where.stdout.strip())
        for found in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for item in Path(found).iterdir():
                if "nablafx" not in item.name:
                    (others / item.name).symlink_to(item)
        (self.site / "others.pth").write_text(str(others))
        (self.site / "offline.py").write_text(_OFFLINE)
        (self.site / "offline.pth").write_text("import offline")

    def install(self, *packages: str | Path) -> None:
        """Build wheels of folders of the checkout and install them, without their dependencies."""
        wheels = [str(wheel(CHECKOUT / package)) for package in packages]
        self._pip("install", "--no-deps", "--no-index", *wheels)
        for package in packages:
            self._keep_compiled(CHECKOUT / package / "src")

    def _keep_compiled(self, source: Path) -> None:
        """Take over the machine code of kernels that are the same in the checkout, which is seconds for each."""
        for code in source.rglob("__pycache__/*.nb[ic]"):
            module = code.parent.parent / f"{code.name.partition('.')[0]}.py"
            installed = self.site / module.relative_to(source)
            if module.is_file() and installed.is_file() and installed.read_bytes() == module.read_bytes():
                shutil.copystat(module, installed)  # by which the code is known
                shutil.copy2(code, installed.parent / "__pycache__" / code.name)

    def uninstall(self, name: str) -> None:
        """Remove a distribution."""
        self._pip("uninstall", "--yes", name)

    def _pip(self, *arguments: str) -> None:
        python = self.bin / "python"
        subprocess.run([*_PIP, "--quiet", "--python", str(python), *arguments], check=True, env=self.environment())

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment variables of its programs."""
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "NABLAFX_PACKS")}
        path = os.pathsep.join([str(self.bin), os.environ.get("PATH", "")])
        return {**inherited, "PATH": path, "VIRTUAL_ENV": str(self.bin.parent), **variables}

    def run(self, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of its scripts, or its Python, in its folder."""
        command = [*([] if program == "python" else [str(self.bin / program)]), *arguments]
        place = {"cwd": self.cwd, "python": self.bin / "python", "site": self.site}
        env = self.environment(**variables)
        return self._server().run(command, **place, env=env, capture_output=True, text=True)

    def _server(self) -> Forked:
        if Elsewhere._forked is None:
            Elsewhere._forked = Forked(self.bin / "python", OTHERS, self.environment())
            atexit.register(Elsewhere._forked.close)
        return Elsewhere._forked

    def fork_script(self, name: str) -> None:
        """Let a script be run in a fork also where a shell starts it."""
        script = self.bin / name
        installed = script.rename(script.with_name(f"{name}-installed"))
        client = [sys.executable, "-I", "-S", forked.__file__, "--ask", self._server().path()]
        client += [str(self.bin / "python"), str(self.site), str(installed)]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
        script.chmod(0o755)

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run its Python."""
        return self.run("python", *arguments, **variables)

    def nablafx(self, *arguments: str, **variables: str) -> str:
        """Run its command line and return stdout; fail with stderr if it fails."""
        done = self.run("nablafx", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refusal(self, *arguments: str, **variables: str) -> str:
        """Run its command line, which must fail, and return the error."""
        done = self.run("nablafx", *arguments, **variables)
        assert done.returncode == 1 and not done.stdout, done.stdout + done.stderr
        assert "Traceback" not in done.stderr and "defect" not in done.stderr, done.stderr
        return done.stderr


def wheel(folder: Path) -> Path:
    """The wheel of a package's folder, built once by all processes of a test run."""
    made = Path(os.environ[SHARED]) / hashlib.sha256(bytes(folder)).hexdigest()[:16]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    with FileLock(f"{made}.lock"):
        if not made.exists():
            building = made.with_suffix(".part")
            subprocess.run([*_PIP, "--quiet", "wheel", *options, "--wheel-dir", str(building), str(folder)], check=True)
            building.rename(made)
    (found,) = made.glob("*.whl")
    return found

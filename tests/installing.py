"""Fresh virtual environments outside the checkout, with packages installed into them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from functools import lru_cache
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

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

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "cwd"
        others = folder / "others"
        for made in (self.cwd, others):
            made.mkdir()
        root = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
        self.bin = root / ("Scripts" if sys.platform == "win32" else "bin")
        where = self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
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
        """Run one of its scripts in its folder."""
        command = [str(self.bin / program), *arguments]
        env = self.environment(**variables)
        return subprocess.run(command, cwd=self.cwd, env=env, capture_output=True, text=True, check=False)

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


@lru_cache
def wheel(folder: Path) -> Path:
    """The wheel of a package's folder, built once in a test run."""
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    made = Path(tempfile.mkdtemp(dir=_wheels().name))
    subprocess.run([*_PIP, "--quiet", "wheel", *options, "--wheel-dir", str(made), str(folder)], check=True)
    (found,) = made.glob("*.whl")
    return found


@lru_cache
def _wheels() -> tempfile.TemporaryDirectory[str]:
    """Lives as long as the process."""
    return tempfile.TemporaryDirectory(prefix="wheels")

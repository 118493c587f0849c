"""Installs packages into a folder and runs Python there, away from the checkout and from editable installations."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


class Elsewhere:
    """An environment with what this one has, except nablafx; packages are installed into it from source.

    Python runs in it with ``-S``, so that the ``.pth`` files of editable installations do not count.
    """

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.cwd = folder / "cwd"
        self._others = folder / "others"
        for made in (self.site, self.cwd, self._others):
            made.mkdir()
        for found in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for item in Path(found).iterdir():
                if "nablafx" not in item.name:
                    (self._others / item.name).symlink_to(item)

    def install(self, *packages: str | Path) -> None:
        """Build wheels of folders of the checkout and install them, with nothing that they depend on."""
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(self.site)]
        folders = [str(CHECKOUT / package) for package in packages]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *folders], check=True)

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in an empty folder."""
        path = os.pathsep.join([str(self.site), str(self._others)])
        environment = {**os.environ, "PYTHONPATH": path, **variables}
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(command, cwd=self.cwd, env=environment, capture_output=True, text=True, check=False)

    def nablafx(self, *arguments: str, **variables: str) -> str:
        """Run the command line and give what it writes to stdout; fails with stderr if it fails."""
        done = self.python("-c", "from nablafx_core.cli import main; main()", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

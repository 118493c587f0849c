"""Machine code on disk: found again by the next process, and not where what it was made of has changed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from nablafx_core.kernels import compiled

SOURCE = """
from nablafx_core.kernels.compiled import compiled

@compiled
def double(x):
    return 2 * x
"""


def test_code_is_kept_until_the_vectors_change(tmp_path, monkeypatch):
    (tmp_path / "kernel.py").write_text(SOURCE)

    def from_disk():
        spec = importlib.util.spec_from_file_location("kernel", tmp_path / "kernel.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.double(3) == 6
        return sum(module.double.stats.cache_hits.values())

    assert [from_disk(), from_disk()] == [0, 1]
    monkeypatch.setattr(compiled, "_VECTORS", "changed")
    assert [from_disk(), from_disk()] == [0, 1]


REFUSED = """
import os, sys

refused = sys.argv[1:]

def refuse(event, args):
    writes = event == "os.mkdir" or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and isinstance(args[0], str):
        if any(args[0].startswith(folder) for folder in refused):
            raise PermissionError(13, "Read-only file system", args[0])

sys.addaudithook(refuse)
import kernel
assert kernel.double(3) == 6
stats = getattr(kernel.double, "stats", None)
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_a_package_folder_that_cannot_be_written(tmp_path):
    """Code is kept in the user's cache folder, or, where that cannot be written either, not at all."""
    package, home = tmp_path / "package", tmp_path / "home"
    package.mkdir()
    (package / "kernel.py").write_text(SOURCE)
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)]), "HOME": str(home)}
    environment["XDG_CACHE_HOME"] = str(home)

    def hits_and_misses(*refused):
        command = [sys.executable, "-B", "-c", REFUSED, *map(str, refused)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.split()

    assert hits_and_misses(package, home) == hits_and_misses(package, home) == ["0", "1"]
    assert hits_and_misses(package) == ["0", "1"]
    assert hits_and_misses(package) == ["1", "0"]
    assert [path.name for path in package.iterdir()] == ["kernel.py"]

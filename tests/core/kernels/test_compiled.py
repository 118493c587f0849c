"""Machine code is cached on disk for later processes, and compiled again after its source changed."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys

import numba
import pytest

from nablafx_core.hints import Once
from nablafx_core.kernels import compiled
from reference.full_disk import full_disk

pytestmark = pytest.mark.slow

SOURCE = """
from nablafx_core.kernels.compiled import compiled

@compiled
def double(x):
    return 2 * x
"""


@pytest.fixture
def from_disk(tmp_path, monkeypatch):
    """Call the kernel as a new process does; return the result and how often it was found on disk."""
    (tmp_path / "kernel.py").write_text(SOURCE)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")  # beside the module, whatever NUMBA_CACHE_DIR says

    def hits(value=3):
        monkeypatch.setattr(compiled, "_once", Once())
        spec = importlib.util.spec_from_file_location("kernel", tmp_path / "kernel.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.double(value) == 2 * value
        return sum(module.double.stats.cache_hits.values())

    return hits


def test_code_is_cached_until_simd_changes(from_disk, monkeypatch):
    assert [from_disk(), from_disk()] == [0, 1]
    monkeypatch.setattr(compiled, "_VECTORS", "changed")
    assert [from_disk(), from_disk()] == [0, 1]


def _as_a_folder(file):
    file.unlink()
    file.mkdir()


def _flip_the_middle(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "garbage": lambda file: file.write_bytes(b"garbage" * 99),
    "something else": lambda file: file.write_bytes(pickle.dumps(numba.__version__) + pickle.dumps([1, 2, 3])),
    "a bit": _flip_the_middle,
    "a folder": _as_a_folder,
    "gone": lambda file: file.unlink(),
    "unreadable": lambda file: file.chmod(0),
}


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_code_is_compiled_again_with_one_warning(from_disk, tmp_path, caplog, damage, ending):
    from_disk()
    (file,) = (tmp_path / "__pycache__").glob(f"*.{ending}")
    DAMAGES[damage](file)
    readable = damage == "unreadable" and os.access(file, os.R_OK)  # by root
    assert from_disk() == readable
    if (damage, ending) != ("a bit", "nbi"):  # which may be detected, or change the key to another one
        assert len(caplog.records) == (damage != "gone" and not readable)
    assert from_disk() == (damage != "a folder")


def test_a_cache_of_another_numba_version_is_rewritten(from_disk, tmp_path, caplog):
    from_disk()
    (index,) = (tmp_path / "__pycache__").glob("*.nbi")
    content = index.read_bytes()
    index.write_bytes(content.replace(numba.__version__.encode(), numba.__version__[:-1].encode() + b"x"))
    assert [from_disk(), from_disk()] == [0, 1]
    assert not caplog.records


def test_the_code_of_another_signature_is_not_used(from_disk, tmp_path):
    """Two processes that compile at once may choose the same name for their data files."""
    folder = tmp_path / "__pycache__"
    from_disk(3)
    (index,), (data,) = folder.glob("*.nbi"), folder.glob("*.nbc")
    kept = index.read_bytes()
    index.unlink()
    from_disk(0.5)
    assert list(folder.glob("*.nbc")) == [data]
    index.write_bytes(kept)  # the first one's index with the second one's data
    assert [from_disk(3), from_disk(3)] == [0, 1]


@pytest.mark.parametrize("room", [0, 200])
def test_code_that_cannot_be_written_causes_one_warning(from_disk, tmp_path, caplog, room):
    with full_disk(room):
        assert [from_disk(), from_disk()] == [0, 0]
    assert len(caplog.records) == 2
    assert "compiled code cannot be written (OSError: [Errno" in caplog.text
    assert not [file for file in (tmp_path / "__pycache__").iterdir() if file.suffix != ".pyc"]
    assert [from_disk(), from_disk()] == [0, 1]


def test_processes_that_compile_at_the_same_time_get_the_right_code(tmp_path):
    (tmp_path / "kernel.py").write_text(SOURCE)
    program = (
        "import sys, kernel; sys.stdin.read(1); value = eval(sys.argv[1]); assert kernel.double(value) == 2 * value"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    processes = [
        subprocess.Popen([sys.executable, "-c", program, value], env=environment, stdin=subprocess.PIPE)
        for value in ("3", "0.5", "1j")
    ]
    for process in processes:
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0, 0]


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


def test_a_read_only_package_folder_is_supported(tmp_path):
    """Code is cached in the user's cache folder, or not at all if that cannot be written either."""
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

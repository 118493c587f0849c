"""Machine code on disk: found again by the next process, and not where what it was made of has changed."""

from __future__ import annotations

import importlib.util

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

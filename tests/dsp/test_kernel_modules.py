"""One convention for compiled code: kernels/X.py is compiled, and functional/X.py makes it differentiable."""

from __future__ import annotations

from pathlib import Path

import pytest

import nablafx_dsp

PACKAGE = Path(nablafx_dsp.__file__).parent
KERNELS = sorted(path.stem for path in (PACKAGE / "kernels").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", KERNELS)
def test_each_kernel_is_used_by_the_functional_module_of_its_name(name):
    users = [path for path in PACKAGE.rglob("*.py") if _imports_kernel(path.read_text(), name)]
    assert users == [PACKAGE / "functional" / f"{name}.py"]


def test_only_kernels_are_compiled_and_only_functional_modules_define_gradients():
    """Circuits keep their compiled loops beside their equations: they generate data and have no gradient."""
    for path in PACKAGE.rglob("*.py"):
        text, folder = path.read_text(), path.parent.name
        assert folder in ("kernels", "circuits") or "kernels.compiled import" not in text, path
        assert folder == "functional" or "autograd.Function)" not in text, path


def _imports_kernel(text, name):
    return f"nablafx_dsp.kernels import {name}" in text or f"nablafx_dsp.kernels.{name} import" in text

"""Facts about the software and the machine of a run: packs, git state, host; without paths, variables and secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

_GIT_SECONDS = 5.0  # a repository on a slow disk must not hold up a training


def packs() -> list[dict[str, Any]]:
    """Return `name` and `version` of each installed pack, sorted by name.

    With them, `commit` if it was installed from a repository; `commit` and `dirty` (see `git_state`) if it is installed
    as editable from a folder in a repository.
    """
    found = {point.dist.name: point.dist for point in entry_points(group="nablafx") if point.dist is not None}
    states: dict[Path, dict[str, Any]] = {}
    return [{"name": name, "version": dist.version, **_origin(dist, states)} for name, dist in sorted(found.items())]


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the `commit` of the repository of `folder`, and `dirty`: true if tracked files differ from it.

    None without a repository, without a commit, without git, or if git does not answer within 5 s.
    """
    answer = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    commit = re.search(r"^# branch\.oid ([0-9a-f]+)$", answer or "", re.MULTILINE)
    if answer is None or commit is None:
        return None
    dirty = any(not line.startswith("#") for line in answer.splitlines())
    return {"commit": commit[1], "dirty": dirty}


def git_url(folder: Path) -> str:
    """Return the URL of the repository's remote `origin`, without credentials; empty for none and for a path."""
    url = (_git(folder, "remote", "get-url", "origin") or "").strip()
    remote = re.match(r"(?!file:)[a-z+]+://|[^/\\:]{2,}:(?!\\)", url)
    return redacted(url) if remote else ""


def _git(folder: Path, *arguments: str) -> str | None:
    """Return git's output; None if git is missing, fails, or does not answer in time."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # do not block another git in this repository
    command = ["git", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_SECONDS, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if answer.returncode else answer.stdout


def torch_version() -> str | None:
    """Return the version of torch, without importing it; None if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def nvidia() -> dict[str, Any] | None:
    """Return NVML's `driver` and `gpus` (`name`, `memory_mib`), and torch's `cuda`; None if NVML cannot be read.

    `cuda` is None if torch is not imported yet.

    NVML is used because torch would create a context on the GPU.
    """
    try:
        import pynvml  # type: ignore[import-untyped]

        pynvml.nvmlInit()
    except Exception:
        return None
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        gpus = [
            {"name": pynvml.nvmlDeviceGetName(h), "memory_mib": pynvml.nvmlDeviceGetMemoryInfo(h).total // 2**20}
            for h in handles
        ]
        torch = sys.modules.get("torch")  # only torch knows its CUDA version, and importing it takes a second
        cuda = torch.version.cuda if torch else None
        return {"driver": pynvml.nvmlSystemGetDriverVersion(), "cuda": cuda, "gpus": gpus}
    except pynvml.NVMLError:
        return None
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def redacted(text: str) -> str:
    """Return a text with ``***`` for credentials in URLs and ``~`` for the path of the user's home folder."""
    text = re.sub(r"://[^/@\s]+@", "://***@", text)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _origin(dist: Distribution, states: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """Return what `packs` adds to name and version, from the distribution's `direct_url.json`; empty if unknown.

    Args:
        dist: the distribution.
        states: what git said of each repository, which is added to, because packs often share one.
    """
    try:
        direct = json.loads(dist.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    if "vcs_info" in direct:
        return {"commit": direct["vcs_info"].get("commit_id")}
    if direct.get("dir_info", {}).get("editable"):
        folder = Path(url2pathname(urlparse(direct["url"]).path))
        root = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
        if root not in states:
            states[root] = git_state(folder) or {}
        return states[root]
    return {}

"""Delete run folders: only those inside the runs folder, never one that is in use, never a part of one."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from nablafx_core.errors import RunError
from nablafx_core.files import inside
from nablafx_core.runs.process import only_process
from nablafx_core.runs.records import RunRecord

_PREFIX = ".deleted-"


def folder_size(folder: Path) -> int:
    """Return the number of bytes of the files in a folder, without following symbolic links."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:  # removed meanwhile
                continue
    return total


def check_deletable(runs_dir: Path, run_id: str) -> Path:
    """Return the folder of a run if it can be deleted; whether it exists is not checked.

    Raises:
        RunError: if the run is running, its folder is a symbolic link, or `run_id` is not the name of a folder in
            `runs_dir`.
    """
    folder = runs_dir / run_id
    if folder.is_symlink():
        raise RunError(f"{folder} is a symbolic link and is not deleted. Delete the folder that it points to instead.")
    if "/" in run_id or inside(runs_dir, run_id).resolve().parent != runs_dir.resolve():
        raise RunError(f"{folder} is not a folder in {runs_dir}. Give the id of a run.")
    if RunRecord.read(folder).status == "RUNNING":
        raise RunError(f"the run {run_id} is still running. Stop it before you delete it.")
    return folder


def delete_folder(runs_dir: Path, run_id: str) -> None:
    """Delete the folder of a run; rename it first, so that a kill leaves a hidden folder, which the next call removes.

    Raises:
        RunError: if `check_deletable` refuses it, it does not exist, another process has its lock, or the disk refuses.
    """
    folder = check_deletable(runs_dir, run_id)
    hidden = runs_dir / f"{_PREFIX}{run_id}-{uuid.uuid4().hex[:8]}"
    try:
        with only_process(folder):  # so that no process resumes it meanwhile
            os.rename(check_deletable(runs_dir, run_id), hidden)
    except OSError as error:
        raise RunError(f"{folder}: cannot be deleted: {error.strerror}.") from error
    for left in runs_dir.glob(f"{_PREFIX}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    if hidden.exists():
        raise RunError(f"{hidden}: cannot be removed completely. Lists do not show it; remove it by hand.")

"""The one place that imports Sacred, and how it is set."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from sacred import SETTINGS, Experiment
    from sacred.host_info import HostInfoGetter
    from sacred.observers import RunObserver

__all__ = ["Experiment", "HostInfoGetter", "RunObserver"]

# Captured output overflows MongoDB's 16 MB documents, and capture by file descriptor breaks progress bars.
SETTINGS.CAPTURE_MODE = "no"
# Packs and the git commit are recorded instead; Sacred's search imports, hashes and stores whole source trees.
SETTINGS.DISCOVER_SOURCES = "none"
SETTINGS.DISCOVER_DEPENDENCIES = "none"
# Runs nvidia-smi without a time limit; nvidia-ml-py is asked instead.
SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
SETTINGS.HOST_INFO.CAPTURED_ENV = []
SETTINGS.CONFIG.READ_ONLY_CONFIG = False

"""Import and configure Sacred; all other modules import Sacred's names from here."""

from __future__ import annotations

import logging
import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from sacred import SETTINGS, Experiment
    from sacred.host_info import host_info_gatherer
    from sacred.observers import (
        FileStorageObserver,
        GoogleCloudStorageObserver,
        MongoObserver,
        QueuedMongoObserver,
        QueueObserver,
        RunObserver,
        S3Observer,
        SqlObserver,
        TelegramObserver,
        TinyDbObserver,
    )
    from sacred.utils import SacredInterrupt

__all__ = [
    "LOGGER",
    "NAME",
    "STORING",
    "Experiment",
    "FileStorageObserver",
    "QueueObserver",
    "QueuedMongoObserver",
    "RunObserver",
    "SacredInterrupt",
    "SqlObserver",
    "TelegramObserver",
    "host_info_gatherer",
]

NAME = "nablafx"
"""Name of the framework's experiments in Sacred."""

STORING = (
    FileStorageObserver,
    GoogleCloudStorageObserver,
    MongoObserver,
    QueuedMongoObserver,
    S3Observer,
    SqlObserver,
    TinyDbObserver,
)
"""Sacred's observers that store a run under its id, and reject or duplicate an id that exists."""

LOGGER = logging.getLogger("nablafx_core.runs.sacred")
"""Logger to which Sacred reports failed observers. Its messages about the end of a run are filtered out, because the
exception that ended the run says it already."""

LOGGER.getChild(NAME).addFilter(lambda entry: not str(entry.msg).startswith(("Aborted after", "Failed after")))

# Captured output overflows MongoDB's 16 MB documents, and capture by file descriptor breaks progress bars.
SETTINGS.CAPTURE_MODE = "no"
# Packs and the git commit are recorded instead; Sacred's search imports, hashes and stores whole source trees.
SETTINGS.DISCOVER_SOURCES = "none"
SETTINGS.DISCOVER_DEPENDENCIES = "none"
# Sacred would run nvidia-smi without a time limit; nvidia-ml-py is used instead.
SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
SETTINGS.HOST_INFO.CAPTURED_ENV = []
SETTINGS.CONFIG.READ_ONLY_CONFIG = False

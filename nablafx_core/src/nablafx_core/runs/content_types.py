"""Content types (MIME types) of files by their extension, the same on every system."""

from __future__ import annotations

import mimetypes

_UNKNOWN = "application/octet-stream"
_TYPES = {
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "ckpt": "application/zip",
    "csv": "text/csv",
    "flac": "audio/flac",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "md": "text/markdown",
    "mp3": "audio/mpeg",
    "nfx": "application/zip",
    "npz": "application/zip",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}


def content_type(name: str) -> str:
    """Return the content type of a file by its extension: ``"audio/wav"`` for ``"a.wav"``.

    It is ``"application/octet-stream"`` if the extension is unknown or missing.
    """
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    # Not the module's global function, because its tables differ between systems.
    return _TYPES.get(ending) or mimetypes.MimeTypes().guess_type(f"file.{ending}")[0] or _UNKNOWN

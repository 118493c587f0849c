"""Records of what was run: the run folder, written through Sacred, and its reader."""

from __future__ import annotations

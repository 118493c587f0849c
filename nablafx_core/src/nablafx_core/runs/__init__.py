"""Records of runs: write run folders through Sacred; read, list, select, rank, tag and delete runs."""

from __future__ import annotations

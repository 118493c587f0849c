"""Run records: the run folder, written through Sacred, and its readers."""

from __future__ import annotations

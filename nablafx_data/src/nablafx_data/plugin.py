"""What this pack provides. Imports nothing heavy."""

from __future__ import annotations

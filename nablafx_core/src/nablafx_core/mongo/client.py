"""The client of pymongo that we use: one that does not show its options."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient


class Client(MongoClient[dict[str, Any]]):
    """A MongoClient whose repr is the address; pymongo's shows options, a key file's password among them.

    Args:
        shown: what its repr shows.
        url: as pymongo takes it.
        options: as pymongo takes them.
    """

    def __init__(self, shown: str, url: str, **options: Any) -> None:
        self._shown = shown
        super().__init__(url, connect=False, **options)

    def __repr__(self) -> str:
        return f"MongoClient({self._shown})"

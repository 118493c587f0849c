"""A pymongo client that does not show its options."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient


class Client(MongoClient[dict[str, Any]]):
    """MongoClient whose repr is the address; pymongo's repr shows options, such as the password of a key file.

    Args:
        shown: address that the repr shows.
        url: URL for pymongo.
        options: options for pymongo.
    """

    def __init__(self, shown: str, url: str, **options: Any) -> None:
        self._shown = shown
        super().__init__(url, connect=False, **options)

    def __repr__(self) -> str:
        return f"MongoClient({self._shown})"

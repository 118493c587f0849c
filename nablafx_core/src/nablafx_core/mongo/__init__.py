"""Copies of run folders in MongoDB, in the collections and the layout of documents of Sacred's MongoObserver."""

from __future__ import annotations

"""Runs in MongoDB: copies of run folders, in the collections and documents that Sacred's MongoObserver writes."""

from __future__ import annotations

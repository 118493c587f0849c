"""Packs, their components, and the objects that are built from components."""

from nablafx_core.registry.lookup import Entry, Registry, listed

__all__ = ["Entry", "Registry", "listed"]

"""Packs, the components that they provide, and the objects that are built from them."""

from nablafx_core.registry.lookup import Entry, Registry, listed

__all__ = ["Entry", "Registry", "listed"]

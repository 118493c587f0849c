"""Base class of a pack's observer: Sacred's own class, imported without Sacred's warnings."""

from nablafx_core.quiet_sacred import RunObserver

__all__ = ["RunObserver"]

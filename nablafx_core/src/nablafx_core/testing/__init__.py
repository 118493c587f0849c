"""Checks for authors of packs: the laws that every component must keep.

>>> from nablafx_core.testing import check_pack
>>> check_pack("nablafx-acme")  # doctest: +SKIP
"""

from nablafx_core.testing.check_pack import check_pack, pack_results
from nablafx_core.testing.result import Result
from nablafx_core.testing.subject import LawBroken

__all__ = ["LawBroken", "Result", "check_pack", "pack_results"]

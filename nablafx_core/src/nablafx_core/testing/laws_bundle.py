"""Laws of bundles: they are declared with licence and hash, and they load, render and stream."""

from __future__ import annotations

import hashlib

from nablafx_core.bundles.loading import load
from nablafx_core.registry import Entry
from nablafx_core.testing import laws
from nablafx_core.testing.result import NotChecked
from nablafx_core.testing.subject import LawBroken


def bundle_is_declared(bundle: Entry) -> int:
    """Check that the Component of a bundle has the licence of the weights and the SHA-256 of the file.

    Returns:
        The size of the file in bytes.

    Raises:
        LawBroken: if one of the two is missing, or the file has another SHA-256.
    """
    content = bundle.resource().read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    component = bundle.component
    missing = [name for name in ("licence", "sha256") if not getattr(component, name)]
    if missing:
        advice = {"licence": 'licence="CC-BY-4.0", or another licence', "sha256": f'sha256="{digest}"'}
        raise LawBroken(
            f"the Component of the bundle has no {' and no '.join(missing)}. Add to it "
            f"{', and '.join(advice[name] for name in missing)}."
        )
    if component.sha256 != digest:
        raise LawBroken(
            f"the file's sha256 is {digest}, but {component.sha256} is declared. Ship the right file, or declare the "
            "hash of this one."
        )
    return len(content)


def bundle_renders(bundle: Entry) -> float:
    """Check that a bundle loads, and gives finite output for silence and full scale.

    All knobs together are at both ends and in the middle of their ranges.

    Returns:
        The largest absolute value of the output.

    Raises:
        LawBroken: if a value of the output is NaN or infinite.
        NablafxError: if the bundle cannot be loaded.
    """
    return laws.silence_gives_no_nan(load(bundle.qualified_name))


def bundle_streams(bundle: Entry) -> float:
    """Check that the model of a bundle gives the same output in blocks as offline, in float64.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        NotChecked: if the model cannot stream.
        LawBroken: if the difference is larger than 1e-9.
        NablafxError: if the bundle cannot be loaded.
    """
    model = load(bundle.qualified_name)
    if not model.streams:
        raise NotChecked("the model of the bundle needs the whole file and cannot stream.")
    return laws.stream_equals_offline(model, (1, 61, 64, 300, 3, 153))

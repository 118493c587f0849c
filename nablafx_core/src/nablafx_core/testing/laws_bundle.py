"""The laws of bundles: declared with licence and hash, and what is declared loads, renders and streams."""

from __future__ import annotations

import hashlib

from nablafx_core.bundles.loading import load
from nablafx_core.registry import Entry
from nablafx_core.testing import laws
from nablafx_core.testing.result import NotChecked
from nablafx_core.testing.subject import LawBroken


def bundle_is_declared(bundle: Entry) -> int:
    """The Component names the licence of the weights and the hash of the file, and the file has that hash.

    Returns:
        Size of the file in bytes.
    """
    content = bundle.resource().read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    component = bundle.component
    missing = [name for name in ("licence", "sha256") if not getattr(component, name)]
    if missing:
        advice = {"licence": 'licence="CC-BY-4.0", or whatever its terms are', "sha256": f'sha256="{digest}"'}
        raise LawBroken(
            f"its Component has no {' and no '.join(missing)}. Write {', '.join(advice[name] for name in missing)}."
        )
    if component.sha256 != digest:
        raise LawBroken(
            f"the file's sha256 is {digest}, the declared one {component.sha256}. Ship the file that was meant, or "
            "declare the hash of this one."
        )
    return len(content)


def bundle_renders(bundle: Entry) -> float:
    """It loads, and gives finite output for silence and full scale at either end of its knobs.

    Returns:
        The largest output.
    """
    return laws.silence_gives_no_nan(load(bundle.qualified_name))


def bundle_streams(bundle: Entry) -> float:
    """Blocks give what the whole gives.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        NotChecked: if the model has no stream.
    """
    model = load(bundle.qualified_name)
    if not model.streams:
        raise NotChecked("its model needs the whole file and has no stream.")
    return laws.stream_equals_offline(model, (1, 61, 64, 300, 3, 153))

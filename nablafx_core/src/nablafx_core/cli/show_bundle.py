"""What ``nablafx show`` says of a trained model."""

from __future__ import annotations

from typing import Any

from nablafx_core.errors import BundleError
from nablafx_core.export.bundle import describe_bundle
from nablafx_core.graybox import GrayBox, describe
from nablafx_core.loading import bundle_path, load


def described_bundle(name: str) -> dict[str, Any]:
    """A bundle's description and, for a gray-box chain, its parameters with the knobs at their defaults.

    Raises:
        BundleError: if the file is no bundle, or its model cannot be built.
    """
    path = bundle_path(name)
    if path is None:
        raise BundleError(f"{name}: no such file.")
    description = describe_bundle(path)
    model = load(path)
    if isinstance(model, GrayBox):
        description["learned"] = [
            {
                "block": f"{value.place} {value.processor}",
                value.parameter: "follows the audio" if value.value is None else round(value.value, 4),
                "unit": value.unit,
            }
            for value in describe(model)
        ]
    return description

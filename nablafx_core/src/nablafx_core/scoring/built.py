"""Build the losses and metrics of an experiment for the sample rate of its data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nablafx_core.interfaces import Metric
from nablafx_core.names import figure_names
from nablafx_core.registry.building import build
from nablafx_core.scoring.losses import WeightedLoss

_log = logging.getLogger(__name__)


def built_losses(sections: Sequence[Mapping[str, Any]], sample_rate: int) -> WeightedLoss:
    """Build the weighted sum of an experiment's losses.

    Args:
        sections: the checked section `loss` of the experiment.
        sample_rate: sample rate of the data in Hz, passed to losses that have this setting. A loss that sets another
            one keeps it, and a warning is logged.

    Raises:
        RegistryError: if there is no such loss, or it cannot be imported.
        ConfigError: if a loss rejects its settings, or there is none.
    """
    built = [_built("loss", section, sample_rate) for section in sections]
    return WeightedLoss([(part["name"], part["weight"], one) for part, one in zip(sections, built, strict=True)])


def built_metrics(sections: Sequence[Mapping[str, Any]], sample_rate: int) -> dict[str, Metric]:
    """Build an experiment's metrics; the keys are the names under which their values are recorded.

    Args:
        sections: the checked section `metrics` of the experiment.
        sample_rate: sample rate of the data in Hz, as for `built_losses`.

    Raises:
        RegistryError: if there is no such metric, or it cannot be imported.
        ConfigError: if a metric rejects its settings.
    """
    names = figure_names(section["name"] for section in sections)
    return {name: _built("metric", section, sample_rate) for name, section in zip(names, sections, strict=True)}


def _built(kind: str, section: Mapping[str, Any], sample_rate: int) -> Any:
    written = section.get("sample_rate", sample_rate)
    if written != sample_rate:
        _log.warning(
            "The %s %s has sample_rate %s Hz, but the data has %s Hz. Omit its sample_rate to use that of the data.",
            kind,
            section["name"],
            written,
            sample_rate,
        )
    return build(kind, section, sample_rate=sample_rate)

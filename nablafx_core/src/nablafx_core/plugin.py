"""Components of core itself, provided through the same hooks as those of any pack.

This module imports nothing heavy, because it is imported before it is known which component is needed.
"""

from __future__ import annotations

from nablafx_core.registry.component import Component
from nablafx_core.registry.hookspecs import hookimpl

_LOSSES = "nablafx_core.scoring.losses"
_METRICS = "nablafx_core.scoring.metrics"
_SMALL_STFT = {"fft_sizes": [64, 128], "hop_sizes": [16, 32], "win_lengths": [40, 128]}


@hookimpl
def nablafx_models() -> list[Component]:
    """Return the gray-box model."""
    branches = {"parallel": [[], [{"name": "nablafx-dsp/tanh"}]], "mix": {"controller": "nablafx-dsp/static"}}
    example = {"processors": [{"name": "nablafx-dsp/gain", "controller": "nablafx-dsp/static"}, branches]}
    summary = "Processors in series, in branches and side-chains, each driven by a controller"
    return [Component("graybox", "nablafx_core.graybox:GrayBox", summary, example)]


@hookimpl
def nablafx_controllers() -> list[Component]:
    """Return the controller for processors without parameters to drive."""
    return [Component("none", "nablafx_core.graybox.nothing:NoController", "For processors without driven parameters")]


@hookimpl
def nablafx_losses() -> list[Component]:
    """Return losses in the time domain and on spectra."""
    return [
        Component("l1", f"{_LOSSES}:L1", "Mean absolute error"),
        Component("mse", f"{_LOSSES}:MSE", "Mean squared error"),
        Component("esr", f"{_LOSSES}:ESR", "Error-to-signal ratio, with optional pre-emphasis"),
        Component("dc", f"{_LOSSES}:DC", "Offset of the error, relative to the target's power"),
        Component("log_cosh", f"{_LOSSES}:LogCosh", "Mean of log cosh of the error"),
        Component(
            "mr_stft",
            f"{_LOSSES}:MultiResolutionSTFT",
            "Multi-resolution STFT: spectral convergence and log magnitude",
            _SMALL_STFT,
        ),
    ]


@hookimpl
def nablafx_metrics() -> list[Component]:
    """Return metrics: figures of merit of predictions on the recordings of a split."""
    return [
        Component("mae", f"{_METRICS}:MAE", "Mean absolute error"),
        Component("mse", f"{_METRICS}:MSE", "Mean squared error"),
        Component("esr", f"{_METRICS}:ESR", "Error-to-signal ratio"),
        Component("dc", f"{_METRICS}:DC", "Offset of the error, relative to the target's power"),
        Component("log_cosh", f"{_METRICS}:LogCosh", "Mean of log cosh of the error"),
        Component("mape", f"{_METRICS}:MAPE", "Mean absolute error relative to the target, per sample"),
        Component("mr_stft", f"{_METRICS}:MultiResolutionSTFT", "Multi-resolution STFT distance", _SMALL_STFT),
        Component("cosine_similarity", f"{_METRICS}:CosineSimilarity", "Cosine of the angle between the signals"),
    ]

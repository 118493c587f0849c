"""The experiment file: layers of YAML, merged, checked against the components that they name."""

from nablafx_core.config.experiment import Experiment, load_experiment

__all__ = ["Experiment", "load_experiment"]

"""Errors that a user sees. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class NablafxError(Exception):
    """Base class of all errors that NablAFx raises for its users; the command line prints them without a traceback."""


class ConfigError(NablafxError):
    """Raised if an experiment file, an override or a setting is invalid."""


class RegistryError(NablafxError):
    """Raised if a component or pack is not installed, ambiguous or broken, or a component has the wrong kind."""


class AmbiguousNameError(RegistryError):
    """Raised if several packs provide a name; the message lists them."""


class ModelError(NablafxError, ValueError):
    """Raised if a model, processor or controller cannot do what it is asked for.

    Examples: a tensor of the wrong shape, a stream of a model that needs the whole file, a model that is too large.
    """


class DataError(NablafxError):
    """Raised if audio files, recordings or a dataset cannot be used; the message names them."""


class BundleError(NablafxError):
    """Raised if a bundle cannot be found, read or written, or its model cannot be built."""


class ConversionError(NablafxError):
    """Raised if a model file of another project cannot be read or written; the message says why."""


class RunError(NablafxError):
    """Raised if a run cannot be found, read, recorded or resumed."""


class TrainingError(NablafxError):
    """Raised if a training that has begun cannot go on or finish, for example because the loss is NaN or infinite."""


class NablafxDeprecationWarning(DeprecationWarning):
    """Warning about a deprecated name or setting; the message names its replacement and the version that removes it."""

"""Errors that a user sees. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class NablafxError(Exception):
    """Base class of all errors that NablAFx raises on purpose; the command line prints them without a traceback."""


class ConfigError(NablafxError):
    """Raised if an experiment file, an override or a setting is invalid."""


class RegistryError(NablafxError):
    """Raised if a component is in no installed pack or in several, or if its pack is broken."""


class AmbiguousNameError(RegistryError):
    """Raised if several packs provide a name; the message lists them."""


class ModelError(NablafxError, ValueError):
    """Raised if a model, processor or controller receives unsupported input, such as a tensor of the wrong shape."""


class DataError(NablafxError):
    """Raised if recordings cannot be used; the message names the file."""


class BundleError(NablafxError):
    """Raised if a bundle file cannot be read or written."""


class ConversionError(NablafxError):
    """Raised if a model file of another project cannot be read or written; the message names the unsupported part."""


class RunError(NablafxError):
    """Raised if a run folder cannot be found, read or resumed."""


class TrainingError(NablafxError):
    """Raised if training cannot continue, for example because the loss is NaN or infinite."""


class NablafxDeprecationWarning(DeprecationWarning):
    """Warning about a deprecated name or setting; the message names its replacement and the version that removes it."""

"""The errors that a user sees. Each message names the thing, where it stands and what to do."""

from __future__ import annotations


class NablafxError(Exception):
    """Root of every error that NablAFx raises on purpose; the command line prints it without a traceback."""


class ConfigError(NablafxError):
    """An experiment file, an override or a setting that cannot be used."""


class RegistryError(NablafxError):
    """A component that no pack provides, that several provide, or whose pack is broken."""


class AmbiguousNameError(RegistryError):
    """A name that several packs provide; the message lists them."""


class ModelError(NablafxError, ValueError):
    """A model, processor or controller that was given something it cannot work with."""


class DataError(NablafxError):
    """A recording, or a set of them, that cannot be used; names the file."""


class BundleError(NablafxError):
    """A bundle file that cannot be read or written."""


class ConversionError(NablafxError):
    """A model file of another project that cannot be read or written; says which part."""


class RunError(NablafxError):
    """A run folder that cannot be found, read or continued."""


class TrainingError(NablafxError):
    """A training that cannot go on, such as a loss that is no longer a number."""


class NablafxDeprecationWarning(DeprecationWarning):
    """A name or setting that a later version removes; the message says which version, and what replaces it."""

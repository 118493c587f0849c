"""Explain the errors of torch, Lightning and the disk that end a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.memory import is_oom_error

from nablafx_core.errors import NablafxError, TrainingError


@contextmanager
def memory_explained(batch: str) -> Iterator[None]:
    """Explain errors inside the ``with``: too little memory, an unsupported precision, and errors of a data worker.

    Torch puts the traceback of a data worker (``data.num_workers``) into the error's message. A NablafxError is raised
    again without it.

    Args:
        batch: description of what may not fit, such as ``"a batch of 16 segments of 144,000 samples"``.

    Raises:
        TrainingError: if the memory of the CPU or a GPU is too small, the CPU does not support the precision, or a
            data worker failed with another error than a NablafxError.
    """
    try:
        yield
    except NablafxError as error:
        if "Original Traceback" not in str(error):
            raise
        raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error
    except Exception as error:
        if isinstance(error, MemoryError) or is_oom_error(error):
            raise TrainingError(
                f"there is not enough memory for {batch}. Lower data.batch_size or data.segment_length, set "
                "train.tbptt, or on a GPU train.precision: bf16-mixed. The files written so far are kept."
            ) from error
        if "could not create a primitive" in str(error):  # oneDNN's error for a layer without float16 or bfloat16
            raise TrainingError(
                "this CPU cannot compute a layer of the model in the chosen train.precision. Set it to 32-true."
            ) from error
        if "Original Traceback" not in str(error):
            raise
        raise TrainingError(
            f"a recording cannot be read: {str(error).strip().splitlines()[-1].rstrip('.')}. Run again with "
            "--traceback to see where."
        ) from error


@contextmanager
def disk_explained(left: str) -> Iterator[None]:
    """Turn an OSError inside the ``with``, or a NablafxError that one caused, into a TrainingError with advice.

    Args:
        left: end of the message: which files exist nevertheless, and how to make the rest.

    Raises:
        TrainingError: if a file cannot be written; it names the file and the cause.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{error.filename or 'a file'}: cannot be written: {error.strerror or error}. {left}"
        ) from error
    except NablafxError as error:  # for example the error of an audio file
        if not isinstance(error.__cause__, OSError):
            raise
        raise TrainingError(f"{error} {left}") from error

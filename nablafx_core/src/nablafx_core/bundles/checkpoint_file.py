"""Read tensors from an untrusted torch checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from nablafx_core.bundles.torch_file import UnreadableError, read_torch_file
from nablafx_core.errors import ConversionError

#: Keys under which a checkpoint may contain its weights; both, if one is inside the other.
_PLACES = ("state_dict", "model_state_dict")
#: Largest ratio of the size of all tensors to the size of the file.
_REPEATED = 16


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors, by name, of a torch checkpoint that may be untrusted.

    The file is one of ``torch.save``: a checkpoint with the key ``state_dict``, as Lightning writes, or
    ``model_state_dict``, or a bare state dict. Nothing in the file is executed. A checkpoint may also contain objects
    of the program that wrote it; they are ignored, like everything else that is not a tensor with a name.

    Raises:
        ConversionError: if the file cannot be read, is not such a file, is damaged, is TorchScript, contains no
            tensors, or its tensors together are larger than 16 times the file.
    """
    try:
        content = read_torch_file(path, objects=True)
    except UnreadableError as error:
        raise ConversionError(f"{path}: cannot be read as a checkpoint: {error}.") from error
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read: {error.strerror or error}.") from error
    for place in _PLACES:
        if isinstance(content, Mapping) and isinstance(content.get(place), Mapping):
            content = content[place]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {name: value.detach() for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ConversionError(f"{path}: contains no weights. Expected a Lightning checkpoint or a state dict of torch.")
    # Views may overlap, and copies of all views may take more memory than the file.
    if sum(tensor.nbytes for tensor in tensors.values()) > _REPEATED * path.stat().st_size:
        raise ConversionError(
            f"{path}: its tensors share so much memory that they cannot be weights. Save a copy of each tensor."
        )
    return tensors

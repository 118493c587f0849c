"""Law of saving: the weights and the state of a component can be saved and loaded without loss."""

from __future__ import annotations

import copy
from collections.abc import Callable

import safetensors.torch
import torch
from torch import Tensor

from nablafx_core.testing.subject import LawBroken, Subject, knobs, name_of, noise, prepared


def saves_what_it_loads(subject: Subject, build: Callable[[], Subject] | None = None, *, time: int = 256) -> float:
    """Check that a component with saved and loaded weights and state gives exactly the same output as the original.

    The state is checked only if the component streams.

    Args:
        subject: model, processor or controller.
        build: function that builds another component from the same settings, with other random weights; the saved
            weights are loaded strictly into it. If None, a deep copy is used, which does not reveal missing weights.
        time: number of samples.

    Returns:
        The largest difference, which is 0.0.

    Raises:
        LawBroken: if the weights cannot be loaded, or an output differs.
    """
    torch.manual_seed(1)
    other = copy.deepcopy(subject) if build is None else build()
    try:
        other.load_state_dict(_through_file(subject.state_dict()), strict=True)
    except RuntimeError as problem:
        raise LawBroken(
            f"saves what it loads ({name_of(subject)}): {problem}\nA model that is built from the same settings must "
            "have the same parameters and buffers."
        ) from problem
    model, loaded = prepared(subject), prepared(other)
    half = time // 2
    audio, controls = noise(model, 2, time), knobs(model, 2)
    with torch.no_grad():
        _same(model(audio, controls)[0], loaded(audio, controls)[0], subject, "weights")
        if not model.streams:
            return 0.0
        _, state = model(audio[..., :half], controls, model.initial_state(2, controls))
        straight, after = model(audio[..., half:], controls, state)
        resumed, after_too = loaded(audio[..., half:], controls, _through_file(state))
        _same(straight, resumed, subject, "state")
        _same(model.flush(after), loaded.flush(after_too), subject, "state at the end")
    return 0.0


def _through_file(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return safetensors.torch.load(safetensors.torch.save({k: v.contiguous().clone() for k, v in tensors.items()}))


def _same(original: Tensor, loaded: Tensor, subject: Subject, what: str) -> None:
    if not torch.equal(original, loaded):
        difference = float((original - loaded).abs().max())
        raise LawBroken(
            f"saves what it loads ({name_of(subject)}): its {what} read back from a file change the output by "
            f"{difference:.3g}. Register everything that the output depends on as a parameter or a buffer, or put it "
            "into the state."
        )

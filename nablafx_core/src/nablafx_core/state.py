"""State as a value: a flat dict of tensors, batch first, that a call takes and returns."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]


def joined(states: Mapping[str, State]) -> State:
    """Merge the states of parts into one; each key gets the prefix of its part's name and a dot."""
    return {f"{part}.{key}": value for part, state in states.items() for key, value in state.items()}


def scoped(state: State, part: str) -> State:
    """Return the state of one part, as it was passed to `joined`: its keys without prefix. Empty if there is none."""
    prefix = f"{part}."
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def detached(state: State) -> State:
    """Return a state with the same values but without autograd history, so that gradients stop at it."""
    return {key: value.detach() for key, value in state.items()}

"""A linear recursion with moving coefficients as a parallel scan in torch's operations, which suits accelerators.

Sample t maps the state v by v' = A[t] v + drive[t]. Such maps compose, so T of them take log2(T) steps, each over the
whole signal at once.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_recursion(transition: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Compute v[t] = A[t] v[t-1] + drive[t] by doubling (Hillis and Steele, "Data parallel algorithms", CACM 1986).

    Args:
        transition: A, (batch, time, n, n), or (batch, 1, n, n) if it is constant.
        drive: (batch, time, n).
        initial: v[-1], (batch, n).

    Returns:
        v, (batch, time, n).
    """
    if drive.shape[1] == 0:
        return drive
    first = drive[:, :1] + (transition[:, :1] @ initial[:, None, :, None])[..., 0]
    value, moves = torch.cat([first, drive[:, 1:]], dim=1), transition.shape[1] > 1
    shift = 1
    while shift < value.shape[1]:
        late = transition[:, shift:] if moves else transition
        carried = (late @ value[:, :-shift, :, None])[..., 0]
        value = torch.cat([value[:, :shift], value[:, shift:] + carried], dim=1)
        if moves:
            transition = torch.cat([transition[:, :shift], late @ transition[:, :-shift]], dim=1)
        else:
            transition = transition @ transition
        shift *= 2
    return value

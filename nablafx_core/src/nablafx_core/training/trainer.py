"""A Lightning trainer whose decision to stop cannot be undone by a callback."""

from __future__ import annotations

import lightning


class Trainer(lightning.Trainer):
    """Trainer whose `should_stop`, once true, stays true.

    The last step, the time limit and callbacks set it to end a training. Otherwise a callback that assigns the result
    of a comparison, ``trainer.should_stop = esr < 0.05``, could undo the stop at the last step.
    """

    _over = False

    @property
    def should_stop(self) -> bool:
        """True if the training ends after the current step or validation."""
        return self._over

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        self._over = self._over or bool(value)

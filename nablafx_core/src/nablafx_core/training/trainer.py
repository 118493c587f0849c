"""Lightning's trainer, whose end no callback can take back."""

from __future__ import annotations

import lightning


class Trainer(lightning.Trainer):
    """Trainer whose `should_stop` stays true once it is.

    The last step, the time limit and callbacks end a training by setting it. Without this, a callback that assigns
    the result of a comparison, ``trainer.should_stop = esr < 0.05``, would undo the end at the last step.
    """

    _over = False

    @property
    def should_stop(self) -> bool:
        """True if the training ends after the step or validation that is going on."""
        return self._over

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        self._over = self._over or bool(value)

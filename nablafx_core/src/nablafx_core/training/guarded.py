"""Keep failing callbacks of packs from ending a training."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from lightning import Callback

from nablafx_core.causes import cause
from nablafx_core.errors import NablafxError
from nablafx_core.pack_code import PackFailure, contained
from nablafx_core.registry import Registry
from nablafx_core.registry.diagnosis import otherwise

_log = logging.getLogger(__name__)
_HOOKS = tuple(name for name, value in vars(Callback).items() if callable(value) and not name.startswith("_"))


def pack_callbacks(config: Mapping[str, Any], beside: Iterable[Callback] = ()) -> list[Callback]:
    """Return the callbacks that packs add to a training, each `guarded`; warn about unusable ones and leave them out.

    If a pack's hook fails with another exception than a NablafxError, all its callbacks are left out.

    Args:
        config: validated experiment; each pack gets a copy.
        beside: other callbacks of the training, whose state_key a callback with a state must not have.

    Raises:
        NablafxError: if a pack's hook raises it, to reject the experiment.
    """
    found: list[Callback] = []
    keys = {callback.state_key for callback in beside if _has_state(callback)}
    for pack in Registry.discover().packs:
        known = len(pack.problems)
        answers = pack.call("nablafx_callbacks", config=copy.deepcopy(dict(config)))
        for problem in pack.problems[known:]:
            _log.warning("pack %s: %s The training continues without its callbacks.", pack.name, problem)
        for callback in answers:
            if fault := _fault(callback, keys):
                what = f"nablafx_callbacks() returned {fault}. It is left out; the training continues."
                _log.warning("pack %s: %s %s", pack.name, what, otherwise(pack.name))
            elif isinstance(callback, Callback):
                found.append(guarded(callback, pack.name))
    return found


def _fault(callback: Any, keys: set[str]) -> str | None:
    """Return why Lightning would reject a callback, or None; add its key to `keys` if it has a state."""
    if not isinstance(callback, Callback):
        return f"{type(callback).__name__} instead of a lightning.Callback: {callback!r:.60}"
    try:
        with contained():
            key = str(callback.state_key)
    except Exception as error:
        return f"a {type(callback).__name__} whose state_key fails ({cause(error)})"
    if _has_state(callback):
        if key in keys:
            return f"a {type(callback).__name__} with the state_key of another callback ({key})"
        keys.add(key)
    return None


def _has_state(callback: Callback) -> bool:
    return type(callback).state_dict is not Callback.state_dict


def guarded(callback: Callback, pack: str) -> Callback:
    """Change a callback so that if one of its hooks raises, a warning is logged and none is called again; return it.

    NablafxError, a Ctrl-C and SystemExit are not caught, because they end a training on purpose. Only the hooks that
    its class overrides are replaced, on the instance, so that the callback keeps its class for Lightning and for
    pickle.

    Args:
        callback: callback of the pack.
        pack: name of the pack, for the message.
    """
    guard = _Guard(callback, pack)
    for hook in _HOOKS:
        if hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook):
            setattr(callback, hook, partial(guard.call, hook, vars(callback).get(hook)))
    return callback


class _Guard:
    def __init__(self, callback: Callback, pack: str) -> None:
        self.callback = callback
        self.pack = pack
        self.failed = False

    def call(self, hook: str, own: Callable[..., Any] | None, *arguments: Any, **named: Any) -> Any:
        """Call the instance's own hook, or that of its class if `own` is None.

        If it raises, warn; from then on call nothing, and return None, or {} for ``state_dict``.
        """
        nothing: Any = {} if hook == "state_dict" else None
        if self.failed:
            return nothing
        try:
            with contained():
                if own is not None:
                    return own(*arguments, **named)
                return getattr(type(self.callback), hook)(self.callback, *arguments, **named)
        except NablafxError:
            raise
        except Exception as error:
            if isinstance(error, PackFailure) and isinstance(error.original, SystemExit):
                raise error.original from None
            self.failed = True
            kind = type(self.callback)
            what = f"its callback {kind.__name__} failed in {hook} ({cause(error, kind.__module__.partition('.')[0])})."
            goes_on = "It is not called again; the training continues."
            _log.warning("pack %s: %s %s %s", self.pack, what, goes_on, otherwise(self.pack))
            return nothing

"""Lightning callbacks of packs, made so that one that fails cannot end a training."""

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
    """Return the callbacks that packs add to a training, each `guarded`; report and leave out unusable ones.

    Args:
        config: the validated experiment; each pack gets a copy.
        beside: the other callbacks of the training.

    Raises:
        NablafxError: as a pack's hook does, which refuses the experiment by it.
    """
    found: list[Callback] = []
    keys = {callback.state_key for callback in beside if _has_state(callback)}
    for pack in Registry.discover().packs:
        known = len(pack.problems)
        answers = pack.call("nablafx_callbacks", config=copy.deepcopy(dict(config)))
        for problem in pack.problems[known:]:
            _log.warning("pack %s: %s The training goes on without its callbacks.", pack.name, problem)
        for callback in answers:
            if fault := _fault(callback, keys):
                what = f"nablafx_callbacks() returned {fault}. It is left out; the training goes on."
                _log.warning("pack %s: %s %s", pack.name, what, otherwise(pack.name))
            elif isinstance(callback, Callback):
                found.append(guarded(callback, pack.name))
    return found


def _fault(callback: Any, keys: set[str]) -> str | None:
    """Return why Lightning would refuse a callback; add its key to `keys` if it has a state."""
    if not isinstance(callback, Callback):
        return f"{type(callback).__name__}, no lightning.Callback: {callback!r:.60}"
    try:
        with contained():
            key = str(callback.state_key)
    except Exception as error:
        return f"a {type(callback).__name__} whose state_key fails ({cause(error)})"
    if _has_state(callback):
        if key in keys:
            return f"a {type(callback).__name__} whose state_key is that of another callback ({key})"
        keys.add(key)
    return None


def _has_state(callback: Callback) -> bool:
    return type(callback).state_dict is not Callback.state_dict


def guarded(callback: Callback, pack: str) -> Callback:
    """Return the same callback; if one of its hooks raises, report it once and call none of its hooks again.

    NablafxError, KeyboardInterrupt and SystemExit pass: they end a training on purpose. Only the hooks that its
    class overrides are replaced, on the instance, so that the callback stays what it is to Lightning and to pickle.

    Args:
        callback: of the pack.
        pack: its name, for the message.
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
        """Call a hook: the instance's own, or its class's."""
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
            goes_on = "It is not called again; the training goes on."
            _log.warning("pack %s: %s %s %s", self.pack, what, goes_on, otherwise(self.pack))
            return nothing

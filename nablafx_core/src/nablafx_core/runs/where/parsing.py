"""Parse a condition on runs, such as ``model.name=tcn and step>1000``."""

from __future__ import annotations

from nablafx_core.errors import RunError
from nablafx_core.runs.where.conditions import Comparison, Condition, Group, Negation, Value
from nablafx_core.runs.where.tokens import Token, tokens, wrong

_SIGNS = ("=", "==", "!=", "<", "<=", ">", ">=", "~")
_KEYWORDS = ("and", "or", "not", "in")
_DEEPEST = 50  # nesting; deeper text would exhaust the stack


def parse(text: str) -> Condition:
    """Parse a condition; the package's docstring has the grammar.

    Raises:
        RunError: if the text is not a condition, or is nested more than 50 levels deep; the message shows the place.
    """
    reader = _Reader(text)
    condition = reader.either()
    if reader.next.kind != "end":
        raise reader.wrong("'and' or 'or' is expected here; quote a value that contains spaces")
    return condition


class _Reader:
    """Parser that reads the tokens of a condition from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def wrong(self, what: str) -> RunError:
        return wrong(self._text, self.next.place, what)

    def take(self) -> Token:
        token = self.next
        self._at += 1
        return token

    def either(self) -> Condition:
        parts = [self.both()]
        while self.next.is_word("or"):
            self.take()
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Group(tuple(parts), every=False)

    def both(self) -> Condition:
        parts = [self.negated()]
        while self.next.is_word("and"):
            self.take()
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else Group(tuple(parts), every=True)

    def negated(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.wrong(
                f"conditions are nested more than {_DEEPEST} levels deep; write fewer parentheses and 'not'"
            )
        condition = self._negated()
        self._depth -= 1
        return condition

    def _negated(self) -> Condition:
        if self.next.is_word("not"):
            self.take()
            return Negation(self.negated())
        if self.next.is_sign("("):
            self.take()
            condition = self.either()
            if not self.next.is_sign(")"):
                raise self.wrong("')' is expected here")
            self.take()
            return condition
        return self.comparison()

    def comparison(self) -> Condition:
        if self.next.kind not in ("word", "quoted") or self.next.is_word(*_KEYWORDS):
            raise self.wrong("a name is expected here, such as model.name or metrics.esr")
        name = self.take()
        if self.next.is_word("in"):
            return self._one_of(name)
        if self.next.is_word("not") and self._tokens[self._at + 1].is_word("in"):
            self.take()
            return Negation(self._one_of(name))
        if not self.next.is_sign(*_SIGNS):
            raise self.wrong(f"a comparison is expected here: {' '.join(_SIGNS)} or in [a, b]")
        sign = self.take().text
        place = self._at
        value = self.value()
        if name.text == "start" and value.plain is not None and sign != "~" and value.time is None:
            self._at = place
            raise self.wrong("a date is expected here, such as 2026-11-23 or 2026-11-23T14:30, in UTC")
        return Comparison(name.text, "=" if sign == "==" else sign, value)

    def value(self) -> Value:
        if self.next.kind not in ("word", "quoted") or self.next.is_word(*_KEYWORDS):
            raise self.wrong("a value is expected here: a number, a word, or a text in quotes")
        token = self.take()
        return Value(token.text, token.kind == "quoted")

    def _one_of(self, name: Token) -> Condition:
        self.take()
        if not self.next.is_sign("["):
            raise self.wrong("'[' is expected here, as in: in [a, b]")
        values: list[Value] = []
        while not values or self.next.is_sign(","):
            self.take()
            values.append(self.value())
        if not self.next.is_sign("]"):
            raise self.wrong("',' or ']' is expected here")
        self.take()
        return Group(tuple(Comparison(name.text, "=", value) for value in values), every=False)

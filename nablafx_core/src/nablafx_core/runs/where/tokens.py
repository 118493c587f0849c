"""Split a condition into words, quoted texts and signs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nablafx_core.errors import RunError

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<sign>==|!=|<=|>=|[=<>~()\[\],])"""
    r"""|(?P<word>[^\s"'=!<>~()\[\],]+))"""
)


@dataclass(frozen=True)
class Token:
    """Token of a condition.

    Attributes:
        kind: ``"word"``, ``"quoted"``, ``"sign"`` or ``"end"``.
        text: text of the token, without quotes.
        place: number of the token's first character in the condition, counted from 0.
    """

    kind: str
    text: str
    place: int

    def is_word(self, *words: str) -> bool:
        """Return true if it is one of these lower-case words, written in upper or lower case, without quotes."""
        return self.kind == "word" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Return true if it is one of these signs."""
        return self.kind == "sign" and self.text in signs


def tokens(text: str) -> list[Token]:
    """Return the tokens of a condition; the last one has the kind ``"end"``.

    Raises:
        RunError: if a quote is not closed or a sign is unknown.
    """
    found, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            what = "this quote is not closed" if text[place] in "\"'" else f"unknown sign '{text[place]}'"
            raise wrong(text, place, what)
        kind = str(match.lastgroup)
        piece = match[kind]
        found.append(
            Token(kind, re.sub(r"\\(.)", r"\1", piece[1:-1]) if kind == "quoted" else piece, match.start(kind))
        )
        place = match.end()
    return [*found, Token("end", "", end)]


def wrong(text: str, place: int, what: str) -> RunError:
    """Return the error that shows where a condition is wrong: at character `place`, counted from 0."""
    line = "".join(char if char.isprintable() else " " for char in text)
    first = max(0, place - 60)
    shown = line[first : place + 60]
    return RunError(f"--where: {what}:\n  {shown}\n  {' ' * (place - first)}^")

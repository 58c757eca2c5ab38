"""SQL taken apart into words, literals and signs, as SQLite reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Token", "first_name", "tokens"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<literal>[xX]?'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<word>[^\W\d][\w$]*)
      | (?P<number>\.?\d(?:[eE][+-]|[\w.])*)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of SQL: its kind, its text, and where it starts and ends."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        """The word or sign in upper case; empty for a literal or a quoted name."""
        return self.text.upper() if self.kind in {"word", "sign"} else ""

    @property
    def name(self) -> str:
        """The identifier that this token writes, without its quotes."""
        if self.kind == "quoted" or (self.kind == "literal" and self.text.startswith("'")):
            opening, inner = self.text[0], self.text[1:-1]
            return inner if opening == "[" else inner.replace(opening * 2, opening)
        return self.text


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of a piece of SQL, without blanks and comments."""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup and match.lastgroup != "space":
            yield Token(match.lastgroup, match.group(), match.start(), match.end())


def first_name(term: str) -> str:
    """Return the name at the start of a term such as `"a" COLLATE NOCASE DESC`."""
    return next(tokens(term)).name

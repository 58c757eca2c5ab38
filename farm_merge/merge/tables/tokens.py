"""SQL taken apart into words, literals and signs, as SQLite reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Token", "first_name", "tokens"]

# What SQLite's tokenizer knows: five blanks, and names of ASCII and of all from U+0080 on, so that
# a no-break space is part of a name.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\n\f\r]+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<literal>[xX]?'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<word>[A-Za-z_\x80-\U0010FFFF][0-9A-Za-z_$\x80-\U0010FFFF]*)
      | (?P<number>\.?[0-9](?:[eE][+-]|[0-9A-Za-z_.])*)
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
        is_keyword = self.kind in {"word", "sign"} and self.text.isascii()
        return self.text.upper() if is_keyword else ""

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
    return next((token.name for token in tokens(term)), "")

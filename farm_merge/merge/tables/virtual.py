"""Virtual tables, and the tables in which their modules keep what they hold.

Which these are is a matter of the module and its options, not of how a name ends: an ordinary table
called `sites_data` beside an R*Tree called `sites` is data. Sources: section 9 of
https://www.sqlite.org/fts5.html, section 9.1 of https://www.sqlite.org/fts3.html, section 6.1 of
https://www.sqlite.org/rtree.html, https://www.sqlite.org/spellfix1.html.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.tokens import tokens

__all__ = ["VirtualTable", "parse_virtual_table"]

_SHADOWS = {
    "fts3": ("content", "segments", "segdir"),
    "fts4": ("content", "segments", "segdir", "docsize", "stat"),
    "fts5": ("data", "idx", "content", "docsize", "config"),
    "rtree": ("node", "rowid", "parent"),
    "rtree_i32": ("node", "rowid", "parent"),
    "geopoly": ("node", "rowid", "parent"),
    "spellfix1": ("vocab",),
}
_WITHOUT = {
    # An option of a module, the value it has (None: any), and the table that there is not then.
    ("fts4", "content", None): "content",
    ("fts5", "content", None): "content",
    ("fts4", "matchinfo", "fts3"): "docsize",
    ("fts5", "columnsize", "0"): "docsize",
}


class VirtualTable(NamedTuple):
    """A virtual table.

    Attributes:
        name: The table.
        module: What implements it, in lower case.
        options: Its arguments of the form `name=value`, in lower case.
    """

    name: str
    module: str
    options: tuple[tuple[str, str], ...]

    @property
    def shadows(self) -> frozenset[str]:
        """The lower-case names of the tables behind it."""
        missing = {
            suffix
            for (module, option, value), suffix in _WITHOUT.items()
            for name, given in self.options
            if module == self.module and option == name and value in {None, given}
        }
        kept = (suffix for suffix in _SHADOWS.get(self.module, ()) if suffix not in missing)
        return frozenset(folded(f"{self.name}_{suffix}") for suffix in kept)


def parse_virtual_table(sql: str) -> VirtualTable | None:
    """Read a CREATE VIRTUAL TABLE statement; None if it is another one."""
    start = [word.keyword for word in islice(tokens(sql), 3)]
    if start != ["CREATE", "VIRTUAL", "TABLE"]:
        return None
    words = list(tokens(sql))
    keywords = [word.keyword for word in words]
    if "USING" not in keywords:
        return None
    using = keywords.index("USING")
    arguments = "".join(word.name or word.text for word in words[using + 2 :])
    pairs = (argument.partition("=") for argument in arguments.strip("()").split(","))
    options = tuple((folded(name), folded(value)) for name, equals, value in pairs if equals)
    return VirtualTable(words[using - 1].name, folded(words[using + 1].name), options)

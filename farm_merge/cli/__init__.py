"""The command `farm-merge`: it parses, calls the library, prints what came back, and exits.

What a command needs is imported when it runs, so that the first word is answered at once.

Exit codes: 0 all merged or already merged; 1 nothing merged, the output untouched; 2 usage;
3 merged, some inputs left out; 130 interrupted.
"""

from __future__ import annotations

import difflib
import glob
import os
from typing import TYPE_CHECKING, Any

import click

from farm_merge import __version__
from farm_merge.cli import again, export, keep, look, merge, publish, report, serve, sweep, watch
from farm_merge.cli.show import exit_on_error

if TYPE_CHECKING:
    from click import Group as DefaultGroup
else:
    from click_default_group import DefaultGroup

__all__ = ["main"]


class FirstWord(DefaultGroup):
    """Merging is the default command, but a mistyped command must not become a merge."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line."""
        with exit_on_error():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click would take an interrupt for a mistake."""
        with exit_on_error():
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Report a first word that is neither a command nor a path, with suggestions."""
        word = args[0]
        if not (word in self.commands or word.startswith("-") or _is_path(word)):
            close = difflib.get_close_matches(word, self.commands)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"{word!r} is neither a command nor an existing path.{hint}")
        return super().resolve_command(ctx, args)


def _is_path(word: str) -> bool:
    return os.path.lexists(word) or glob.has_magic(word)


@click.group(
    cls=FirstWord,
    default="merge",
    default_if_no_args=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="farm-merge")
def main() -> None:
    """Merge the SQLite shards of parallel simulations into one experiment database.

    \b
    farm-merge shards/*.db -o exp.db    merge files, folders or patterns
    farm-merge sweep SWEEP.toml         simulate in parallel, and merge
    farm-merge watch shards/ -o exp.db  merge shards as they come
    farm-merge inspect FILES            show what files are
    farm-merge verify exp.db shards/    check it, against the files it came from
    farm-merge list|info|compare exp.db show what is in there
    farm-merge report exp.db            make a page of it
    farm-merge export exp.db -o DIR     take data out: CSV, JSON, Parquet
    farm-merge sql exp.db "SELECT ..."  ask it anything

    A folder or file named like a command is reached as ./NAME.
    """


for _module in (merge, sweep, watch, again, look, report, serve, export, keep, publish):
    for _command in _module.COMMANDS:
        main.add_command(_command)

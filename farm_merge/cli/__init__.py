"""The command `farm-merge`: it parses, calls the library, prints what came back, and exits.

What a command needs is imported when it runs, so that the first word is answered at once.
"""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from farm_merge import __version__
from farm_merge.cli import (
    again,
    export,
    guide,
    keep,
    look,
    merge,
    options,
    publish,
    report,
    serve,
    sweep,
    watch,
)
from farm_merge.cli.show import exit_on_error
from farm_merge.nearest import with_nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            try:
                return super().invoke(ctx)
            except click.UsageError as exc:
                if "unexpected extra argument" in exc.message and _selects(exc.ctx):
                    reason = f"{exc.message}; simulations are named with --simulation"
                    raise click.UsageError(reason, exc.ctx) from None
                raise

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with what all of them have."""
        options.with_common(cmd)
        super().add_command(cmd, name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Report a first word that is neither a command nor a path, with the nearest that is."""
        word = args[0]
        if not (word in self.commands or word.startswith("-") or _is_path(word)):
            reason = f"{word!r} is neither a command nor an existing path"
            raise click.UsageError(with_nearest(reason, word, (*self.commands, *_names_here(word))))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a first word: a command, or a path to merge."""
        found = super().shell_complete(ctx, incomplete)
        return found or [CompletionItem(incomplete, type="file")]


def _selects(ctx: click.Context | None) -> bool:
    """Return whether a command is about simulations that are chosen by an option."""
    return ctx is not None and any("--simulation" in it.opts for it in ctx.command.params)


def _names_here(word: str) -> Iterator[str]:
    """Yield what there is where a path leads."""
    with suppress(OSError):
        yield from map(str, Path(word).parent.iterdir())


def _is_path(word: str) -> bool:
    return os.path.lexists(word) or glob.has_magic(word)


@click.group(
    cls=FirstWord,
    default="merge",
    default_if_no_args=False,
    epilog=options.EXIT_CODES_LINE,
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

    A folder or file named like a command is reached as ./NAME. `farm-merge help COMMAND` shows
    how one is used, `farm-merge completion` completes them.
    """


for _module in (merge, sweep, watch, again, look, report, serve, export, keep, publish, guide):
    for _command in _module.COMMANDS:
        main.add_command(_command)

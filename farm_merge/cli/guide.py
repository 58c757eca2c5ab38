"""The commands about the command itself: help and completion."""

from __future__ import annotations

import os
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

from farm_merge.nearest import with_nearest

__all__ = ["COMMANDS"]

_NAME, _VARIABLE = "farm-merge", "_FARM_MERGE_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command("help")
@click.argument("name", required=False, metavar="[COMMAND]")
@click.pass_context
def help_(ctx: click.Context, name: str | None) -> None:
    """Show how a command is used; without COMMAND, which there are."""
    parent = ctx.find_root()
    group = parent.command
    if name is None or not isinstance(group, click.Group):
        click.echo(parent.get_help())
        return
    command = group.commands.get(name)  # get_command would take it for a path to merge
    if command is None:
        reason = with_nearest(f"there is no command {name}", name, group.list_commands(parent))
        raise click.UsageError(reason)
    with click.Context(command, info_name=name, parent=parent) as described:
        click.echo(command.get_help(described))


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print what makes a shell complete commands, options and files.

    \b
    bash:  eval "$(farm-merge completion bash)"      in ~/.bashrc
    zsh:   eval "$(farm-merge completion zsh)"       in ~/.zshrc
    fish:  farm-merge completion fish | source       in ~/.config/fish/config.fish

    Without SHELL, it is the one that $SHELL names.
    """
    chosen = shell or PurePath(os.environ.get("SHELL", "")).name
    found = get_completion_class(chosen) if chosen in _SHELLS else None
    if found is None:
        raise click.UsageError(f"For which shell? There are {', '.join(_SHELLS)}.")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, _NAME, _VARIABLE).source())


COMMANDS = (help_, completion)

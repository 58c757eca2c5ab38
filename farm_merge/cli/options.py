"""Arguments and options: each has one name, one meaning and one help text, in all commands.

The vocabulary is in docs/command-line.md; `tests/cli/test_vocabulary.py` holds every command to it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from farm_merge.cli.show import EXIT_CODES, be_quiet, be_verbose, note
from farm_merge.nearest import with_nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Sized

__all__ = [
    "EXIT_CODES_LINE",
    "database",
    "dry_run",
    "equal_files",
    "existing_file",
    "experiment_id",
    "form",
    "groups",
    "interval",
    "jobs",
    "join",
    "metrics",
    "new_file",
    "new_folder",
    "note_if_none",
    "on_conflict",
    "on_duplicate_row",
    "on_orphan_rows",
    "output",
    "parameters_from_name",
    "paths",
    "scheduler",
    "schema",
    "settle",
    "sidecars",
    "simulation_id",
    "simulations",
    "where",
    "with_common",
    "with_stdin",
]

_Command = TypeVar("_Command", bound="Callable[..., Any] | click.Command")
EXIT_CODES_LINE = (
    f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."
)
_JSON = f"{__name__}.json"


class _ExistingFile(click.Path):
    """A file that has to be there; of one that is not, the nearest is named."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        path = Path(os.fsdecode(value))
        if not os.path.lexists(path) and path.parent.is_dir():
            names = (it.name for it in path.parent.iterdir() if not it.name.startswith("."))
            reason = with_nearest(f"there is no file {path}", path.name, names)
            self.fail(reason.partition("; there ")[0], param, ctx)
        return super().convert(value, param, ctx)


class _Text(click.types.StringParamType):
    """Text that can be stored, or looked for; only paths may be of any bytes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(super().convert(value, param, ctx))
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is not UTF-8", param, ctx)
        return text


existing_file = _ExistingFile(exists=True, dir_okay=False, path_type=Path)
new_file = click.Path(dir_okay=False, path_type=Path)
folder = click.Path(file_okay=False, path_type=Path)

database = click.argument("database", type=existing_file)
paths = click.argument("paths", nargs=-1, required=True, metavar="PATHS...", type=click.Path())

dry_run = click.option(
    "-n", "--dry-run", is_flag=True, help="Show what would happen; write nothing."
)
equal_files = click.option(
    "--equal-files",
    type=click.Choice(["separate", "fold", "error"]),
    help="What files with equal bytes are whose paths name them: separate runs, copies of one, or"
    " an error. By default separate, but for a file that was moved since it was merged.",
)
experiment_id = click.option(
    "--experiment-id", help="Register all simulations under this experiment."
)


def form(command: _Command) -> _Command:
    """Give a command `--format`, and `--json` as its short form."""
    command = click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_choose_json,
        help="Short for --format json.",
    )(command)
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "json", "jsonl", "md"]),
        default="table",
        show_default=True,
        callback=_chosen_form,
        help="How the result is printed.",
    )(command)


def _choose_json(ctx: click.Context, _: click.Parameter, chosen: bool) -> None:
    ctx.meta[_JSON] = chosen


def _chosen_form(ctx: click.Context, _: click.Parameter, form: str) -> str:
    return "json" if ctx.meta.get(_JSON) else form


groups = click.option(
    "--by",
    multiple=True,
    metavar="PARAMETER",
    help="What makes a group; repeatable. By default what varies.",
)
interval = click.option(
    "--spread",
    "interval",
    type=click.Choice(["auto", "t", "bootstrap", "range"]),
    default="auto",
    show_default=True,
    help="How results spread, from five runs of a set on; fewer have their range.",
)
jobs = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    help="How many processes work at once; one a core by default.",
)
join = click.option(
    "--join",
    is_flag=True,
    help="Make one simulation of files of one name, where their rows have different keys.",
)
metrics = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="TABLE.COLUMN",
    help="Only this metric; repeatable.",
)
new_folder = click.option(
    "-o", "--output", "folder", required=True, type=folder, help="A folder, new or empty."
)
on_conflict = click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "replace"]),
    default="error",
    show_default=True,
    help="What to do where one simulation_id has different data.",
)
on_duplicate_row = click.option(
    "--on-duplicate-row",
    type=click.Choice(["error", "first", "last"]),
    default="error",
    show_default=True,
    help="Which of several rows with one key is carried, where an old file has such.",
)
on_orphan_rows = click.option(
    "--on-orphan-rows",
    type=click.Choice(["keep", "skip", "error"]),
    default="keep",
    show_default=True,
    help="What becomes of rows that belong to none of the simulations in their file.",
)
parameters_from_name = click.option(
    "--parameters-from-name",
    metavar="REGEX",
    help="Search the path of every file; named groups become parameters of its run:"
    r" 'lr(?P<lr>[\d.]+)_seed(?P<seed>\d+)'.",
)
scheduler = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="The scheduler of a Dask cluster that is running, such as tcp://host:8786.",
)
schema = click.option(
    "--as",
    "schema",
    type=click.Choice(["foreign", "agentfarm"]),
    help="What files are that are no shards. By default what their tables look like.",
)
sidecars = click.option(
    "--sidecar",
    "sidecars",
    multiple=True,
    metavar="NAME",
    help="Another file beside a run that holds its parameters: 'run_{stem}.json'. {stem}, config,"
    " params and parameters with .json, .yaml, .yml or .toml are always looked for.",
)
simulation_id = click.option(
    "--simulation-id",
    metavar="TEMPLATE",
    help="What to call runs: '{parent}_{stem}', with {name} (whole file name), {stem}, {parent},"
    " {grandparent}, {id} (what the file calls its run) and groups of --parameters-from-name. By"
    " default the name in the file; else the stem, and as many folders as distinguish runs.",
)
simulations = click.option(
    "--simulation",
    "simulations",
    multiple=True,
    metavar="ID",
    help="Only this simulation; repeatable.",
)
where = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only simulations with this parameter or status: 'learning_rate>=0.1',"
    " 'status=completed'; repeatable, and all must hold.",
)


def output(
    text: str, *, required: bool = True, default: Path | None = None
) -> Callable[[_Command], _Command]:
    """Return the option for the file that a command writes.

    Args:
        text: What the file is.
        required: Whether it has to be named.
        default: Its name otherwise.
    """
    shown: dict[str, Any] = {"required": required}
    if default is not None:  # click takes a None that is given for a default, too
        shown = {"default": default, "show_default": True}
    return click.option("-o", "--output", type=new_file, help=text, **shown)


def settle(seconds: float) -> Callable[[_Command], _Command]:
    """Return the option for how long a file must have been left alone.

    Args:
        seconds: By default.
    """
    return click.option(
        "--settle",
        type=click.FloatRange(0),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="A run that has not said that it ended counts as ended when its file has not changed"
        " for so long.",
    )


def with_common(command: click.Command) -> None:
    """Give a command what all have: -q, -v, text that is UTF-8, and the exit codes in its help."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.type = _Text()
    for flag, name, act, text in (
        ("-v", "--verbose", be_verbose, "Print more: what becomes of each, and how long it took."),
        ("-q", "--quiet", be_quiet, "Print only errors, and the rows or JSON that were asked for."),
    ):
        command.params.append(
            click.Option(
                [flag, name], is_flag=True, expose_value=False, callback=_if_set(act), help=text
            )
        )
    command.epilog = EXIT_CODES_LINE


def _if_set(act: Callable[[click.Context], None]) -> Callable[..., None]:
    def callback(ctx: click.Context, _: click.Parameter, chosen: bool) -> None:
        if chosen:
            act(ctx)

    return callback


def note_if_none(found: Sized, database: Path, where: Sequence[str]) -> None:
    """Tell a user whose conditions chose no simulation why that is.

    Args:
        found: What was chosen.
        database: Of what.
        where: The conditions.
    """
    if where and not len(found):
        from farm_merge.read.listing import explain_selection

        note(explain_selection(database, where))


def with_stdin(words: Sequence[str]) -> Iterator[str]:
    """Yield paths; for `-`, those that are read from standard input."""
    for word in words:
        if word == "-":
            text = os.fsdecode(sys.stdin.buffer.read())
            yield from (line for line in text.split("\0" if "\0" in text else "\n") if line)
        else:
            yield word

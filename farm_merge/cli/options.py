"""Arguments and options that several commands have."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "as_json",
    "by",
    "database",
    "dry_run",
    "equal_files",
    "existing_file",
    "form",
    "interval",
    "join",
    "metrics",
    "new_file",
    "new_folder",
    "on_conflict",
    "on_duplicate_row",
    "on_orphan_rows",
    "parameters_from_name",
    "paths",
    "schema",
    "sidecars",
    "simulation_id",
    "where",
    "with_stdin",
]

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
new_file = click.Path(dir_okay=False, path_type=Path)

database = click.argument("database", type=existing_file)
paths = click.argument("paths", nargs=-1, required=True, metavar="PATHS...")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
by = click.option(
    "--by",
    multiple=True,
    metavar="PARAMETER",
    help="What makes a parameter set; repeatable. By default what varies.",
)
dry_run = click.option("-n", "--dry-run", is_flag=True, help="Only show what would happen.")
equal_files = click.option(
    "--equal-files",
    type=click.Choice(["separate", "fold", "error"]),
    help="What files with equal bytes are whose paths name them: separate runs, copies of one, or"
    " an error. By default separate, but for a file that was moved since it was merged.",
)
form = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How rows are printed.",
)
interval = click.option(
    "--interval",
    type=click.Choice(["auto", "t", "bootstrap", "range"]),
    default="auto",
    show_default=True,
    help="How results spread, from five runs of a set on; fewer have their range.",
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
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder, new or empty.",
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
where = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only simulations with this parameter or status: 'learning_rate>=0.1',"
    " 'status=completed'. Several: all must hold.",
)


def with_stdin(words: Sequence[str]) -> Iterator[str]:
    """Yield paths; for `-`, those that are read from standard input."""
    for word in words:
        if word == "-":
            text = os.fsdecode(sys.stdin.buffer.read())
            yield from (line for line in text.split("\0" if "\0" in text else "\n") if line)
        else:
            yield word

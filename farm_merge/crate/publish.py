"""Publish: data, their description, and a page about them appear together in a new folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from farm_merge.archive import archive_database
from farm_merge.crate.about import About, read_about
from farm_merge.crate.describe import METADATA, PREVIEW, describe_folder, sha256
from farm_merge.crate.runs import read_runs, write_table
from farm_merge.errors import require_choice
from farm_merge.extras import missing_extra
from farm_merge.merge.inputs.running import OpenFiles
from farm_merge.publish import new_folder, require_empty
from farm_merge.read.export import export_tables
from farm_merge.read.listing import list_simulations
from farm_merge.read.open import at_rest
from farm_merge.report import write_report

if TYPE_CHECKING:
    from os import PathLike

    from farm_merge.crate.runs import Runs
    from farm_merge.progress import ReportCount

__all__ = ["Published", "publish_database"]

Format = Literal["sqlite", "parquet"]

_TABLE, _README, _SUMS = "simulations.csv", "README.md", "SHA256SUMS"
_DATASET = "data"


@dataclass(frozen=True, slots=True)
class Published:
    """What was published, or would be.

    Attributes:
        folder: Where.
        simulations: How many.
        files: What is at the top of the folder, the data first.
        size_bytes: Of all files; 0 if nothing was written.
    """

    folder: Path
    simulations: int
    files: tuple[str, ...]
    size_bytes: int = 0


def publish_database(
    database: str | PathLike[str],
    folder: str | PathLike[str],
    about: About | str | PathLike[str],
    *,
    format: Format = "sqlite",  # noqa: A002  (what it is called everywhere)
    dry_run: bool = False,
    progress: ReportCount | bool | None = None,
) -> Published:
    """Make a folder of a database that archives such as Zenodo take: an RO-Crate.

    It holds the data, `simulations.csv` (parameters, seed, commit and digest of each simulation),
    the report as its preview, a README, and the SHA-256 of every file.

    Args:
        database: A shard or experiment database.
        folder: The new folder; it appears whole, or not at all.
        about: Who made it, under which licence; or a file that says so, as `read_about` takes it.
        format: "sqlite", the database as an archive that `restore_database` and `zstd -d` read; or
            "parquet", a dataset of all tables.
        dry_run: Whether only to say what would be in the folder.
        progress: Called with the number of simulations digested, and of all; True draws bars.

    Raises:
        InvalidOptionError: If there is no such format.
        FarmMergeError: If a package is missing, or it is not said who made it.
        OutputError: If the folder is not empty or cannot be written.
        ShardError: If the database cannot be read.
    """
    require_choice("format", format, get_args(Format))
    database, folder = Path(database), Path(folder)
    about = about if isinstance(about, About) else read_about(about)
    _require_package()
    data = f"{database.name}.zst" if format == "sqlite" else _DATASET
    files = (data, _TABLE, _README, PREVIEW, METADATA, _SUMS)
    if dry_run:
        require_empty(folder)
        return Published(folder, len(list_simulations(database)), files)
    with (
        new_folder(folder) as partial,
        at_rest(database, partial.parent, OpenFiles()) as place,
    ):
        runs = read_runs(place, progress)
        if format == "sqlite":
            archive_database(place, partial / data, progress=progress is True)
        else:
            export_tables([place], partial / data, "parquet", progress=progress is True)
        write_table(runs, partial / _TABLE)
        (partial / _README).write_text(_readme(database.name, data, runs, about), encoding="utf-8")
        described = {data: _DATA[format], _TABLE: _SIMULATIONS, _README: _TEXT}
        write_report(place, partial / PREVIEW)
        describe_folder(partial, runs, about, described)
        _embed(partial / PREVIEW, partial / METADATA)
        size = _write_sums(partial)
    return Published(folder, len(runs.rows), files, size)


_DATA: dict[str, dict[str, Any]] = {
    "sqlite": {
        "name": "Experiment database",
        "description": "A SQLite database with all simulations, compressed with Zstandard.",
        "encodingFormat": "application/zstd",
    },
    "parquet": {
        "name": "Tables",
        "description": "A folder for each table, with Parquet files; a simulation is in"
        " simulation_id=….",
        "encodingFormat": "application/vnd.apache.parquet",
    },
}
_SIMULATIONS = {
    "name": "Simulations",
    "description": "One line a simulation: parameters, seed, commit, and the digest of its rows.",
    "encodingFormat": "text/csv",
}
_TEXT = {
    "name": "Read me",
    "description": "What is in this folder, and how it is opened.",
    "encodingFormat": "text/markdown",
}


def _require_package() -> None:
    try:
        import rocrate  # noqa: F401
    except ImportError as exc:
        raise missing_extra("publishing needs the package rocrate", "publish") from exc


def _readme(name: str, data: str, runs: Runs, about: About) -> str:
    """Return what somebody reads who finds the folder in ten years."""
    title = about.title or ", ".join(name for name, _ in runs.experiments) or name
    authors = ", ".join(author.name for author in about.authors)
    opened = (
        f"`{data}` is a SQLite database, compressed: `zstd -d {data}`, or\n"
        f"`farm-merge restore {data} -o {name}`, which also checks every byte."
        if data != _DATASET
        else f"`{data}/` has a folder for each table, with Parquet files; a simulation is in its\n"
        "folder `simulation_id=…`. pandas, DuckDB, Polars, R and others read it."
    )
    return f"""\
# {title}

{authors}. Licence: {about.license}.
{about.description or ""}

{opened}

- `{_TABLE}`: one line for each of {len(runs.rows):,} simulations: its parameters, seed, commit, and
  the digest of its rows, which `farm-merge digest` computes from a database.
- `{PREVIEW}`: charts; it needs no network.
- `{METADATA}`: this folder as an RO-Crate, for programs.
- `{_SUMS}`: `sha256sum -c {_SUMS}` checks all files.
"""


def _embed(page: Path, metadata: Path) -> None:
    """Put the metadata into the head of the page, where search engines look for it."""
    text = metadata.read_text(encoding="utf-8").replace("</", "<\\/")
    script = f'<script type="application/ld+json">\n{text}\n</script>\n</head>'
    html = page.read_text(encoding="utf-8")
    page.write_text(html.replace("</head>", script, 1), encoding="utf-8")


def _write_sums(folder: Path) -> int:
    """Write the SHA-256 of every file; return their bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / _SUMS).write_text("".join(lines), encoding="utf-8")
    return sum(path.stat().st_size for path in paths)

"""From shards and legacy files to one experiment database."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from farm_merge.merge.audit import Audit, audit
from farm_merge.merge.inputs.find import find_inputs, require_some
from farm_merge.merge.inputs.inspect import inspect_shard
from farm_merge.merge.merge import make_plan, merge
from farm_merge.merge.options import (
    Engine,
    EqualFiles,
    OnBadShard,
    OnConflict,
    OnDuplicateRow,
    OnOrphanRows,
    Options,
    Progress,
    ReportProgress,
    SourceSchema,
    Verification,
)
from farm_merge.merge.plan.describe import (
    describe_input,
    describe_plan,
)
from farm_merge.merge.plan.plan import Action, LeftOut, Outcome, Plan
from farm_merge.merge.write.report import MergeReport, describe_report
from farm_merge.progress import phases

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

__all__ = [
    "Action",
    "Audit",
    "LeftOut",
    "MergeReport",
    "OnConflict",
    "Outcome",
    "Plan",
    "Progress",
    "audit",
    "describe_input",
    "describe_plan",
    "describe_report",
    "find_inputs",
    "inspect_shard",
    "merge_shards",
    "plan_merge",
    "require_some",
]


def merge_shards(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    experiment_id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    simulation_id: str | None = None,
    parameters_from_name: str | None = None,
    sidecars: Iterable[str] = (),
    join: bool = False,
    schema: SourceSchema | None = None,
    include_running: bool = False,
    settle: float = 60.0,
    equal_files: EqualFiles | None = None,
    on_conflict: OnConflict = "error",
    on_bad_shard: OnBadShard = "stop",
    on_duplicate_row: OnDuplicateRow = "error",
    on_orphan_rows: OnOrphanRows = "keep",
    verify: Verification = "counts",
    engine: Engine = "auto",
    jobs: int | None = None,
    archive: str | PathLike[str] | None = None,
    progress: ReportProgress | bool | None = None,
) -> MergeReport:
    """Merge shards and legacy files into an experiment database, new or existing.

    The inputs stay as they are. A new output appears whole or not at all. An existing one is
    extended by one transaction a simulation. Merging the same files again changes nothing. Several
    processes may merge into one output: they take turns.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        experiment_id: The experiment of the merged simulations; by default their own, and the
            output's stem for those that have none.
        name: Name of the experiment, if it is new.
        description: Description of the experiment, if it is new.
        simulation_id: What to call runs, with `{name}` (of the file), `{stem}` (without a known
            ending), `{parent}` and `{grandparent}` (folders), `{id}` (what the file calls the run)
            and the groups of `parameters_from_name`. By default what the file calls it; else the
            stem, and as many folders as distinguish it from others. A run that was merged before
            keeps its name.
        parameters_from_name: A regular expression that is searched in the path of every file; its
            named groups become parameters of the run.
        sidecars: Names of files beside a run that hold its parameters, with `{stem}`, before those
            that are always looked for: `{stem}`, `config`, `params` or `parameters`, with the
            endings `.json`, `.yaml`, `.yml` and `.toml`.
        join: Make one simulation of files of one name, where their rows have different keys.
        schema: What files are taken for that are no shards: "foreign" or "agentfarm"; by default
            what their tables look like.
        include_running: Merge runs that seem to be still running, as far as they got: those whose
            files are locked, or open in another process that may write them, and those whose
            status is running and that wrote a short time ago.
        settle: How many seconds ago that is.
        equal_files: What files with equal bytes are whose paths name them: "separate" runs, copies
            of one run ("fold"), or an "error". By default they are separate runs, but a file that
            was moved or copied since it was merged is known.
        on_conflict: What wins when a simulation_id is taken by different data: "error" stops before
            anything is written, "skip" keeps what was there first, "replace" takes the new.
        on_bad_shard: Whether an input that cannot be merged stops the merge before anything is
            written, or is left out and reported.
        on_duplicate_row: Which of several rows with one key is carried; "error" makes it an input
            that cannot be merged.
        on_orphan_rows: What becomes of rows that belong to none of the simulations in a file of
            several: "keep" carries them as a simulation of their own, "skip" leaves them out,
            "error" makes it an input that cannot be merged.
        verify: What is compared with the source before it is kept: "none", "counts" (rows of every
            simulation and table, and SQLite's check of a new output), or "content" as well.
        engine: How the output is written: "attach" copies rows, "graft" copies pages where the
            form of a file allows it, and "auto" copies pages where they are faster: of more than
            1 MiB into a new output, of more than 16 MiB into one that exists.
        jobs: Processes or threads that read, rewrite and write; one a core by default.
        archive: A folder to which inputs are moved once all of their simulations are in the
            output.
        progress: Called as the work goes on; True draws a bar.

    Raises:
        InvalidOptionError: If an option has a value that it does not know.
        ShardError: If inputs cannot be merged and `on_bad_shard` is "stop"; all are named.
        ConflictError: If inputs contradict the output or each other and `on_conflict` is "error".
        OutputError: If the output cannot be written or is something else.
    """
    options = Options(
        experiment_id=experiment_id,
        name=name,
        description=description,
        simulation_id=simulation_id,
        parameters_from_name=parameters_from_name,
        sidecars=tuple(sidecars),
        join=join,
        schema=schema,
        include_running=include_running,
        settle=settle,
        equal_files=equal_files,
        on_conflict=on_conflict,
        on_bad_shard=on_bad_shard,
        on_duplicate_row=on_duplicate_row,
        on_orphan_rows=on_orphan_rows,
        verify=verify,
        engine=engine,
        jobs=jobs,
        archive=None if archive is None else Path(archive),
    )
    with phases(progress) as report:
        return merge(tuple(paths), Path(output), options, report)


def plan_merge(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    simulation_id: str | None = None,
    parameters_from_name: str | None = None,
    sidecars: Iterable[str] = (),
    join: bool = False,
    schema: SourceSchema | None = None,
    include_running: bool = False,
    settle: float = 60.0,
    equal_files: EqualFiles | None = None,
    on_conflict: OnConflict = "error",
    on_bad_shard: OnBadShard = "stop",
    on_duplicate_row: OnDuplicateRow = "error",
    on_orphan_rows: OnOrphanRows = "keep",
    jobs: int | None = None,
    archive: str | PathLike[str] | None = None,
    progress: ReportProgress | bool | None = None,
) -> Plan:
    """Decide what `merge_shards` would do, and write nothing; all inputs are read whole.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        simulation_id: As for `merge_shards`.
        parameters_from_name: As for `merge_shards`.
        sidecars: As for `merge_shards`.
        join: As for `merge_shards`.
        schema: As for `merge_shards`.
        include_running: As for `merge_shards`.
        settle: As for `merge_shards`.
        equal_files: As for `merge_shards`.
        on_conflict: As for `merge_shards`.
        on_bad_shard: As for `merge_shards`.
        on_duplicate_row: As for `merge_shards`.
        on_orphan_rows: As for `merge_shards`.
        jobs: As for `merge_shards`.
        archive: As for `merge_shards`; what is there already is known.
        progress: Called as the work goes on; True draws a bar.

    Raises:
        InvalidOptionError, ShardError, ConflictError, OutputError: As `merge_shards` does.
    """
    options = Options(
        simulation_id=simulation_id,
        parameters_from_name=parameters_from_name,
        sidecars=tuple(sidecars),
        join=join,
        schema=schema,
        include_running=include_running,
        settle=settle,
        equal_files=equal_files,
        on_conflict=on_conflict,
        on_bad_shard=on_bad_shard,
        on_duplicate_row=on_duplicate_row,
        on_orphan_rows=on_orphan_rows,
        jobs=jobs,
        archive=None if archive is None else Path(archive),
    )
    with TemporaryDirectory(prefix="farm-merge-") as folder, phases(progress) as report:
        return make_plan(tuple(paths), Path(output), options, Path(folder), report, briefly=False)

"""From shards and legacy files to one experiment database."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from farm_merge.merge.audit import Audit, audit
from farm_merge.merge.inputs.find import find_shards
from farm_merge.merge.inputs.inspect import inspect_shard
from farm_merge.merge.merge import make_plan, merge
from farm_merge.merge.options import (
    Engine,
    OnBadShard,
    OnConflict,
    OnDuplicateRow,
    Options,
    Progress,
    ReportProgress,
    Verification,
)
from farm_merge.merge.plan.describe import (
    describe_input,
    describe_plan,
)
from farm_merge.merge.plan.plan import Action, LeftOut, Outcome, Plan
from farm_merge.merge.write.report import MergeReport, describe_report

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
    "find_shards",
    "inspect_shard",
    "merge_shards",
    "plan_merge",
]


def merge_shards(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    experiment_id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    simulation_id: str | None = None,
    include_running: bool = False,
    on_conflict: OnConflict = "error",
    on_bad_shard: OnBadShard = "stop",
    on_duplicate_row: OnDuplicateRow = "error",
    verify: Verification = "counts",
    engine: Engine = "auto",
    jobs: int | None = None,
    archive: str | PathLike[str] | None = None,
    progress: ReportProgress | None = None,
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
        simulation_id: What to call runs whose files do not name them, with `{stem}`, `{parent}`
            and `{grandparent}`; by default the stem, and as many folders as tell them apart.
        include_running: Merge runs that have not ended, as far as they got.
        on_conflict: What wins when a simulation_id is taken by different data: "error" stops before
            anything is written, "skip" keeps what was there first, "replace" takes the new.
        on_bad_shard: Whether an input that cannot be merged stops the merge before anything is
            written, or is left out and reported.
        on_duplicate_row: Which of several rows with one key is carried; "error" makes it an input
            that cannot be merged.
        verify: What is compared with the source before it is kept: "none", "counts" (rows of every
            simulation and table, and SQLite's check of a new output), or "content" as well.
        engine: How a new output is written: "attach" copies rows, "graft" copies pages, and
            "auto" chooses: pages where the form of a file allows it.
        jobs: Processes or threads that read, rewrite and write; one a core by default.
        archive: A folder to which inputs are moved once all of their simulations are in the
            output.
        progress: Called as the work goes on.

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
        include_running=include_running,
        on_conflict=on_conflict,
        on_bad_shard=on_bad_shard,
        on_duplicate_row=on_duplicate_row,
        verify=verify,
        engine=engine,
        jobs=jobs,
        archive=None if archive is None else Path(archive),
    )
    return merge(tuple(paths), Path(output), options, progress or _silent)


def plan_merge(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    simulation_id: str | None = None,
    include_running: bool = False,
    on_conflict: OnConflict = "error",
    on_bad_shard: OnBadShard = "stop",
    on_duplicate_row: OnDuplicateRow = "error",
    jobs: int | None = None,
    progress: ReportProgress | None = None,
) -> Plan:
    """Decide what `merge_shards` would do, and write nothing; all inputs are read whole.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        simulation_id: As for `merge_shards`.
        include_running: As for `merge_shards`.
        on_conflict: As for `merge_shards`.
        on_bad_shard: As for `merge_shards`.
        on_duplicate_row: As for `merge_shards`.
        jobs: As for `merge_shards`.
        progress: Called as the work goes on.

    Raises:
        InvalidOptionError, ShardError, ConflictError, OutputError: As `merge_shards` does.
    """
    options = Options(
        simulation_id=simulation_id,
        include_running=include_running,
        on_conflict=on_conflict,
        on_bad_shard=on_bad_shard,
        on_duplicate_row=on_duplicate_row,
        jobs=jobs,
    )
    with TemporaryDirectory(prefix="farm-merge-") as folder:
        return make_plan(
            tuple(paths), Path(output), options, Path(folder), progress or _silent, briefly=False
        )


def _silent(_: Progress) -> None:
    """Report to nobody."""

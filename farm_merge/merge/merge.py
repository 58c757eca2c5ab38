"""The whole merge, from top to bottom: find, inspect, plan, write, verify, publish."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from farm_merge.errors import DamagedGraftError, ShardError
from farm_merge.merge.inputs.find import find_shards
from farm_merge.merge.inputs.inspect import with_common_keys
from farm_merge.merge.inputs.survey import survey
from farm_merge.merge.ledger import recall
from farm_merge.merge.options import Progress
from farm_merge.merge.plan.naming import require_template, with_names
from farm_merge.merge.plan.output import look_at_output
from farm_merge.merge.plan.plan import LeftOut, decide, unmergeable
from farm_merge.merge.plan.target import make_target
from farm_merge.merge.write.archive import archive_inputs
from farm_merge.merge.write.check import compare_contents
from farm_merge.merge.write.graft import may_be_grafted
from farm_merge.merge.write.report import MergeReport
from farm_merge.merge.write.rewrite import try_rewriting
from farm_merge.merge.write.write import write_plan
from farm_merge.publish import locked, require_usable, workshop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.options import Options, ReportProgress
    from farm_merge.merge.plan.output import Output
    from farm_merge.merge.plan.plan import Plan
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.write.write import Written

__all__ = ["make_plan", "merge"]


def merge(
    paths: Sequence[str | PathLike[str]], output: Path, options: Options, report: ReportProgress
) -> MergeReport:
    """Merge files into an experiment database; `merge_shards` says what can be relied on."""
    started = time.perf_counter()

    def wait(holder: str) -> None:
        report(Progress("wait", 0, 0, f"{output} is held by {holder}"))

    with locked(output, wait), workshop(output) as folder:
        try:
            plan, written = _plan_and_write(paths, output, options, folder, report)
        except DamagedGraftError as exc:
            # Row by row, the input that is to blame is found and named.
            report(Progress("plan", 0, 0, f"copying row by row, since the check says: {exc}"))
            by_rows = replace(options, engine="attach")
            plan, written = _plan_and_write(paths, output, by_rows, folder, report)
        merged = _report(plan, written)
        if options.archive:
            kept = {left_out.path for left_out in merged.left_out}
            done = dict.fromkeys(outcome.path for outcome in merged.simulations)
            moved = archive_inputs((path for path in done if path not in kept), options.archive)
            merged = replace(merged, archived=moved)
    return replace(merged, seconds=time.perf_counter() - started)


def _plan_and_write(
    paths: Sequence[str | PathLike[str]],
    output: Path,
    options: Options,
    folder: Path,
    report: ReportProgress,
) -> tuple[Plan, Written]:
    plan = make_plan(paths, output, options, folder, report, briefly=options.engine != "attach")
    for outcome in plan.settled:
        report(Progress("plan", 0, 0, str(outcome)))
    return plan, write_plan(plan, options, folder, report)


def make_plan(
    paths: Sequence[str | PathLike[str]],
    output: Path,
    options: Options,
    folder: Path,
    report: ReportProgress,
    *,
    briefly: bool,
) -> Plan:
    """Decide what happens to every simulation of every input; nothing is written.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        options: What the user decided.
        folder: A private folder.
        report: Called as the work goes on.
        briefly: Whether shards are read later, when their pages are copied.

    Raises:
        ShardError, ConflictError, OutputError: As `merge_shards` does.
    """
    if options.simulation_id is not None:
        require_template(options.simulation_id)
    require_usable(output)
    # Find: which files are meant, and which of them does the ledger know?
    files = find_shards(paths, output=output)
    if not files:
        raise ShardError("no database found among the inputs (*.db, *.sqlite, *.sqlite3)")
    before = look_at_output(output)
    known = {}
    if options.simulation_id is None:
        known = recall(files, before.ledger, before.simulation_ids)
    # Inspect: what is in the others?
    unknown = [path for path in files if path not in known]

    def is_brief(file: InputFile) -> bool:
        return briefly and before.is_new and may_be_grafted(file, options.engine)

    found = survey(unknown, is_brief, options, folder, report)
    sources = with_common_keys(found.sources, before.structure)
    # Plan: in which tables do all rows have their place, and what happens to each simulation?
    sources, target, misfits = _fit(sources, before, folder)
    bad = [LeftOut.because_of(path, error) for path, error in (found.bad | misfits).items()]
    running = [LeftOut.because_of(path, error) for path, error in found.running.items()]
    if bad and options.on_bad_shard == "stop":
        raise unmergeable(bad)
    is_same = compare_contents(output, target, folder)
    plan = decide(
        with_names(sources, before, is_same, options.simulation_id),
        known.values(),
        before,
        target,
        is_same,
        include_running=options.include_running,
        on_conflict=options.on_conflict,
    )
    return replace(plan, left_out=(*bad, *running, *plan.left_out))


def _fit(
    sources: list[Input], before: Output, folder: Path
) -> tuple[list[Input], Target, dict[Path, ShardError]]:
    """Return the inputs whose rows have a place in the output, its tables, and the misfits."""
    target, misfits = make_target(sources, before.structure)
    for source in sources:
        is_doubtful = source.path in target.to_try and source.path not in misfits
        if is_doubtful and (error := try_rewriting(source, target, folder)):
            misfits[source.path] = error
    if misfits:
        sources = [source for source in sources if source.path not in misfits]
        target, _ = make_target(sources, before.structure)
    return sources, target, misfits


def _report(plan: Plan, written: Written) -> MergeReport:
    """Return what became of a plan."""
    return MergeReport(
        plan.output.path,
        (*(planned.outcome for planned in written.simulations), *plan.settled),
        (*written.left_out, *plan.left_out),
        plan.details,
        plan.notes,
        archived=(),
        seconds=0.0,
    )

"""The whole merge, from top to bottom: find, inspect, plan, write, verify, publish."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import DamagedGraftError
from farm_merge.merge.inputs.file import has_graftable_pages
from farm_merge.merge.inputs.find import find_inputs
from farm_merge.merge.inputs.survey import survey
from farm_merge.merge.ledger import recall
from farm_merge.merge.options import Progress
from farm_merge.merge.plan.exclusions import Exclusions
from farm_merge.merge.plan.harmonize import harmonized
from farm_merge.merge.plan.naming import kept_names, with_names
from farm_merge.merge.plan.output import look_at_output
from farm_merge.merge.plan.parameters import with_parameters
from farm_merge.merge.plan.plan import decide
from farm_merge.merge.plan.recognize import needed_whole
from farm_merge.merge.plan.rules import Rules
from farm_merge.merge.write.archive import archive_inputs, archived_before, finish_moves
from farm_merge.merge.write.compare import ContentComparison
from farm_merge.merge.write.fit import fitting_target, without_idle_tables
from farm_merge.merge.write.report import MergeReport
from farm_merge.merge.write.write import is_worth_pages, write_plan
from farm_merge.publish import left_by_others, locked, require_experiment, workshop, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.options import Options, ReportProgress
    from farm_merge.merge.plan.output import Output
    from farm_merge.merge.plan.plan import Plan
    from farm_merge.merge.write.write import Written

__all__ = ["make_plan", "merge"]


def merge(
    paths: Sequence[str | PathLike[str]], output: Path, options: Options, report: ReportProgress
) -> MergeReport:
    """Merge files into an experiment database; `merge_shards` describes what can be relied on."""
    started = time.perf_counter()

    def wait(holder: str) -> None:
        report(Progress("wait", 0, 0, f"{output} is held by {holder}"))

    with writing(output), locked(output, wait), workshop(output) as folder:
        if options.archive:
            finish_moves(find_inputs(paths, output=output).others, options.archive)
        try:
            plan, written = _plan_and_write(paths, output, options, folder, report)
        except DamagedGraftError as exc:
            # Row by row, the input that is to blame is found and named.
            report(Progress("plan", 0, 0, f"copying row by row, since the check found: {exc}"))
            by_rows = replace(options, engine="attach")
            plan, written = _plan_and_write(paths, output, by_rows, folder, report)
        merged = MergeReport.of(plan, written.simulations, written.left_out)
        if options.archive:
            merged = replace(merged, archived=archive_inputs(merged.in_output, options.archive))
    notes = (*merged.notes, *left_by_others(output))
    return replace(merged, notes=notes, seconds=time.perf_counter() - started)


def _still_there(
    paths: Sequence[str | PathLike[str]], output: Output, archive: Path | None
) -> tuple[Sequence[str | PathLike[str]], tuple[str, ...]]:
    """Return inputs without those that were merged and archived before, and a note on each."""
    if archive is None or output.is_new:
        return paths, ()
    done = archived_before(paths, output.ledger, archive)
    notes = (
        f"{path}: all was merged and archived before; {archive} has {number:,} files of it"
        for path, number in done.items()
    )
    return [path for path in paths if Path(path) not in done], tuple(notes)


def _plan_and_write(
    paths: Sequence[str | PathLike[str]],
    output: Path,
    options: Options,
    folder: Path,
    report: ReportProgress,
) -> tuple[Plan, Written]:
    plan = make_plan(paths, output, options, folder, report, briefly=True)
    for outcome in plan.settled:
        report(Progress("plan", 0, 0, str(outcome)))
    return plan, write_plan(plan, options, folder, report)


def _sizes(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        with suppress(OSError):  # the inspection finds out
            yield path.stat().st_size


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
    rules = Rules(options)
    require_experiment(output)
    # Find: which files are meant, and which of them does the ledger know?
    before = look_at_output(output)
    paths, archived = _still_there(paths, before, options.archive)
    found = find_inputs(paths, output=output)
    excluded = Exclusions(found, may_be_none=bool(archived))
    known = recall(found.files, before.ledger, before.simulation_ids)
    unknown = [path for path in found.files if path not in known]

    # Inspect: what is in the others?
    may_wait = (
        briefly
        and options.simulation_id is None
        and is_worth_pages(options.engine, _sizes(unknown), is_new=before.is_new)
    )

    def is_brief(file: InputFile) -> bool:
        return may_wait and has_graftable_pages(file)

    surveyed = survey(unknown, is_brief, options, folder, report)
    surveyed.read_whole(needed_whole(surveyed.sources, before))
    excluded.add(surveyed.bad, surveyed.running)
    # Plan: what is each run called, which tables hold its rows, and what happens to it?
    sources = excluded.without(*with_parameters(surveyed.sources, rules))
    sources, alone = harmonized(sources, before.structure)
    target, misfits = fitting_target(sources, before, folder, alone=alone)
    sources = excluded.without(sources, misfits)
    comparison = ContentComparison(output, target, folder)
    named = with_names(sources, known, before, comparison.is_same, rules.template, options)
    sources = excluded.without(named.sources, named.refused)
    excluded.require_no_bad(options.on_bad_shard)
    plan = decide(sources, known.values(), before, target, comparison, options)
    notes = (*named.notes, *kept_names(named, known.values(), rules.template), *archived)
    return excluded.complete(without_idle_tables(plan, sources, folder), notes)

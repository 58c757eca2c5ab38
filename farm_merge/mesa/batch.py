"""Batch: every combination of parameters is run in parallel, recorded, and merged.

Each process writes a shard of its own, under a random name: where they run does not matter.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import ConflictError, FarmMergeError
from farm_merge.merge import merge_shards
from farm_merge.mesa.design import design_runs
from farm_merge.mesa.processes import run_all
from farm_merge.mesa.results import result_rows
from farm_merge.mesa.shards import (
    ShardWriter,
    close_shards,
    present_runs,
    simulate_run,
    tidied_shards,
)
from farm_merge.publish import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    from farm_merge.merge import MergeReport
    from farm_merge.mesa.design import BatchRun

__all__ = ["Batch", "batch_run"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch did.

    Attributes:
        output: The experiment database.
        runs: All runs, in the order of their parameters.
        completed: Those that were run now.
        present: Those that were there already.
        failed: Those that raised, or killed their process, and why; the same batch, run again,
            repeats only these.
        merge: What the merge did.
    """

    output: Path
    runs: tuple[BatchRun, ...]
    completed: tuple[BatchRun, ...]
    present: tuple[BatchRun, ...]
    failed: tuple[tuple[BatchRun, str], ...]
    merge: MergeReport
    _period: int = field(repr=False)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what `mesa.batch_run` returns, run by run, from the experiment database.

        Collections that a reporter returned come as JSON text.
        """
        failed = {run.simulation_id for run, _ in self.failed}
        done = (run for run in self.runs if run.simulation_id not in failed)
        return result_rows(self.output, done, self._period)

    def results(self) -> list[dict[str, Any]]:
        """Return what `mesa.batch_run` returns: a list of dictionaries."""
        return list(self.rows())


def batch_run(
    model_cls: type[Any],
    parameters: Mapping[str, Any | Iterable[Any]],
    number_processes: int | None = 1,
    iterations: int | None = None,
    data_collection_period: int = -1,
    max_steps: int = 1000,
    display_progress: bool = True,
    rng: Any = None,
    *,
    output: str | PathLike[str],
    shards: str | PathLike[str] | None = None,
    experiment_id: str | None = None,
) -> Batch:
    """Run a Mesa model with every combination of parameters, into an experiment database.

    It takes the arguments of `mesa.batch_run`. Runs that are there already are not run again, so
    a batch that was interrupted goes on, and one with more values runs only what is new. Memory
    does not grow with the number of runs.

    Args:
        model_cls: The model; where there are several processes, one that can be imported.
        parameters: Values of its arguments, single ones or several of each.
        number_processes: How many processes; None for one a core.
        iterations: Runs of every combination; 1 by default.
        data_collection_period: Of which collections the agents are written, and the rows are in
            `Batch.results`: the last (-1), all (1), every second (2), and so on. Model reporters
            are always written.
        max_steps: After how many steps a run ends that has not stopped.
        display_progress: Whether a bar is drawn.
        rng: Seeds, a run of every combination for each; instead of `iterations`.
        output: The experiment database: made if it is new, extended if it exists.
        shards: The folder for the shards; `OUTPUT.shards` by default. They stay.
        experiment_id: The experiment; named by the output by default.

    Raises:
        InvalidOptionError: If options contradict each other.
        ConflictError: If there are runs of these names with other parameters, or another batch
            writes to the folder; nothing is run.
        FarmMergeError: If no run completed, or the merge is not possible.
    """
    output = Path(output)
    folder = output.with_name(f"{output.stem}.shards") if shards is None else Path(shards)
    folder = folder.resolve()
    runs = design_runs(model_cls, parameters, iterations, rng, max_steps, data_collection_period)
    simulate = partial(simulate_run, model_cls, ShardWriter(folder, experiment_id))
    with locked(folder / "batch", partial(_refuse, folder)):
        present = present_runs(runs, output, folder)
        due = [run for run in runs if run.simulation_id not in present]
        try:
            failed = run_all(
                simulate,
                due,
                number_processes or os.cpu_count() or 1,
                lambda: present_runs(runs, output, folder),
                total=len(runs),
                shows_progress=display_progress,
            )
        finally:
            close_shards()
        paths = tidied_shards(folder, runs)
        if not paths and not output.exists():
            reason = failed[0][1] if failed else "there are none"
            raise FarmMergeError(f"no run completed; the first failure: {reason}")
        merge = merge_shards(paths, output, experiment_id=experiment_id)
    if failed:
        run, reason = failed[0]
        warnings.warn(
            f"{len(failed)} of {len(runs)} runs failed; the first, {run.simulation_id}: {reason}",
            stacklevel=2,
        )
    lost = {run.simulation_id for run, _ in failed}
    return Batch(
        output,
        tuple(runs),
        tuple(run for run in due if run.simulation_id not in lost),
        tuple(run for run in runs if run.simulation_id in present),
        tuple(failed),
        merge,
        data_collection_period,
    )


def _refuse(folder: Path, who: str) -> None:
    raise ConflictError(
        f"another batch writes its shards here ({who})",
        path=folder,
        remedy="wait for it, or choose another folder",
    )

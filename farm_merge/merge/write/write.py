"""Write: a plan is carried out, into an output that exists or into a new one."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from farm_merge.errors import DamagedGraftError, OutputError, ShardError
from farm_merge.merge.inputs.file import require_unchanged
from farm_merge.merge.inputs.inspect import inspect_file
from farm_merge.merge.options import Progress
from farm_merge.merge.plan.plan import Action, LeftOut, SimulationPlan, unmergeable
from farm_merge.merge.tables.changes import change
from farm_merge.merge.write.attach import copy_simulation, keep_digest_of_content
from farm_merge.merge.write.blame import blaming
from farm_merge.merge.write.check import check_new_output, require_same_as_inputs
from farm_merge.merge.write.registry import ExperimentFields
from farm_merge.merge.write.rewrite import DEFAULT_PAGE_SIZE, as_shard
from farm_merge.publish import building, existing_output, new_output, settle_output
from farm_merge.schema import EXPERIMENT_MARK, create_schema, mark_as_experiment
from farm_merge.sqlite import attached, sqlite3, storable, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from farm_merge.merge.options import Engine, Options, ReportProgress
    from farm_merge.merge.plan.plan import Plan
    from farm_merge.merge.write.append import Addition

__all__ = ["Written", "is_worth_pages", "write_plan"]

_LITTLE_BYTES = 1 << 20
"""Inputs of fewer bytes in all are copied row by row: NumPy alone takes longer to start."""

_LITTLE_ADDITION_BYTES = 16 << 20
"""So are fewer than these into an output that exists, since pages are copied twice then."""


@dataclass(slots=True)
class Written:
    """What became of a plan.

    Attributes:
        simulations: What was written, with the rows that were counted on the way.
        left_out: Inputs that changed, went, or turned out damaged.
    """

    simulations: list[SimulationPlan] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def write_plan(plan: Plan, options: Options, folder: Path, report: ReportProgress) -> Written:
    """Carry out a plan.

    A new output is built beside its place, and appears when it is whole and checked. An existing
    one grows by all pages in one moment, or by one transaction a simulation.

    Args:
        plan: What happens to every simulation.
        options: What the user decided.
        folder: A private folder.
        report: Called as the work goes on.

    Raises:
        OutputError: If the output cannot be written.
        ShardError: If an input changed or is damaged, and the user wants no merge without it.
        DamagedGraftError: If what was built from pages is not sound; nothing was published.
    """
    output = plan.output.path
    writer = _Writer(plan, options, folder, report)
    kept = "nothing was written" if plan.output.is_new else "what was committed stays"
    try:
        if not plan.output.is_new:
            writer.extend()
        elif plan.to_write:
            with new_output(output, folder) as partial:
                writer.build(partial)
    except DamagedGraftError as exc:
        if options.engine != "attach":
            raise
        reason = f"does not pass its check, so {kept} ({exc})"
        remedy = "see that the disk is sound; if it is, this is to be reported"
        raise OutputError(reason, path=output, remedy=remedy) from exc
    except (sqlite3.Error, OSError) as exc:
        raise OutputError(f"cannot be written ({exc}); {kept}", path=output) from exc
    return writer.written


def is_worth_pages(engine: Engine, sizes: Iterable[float], *, is_new: bool = True) -> bool:
    """Return whether pages are copied where they can be.

    Args:
        engine: What the user decided.
        sizes: Of the inputs, in bytes.
        is_new: Whether they get into a new output.
    """
    if engine != "auto":
        return engine == "graft"
    least = _LITTLE_BYTES if is_new else _LITTLE_ADDITION_BYTES
    return any(total >= least for total in accumulate(sizes))


class _Writer:
    """Writes simulations, and keeps what became of them."""

    def __init__(self, plan: Plan, options: Options, folder: Path, report: ReportProgress) -> None:
        self._plan = plan
        self._options = options
        self._folder = folder
        self._report = report
        self._experiment = ExperimentFields(
            options.experiment_id,
            storable(plan.output.path.stem),
            options.name,
            options.description,
        )
        self._done, self._rows = 0, plan.rows
        self._bytes_done, self._bytes = 0.0, sum(map(_share, plan.to_write))
        self._are_rows_counted = all(it.source.contents for it in plan.to_write)
        self.written = Written()

    def extend(self) -> None:
        """Extend an output: by all that is new in one moment, or by one transaction a simulation.

        The rows of what is built from pages are written last: it may turn out that they have to be.
        """
        output, to_copy = self._plan.output.path, list(self._plan.to_write)
        if not to_copy:
            settle_output(output)
            return
        new = [planned for planned in to_copy if planned.outcome.action is Action.COPY]
        wanted = new and is_worth_pages(self._options.engine, map(_share, new), is_new=False)
        with self._appending() if wanted else nullcontext() as addition:
            with existing_output(output) as connection:
                with transaction(connection, "IMMEDIATE"):
                    mark_as_experiment(connection)  # it was made before there was a mark
                    change(connection, self._plan.target.have, self._plan.target.want)
                if addition is None:
                    self._copy(connection, to_copy)
                    return
                is_built = self._appends(lambda: self._build_addition(addition, connection, new))
            if is_built and self._appends(lambda: self._insert(addition)):
                to_copy = [it for it in to_copy if it.outcome.action is not Action.COPY]
        if to_copy:
            with existing_output(output) as connection:
                self._copy(connection, to_copy)

    def _appending(self) -> AbstractContextManager[Addition | None]:
        from farm_merge.merge.write.append import appending

        return appending(self._plan.output.path, self._folder)

    def _appends(self, step: Callable[[], None]) -> bool:
        """Take a step of appending pages; return whether the way goes on."""
        try:
            step()
        except ValueError as exc:
            self._report(Progress("copy", 0, self._rows, f"copying row by row, since {exc}"))
            self._done, self._bytes_done, self.written = 0, 0.0, Written()
            return False
        return True

    def _build_addition(
        self, addition: Addition, connection: sqlite3.Connection, new: list[SimulationPlan]
    ) -> None:
        """Build a database with what is new, while readers of the output go on."""
        tables = {table.target for planned in new for table in planned.source.mapping.tables}
        addition.create(connection, tables)
        self._fill(addition.path, new)
        with building(addition.path) as made:
            addition.leave_out_experiments(made)

    def _insert(self, addition: Addition) -> None:
        """Check what is new, write it meanwhile, and let it appear in the output."""
        written, is_checked = self.written.simulations, self._options.verify != "none"
        try:
            if is_checked:
                self._report(Progress("verify", self._done, self._done))
                check_new_output(addition.path, written, lambda _: addition.prepare())
            else:
                addition.prepare()
        except BaseException:
            addition.forget()
            raise
        counts = {it.simulation_id: it.outcome.row_counts or {} for it in written}
        addition.insert(counts if is_checked else {})

    def build(self, partial: Path) -> None:
        """Build an output, from pages where that is possible, and from rows."""
        self._create(partial)
        self._fill(partial, self._plan.to_write)
        if self._options.verify != "none":
            self._report(Progress("verify", self._done, self._done))
            with _suspecting_pages() if self.written.simulations else nullcontext():
                check_new_output(partial, self.written.simulations)

    def _fill(self, partial: Path, simulations: Sequence[SimulationPlan]) -> None:
        """Graft what can be grafted and register it, and copy the rest."""
        to_copy = list(simulations)
        if is_worth_pages(self._options.engine, map(_share, simulations)):
            to_copy = self._graft(partial, simulations)
        grafted = list(self.written.simulations)
        with (
            _suspecting_pages() if grafted else nullcontext(),
            building(partial) as connection,
        ):
            if grafted:
                self._register(connection, grafted)
            self._copy(connection, to_copy)

    def _create(self, partial: Path) -> None:
        """Make the tables of a new output, with the page size of the first shard."""
        sources = (planned.source for planned in self._plan.to_write)
        first = next((source for source in sources if source.is_shard), None)
        page_size = first.file.header.page_size if first else DEFAULT_PAGE_SIZE
        with building(partial) as connection:
            connection.execute(f"PRAGMA page_size={page_size}")
            create_schema(connection, mark=EXPERIMENT_MARK, registry_only=self._plan.target.alone)
            change(connection, self._plan.target.have, self._plan.target.want)

    def _graft(self, partial: Path, simulations: Sequence[SimulationPlan]) -> list[SimulationPlan]:
        """Write what can be grafted; return what has to be copied row by row."""
        from farm_merge.merge.write.graft import Graft

        options = self._options
        graft = Graft(partial, self._plan.target, self._folder, options.engine, options.workers)
        grafted = graft.run(simulations, self._advance_by_simulation)
        self.written.simulations += grafted.written
        self.written.left_out += grafted.damaged
        if grafted.damaged and options.on_bad_shard == "stop":
            raise self._unmergeable(grafted.to_copy)
        return grafted.to_copy

    def _register(self, connection: sqlite3.Connection, grafted: list[SimulationPlan]) -> None:
        from farm_merge.merge.write.graft import register_grafted

        register_grafted(connection, grafted, self._experiment, self._folder)
        if self._options.verify == "content":
            require_same_as_inputs(connection, grafted, self._plan.target, self._folder)
            with transaction(connection):
                for simulation_id in {planned.simulation_id for planned in grafted}:
                    keep_digest_of_content(connection, simulation_id)

    def _copy(self, connection: sqlite3.Connection, simulations: Sequence[SimulationPlan]) -> None:
        """Copy simulations row by row; an input that changed or went is left out."""
        done = 0
        for path, group in _by_input(simulations):
            done += len(group)
            try:
                self._copy_input(connection, [self._counted(planned) for planned in group])
            except ShardError as exc:
                self.written.left_out.append(LeftOut.because_of(path, exc))
                if self._options.on_bad_shard == "skip":
                    continue
                if not self._plan.output.is_new:
                    raise
                raise self._unmergeable(simulations[done:]) from exc

    def _unmergeable(self, others: Iterable[SimulationPlan]) -> ShardError:
        """Return the error that names all inputs that are wrong, those too that nobody read yet."""
        for path, group in _by_input(others):
            try:
                for planned in group:
                    self._counted(planned)
            except ShardError as exc:
                self.written.left_out.append(LeftOut.because_of(path, exc))
        return unmergeable(self.written.left_out)

    def _copy_input(self, connection: sqlite3.Connection, group: list[SimulationPlan]) -> None:
        source = group[0].source
        require_unchanged(source.file)
        with (
            as_shard(source, self._plan.target, self._folder) as uri,
            blaming(source.path, is_sound=not self._plan.output.is_new),
            attached(connection, uri, "shard"),
        ):
            for planned in group:
                copy_simulation(
                    connection, planned, self._experiment, self._options.verify, self._advance
                )
                self.written.simulations.append(planned)
                self._report_progress(str(planned.outcome))

    def _counted(self, planned: SimulationPlan) -> SimulationPlan:
        """Return a simulation with its rows counted, which a brief inspection does not do."""
        if planned.source.contents is not None:
            return planned
        require_unchanged(planned.source.file)
        contents = inspect_file(planned.source.file, self._options).contents
        assert contents is not None  # noqa: S101  (it was read whole)
        return planned.with_contents(contents)

    def _advance(self, rows: int) -> None:
        self._done += rows
        self._report_progress()

    def _advance_by_simulation(self, planned: SimulationPlan) -> None:
        self._done += planned.outcome.rows
        self._bytes_done += _share(planned)
        self._report_progress(str(planned.outcome))

    def _report_progress(self, message: str = "") -> None:
        total = max(self._done, self._rows)
        if not self._are_rows_counted and self._bytes_done:  # files are judged by their size
            total = round(self._done * max(1.0, self._bytes / self._bytes_done))
        self._report(Progress("copy", self._done, total, message))


def _by_input(
    simulations: Iterable[SimulationPlan],
) -> Iterator[tuple[Path, list[SimulationPlan]]]:
    for path, group in groupby(simulations, key=lambda planned: planned.source.path):
        yield path, list(group)


def _share(planned: SimulationPlan) -> float:
    """Return the bytes of an input that are a simulation's, as if all in it were of one size."""
    return planned.source.file.identity.size_bytes / len(planned.source.simulations)


@contextmanager
def _suspecting_pages() -> Iterator[None]:
    """Take an error in an output that holds copied pages for damage of those pages.

    Raises:
        DamagedGraftError: In its place.
    """
    try:
        yield
    except sqlite3.OperationalError:
        raise  # such as a full disk: that is not about what is in the pages
    except (OutputError, sqlite3.DatabaseError) as exc:
        raise DamagedGraftError(str(exc)) from exc

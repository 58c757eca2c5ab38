"""Naming: what every simulation is called in the output.

A run that is known, by the ledger of the output or of another input, keeps the name it has there. A
run whose file names it is called so. Every other is called by its path: the file's name without a
known ending, and as many folders as distinguish it from others. A template decides otherwise.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm_merge.errors import ConflictError, ShardError
from farm_merge.merge.inputs.formats import without_known_ending, without_packed_ending
from farm_merge.merge.ledger import path_text
from farm_merge.merge.plan.equals import find_equals, is_packed_twin
from farm_merge.merge.plan.recognize import KnownRuns, Run, and_others, read_histories
from farm_merge.sqlite import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.ledger import LedgerEntry, Recalled
    from farm_merge.merge.options import EqualFiles, Options
    from farm_merge.merge.plan.output import Output
    from farm_merge.merge.plan.plan import SameContent
    from farm_merge.merge.plan.recognize import Known
    from farm_merge.merge.plan.template import Template

__all__ = ["Named", "kept_names", "with_names"]

_SHOWN = 5
"""How many files a message names that are alike."""


@dataclass(slots=True)
class Named:
    """What came of naming.

    Attributes:
        sources: The inputs, whose simulations have their names.
        refused: Inputs that cannot have one, and why.
        notes: What a reader should know.
        kept: Files of runs that have another name than the template gives, since they are known.
    """

    sources: list[Input]
    refused: dict[Path, ShardError]
    notes: tuple[str, ...] = ()
    kept: tuple[Path, ...] = ()


def with_names(
    sources: Sequence[Input],
    others: Iterable[Path],
    output: Output,
    same_content: SameContent,
    template: Template | None,
    options: Options,
) -> Named:
    """Give every simulation its name in the output.

    Args:
        sources: What is known of the inputs.
        others: The inputs that the ledger of the output knows, and that are not read.
        output: What the output holds.
        same_content: Whether the output holds a simulation with the same data.
        template: What to call runs.
        options: What the user decided. Files with equal bytes whose paths name them are separate
            runs, copies of one run, or an error; by default they are separate, but for a file that
            was moved or copied since it was merged.
    """
    namer = _Namer(sources, others, output, same_content, template, options.equal_files)
    return namer.named()


def kept_names(
    named: Named, recalled: Iterable[Recalled], template: Template | None
) -> Iterator[str]:
    """Report the runs that have another name than the template gives, since they are known.

    Args:
        named: What came of naming the others.
        recalled: Files that the ledger of the output knows, and that are not read.
        template: What to call runs.
    """
    kept = [
        *named.kept,
        *(
            file.path
            for file in recalled
            if any(
                _renames(template, file.path, it.own_id, it.simulation_id) for it in file.entries
            )
        ),
    ]
    if kept:
        others = and_others(len(kept) - 1)
        yield f"{kept[0]}{others}: known already, under another name, which is kept"


class _Namer:
    """The names so far."""

    def __init__(
        self,
        sources: Sequence[Input],
        others: Iterable[Path],
        output: Output,
        same_content: SameContent,
        template: Template | None,
        equal_files: EqualFiles | None,
    ) -> None:
        self._same_content = same_content
        self._sources = sources
        self._output = output
        self._template = template
        self._equal_files = equal_files
        self._paths = {path_text(path) for path in (*others, *(source.path for source in sources))}
        self._histories = read_histories(sources)
        self._known = KnownRuns()
        for simulation_id, entries in output.entries().items():
            self._known.add(entries, simulation_id, "in the output")
        self._names: dict[tuple[Path, int], str] = {}
        self._names_in: dict[Path, set[str]] = defaultdict(set)  # no two are the same run
        self._by_template: dict[str, list[Run]] = defaultdict(list)
        self._refused: dict[Path, ShardError] = {}
        self._notes: list[str] = []
        self._kept: dict[Path, None] = {}

    def named(self) -> Named:
        runs = [
            Run(source, number)
            for source in self._sources
            for number in range(len(source.simulations))
        ]
        # Outputs of merges first: what they hold, their runs among the inputs are called too.
        runs.sort(key=lambda run: not run.source.has_history)
        by_path: list[Run] = []
        for run in runs:
            if (name := self._recognized(run)) and name not in self._names_in[run.path]:
                self._give(run, name)
                if _renames(self._template, run.path, run.simulation.own_id, name):
                    self._kept[run.path] = None
            elif self._history(run) and self._template:
                self._name_by_template([run])
            elif self._is_named_by_path(run):
                by_path.append(run)
            else:
                self._give(run, str(run.simulation.own_id))
        self._name_by_path(by_path)
        if self._template is not None:
            self._require_names_apart(self._template)
        self._refuse_one_name_for_two(runs)
        named = [
            source.named([self._names[source.path, n] for n in range(len(source.simulations))])
            for source in self._sources
            if source.path not in self._refused
        ]
        return Named(named, self._refused, tuple(self._notes), tuple(self._kept))

    def _refuse_one_name_for_two(self, runs: Iterable[Run]) -> None:
        """Refuse an input of which one run is known by the name that another has in it."""
        given: dict[tuple[Path, str], str | None] = {}
        for run in runs:
            if name := self._names.get(run.key):
                own_id = run.simulation.own_id
                other = given.setdefault((run.path, name), own_id)
                if other != own_id:
                    self._refused[run.path] = ShardError(
                        f"its simulations {other!r} and {own_id!r} are both known as {name!r}",
                        path=run.path,
                        remedy="give its simulations names of their own, with"
                        " `simulation_id={stem}_{id}`",
                    )

    def _give(self, run: Run, name: str) -> None:
        self._names[run.key] = name
        self._names_in[run.path].add(name)
        if history := self._history(run):
            self._known.add(history, name, f"in {run.path}")

    def _history(self, run: Run) -> list[LedgerEntry]:
        by_id = self._histories.get(run.path, {})
        return by_id.get(str(run.simulation.own_id), [])

    def _is_named_by_path(self, run: Run) -> bool:
        return run.simulation.own_id is None or self._template is not None

    def _recognized(self, run: Run) -> str | None:
        """Return the name of the run that it is; None if it is none that is known."""
        # The output of a merge knows where its simulations came from.
        history = self._history(run)
        for known in self._known.of(entry.origin for entry in history):
            if known.path in {entry.source_path for entry in history}:
                return known.simulation_id
        # The same bytes: at the same path it is that run; elsewhere it may be, the newest first.
        known_files = list(self._known.of(run.origins))
        own_path = path_text(run.path)
        for known in known_files:
            if known.path == own_path:
                return known.simulation_id
        for known in reversed(known_files):
            if self._is_the_same(run, known):
                return known.simulation_id
        if known_files and self._is_named_by_path(run):
            return None
        # Other bytes at a known path: the run went on, and keeps its name.
        return self._known.name_of_path(run.source, run.simulation)

    def _is_the_same(self, run: Run, known: Known) -> bool:
        """Return whether a run with equal bytes is that run, and no replicate of it."""
        if not self._is_named_by_path(run):
            return True
        if is_packed_twin(path_text(run.path), known.path):
            return True
        if self._equal_files is not None:
            return self._equal_files == "fold"
        if known.path in self._paths:
            return False  # both are here, so neither was moved to the other's place
        return self._has_parameters_of(run, known.simulation_id)

    def _has_parameters_of(self, run: Run, simulation_id: str) -> bool:
        """Return whether what lies beside a run agrees with a simulation of the output."""
        here = run.source.parameters
        if not here or simulation_id not in self._output.simulation_ids:
            return True
        there = self._output.parameters_of(simulation_id)
        return all(there.get(name) == value for name, value in here.items())

    def _name_by_path(self, runs: list[Run]) -> None:
        equals = find_equals(runs, self._equal_files)
        self._notes += equals.notes
        self._refused |= equals.refused
        unlike = [run for run in runs if run.key not in equals.copies]
        if self._template is not None:
            self._name_by_template(unlike)
        else:
            self._name_by_folders(unlike)
        for run in runs:
            first = equals.copies.get(run.key)
            if first and (name := self._names.get(first.key)):
                self._give(run, name)

    def _name_by_template(self, runs: list[Run]) -> None:
        assert self._template is not None  # noqa: S101
        for run in runs:
            try:
                name = self._template.name(run.source, run.simulation)
            except ShardError as exc:
                self._refused[run.path] = exc
            else:
                self._give(run, name)
                self._by_template[name].append(run)

    def _require_names_apart(self, template: Template) -> None:
        """Require that the template gives different runs different names."""
        for name, alike in self._by_template.items():
            ids = {run.simulation.own_id for run in alike}
            is_one = len(ids) == 1 and None not in ids  # copies, or a conflict of their contents
            if not template.joins and ((len(alike) > 1 and not is_one) or not name):
                paths = [str(path) for path in dict.fromkeys(run.path for run in alike)]
                more = " …" if len(paths) > _SHOWN else ""
                raise ConflictError(
                    f"simulation_id {template.text!r} would call {len(alike)} runs {name!r}:"
                    f" {', '.join(paths[:_SHOWN])}{more}",
                    remedy="use more fields, such as {id} or {name}; `join` makes them one",
                )

    def _name_by_folders(self, runs: list[Run]) -> None:
        """Lengthen names by parent folders until each is free and nobody else's."""
        taken = set(self._names.values())
        labels = self._labels(runs)
        depth = {run.key: 1 for run in runs}
        waiting = {run.key: run for run in runs}
        while waiting:
            trial = {key: _name(run, labels[key], depth[key]) for key, run in waiting.items()}
            alike = Counter(trial.values())
            for key, name in trial.items():
                if alike[name] == 1 and name not in taken and self._is_free(waiting[key], name):
                    self._give(waiting.pop(key), name)
                    continue
                depth[key] += 1
                if depth[key] > len(waiting[key].source.path.absolute().parts) - 1:
                    run = waiting.pop(key)
                    self._refused[run.path] = ShardError(
                        "no part of its path distinguishes it from another run",
                        path=run.path,
                        remedy="name its simulation with `simulation_id=`",
                    )
            # What two of them tried is nobody's, or the next round would give it to the second.
            taken |= set(trial.values())

    def _is_free(self, run: Run, name: str) -> bool:
        """Return whether no other data has a name in the output."""
        if name not in self._output.simulation_ids:
            return True
        if len(run.source.simulations) > 1 or not self._has_parameters_of(run, name):
            return False
        for known in self._known.of(run.origins):
            if known.simulation_id == name and known.path in self._paths:
                return False  # the file of equal bytes that has the name is here, too
        return self._same_content(run.source.named([name]), None, name)

    def _labels(self, runs: list[Run]) -> dict[tuple[Path, int], str]:
        """Return what each run is called without folders.

        An ending that distinguishes it from a neighbour is part of it: `run.db` and `run.sqlite`.
        """
        known = (entry.source_path for entry in self._output.ledger)
        files = set(map(without_packed_ending, (*known, *self._paths)))
        neighbours = Counter(map(_without_ending, files))
        labels = {}
        for run in runs:
            path = run.path
            is_alone = neighbours[_without_ending(path_text(path))] == 1
            label = storable(without_known_ending(path.name) if is_alone else path.name)
            labels[run.key] = f"{label}_unattributed" if run.simulation.is_unattributed else label
        return labels


def _without_ending(path: str) -> str:
    folder, name = os.path.split(path)
    return f"{folder}{os.sep}{without_known_ending(name)}"


def _renames(template: Template | None, path: Path, own_id: str | None, name: str) -> bool:
    """Return whether a template calls a run otherwise than by a name."""
    try:
        return template is not None and template.name_of(path, own_id) != name
    except ShardError:  # it finds no name in its path
        return False


def _name(run: Run, label: str, parts: int) -> str:
    folders = [part for part in run.path.absolute().parent.parts if part != os.sep]
    return "_".join([*map(storable, folders[len(folders) - parts + 1 :]), label])

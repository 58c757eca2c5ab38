"""Inspect: what is this file, which simulations are in it, is it whole, and can it be carried?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from farm_merge.driver import quoted
from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.definition import SIMULATION_ID, affinity, folded
from farm_merge.merge.engine import is_graftable_file
from farm_merge.merge.legacy import STATE_REFERENCES
from farm_merge.merge.locks import is_being_written
from farm_merge.merge.mapping import Facts, Kind, TableMapping, classify, make_mapping, targets
from farm_merge.merge.source import (
    STILL_WRITTEN,
    Identity,
    fingerprint,
    identify,
    opened,
    refuse_open_here,
)
from farm_merge.merge.structure import Structure, read_structure, today
from farm_merge.schema import DATA_TABLES, METADATA_TABLES, is_current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from farm_merge.driver import sqlite3
    from farm_merge.merge.definition import TableDefinition

__all__ = [
    "Found",
    "Inspection",
    "OnDuplicateRow",
    "glance_at_shard",
    "inspect_shard",
    "read_experiments",
    "with_common_keys",
]

OnDuplicateRow = Literal["error", "first", "last"]


@dataclass(frozen=True, slots=True)
class Found:
    """A simulation in a file: its id, its status, and its rows by table of the output.

    Attributes:
        simulation_id: None where the file does not tell, and its path has to name it.
        status: As the file tells it; None where it does not.
        row_counts: Rows by table of the experiment database.
    """

    simulation_id: str | None
    status: str | None
    row_counts: Mapping[str, int] = field(hash=False)

    @property
    def rows(self) -> int:
        """The number of rows in all data tables."""
        return sum(self.row_counts.values())


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of an input before anything is decided.

    Attributes:
        path: The file.
        identity: Which file stood there.
        fingerprint: A hash of its bytes; empty until they were read.
        schema: What its schema is called: "farm-merge 1", "AgentFarm era …" or "foreign".
        kind: The family of its schema.
        structure: Its tables.
        simulations: The simulations in it.
        facts: What its content decided about the mapping.
        mapping: What each of its tables becomes.
        experiments: What it says about experiments: name, description and hypothesis by id.
        details: How it is carried, where that is not as it stands.
        notes: What is not carried.
        choices: What is not carried as it stands, for the ledger.
        copy: A snapshot that is read in its stead, since a run is writing the file.
    """

    path: Path
    identity: Identity
    fingerprint: str
    schema: str
    kind: Kind
    structure: Structure = field(hash=False)
    simulations: tuple[Found, ...]
    facts: Facts
    mapping: tuple[TableMapping, ...] = field(hash=False)
    experiments: Mapping[str, tuple[object, ...]] = field(hash=False)
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    choices: Mapping[str, object] = field(default_factory=dict, hash=False)
    copy: Path | None = None

    @property
    def is_glance(self) -> bool:
        """Whether its rows are not counted yet, nor its bytes hashed."""
        return not self.fingerprint

    @property
    def file(self) -> Path:
        """The file that is read."""
        return self.copy or self.path

    @property
    def is_shard(self) -> bool:
        """Whether it has the form of a shard, and needs no rewriting."""
        return self.kind == "today" and all(
            definition.merged or definition.name in METADATA_TABLES
            for definition in self.structure.tables.values()
        )


def inspect_shard(
    path: Path, on_duplicate_row: OnDuplicateRow = "error", copy: Path | None = None
) -> Inspection:
    """Read a file and say what it holds; nothing is written, and its code never runs.

    Args:
        path: A shard, a legacy file, or any SQLite database of one run.
        on_duplicate_row: Which of several rows with one key is carried.
        copy: A snapshot of the file, to be read in its stead.

    Raises:
        StillWrittenError: If another process is writing the file.
        ShardError: If the file is missing, unreadable or damaged, changes while it is read, or
            holds rows that cannot be carried; all reasons are named.
    """
    identity = identify(path)
    file = copy or path
    digest = fingerprint(file)
    if copy is None and is_being_written(path):
        raise StillWrittenError(f"{path}: {STILL_WRITTEN}")
    with opened(file) as connection:
        inspection = _Examination(path, connection, on_duplicate_row).inspection(identity, digest)
    if copy is None and identify(path) != identity:
        raise StillWrittenError(f"{path}: {STILL_WRITTEN}")
    return replace(inspection, copy=copy)


def glance_at_shard(path: Path, smallest: int) -> Inspection | None:
    """Read only what a plan needs of a shard with one simulation whose pages can be copied.

    Its rows are counted, and its bytes hashed, when they pass; a copy of damaged pages shows when
    the output is checked.

    Args:
        path: The file.
        smallest: The size from which on it is worth it, in bytes.

    Returns:
        What is known, without rows and fingerprint; None if the file needs a closer look.
    """
    try:
        identity = identify(path)
        refuse_open_here(path)
        if not is_graftable_file(path, smallest) or is_being_written(path):
            return None
        with opened(path) as connection:
            return _Examination(path, connection, "error").glance(identity)
    except (ShardError, OSError):
        return None


def with_common_keys(
    inspections: Iterable[Inspection], output: Structure | None
) -> list[Inspection]:
    """Give tables of one name one key: where one file has NULL in it, no file's key is taken.

    Args:
        inspections: What is known of the inputs.
        output: The tables of the output, whose rows may be numbered already.
    """
    inspections = list(inspections)
    keyless = {
        folded(mapping.target)
        for source in inspections
        for mapping in source.mapping
        if folded(mapping.source) in source.facts.null_keys
    }
    numbered = {} if output is None else output.content

    def is_concerned(mapping: TableMapping) -> bool:
        target = folded(mapping.target)
        there = numbered.get(target)
        others_numbered = there and there.is_numbered and there.key != mapping.definition.key
        return target in keyless or bool(others_numbered)

    return [_without_keys(source, is_concerned) for source in inspections]


def _without_keys(source: Inspection, is_concerned: Callable[[TableMapping], bool]) -> Inspection:
    concerned = {
        folded(mapping.source)
        for mapping in source.mapping
        if is_concerned(mapping) and not source.structure.tables[folded(mapping.source)].merged
    }
    if concerned <= source.facts.null_keys:
        return source
    facts = replace(source.facts, null_keys=source.facts.null_keys | concerned)
    return replace(source, facts=facts, mapping=make_mapping(source.structure, source.kind, facts))


def read_experiments(
    connection: sqlite3.Connection, schema: str = "main"
) -> dict[str, tuple[object, ...]]:
    """Return what a database says about its experiments: name, description, hypothesis."""
    rows = connection.execute(
        f"SELECT experiment_id, name, description, hypothesis FROM {schema}.experiments"
    )
    return {experiment_id: tuple(description) for experiment_id, *description in rows}


class _Examination:
    """Asks an open file everything that decides how it is carried."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, on_duplicate_row: OnDuplicateRow
    ) -> None:
        self._path = path
        self._connection = connection
        self._on_duplicate_row = on_duplicate_row
        self._id = ""
        self._structure = read_structure(connection, "source")
        current = is_current(connection, "source")
        self._kind, self._schema = classify(self._structure, current=current)
        if self._kind != "today":
            self._structure = read_structure(connection, "source", merged_form=False)
        self._names = targets(self._structure, self._kind)
        self._problems: list[str] = []
        self._choices: dict[str, object] = {}
        self._duplicates: dict[tuple[str | None, str], int] = {}

    def inspection(self, identity: Identity, digest: str) -> Inspection:
        self._require_health()
        ids, by_column = self._simulation_ids()
        self._id = next(iter(ids), "")
        facts = self._facts(ids, by_column=by_column)
        mapping = make_mapping(self._structure, self._kind, facts)
        data = [each for each in mapping if each.target not in METADATA_TABLES]
        if not data:
            raise ShardError(f"{self._path}: holds no table of data")
        for each in data:
            self._examine(each, facts)
        counts = self._counts(data, ids, facts)
        if self._problems:
            raise ShardError(f"{self._path}: " + "; ".join(self._problems))
        if not counts or (self._kind == "today" and not ids):
            raise ShardError(f"{self._path}: holds no simulation")
        statuses = self._statuses(ids)
        return Inspection(
            self._path,
            identity,
            digest,
            self._schema,
            self._kind,
            self._structure,
            tuple(
                Found(each, statuses.get(each), counts[each])
                for each in sorted(counts, key=lambda each: each or "")
            ),
            facts,
            mapping,
            self._experiments(),
            tuple(note for each in mapping for note in each.notes),
            tuple(self._not_carried()),
            self._choices,
        )

    def glance(self, identity: Identity) -> Inspection | None:
        tables = [quoted(each.name) for each in self._structure.content.values() if each.merged]
        if self._kind != "today" or len(tables) < len(self._structure.content):
            return None
        ends = ", ".join(
            f"(SELECT {end}(simulation_id) FROM source.{table})"
            for table in tables
            for end in ("min", "max")
        )
        ids = ({*self._ask(f"SELECT {ends}")} | self._registered()) - {None}
        if len(ids) != 1 or not isinstance(simulation_id := ids.pop(), str):
            return None
        facts = Facts("one")
        status = self._statuses({simulation_id}).get(simulation_id)
        return Inspection(
            self._path,
            identity,
            "",
            self._schema,
            self._kind,
            self._structure,
            (Found(simulation_id, status, {}),),
            facts,
            make_mapping(self._structure, self._kind, facts),
            self._experiments(),
            notes=tuple(self._not_carried()),
        )

    def _ask(self, sql: str, **parameters: object) -> tuple[object, ...]:
        parameters.setdefault(SIMULATION_ID, self._id)
        row: tuple[object, ...] = self._connection.execute(sql, parameters).fetchone()
        return row

    def _require_health(self) -> None:
        # Where virtual tables are, a check of the whole file would run their modules.
        whole = ["(1)"]
        each_table = [f"({quoted(each.name)})" for each in self._structure.tables.values()]
        for argument in each_table if self._structure.virtual else whole:
            (verdict,) = self._connection.execute(f"PRAGMA source.quick_check{argument}").fetchone()
            if verdict != "ok":
                raise ShardError(f"{self._path}: damaged; SQLite's quick_check says: {verdict}")

    def _simulation_ids(self) -> tuple[set[str], bool]:
        """Return the ids that the file names, and whether its columns `simulation_id` do so."""
        found: set[object] = set(self._registered())
        unnamed = False
        for table, definition in self._structure.tables.items():
            if self._names[table] in METADATA_TABLES:
                continue
            if not (definition.merged or definition.column(SIMULATION_ID)):
                unnamed = unnamed or self._has_rows(definition.name)
                continue
            name = quoted(definition.name)
            if definition.merged:
                rows = self._connection.execute(f"SELECT DISTINCT simulation_id FROM source.{name}")
                found.update(each for (each,) in rows)
                continue
            if only := self._only_id(name):
                found.add(only)
                continue
            ids = {
                each
                for (each,) in self._connection.execute(
                    f"SELECT DISTINCT simulation_id FROM source.{name}"
                )
            }
            unnamed = unnamed or None in ids
            found.update(ids - {None})
        texts = {each for each in found if isinstance(each, str)}
        if self._kind == "foreign":
            # Numbers start anew in every file, and rows without an id could be anybody's.
            by_column = bool(texts) and texts == found and (len(texts) == 1 or not unnamed)
            return (texts if by_column else set()), by_column
        if odd := found - texts:
            self._problems.append(f"has a simulation_id that is no text: {odd.pop()!r}")
        return texts, True

    def _only_id(self, table: str) -> object:
        """Return the id that all rows of a table have; None where there is none, or another."""
        first = self._connection.execute(f"SELECT simulation_id FROM source.{table} LIMIT 1")
        (only,) = first.fetchone() or (None,)
        (others,) = self._ask(
            f"SELECT EXISTS (SELECT 1 FROM source.{table}"
            " WHERE simulation_id COLLATE BINARY IS NOT :only)",
            only=only,
        )
        return None if others else only

    def _registered(self) -> set[object]:
        """Return the ids in `simulations`; integers there say nothing, they are 1 in every file."""
        table = self._registry("simulations")
        column = table and table.column(SIMULATION_ID)
        is_text = column and affinity(column.declared_type) == "TEXT"
        if self._kind != "today" and not is_text:
            return set()
        rows = self._connection.execute("SELECT simulation_id FROM source.simulations")
        return {each for (each,) in rows}

    def _registry(self, name: str) -> TableDefinition | None:
        return self._structure.tables.get(name) if self._kind != "foreign" else None

    def _has_rows(self, table: str) -> bool:
        (has,) = self._ask(f"SELECT EXISTS (SELECT 1 FROM source.{quoted(table)})")
        return bool(has)

    def _facts(self, ids: set[str], *, by_column: bool) -> Facts:
        number: Literal["none", "one", "many"]
        number = "none" if not ids else "one" if len(ids) == 1 else "many"
        legacy = self._kind == "AgentFarm"
        return Facts(
            number,
            by_column,
            legacy and self._has_original_ids(number),
            tuple(self._state_references()) if legacy else (),
            frozenset(self._null_keys()),
        )

    def _has_original_ids(self, number: str) -> bool:
        """Tell whether agent_states.id says anything that today's generated id does not."""
        found = self._structure.tables.get("agent_states")
        if not found or not found.column("id") or not found.column("step_number"):
            return False
        simulation = "t.simulation_id" if number == "many" else ":simulation_id"
        (different,) = self._ask(
            "SELECT EXISTS (SELECT 1 FROM source.agent_states AS t WHERE t.id IS NOT"
            f" {simulation} || ':' || t.agent_id || '-' || t.step_number)"
        )
        return bool(different)

    def _state_references(self) -> Iterator[str]:
        actions = self._structure.tables.get("agent_actions")
        states = self._structure.tables.get("agent_states")
        for name in STATE_REFERENCES:
            if actions and actions.column(name) and states and states.column("id"):
                (filled,) = self._ask(
                    f"SELECT EXISTS (SELECT 1 FROM source.agent_actions WHERE {name} IS NOT NULL)"
                )
                if filled:
                    yield name

    def _null_keys(self) -> Iterator[str]:
        """Yield the tables of their own whose primary key holds NULL, as SQLite lets it."""
        for table, definition in self._structure.tables.items():
            if self._names[table] in today().tables or definition.merged:
                continue
            columns = map(definition.column, definition.key_names)
            nullable = [each.name for each in columns if each and not each.not_null]
            if nullable:
                wanted = " OR ".join(f"{quoted(name)} IS NULL" for name in nullable)
                (found,) = self._ask(
                    f"SELECT EXISTS (SELECT 1 FROM source.{quoted(definition.name)} WHERE {wanted})"
                )
                if found:
                    yield table

    def _examine(self, mapping: TableMapping, facts: Facts) -> None:
        """Look for rows that the target cannot hold."""
        source = self._structure.tables[folded(mapping.source)]
        if mapping.target not in DATA_TABLES or source == today().tables[mapping.target]:
            return
        columns = dict(mapping.columns)
        keyed = mapping.target == "agent_states" and _has_ids_of_their_keys(source, facts)
        required = [
            each.name
            for each in mapping.definition.stored
            if each.not_null and not _is_surely_filled(source, columns.get(each.name))
        ]
        if required and not keyed:
            asked = ", ".join(f"sum({columns.get(name, 'NULL')} IS NULL)" for name in required)
            for name, missing in zip(
                required, self._ask(f"SELECT {asked} {mapping.origin}"), strict=True
            ):
                if missing:
                    self._problems.append(
                        f"table {mapping.source}: {missing:,} rows have no {name},"
                        f" which {mapping.target} needs"
                    )
        if not keyed:
            self._look_for_duplicates(mapping, source)

    def _look_for_duplicates(self, mapping: TableMapping, source: TableDefinition) -> None:
        columns = dict(mapping.columns)
        keys = [columns.get(name, "NULL") for name in mapping.definition.key_names]
        own_key = {f"t.{quoted(name)}" for name in source.key_names}
        if own_key and own_key <= {*keys, 't."simulation_id"'}:
            return
        if any(key.startswith("row_number()") for key in keys):
            return
        terms = ", ".join([mapping.simulation, *keys])
        duplicates = self._connection.execute(
            f"SELECT s, sum(n - 1) FROM (SELECT {mapping.simulation} AS s, count(*) AS n"
            f" {mapping.origin} GROUP BY {terms} HAVING n > 1) GROUP BY s",
            {SIMULATION_ID: self._id},
        ).fetchall()
        total = sum(rows for _, rows in duplicates)
        if not total:
            return
        if self._on_duplicate_row == "error":
            key = ", ".join(mapping.definition.key_names)
            self._problems.append(
                f"table {mapping.source}: {total:,} rows repeat a key ({key});"
                " --on-duplicate-row first or last says which one is carried"
            )
        self._choices.setdefault("duplicate_rows", {})[mapping.target] = {  # type: ignore[index]
            "kept": self._on_duplicate_row,
            "left_out": total,
        }
        for simulation, rows in duplicates:
            self._duplicates[simulation, mapping.target] = rows

    def _counts(
        self, data: list[TableMapping], ids: set[str], facts: Facts
    ) -> dict[str | None, dict[str, int]]:
        """Count the rows of every simulation that will stand in the output."""
        only = None if facts.ids == "none" else self._id
        counts: dict[str | None, dict[str, int]] = {each: {} for each in ids or ({only} - {""})}
        for mapping in data:
            by_row = mapping.simulation != ":simulation_id"
            if by_row:
                rows = self._connection.execute(
                    f"SELECT {mapping.simulation}, count(*) {mapping.origin} GROUP BY 1"
                ).fetchall()
            else:
                rows = [(only, *self._ask(f"SELECT count(*) FROM source.{quoted(mapping.source)}"))]
            if facts.ids == "many" and not by_row and rows[0][1]:
                self._problems.append(
                    f"table {mapping.source}: {rows[0][1]:,} rows name no simulation,"
                    f" and the file holds {len(ids)}"
                )
                continue
            for simulation, number in rows:
                if facts.ids == "many" and simulation is None:
                    self._problems.append(
                        f"table {mapping.source}: {number:,} rows have neither a simulation_id nor"
                        " an agent that tells it"
                    )
                elif number:
                    dropped = self._duplicates.get((simulation, mapping.target), 0)
                    if not by_row:
                        dropped = self._duplicates.get((self._id, mapping.target), 0)
                    counts.setdefault(simulation, {})[mapping.target] = number - dropped
        self._require_attributable(data, facts)
        self._count_unresolved(data, facts)
        return counts

    def _require_attributable(self, data: list[TableMapping], facts: Facts) -> None:
        """Refuse rows without an id whose agent lives in several simulations."""
        if facts.ids != "many":
            return
        with_agents = [
            quoted(each.source)
            for each in data
            if each.target in {"agents", "agent_states", "agent_actions"}
            and self._structure.tables[folded(each.source)].column(SIMULATION_ID)
        ]
        for each in data:
            if not each.simulation.startswith("coalesce"):
                continue
            (unclear,) = self._ask(
                f"SELECT count(*) FROM source.{quoted(each.source)} AS t WHERE t.simulation_id"
                " IS NULL AND (SELECT count(DISTINCT simulation_id) FROM ("
                + " UNION ALL ".join(
                    f"SELECT simulation_id FROM source.{name} WHERE agent_id = t.agent_id"
                    for name in with_agents
                )
                + ")) > 1"
            )
            if unclear:
                self._problems.append(
                    f"table {each.source}: {unclear:,} rows have no simulation_id, and several"
                    " simulations have their agent"
                )

    def _count_unresolved(self, data: list[TableMapping], facts: Facts) -> None:
        for name in facts.state_references:
            (actions,) = (each for each in data if each.target == "agent_actions")
            resolved = dict(actions.columns)[name]
            (unresolved,) = self._ask(
                f"SELECT count(*) {actions.origin}"
                f" WHERE t.{name} IS NOT NULL AND {resolved} IS NULL"
            )
            if unresolved:
                self._choices.setdefault("unresolved", {})[name] = unresolved  # type: ignore[index]

    def _statuses(self, ids: set[str]) -> dict[str | None, str | None]:
        """Return the status of each run; one that was closed is over, whatever its status says."""
        table = self._registry("simulations")
        has_status = table and table.column("status") and table.column("end_time")
        if not has_status:
            return {}
        statuses = dict(
            self._connection.execute(
                "SELECT simulation_id, CASE WHEN status = 'running' AND end_time IS NOT NULL"
                " THEN 'closed' ELSE status END FROM source.simulations"
            )
        )
        if not ids and len(statuses) > 1:
            raise ShardError(
                f"{self._path}: names {len(statuses)} simulations, and no row says whose it is"
            )
        if not ids and statuses:
            return {None: next(iter(statuses.values()))}
        return statuses

    def _experiments(self) -> dict[str, tuple[object, ...]]:
        table = self._registry("experiments")
        needed = ("experiment_id", "name", "description", "hypothesis")
        if table is None or not all(map(table.column, needed)):
            return {}
        return read_experiments(self._connection, "source")

    def _not_carried(self) -> Iterator[str]:
        """Yield what holds no data, or holds it in a way that no merge can carry."""
        if self._structure.virtual:
            names = ", ".join(self._structure.virtual)
            yield f"WARNING: virtual tables are not carried, with what they hold: {names}"
        indexes = [
            index.name
            for table, found in self._structure.indexes.items()
            if self._names[table] in today().tables
            for index in found
            if index not in today().indexes.get(table, ())
        ]
        if self._kind != "today":
            indexes = []
        others = [*self._structure.views, *(f"index {name}" for name in indexes)]
        if others:
            yield f"holds no data, so not carried: {', '.join(others)}"
        unresolved = self._choices.get("unresolved")
        if isinstance(unresolved, dict):
            for name, rows in unresolved.items():
                yield f"agent_actions.{name}: {rows:,} references point at no state, and are NULL"


def _has_ids_of_their_keys(states: TableDefinition, facts: Facts) -> bool:
    """Tell whether every state's unique id is made of its key: no key has NULL or comes twice."""
    own, step, agent = map(states.column, ("id", "step_number", "agent_id"))
    return (
        own is not None
        and own.not_null
        and states.key_names == ("id",)
        and not facts.original_ids
        and step is not None
        and "INT" in step.declared_type.upper()  # else 1 and 1.0 are two ids of one key
        and agent is not None
        and affinity(agent.declared_type) == "TEXT"
    )


def _is_surely_filled(source: TableDefinition, expression: str | None) -> bool:
    """Tell whether a column of a file cannot hold NULL."""
    if expression is None:
        return False
    if expression.startswith("row_number()"):
        return True
    return any(
        column.not_null and expression == f"t.{quoted(column.name)}" for column in source.columns
    )

"""The schema: one SQLAlchemy model per table, and the only definition of them.

A shard and an experiment database have the same tables. Every data table's primary key is
`(simulation_id, the key the row had in its own run)`, and the table is `WITHOUT ROWID`: a
simulation is one contiguous range of every table and index, and ids stay as their author wrote
them.

Columns keep AgentFarm's names and types. Types are spelled out, so that the DDL is the same under
every version of SQLAlchemy. Foreign keys show what belongs together; SQLite enforces them only for
connections that ask for it, and rows that point nowhere are carried as they are.

Run `python -m farm_merge.models` to write `schema.sql` and `docs/schema.md` anew.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  (the mapper reads the annotations)
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import BOOLEAN, DATETIME, FLOAT, INTEGER, JSON, VARCHAR

if TYPE_CHECKING:
    from sqlalchemy import Table

__all__ = [
    "ActionModel",
    "AgentModel",
    "AgentStateModel",
    "Base",
    "ExperimentModel",
    "HealthIncident",
    "MergedShard",
    "ResourceModel",
    "Simulation",
    "SimulationConfig",
    "SimulationStepModel",
    "schema_markdown",
    "schema_sql",
]

Json = dict[str, Any]

_WITHOUT_ROWID = {"sqlite_with_rowid": False}


class Base(DeclarativeBase):
    """Common to all models: tables without rowid, and names for what has none."""

    metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s"})
    __table_args__: Any = _WITHOUT_ROWID


def _keyed(own_key: str, *others: ForeignKeyConstraint) -> tuple[Any, ...]:
    key = PrimaryKeyConstraint("simulation_id", *own_key.split())
    return (key, *others, _WITHOUT_ROWID)


def _of_agent() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["simulation_id", "agent_id"], ["agents.simulation_id", "agents.agent_id"]
    )


class ExperimentModel(Base):
    """An experiment: a group of simulations."""

    __tablename__ = "experiments"

    experiment_id: Mapped[str] = mapped_column(VARCHAR(64), primary_key=True)
    name: Mapped[str] = mapped_column(VARCHAR(255))
    description: Mapped[str | None] = mapped_column(VARCHAR(4096))
    hypothesis: Mapped[str | None] = mapped_column(VARCHAR(2048))
    creation_date: Mapped[datetime | None] = mapped_column(DATETIME)
    last_updated: Mapped[datetime | None] = mapped_column(DATETIME)
    status: Mapped[str | None] = mapped_column(VARCHAR(50))
    tags: Mapped[list[str] | None] = mapped_column(JSON)
    variables: Mapped[Json | None] = mapped_column(JSON)
    results_summary: Mapped[Json | None] = mapped_column(JSON)
    notes: Mapped[str | None] = mapped_column(VARCHAR(4096))


class Simulation(Base):
    """A simulation: one run, its parameters, and what it ran on."""

    __tablename__ = "simulations"

    simulation_id: Mapped[str] = mapped_column(VARCHAR(64), primary_key=True)
    experiment_id: Mapped[str | None] = mapped_column(
        VARCHAR(64), ForeignKey("experiments.experiment_id")
    )
    start_time: Mapped[datetime | None] = mapped_column(DATETIME)
    end_time: Mapped[datetime | None] = mapped_column(DATETIME)
    status: Mapped[str | None] = mapped_column(VARCHAR(50))
    parameters: Mapped[Json] = mapped_column(JSON)
    results_summary: Mapped[Json | None] = mapped_column(JSON)
    simulation_db_path: Mapped[str] = mapped_column(VARCHAR(255))
    seed: Mapped[int | None] = mapped_column(INTEGER)
    git_commit: Mapped[str | None] = mapped_column(VARCHAR(64))
    host: Mapped[str | None] = mapped_column(VARCHAR(255))
    python_version: Mapped[str | None] = mapped_column(VARCHAR(50))
    package_versions: Mapped[Json | None] = mapped_column(JSON)


class AgentModel(Base):
    """An agent: when it lived, what it was, what it started with."""

    __tablename__ = "agents"

    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    agent_id: Mapped[str] = mapped_column(VARCHAR(64), primary_key=True)
    birth_time: Mapped[int | None] = mapped_column(INTEGER)
    death_time: Mapped[int | None] = mapped_column(INTEGER)
    agent_type: Mapped[str | None] = mapped_column(VARCHAR(50))
    position_x: Mapped[float | None] = mapped_column(FLOAT)
    position_y: Mapped[float | None] = mapped_column(FLOAT)
    initial_resources: Mapped[float | None] = mapped_column(FLOAT)
    starting_health: Mapped[float | None] = mapped_column(FLOAT)
    genome_id: Mapped[str | None] = mapped_column(VARCHAR(64))
    generation: Mapped[int | None] = mapped_column(INTEGER)
    action_weights: Mapped[Json | None] = mapped_column(JSON)


class AgentStateModel(Base):
    """The state of an agent at a step."""

    __tablename__ = "agent_states"
    __table_args__ = _keyed("step_number agent_id", _of_agent())

    id: Mapped[str] = mapped_column(
        VARCHAR(128),
        Computed("simulation_id || ':' || agent_id || '-' || step_number", persisted=False),
        nullable=True,
    )
    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    step_number: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    agent_id: Mapped[str] = mapped_column(VARCHAR(64), primary_key=True)
    position_x: Mapped[float | None] = mapped_column(FLOAT)
    position_y: Mapped[float | None] = mapped_column(FLOAT)
    position_z: Mapped[float | None] = mapped_column(FLOAT)
    resource_level: Mapped[float | None] = mapped_column(FLOAT)
    current_health: Mapped[float | None] = mapped_column(FLOAT)
    starting_health: Mapped[float | None] = mapped_column(FLOAT)
    starvation_counter: Mapped[int | None] = mapped_column(INTEGER)
    is_defending: Mapped[bool | None] = mapped_column(BOOLEAN)
    total_reward: Mapped[float | None] = mapped_column(FLOAT)
    age: Mapped[int | None] = mapped_column(INTEGER)


class ResourceModel(Base):
    """The state of a resource at a step."""

    __tablename__ = "resource_states"
    __table_args__ = _keyed("id")

    id: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    step_number: Mapped[int | None] = mapped_column(INTEGER)
    resource_id: Mapped[str | None] = mapped_column(VARCHAR(64))
    amount: Mapped[float | None] = mapped_column(FLOAT)
    position_x: Mapped[float | None] = mapped_column(FLOAT)
    position_y: Mapped[float | None] = mapped_column(FLOAT)


class SimulationStepModel(Base):
    """The metrics of a whole simulation at a step."""

    __tablename__ = "simulation_steps"
    __table_args__ = _keyed("step_number")

    step_number: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    total_agents: Mapped[int | None] = mapped_column(INTEGER)
    agent_type_counts: Mapped[Json | None] = mapped_column(JSON)
    total_resources: Mapped[float | None] = mapped_column(FLOAT)
    average_agent_resources: Mapped[float | None] = mapped_column(FLOAT)
    births: Mapped[int | None] = mapped_column(INTEGER)
    deaths: Mapped[int | None] = mapped_column(INTEGER)
    current_max_generation: Mapped[int | None] = mapped_column(INTEGER)
    resource_efficiency: Mapped[float | None] = mapped_column(FLOAT)
    resource_distribution_entropy: Mapped[float | None] = mapped_column(FLOAT)
    average_agent_health: Mapped[float | None] = mapped_column(FLOAT)
    average_agent_age: Mapped[int | None] = mapped_column(INTEGER)
    average_reward: Mapped[float | None] = mapped_column(FLOAT)
    genetic_diversity: Mapped[float | None] = mapped_column(FLOAT)
    dominant_genome_ratio: Mapped[float | None] = mapped_column(FLOAT)
    resources_consumed: Mapped[float | None] = mapped_column(FLOAT)


class ActionModel(Base):
    """An action that an agent took, and its reward."""

    __tablename__ = "agent_actions"
    __table_args__ = _keyed("action_id", _of_agent())

    action_id: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    step_number: Mapped[int] = mapped_column(INTEGER)
    agent_id: Mapped[str] = mapped_column(VARCHAR(64))
    action_type: Mapped[str] = mapped_column(VARCHAR(20))
    action_target_id: Mapped[str | None] = mapped_column(VARCHAR(64))
    reward: Mapped[float | None] = mapped_column(FLOAT)
    details: Mapped[str | None] = mapped_column(VARCHAR(1024))
    module_type: Mapped[str | None] = mapped_column(VARCHAR(50))
    module_id: Mapped[str | None] = mapped_column(VARCHAR(64))


class HealthIncident(Base):
    """A change of an agent's health, and its cause."""

    __tablename__ = "health_incidents"
    __table_args__ = _keyed("incident_id", _of_agent())

    incident_id: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    step_number: Mapped[int] = mapped_column(INTEGER)
    agent_id: Mapped[str] = mapped_column(VARCHAR(64))
    health_before: Mapped[float | None] = mapped_column(FLOAT)
    health_after: Mapped[float | None] = mapped_column(FLOAT)
    cause: Mapped[str] = mapped_column(VARCHAR(50))
    details: Mapped[str | None] = mapped_column(VARCHAR(512))


class SimulationConfig(Base):
    """A configuration that a simulation saved, as JSON text."""

    __tablename__ = "simulation_config"

    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    config_id: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    timestamp: Mapped[int] = mapped_column(INTEGER)
    config_data: Mapped[str] = mapped_column(VARCHAR(4096))


class MergedShard(Base):
    """The ledger: which file each simulation came from, and what was carried."""

    __tablename__ = "merged_shards"

    simulation_id: Mapped[str] = mapped_column(
        VARCHAR(64), ForeignKey("simulations.simulation_id"), primary_key=True
    )
    fingerprint: Mapped[str] = mapped_column(VARCHAR(64), primary_key=True)
    source_path: Mapped[str] = mapped_column(VARCHAR(4096))
    source_schema: Mapped[str] = mapped_column(VARCHAR(64))
    size_bytes: Mapped[int] = mapped_column(INTEGER)
    device: Mapped[int] = mapped_column(INTEGER)
    inode: Mapped[int] = mapped_column(INTEGER)
    mtime_ns: Mapped[int] = mapped_column(INTEGER)
    ctime_ns: Mapped[int] = mapped_column(INTEGER)
    merged_at: Mapped[datetime] = mapped_column(DATETIME)
    row_counts: Mapped[Json] = mapped_column(JSON)
    choices: Mapped[Json] = mapped_column(JSON)
    software: Mapped[Json] = mapped_column(JSON)


def _tables() -> list[Table]:
    return list(Base.metadata.sorted_tables)


def schema_sql() -> str:
    """Return the DDL of all tables, as it is in `schema.sql`."""
    dialect = sqlite.dialect()
    statements = [str(CreateTable(table).compile(dialect=dialect)) for table in _tables()]
    body = "".join(
        "\n".join(
            line.rstrip()
            for line in statement.strip().replace("\n)\n WITHOUT", "\n) WITHOUT").splitlines()
        )
        + ";\n\n"
        for statement in statements
    )
    return (
        "-- Generated from farm_merge/models.py by `python -m farm_merge.models`; edit there.\n\n"
        + body.replace("\t", "    ").rstrip()
        + "\n"
    )


_MARKDOWN_HEAD = """\
# The schema

Generated from `farm_merge/models.py` by `make docs`. A shard and an experiment database both have
these tables, all `WITHOUT ROWID`. Their keys answer the questions that were measured
(`benchmarks/queries.py`), so there is no other index: one on an agent's path took 23 % of a
database of 19 million rows, and no query was faster. Add your own to your database where you need
one; it should start with `simulation_id`.
"""


def schema_markdown() -> str:
    """Return the tables, columns and keys as Markdown, as they are in `docs/schema.md`."""
    parts = [_MARKDOWN_HEAD]
    dialect = sqlite.dialect()
    models = {str(mapper.local_table): mapper.class_ for mapper in Base.registry.mappers}
    for table in _tables():
        model = models[table.name]
        parts.append(
            f"\n## {table.name}\n\n{model.__doc__} Model: `{model.__name__}`.\n\n"
            "| column | type | key | null |\n|---|---|---|---|\n"
        )
        for column in table.columns:
            key = ", ".join(
                ["primary"] * column.primary_key
                + sorted(f"→ {key.target_fullname}" for key in column.foreign_keys)
            )
            note = " (generated)" if column.computed is not None else ""
            declared = column.type.compile(dialect=dialect)
            null = "yes" if column.nullable else "no"
            parts.append(f"| `{column.name}` | {declared}{note} | {key} | {null} |\n")
    return "".join(parts)


def _write_generated() -> None:
    package = Path(__file__).parent
    (package / "schema.sql").write_text(schema_sql(), encoding="utf-8")
    (package.parent / "docs" / "schema.md").write_text(schema_markdown(), encoding="utf-8")


if __name__ == "__main__":
    _write_generated()

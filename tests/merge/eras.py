"""Small files of every AgentFarm era, written from the table lists that users' files follow.

One made-up world in all of them: two agents, three steps, one of them dead in the last.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from pathlib import Path

_STEP_COUNTERS = (
    "total_agents INTEGER, system_agents INTEGER, independent_agents INTEGER,"
    " control_agents INTEGER, total_resources FLOAT, births INTEGER, deaths INTEGER"
)
_ACTIONS_ORM = (
    "CREATE TABLE agent_actions (action_id INTEGER NOT NULL, {simulation} step_number INTEGER NOT"
    " NULL, agent_id {id} NOT NULL, action_type VARCHAR(20) NOT NULL, action_target_id {id},"
    " state_before_id {state}, state_after_id {state}, resources_before FLOAT, resources_after"
    " FLOAT, reward FLOAT, details VARCHAR(1024), PRIMARY KEY (action_id), FOREIGN KEY(agent_id)"
    " REFERENCES agents (agent_id))"
)
_SIMULATIONS = (
    "CREATE TABLE simulations (simulation_id VARCHAR(64) NOT NULL, experiment_id VARCHAR(64),"
    " start_time DATETIME, end_time DATETIME, status VARCHAR(50), parameters JSON NOT NULL,"
    " results_summary JSON, simulation_db_path VARCHAR(255) NOT NULL, PRIMARY KEY (simulation_id))"
)
_CONFIG = (
    "CREATE TABLE simulation_config ({simulation} config_id INTEGER NOT NULL, timestamp INTEGER NOT"
    " NULL, config_data VARCHAR(4096) NOT NULL, PRIMARY KEY (config_id))"
)


def _era1(*_: str) -> list[str]:
    return [
        "CREATE TABLE Agents (agent_id INTEGER PRIMARY KEY, birth_time INTEGER, death_time INTEGER,"
        " agent_type TEXT, initial_position_x REAL, initial_position_y REAL,"
        " initial_resources REAL)",
        "CREATE TABLE SimulationSteps (step_id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " step_number INTEGER, timestamp DATETIME)",
        "CREATE TABLE AgentStates (state_id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id INTEGER,"
        " step_id INTEGER, position_x REAL, position_y REAL, resource_level REAL, alive BOOLEAN,"
        " FOREIGN KEY(step_id) REFERENCES SimulationSteps(step_id))",
        "CREATE TABLE Resources (resource_id INTEGER PRIMARY KEY, initial_amount INTEGER,"
        " position_x REAL, position_y REAL)",
        "CREATE TABLE ResourceStates (state_id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " resource_id INTEGER, step_id INTEGER, amount INTEGER)",
        "CREATE TABLE SimulationMetrics (metric_id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " step_id INTEGER, metric_name TEXT, metric_value REAL,"
        " FOREIGN KEY(step_id) REFERENCES SimulationSteps(step_id))",
        "INSERT INTO Agents VALUES (0, 0, 2, 'SystemAgent', 1.5, 2.5, 5), (1, 0, NULL, 'X', 3, 4, 5)",
        "INSERT INTO SimulationSteps VALUES (1, 0, 'then'), (2, 1, 'then'), (3, 2, 'then')",
        "INSERT INTO AgentStates (agent_id, step_id, position_x, alive) VALUES"
        " (0, 1, 0.5, 1), (1, 1, 1.5, 1), (0, 2, 2.5, 1), (1, 2, 3.5, 1), (1, 3, 4.5, 1)",
        "INSERT INTO Resources VALUES (0, 7, 1, 2)",
        "INSERT INTO ResourceStates (resource_id, step_id, amount) VALUES (0, 1, 7), (0, 2, 6)",
        "INSERT INTO SimulationMetrics (step_id, metric_name, metric_value) VALUES"
        " (1, 'total_agents', 2.0), (1, 'births', 0.0), (2, 'total_agents', 2.0),"
        " (3, 'total_agents', 1.0), (3, 'unheard_of', 0.25)",
    ]


def _era2(*_: str) -> list[str]:
    return [
        "CREATE TABLE Agents (agent_id INTEGER PRIMARY KEY, birth_time INTEGER, death_time INTEGER,"
        " agent_type TEXT, position_x REAL, position_y REAL, initial_resources REAL,"
        " max_health REAL, starvation_threshold INTEGER, genome_id TEXT, parent_id INTEGER,"
        " generation INTEGER, FOREIGN KEY(parent_id) REFERENCES Agents(agent_id))",
        "CREATE TABLE AgentStates (step_number INTEGER, agent_id INTEGER, position_x REAL,"
        " current_health REAL, max_health REAL, is_defending INTEGER)",
        "CREATE TABLE ResourceStates (step_number INTEGER, resource_id INTEGER, amount REAL)",
        "CREATE TABLE SimulationSteps (step_number INTEGER PRIMARY KEY,"
        f" {_STEP_COUNTERS.replace('FLOAT', 'REAL')})",
        "CREATE TABLE AgentActions (action_id INTEGER PRIMARY KEY AUTOINCREMENT, step_number"
        " INTEGER NOT NULL, agent_id INTEGER NOT NULL, action_type TEXT NOT NULL,"
        " action_target_id INTEGER, position_before TEXT, reward REAL, details TEXT)",
        "CREATE TABLE LearningExperiences (experience_id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " step_number INTEGER, agent_id INTEGER, module_type TEXT, reward REAL,"
        " FOREIGN KEY(agent_id) REFERENCES Agents(agent_id))",
        "CREATE INDEX idx_learning_step ON LearningExperiences(step_number)",
        "CREATE TABLE SimulationConfig (config_id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL,"
        " config_data TEXT NOT NULL)",
        "INSERT INTO Agents VALUES (0, 0, 2, 'S', 1.5, 2.5, 5, 100, 20, 'g', NULL, 0),"
        " (1, 0, NULL, 'S', 1, 2, 5, 100, 20, 'g', 0, 1)",
        "INSERT INTO AgentStates VALUES (0, 0, 0.5, 99, 100, 0), (0, 1, 1.5, 99, 100, 0),"
        " (1, 0, 2.5, 98, 100, 1), (1, 1, 3.5, 98, 100, 0), (2, 1, 4.5, 97, 100, 0)",
        # Step 0 twice: once when the resource was made, once when the step was logged.
        "INSERT INTO ResourceStates VALUES (0, 0, 7.5), (0, 0, 7.5), (1, 0, 6.5)",
        "INSERT INTO SimulationSteps VALUES (0, 2, 1, 1, 0, 7.5, 0, 0), (1, 2, 1, 1, 0, 6.5, 0, 0),"
        " (2, 1, 1, NULL, 0, 6.5, 0, 1)",
        "INSERT INTO AgentActions (step_number, agent_id, action_type, action_target_id,"
        " position_before) VALUES (0, 0, 'attack', 1, '(1, 2)'), (1, 1, 'move', NULL, NULL)",
        "INSERT INTO LearningExperiences (step_number, agent_id, module_type, reward)"
        " VALUES (0, 0, 'move', 0.1), (1, 1, 'move', 0.2)",
        "INSERT INTO SimulationConfig VALUES (1, 1732000000, '{\"width\": 100}')",
    ]


def _orm(era: int, simulation: str) -> list[str]:
    """Eras 3 to 8 differ in ids, in simulation_id, and in what was dropped."""
    id_type = "INTEGER" if era == 3 else "VARCHAR(64)"
    has_simulation = era >= 5
    column = "simulation_id VARCHAR(64)," if has_simulation else ""
    ids = ("0", "1") if era == 3 else ("'agent_aa'", "'agent_bb'")
    state_type = "INTEGER" if era == 3 else "VARCHAR(128)"
    old_health = "max_health FLOAT, starvation_threshold INTEGER,"
    key = "step_number, simulation_id" if has_simulation else "step_number"
    counters = _STEP_COUNTERS
    if era == 8:
        counters = (
            "total_agents INTEGER, agent_type_counts JSON, total_resources FLOAT, births INTEGER,"
            " deaths INTEGER"
        )
    statements = [
        f"CREATE TABLE agents ({column} agent_id {id_type} NOT NULL, birth_time INTEGER,"
        " death_time INTEGER, agent_type VARCHAR(50), position_x FLOAT, initial_resources FLOAT,"
        f" {old_health if era == 3 else 'starting_health FLOAT, action_weights JSON,'}"
        " genome_id VARCHAR(64), PRIMARY KEY (agent_id))",
        f"CREATE TABLE agent_states (id {state_type} NOT NULL, {column} step_number INTEGER,"
        f" agent_id {id_type}, position_x FLOAT, current_health FLOAT,"
        f" {old_health if era == 3 else ''}"
        f" {'starvation_counter INTEGER,' if era >= 6 else ''} is_defending BOOLEAN,"
        " PRIMARY KEY (id))",
        f"CREATE TABLE resource_states (id INTEGER NOT NULL, {column} step_number INTEGER,"
        f" resource_id {'VARCHAR(64)' if era >= 7 else 'INTEGER'}, amount FLOAT, PRIMARY KEY (id))",
        f"CREATE TABLE simulation_steps (step_number INTEGER NOT NULL, {column} {counters},"
        f" PRIMARY KEY ({key}))",
        f"CREATE TABLE health_incidents (incident_id INTEGER NOT NULL, {column} step_number INTEGER"
        f" NOT NULL, agent_id {id_type} NOT NULL, health_before FLOAT, cause VARCHAR(50) NOT NULL,"
        " PRIMARY KEY (incident_id))",
        _CONFIG.format(simulation=column),
    ]
    if era == 3:
        statements.append(
            "CREATE TABLE simulations (simulation_id INTEGER NOT NULL, start_time DATETIME,"
            " end_time DATETIME, status VARCHAR(50), parameters JSON NOT NULL, results_summary"
            " JSON, simulation_db_path VARCHAR(255) NOT NULL, PRIMARY KEY (simulation_id))"
        )
    if has_simulation:
        statements.append(_SIMULATIONS)
    if era <= 6:
        statements += [
            _ACTIONS_ORM.format(simulation=column, id=id_type, state=state_type),
            f"CREATE TABLE learning_experiences (experience_id INTEGER NOT NULL, {column}"
            f" step_number INTEGER, agent_id {id_type}, module_type VARCHAR(50), reward FLOAT,"
            " PRIMARY KEY (experience_id), FOREIGN KEY(agent_id) REFERENCES agents (agent_id))",
            "CREATE INDEX idx_learning_agent ON learning_experiences (agent_id)",
        ]
    else:
        statements.append(
            f"CREATE TABLE agent_actions (action_id INTEGER NOT NULL, {column} step_number INTEGER"
            " NOT NULL, agent_id VARCHAR(64) NOT NULL, action_type VARCHAR(20) NOT NULL,"
            " action_target_id VARCHAR(64), reward FLOAT, module_type VARCHAR(50),"
            " PRIMARY KEY (action_id))"
        )
    if era == 6:
        statements.append(
            f"CREATE TABLE interactions (interaction_id INTEGER NOT NULL, {column} step_number"
            " INTEGER NOT NULL, source_type VARCHAR(32) NOT NULL, source_id VARCHAR(64) NOT NULL,"
            " PRIMARY KEY (interaction_id))"
        )
    if 4 <= era <= 7:
        statements.append(
            f"CREATE TABLE reproduction_events (event_id INTEGER NOT NULL, {column} step_number"
            f" INTEGER NOT NULL, parent_id {id_type} NOT NULL, success BOOLEAN NOT NULL,"
            " PRIMARY KEY (event_id))"
        )
    return statements + _orm_rows(era, simulation, ids)


def _orm_rows(era: int, simulation: str, ids: tuple[str, str]) -> list[str]:
    own = f"'{simulation}', " if era >= 5 else ""
    first, second = ids
    states = [
        (0, first, 0.5),
        (0, second, 1.5),
        (1, first, 2.5),
        (1, second, 3.5),
        (2, second, 4.5),
    ]

    def state_id(number: int, step: int, agent: str) -> str:
        if era == 3:
            return str(number)
        prefix = f"{simulation}:" if era >= 6 else ""
        return f"'{prefix}{agent.strip(chr(39))}-{step}'"

    columns = "simulation_id, " if own else ""
    counts = (
        "agent_type_counts" if era == 8 else "system_agents, independent_agents, control_agents"
    )
    values = "'{\"system\": 2}'" if era == 8 else "1, 1, 0"
    rows = [
        f"INSERT INTO agents ({columns} agent_id, birth_time, death_time, agent_type)"
        f" VALUES ({own}{first}, 0, 2, 'S'), ({own}{second}, 0, NULL, 'S')",
        f"INSERT INTO simulation_steps ({columns} step_number, total_agents, {counts}) VALUES"
        f" ({own}0, 2, {values}), ({own}1, 2, {values}), ({own}2, 1, {values})",
        f"INSERT INTO resource_states ({columns} id, step_number, resource_id, amount)"
        f" VALUES ({own}1, 0, 0, 7.5), ({own}2, 0, 0, 7.5), ({own}3, 1, 0, 6.5)",
        # Deaths were logged without their simulation from era 5 on.
        "INSERT INTO health_incidents (incident_id, step_number, agent_id, health_before, cause)"
        f" VALUES (1, 2, {first}, 0, 'unknown')",
        f"INSERT INTO simulation_config ({columns} config_id, timestamp, config_data)"
        f" VALUES ({own}1, 1732000000, '{{\"width\": 100}}')",
        f"INSERT INTO agent_actions ({columns} action_id, step_number, agent_id, action_type,"
        f" action_target_id) VALUES ({own}1, 0, {first}, 'attack', {second}),"
        f" ({own}2, 1, {second}, 'move', NULL)",
    ]
    rows += [
        f"INSERT INTO agent_states ({columns} id, step_number, agent_id, position_x)"
        f" VALUES ({own}{state_id(number, step, agent)}, {step}, {agent}, {x})"
        for number, (step, agent, x) in enumerate(states, start=1)
    ]
    if era <= 6:
        before = state_id(1, 0, first)
        rows += [
            f"UPDATE agent_actions SET state_before_id = {before} WHERE action_id = 1",
            f"INSERT INTO learning_experiences ({columns} experience_id, step_number, agent_id,"
            f" reward) VALUES ({own}1, 0, {first}, 0.1)",
        ]
    if 4 <= era <= 7:
        rows.append(
            f"INSERT INTO reproduction_events ({columns} event_id, step_number, parent_id, success)"
            f" VALUES ({own}1, 1, {first}, 0)"
        )
    if era == 6:
        rows.append(
            "INSERT INTO interactions (interaction_id, simulation_id, step_number, source_type,"
            f" source_id) VALUES (1, {own}0, 'agent', {first})"
        )
    if own:
        rows.append(
            "INSERT INTO simulations (simulation_id, status, end_time, parameters,"
            f" simulation_db_path) VALUES ({own}'completed', '2025-01-01 12:30:00.000000',"
            " '{\"seed\": 1}', '/elsewhere/simulation.db')"
        )
    return rows


def write_era(path: Path, era: int, simulation_id: str = "sim_one") -> Path:
    """Write a file of an era, 1 to 8; only eras 5 and later know a simulation_id."""
    statements = {1: _era1, 2: _era2}.get(era, lambda name: _orm(era, name))(simulation_id)
    return write(path, *statements)


def write(path: Path, *statements: str, encoding: str = "UTF-8") -> Path:
    """Make a database of statements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    return path


def write_rows(path: Path, create: str, *rows: str, table: str = "t") -> Path:
    """Make a database of one table, with rows as SQL writes them."""
    values = ", ".join(f"({row})" for row in rows)
    return write(path, create, *([f"INSERT INTO {table} VALUES {values}"] if rows else []))


def write_nameless(path: Path, value: object) -> Path:
    """Make a run of no known schema that does not name itself, with one value in it."""
    return write_rows(path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)", f"1, {value!r}")

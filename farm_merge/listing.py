"""What is in an experiment database, at a glance."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from farm_merge.driver import file_uri, sqlite3
from farm_merge.errors import ShardError
from farm_merge.schema import is_current

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["list_simulations"]

_SIMULATIONS = """
SELECT simulation_id, experiment_id, status, parameters,
       (SELECT count(*) FROM simulation_steps AS t WHERE t.simulation_id = s.simulation_id),
       (SELECT count(*) FROM agents AS a WHERE a.simulation_id = s.simulation_id)
FROM simulations AS s
ORDER BY simulation_id
"""


def list_simulations(database: str | PathLike[str]) -> list[dict[str, Any]]:
    """Return the simulations of a shard or experiment database, in the order of their ids.

    Returns:
        One dictionary a simulation: `simulation_id`, `experiment_id`, `status`, `parameters` (a
        dictionary), `steps` (steps that were logged) and `agents` (agents that ever lived).

    Raises:
        ShardError: If the file is not a database of today's schema.
    """
    columns = ("simulation_id", "experiment_id", "status", "parameters", "steps", "agents")
    try:
        with closing(sqlite3.connect(file_uri(database, mode="ro"), uri=True)) as connection:
            if not is_current(connection):
                raise ShardError(f"{database}: not a database of today's schema; merge it first")
            rows = connection.execute(_SIMULATIONS).fetchall()
    except sqlite3.DatabaseError as exc:
        raise ShardError(f"{database}: SQLite cannot read it ({exc})") from exc
    simulations = [dict(zip(columns, row, strict=True)) for row in rows]
    for simulation in simulations:
        simulation["parameters"] = json.loads(simulation["parameters"] or "{}")
    return simulations

"""What came out of a sweep, by parameter set."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from farm_merge.sqlite import column_types, connect, file_uri

if TYPE_CHECKING:
    from os import PathLike

    from farm_merge.sweep.design import Sweep

__all__ = ["summarize"]

_RESULTS = """
WITH run AS (
    SELECT value ->> '$[0]' AS point, value ->> '$[1]' AS simulation_id FROM json_each(:runs)
)
SELECT point, count(*) AS runs{means}
FROM run JOIN simulations USING (simulation_id)
WHERE status = 'completed'
GROUP BY point
ORDER BY point
"""

_MEANS = {
    ("simulation_steps", "total_agents"): """,
    avg((
        SELECT total_agents FROM simulation_steps AS step
        WHERE step.simulation_id = run.simulation_id ORDER BY step_number DESC LIMIT 1
    )) AS final_population""",
    ("agent_actions", "reward"): """,
    avg((
        SELECT avg(reward) FROM agent_actions AS action
        WHERE action.simulation_id = run.simulation_id
    )) AS mean_reward""",
}
"""What is summed up, by the column that it is made of: another model may not have that."""


def summarize(output: str | PathLike[str], sweep: Sweep) -> list[dict[str, Any]]:
    """Return what came out of a sweep, by parameter set.

    Args:
        output: The experiment database.
        sweep: The design.

    Returns:
        A dict for every parameter set that has runs which completed, with its parameters, the
        number of `runs`, and, where the model logs them, the means over runs of the population
        after the last step (`final_population`) and of the mean reward of an action
        (`mean_reward`).
    """
    import sqlite_utils

    points = sweep.points()
    runs = [
        (number // sweep.repetitions, run.simulation_id) for number, run in enumerate(sweep.runs())
    ]
    with closing(connect(file_uri(output, mode="ro"), read_only=True)) as connection:
        database = sqlite_utils.Database(connection, execute_plugins=False)
        means = "".join(
            mean
            for (table, column), mean in _MEANS.items()
            if column in column_types(connection, table)
        )
        rows = list(database.query(_RESULTS.format(means=means), {"runs": json.dumps(runs)}))
    return [points[row.pop("point")] | row for row in rows]

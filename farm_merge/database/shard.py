"""A shard: a file of one simulation's own, written at full speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.database.opening import close_database, open_database, open_session
from farm_merge.database.writer import SimulationWriter, settings_of
from farm_merge.sqlite import file_uri, storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from farm_merge.config import DatabaseConfig, SimulationConfig

__all__ = ["SimulationDatabase"]


class SimulationDatabase(SimulationWriter):
    """A shard: a file of one simulation's own, written at full speed.

    Closed, it is one file in journal mode DELETE, with nothing beside it.

    Args:
        db_path: The file; its folder is made. An existing one must be of today's schema.
        config: The simulation's configuration.
        simulation_id: Unique in an experiment; the file's stem by default.
        settings: How the file is written; by default as in the configuration.
        experiment_id: The experiment it belongs to.
        parameters: What is stored with the simulation; the configuration by default.
        seed: What its randomness starts from; that of the configuration or parameters by default.
        resume: Go on with a simulation that is there.

    Raises:
        SimulationExistsError: If the simulation is there and `resume` is not set.
        OutputError: If the file is something else, or cannot be written.
    """

    def __init__(
        self,
        db_path: str | PathLike[str],
        config: SimulationConfig | None = None,
        simulation_id: str | None = None,
        *,
        settings: DatabaseConfig | None = None,
        experiment_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        resume: bool = False,
    ) -> None:
        self.db_path = path = Path(db_path)
        chosen = settings_of(config, settings)
        connection = open_database(path, chosen)
        try:
            super().__init__(
                connection,
                lambda: open_session(file_uri(path)),
                config,
                simulation_id or storable(path.stem),
                path=storable(path.absolute()),
                settings=chosen,
                experiment_id=experiment_id,
                parameters=parameters,
                seed=seed,
                resume=resume,
            )
        except BaseException:
            close_database(connection)
            raise

    def _release(self) -> None:
        close_database(self._connection)

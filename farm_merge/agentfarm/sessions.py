"""What AgentFarm does with its databases through SQLAlchemy: transactions, queries, exports."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from farm_merge.database.opening import open_session
from farm_merge.errors import require_choice
from farm_merge.publish import replacing
from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import file_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    import pandas as pd
    from sqlalchemy.orm import Session

__all__ = ["SessionManager", "Sessions"]

_Result = TypeVar("_Result")

_EXPORTED = {
    "metrics": "simulation_steps",
    "agents": "agent_states",
    "resources": "resource_states",
    "actions": "agent_actions",
}
_FORMATS = ("csv", "excel", "json", "parquet")


class SessionManager:
    """Gives sessions on a database to AgentFarm's repositories.

    They know one simulation a file: what they read of a database with several is mixed. So one can
    be chosen, and is then all there is to see; nothing can be written.

    Args:
        path: The database, also as `sqlite:///PATH`; of a folder, `simulation.db` in it.
        simulation_id: The simulation to show; all by default.
        open_session: Makes sessions, instead of both.
    """

    def __init__(
        self,
        path: str | PathLike[str] = "simulations",
        simulation_id: str | None = None,
        *,
        open_session: Callable[[], Session] | None = None,
    ) -> None:
        self.create_session = self.get_session = open_session or _on(path, simulation_id)

    @contextmanager
    def session_scope(self) -> Iterator[Session]:
        """Yield a session, and commit what the block does, or nothing of it."""
        with self.create_session() as session:
            yield session
            session.commit()

    def execute_with_retry(
        self,
        operation: Callable[[Session], _Result],
        max_retries: int = 3,  # noqa: ARG002  (AgentFarm's)
    ) -> _Result:
        """Return what a function makes of a session; SQLite waits for locks by itself."""
        with self.session_scope() as session:
            return operation(session)

    def close_session(self, session: Session) -> None:
        """Close a session."""
        session.close()

    def close(self) -> None:
        """Do nothing: no session is kept."""

    remove_session = cleanup = close


def _on(path: str | PathLike[str], simulation_id: str | None) -> Callable[[], Session]:
    file = Path(os.fspath(path).removeprefix("sqlite:///"))
    if file.is_dir():
        file /= "simulation.db"
    if simulation_id is None:
        return lambda: open_session(file_uri(file))
    # Temporary views hide the tables of the same names.
    wanted = "'{}'".format(simulation_id.replace("'", "''"))
    views = [
        f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE simulation_id = {wanted}"
        for table in (*DATA_TABLES, "simulations")
    ]
    return lambda: open_session(file_uri(file, mode="ro"), views)


class Sessions:
    """What AgentFarm's databases do through sessions."""

    def Session(self) -> Session:  # noqa: N802  (the name that users know)
        """Open a session that sees everything logged so far."""
        raise NotImplementedError

    @cached_property
    def session_manager(self) -> SessionManager:
        """What gives sessions to repositories."""
        return SessionManager(open_session=self.Session)

    @property
    def engine(self) -> Any:
        """The engine of a session."""
        with self.Session() as session:
            return session.get_bind()

    def _execute_in_transaction(self, func: Callable[[Any], _Result]) -> _Result:
        return self.session_manager.execute_with_retry(func)

    @cached_property
    def query(self) -> Any:
        """AgentFarm's own retriever on this database, where AgentFarm is installed."""
        try:
            retrieval = import_module("farm.database.data_retrieval")
        except ImportError as exc:
            raise AttributeError("`query` is AgentFarm's own: it needs the package `farm`") from exc
        return retrieval.DataRetriever(self.session_manager)

    def get_agent_repository(self) -> Any:
        """Return AgentFarm's own repository of agents."""
        return self.query.agent_repository

    def get_action_repository(self) -> Any:
        """Return AgentFarm's own repository of actions."""
        return self.query.action_repository

    def get_resource_repository(self) -> Any:
        """Return AgentFarm's own repository of resources."""
        return self.query.resource_repository

    def export_data(
        self,
        filepath: str | PathLike[str],
        format: str = "csv",  # noqa: A002  (AgentFarm's name)
        data_types: Iterable[str] | None = None,
        start_step: int | None = None,
        end_step: int | None = None,
        include_metadata: bool = True,
    ) -> None:
        """Write a run's tables to files; `farm_merge.export_tables` takes many runs.

        Args:
            filepath: The file; "csv" and "parquet" make one of every table, named after it.
            format: "csv", "excel", "json" or "parquet".
            data_types: Some of "metrics", "agents", "resources" and "actions"; all by default.
            start_step: The first step.
            end_step: The last step.
            include_metadata: Add what was exported, and when; not to a workbook.

        Raises:
            InvalidOptionError: If a format or a kind of data is unknown.
            OutputError: If a file cannot be written, or would take the place of something else
                than an older one.
        """
        require_choice("format", format, _FORMATS)
        frames = {}
        for kind in _EXPORTED if data_types is None else data_types:
            require_choice("data_types", kind, tuple(_EXPORTED))
            frames[kind] = self._frame(_EXPORTED[kind], start_step, end_step)
        about = {
            "export_timestamp": datetime.now(UTC).isoformat(),
            "data_range": {"start_step": start_step, "end_step": end_step},
            "exported_types": list(frames),
        }
        _write(Path(filepath), format, frames, about if include_metadata else None)

    def _frame(self, table: str, first: int | None, last: int | None) -> pd.DataFrame:
        import pandas as pd
        from sqlalchemy import text

        sql = text(
            f"SELECT * FROM {table} WHERE simulation_id = coalesce(:id, simulation_id)"
            " AND step_number >= coalesce(:first, step_number)"
            " AND step_number <= coalesce(:last, step_number)"
        )
        values = {"id": getattr(self, "simulation_id", None), "first": first, "last": last}
        with self.Session() as session:
            return pd.read_sql(sql, session.connection(), params=values)


def _write(
    path: Path,
    file_format: str,
    frames: Mapping[str, pd.DataFrame],
    about: Mapping[str, Any] | None,
) -> None:
    import pandas as pd

    if file_format == "json":
        data: dict[str, Any] = {
            kind: json.loads(frame.to_json(orient="records")) for kind, frame in frames.items()
        }
        _write_json(path, data | ({"metadata": about} if about else {}))
    elif file_format == "excel":
        with (
            replacing(path) as partial,
            partial.open("wb") as file,
            pd.ExcelWriter(file) as writer,
        ):
            for kind, frame in frames.items():
                frame.to_excel(writer, sheet_name=kind, index=False)
    else:
        for kind, frame in frames.items():
            target = path.with_name(f"{path.stem}_{kind}.{file_format}")
            if file_format == "csv":
                with replacing(target) as partial:
                    frame.to_csv(partial, index=False)
            else:
                with replacing(target, alike=len(b"PAR1")) as partial:
                    frame.to_parquet(partial)
        if about:
            _write_json(path.with_name(f"{path.stem}_metadata.json"), about)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with replacing(path, alike=len(b'{\n  "')) as partial:  # the first name may be another
        partial.write_text(json.dumps(value, indent=2))

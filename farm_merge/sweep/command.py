"""Command: a program of any kind simulates a run, and leaves a SQLite file or CSV files."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from farm_merge.csv_tables import database_of_csv
from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest
from farm_merge.schema import now
from farm_merge.sweep.adopt import adopt, files_of
from farm_merge.sweep.load import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.sweep.names import Value
    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Jobs

__all__ = ["CommandFailedError", "CommandSimulator", "end_programs"]

_OURS = ("shard", "folder", "seed", "repetition", "simulation_id")
_running: dict[subprocess.Popen[bytes], Path] = {}
"""Programs that this process runs, each the leader of a group, and where their shards belong."""

_TAIL = 4000  # of what a program printed, so many bytes explain why it failed


class CommandFailedError(FarmMergeError):
    """A program did not end well, or left nothing."""


@dataclass(frozen=True, slots=True)
class CommandSimulator:
    """A command line, run without a shell in the folder of the sweep file.

    Attributes:
        label: The command, with `{parameter}`, `{seed}`, `{repetition}`, `{simulation_id}`, and
            `{shard}` for the SQLite file that it leaves or `{folder}` for that of its CSV files.
        folder: Where it runs.
    """

    label: str
    folder: str

    @property
    def kind(self) -> str:
        """The key of the sweep file that names it."""
        return "command"

    def prepare(self) -> None:
        """Find the program.

        Raises:
            FarmMergeError: If it is not there, or the command says not where results go.
        """
        words = self._words()
        program = words[0]
        if not (shutil.which(program) or shutil.which(Path(self.folder) / program)):
            raise FarmMergeError(f"command: there is no program {program!r}")
        if not {"shard", "folder"} & self._names():
            raise FarmMergeError(
                "command: it has neither {shard} nor {folder}, so it cannot leave its results"
            )

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse a command with a name in braces that there is no parameter of.

        Raises:
            FarmMergeError: With the name.
        """
        self.prepare()
        known = (*parameters, *_OURS)
        for name in sorted(self._names() - set(known)):
            reason = f"command: {{{name}}} is no parameter"
            raise FarmMergeError(with_nearest(reason, name, known))

    def source(self) -> str:
        """Return a digest of the files that the command names."""
        paths = [Path(self.folder) / word for word in self._words()]
        return digest_of(path for path in paths if path.is_file())

    def simulate(self, run: Run, path: Path, jobs: Jobs) -> None:
        """Run the program, and make a shard of what it left.

        Raises:
            CommandFailedError: If it ends with another exit code than 0, or leaves nothing.
            TimeoutError: If it takes too long.
        """
        started, files = now(), files_of(path)
        files.mkdir()
        shard = files / ".shard.db"  # hidden, so that no search of the folder takes it for a run
        values = {
            **run.parameters,
            "seed": run.seed,
            "repetition": run.repetition,
            "simulation_id": run.simulation_id,
            "shard": str(shard),
            "folder": str(files),
        }
        words = [_filled(word, values) for word in self._words()]
        log = files.with_name(f"{files.name}.output")
        _call(words, self.folder, log, jobs.timeout)
        if not shard.exists():
            _gather(files, shard)
        adopt(shard, path, run, jobs.experiment_id, started)
        shutil.rmtree(files)

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self.label)
        except ValueError as exc:
            raise FarmMergeError(f"command: cannot be taken apart ({exc})") from exc
        if not words:
            raise FarmMergeError("command: is empty")
        return words

    def _names(self) -> set[str]:
        try:
            parts = [part for word in self._words() for part in Formatter().parse(word)]
        except ValueError as exc:
            raise FarmMergeError(f"command: {exc}; a brace is written twice: {{{{") from exc
        return {name for _, name, _, _ in parts if name is not None}


def _filled(word: str, values: Mapping[str, Value]) -> str:
    """Return a word with values in the place of names, and nothing else of them: no attributes."""
    return "".join(
        text + ("" if name is None else _text(values[name]))
        for text, name, _, _ in Formatter().parse(word)
    )


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def end_programs(folder: Path) -> None:
    """End the programs that this process runs for a sweep, and what they have started.

    Args:
        folder: That of the shards of the sweep.
    """
    for process, place in list(_running.items()):
        if place == folder:
            _end(process)


def _end(leader: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)


def _call(words: list[str], folder: str, log: Path, timeout: float | None) -> None:
    # A process of a sweep leads a group, with which all that it started ends, in time too.
    leads = not _leads_a_group()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  (the user's own program, without a shell)
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0 if leads else None,
        )
        if leads:
            _running[process] = log.parent
        try:
            code = process.wait(timeout if leads else None)
        except BaseException as exc:
            if leads:
                _end(process)
                process.wait()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise TimeoutError(f"took longer than {timeout:g} s") from None
            raise
        finally:
            _running.pop(process, None)
    if code:
        raise CommandFailedError(f"{_how_ended(code)}: {shlex.join(words)}\n{_tail(log)}".rstrip())
    log.unlink()


def _leads_a_group() -> bool:
    return parent_process() is not None and os.getpgrp() == os.getpid()


def _how_ended(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tail(log: Path) -> str:
    with log.open("rb") as output:
        output.seek(max(0, log.stat().st_size - _TAIL))
        return output.read().decode(errors="replace")


def _gather(files: Path, shard: Path) -> None:
    """Make a SQLite file of the CSV files that a program left."""
    tables = sorted(files.glob("*.csv"))
    if not tables:
        raise CommandFailedError("the program left neither {shard} nor CSV files in {folder}")
    database_of_csv(tables, shard)

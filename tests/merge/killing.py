"""Merges that are killed, each at another step of its work on the output.

This runs in a process of its own, which has one thread, and forks one for every merge: so a merge
costs what it does, and not the start of Python. A step is what reaches the output: a statement of
SQL, a page that is written, a file that is opened, linked or removed beside it, and what is
reported while it is written.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from farm_merge.merge import Progress

ROOT = Path(__file__).parents[2]


def kill_at_steps(
    folder: Path, inputs: Iterable[Path], before: Path | None, points: int, **options: Any
) -> list[Path]:
    """Kill merges at so many steps, spread over all there are, the first and the last among them.

    Args:
        folder: Where every merge gets a folder for its output.
        inputs: What is merged.
        before: What the output is a copy of; None for a new one.
        points: How many merges are killed.
        options: Those of the merges.

    Returns:
        The outputs that the killed merges left, or did not.
    """
    task = [str(folder), [str(path) for path in inputs], before and str(before), points, options]
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(task)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


class _Steps:
    """Counts the steps of this process, and ends it at one of them."""

    def __init__(self, folder: Path, at: int) -> None:
        self.taken = 0
        self._folder = str(folder)
        self._at = at

    def take(self, *_: object) -> None:
        self.taken += 1
        if self.taken == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def take_part(self, progress: Progress) -> None:
        if progress.phase in {"copy", "verify"}:
            self.take()

    def watch(self) -> None:
        """Count what reaches the folder from now on."""
        connect, pwrite = sqlite3.connect, os.pwrite

        def watched(database: str, **arguments: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(database, **arguments)
            if self._folder in database:
                connection.set_trace_callback(self.take)
            return connection

        def counted(descriptor: int, data: bytes, offset: int) -> int:
            self.take()
            return pwrite(descriptor, data, offset)

        sqlite3.connect, os.pwrite = watched, counted
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        is_about_files = event == "open" or event.startswith("os.")
        if is_about_files and arguments and str(arguments[0]).startswith(self._folder):
            self.take()


def _main(
    folder: str, inputs: Sequence[str], before: str | None, points: int, options: Any
) -> None:
    total = _merge(Path(folder, "whole"), inputs, before, 0, options)
    assert total is not None
    assert total >= points
    for number in range(points):
        step = 1 + (total - 1) * number // (points - 1)
        died = _merge(Path(folder, f"step-{step}"), inputs, before, step, options) is None
        assert died, f"step {step} of {total} was not reached"
        sys.stdout.write(f"{Path(folder, f'step-{step}', 'exp.db')}\n")


def _merge(
    folder: Path, inputs: Sequence[str], before: str | None, at: int, options: Any
) -> int | None:
    """Merge in a process of its own; return how many steps that took, None if it was killed."""
    folder.mkdir(parents=True)
    output = folder / "exp.db"
    if before:
        shutil.copy(before, output)
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        steps = _Steps(folder, at)
        steps.watch()
        merge_shards(inputs, output, jobs=1, progress=steps.take_part, **options)
        os.write(theirs, str(steps.taken).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    return int(text)


if __name__ == "__main__":
    _main(*json.loads(sys.argv[1]))

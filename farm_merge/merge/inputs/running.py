"""Running: is there evidence that a run still writes its file?

The word `running` is none: AgentFarm wrote it into finished runs for years, and a run that was
killed keeps it for ever. Evidence is a lock that another process holds, a process of this machine
that has the file open to write it (a connection that is idle in rollback mode holds no lock), or
the word together with a write within the last minute.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Input, SimulationInFile

__all__ = ["OpenFiles", "with_evidence"]


class OpenFiles:
    """The files that other processes of this machine have open, looked up when first asked for."""

    def writer(self, file: InputFile) -> str:
        """Return which process has a file open to write it; empty if none is known to."""
        found = (file.identity.device, file.identity.inode)
        descriptors = self._descriptors().get(found, ())
        # The number may stand for another file by now, which that process writes.
        return next(
            (_process(it) for it in descriptors if _is_writable(it) and _identity(it) == found), ""
        )

    @cache  # noqa: B019  (it lives as long as a merge)
    def _descriptors(self) -> dict[tuple[int, int], list[Path]]:
        """Return the descriptors of files, in `/proc/PID/fd`, by device and inode."""
        descriptors: dict[tuple[int, int], list[Path]] = {}
        for path in _foreign_descriptors():
            if found := _identity(path):
                descriptors.setdefault(found, []).append(path)
        return descriptors


def _foreign_descriptors() -> Iterator[Path]:
    own = str(os.getpid())
    proc = Path("/proc")
    processes = proc.iterdir() if (proc / "self" / "fdinfo").is_dir() else iter(())
    for process in processes:
        if process.name.isdigit() and process.name != own:
            try:
                yield from (process / "fd").iterdir()
            except OSError:
                continue


def _identity(descriptor: Path) -> tuple[int, int] | None:
    """Return the device and inode of a descriptor's file; None if it was closed, or is hidden."""
    try:
        found = descriptor.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_writable(descriptor: Path) -> bool:
    info = descriptor.parents[1] / "fdinfo" / descriptor.name
    try:
        lines = info.read_text().splitlines()
        flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    except (OSError, StopIteration):
        return False
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _process(descriptor: Path) -> str:
    process = descriptor.parents[1]
    try:
        name = (process / "comm").read_text().strip()
    except OSError:
        name = "unknown"
    return f"process {process.name} ({name})"


def with_evidence(source: Input, open_files: OpenFiles, settle: float) -> Input:
    """Return an input with the evidence that its simulations still run.

    Args:
        source: The input.
        open_files: What other processes have open.
        settle: After how many seconds without a write the status `running` does not count any more.
    """
    if source.file.snapshot is not None or all(run.has_ended for run in source.simulations):
        return source
    writer = open_files.writer(source.file)
    quiet = time.time() - _last_write(source.file)

    def evidence(simulation: SimulationInFile) -> str:
        if simulation.has_ended:
            return ""
        if writer:
            return f"{writer} has it open"
        if simulation.status == "running" and quiet < settle:
            return f"its status is running, and it wrote {max(quiet, 0):.0f} s ago"
        return ""

    return replace(
        source,
        simulations=tuple(
            simulation._replace(evidence=evidence(simulation)) for simulation in source.simulations
        ),
    )


def _last_write(file: InputFile) -> float:
    identities = (file.identity, *(identity for _, identity in file.companions))
    return max(identity.mtime_ns for identity in identities) / 1e9

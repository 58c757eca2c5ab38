"""What is on the disk after the power went: what was synced, and any of what was not.

The shim writes down what a command does to files. Up to any of these operations, names are those of
a time between the last sync of a folder and then, as a journaling file system keeps them; of what was
written to a file since its last sync, nothing is there, all, or any part.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_ENTRY = struct.Struct("=6q")


class Operation(NamedTuple):
    """Something that was done.

    Attributes:
        kind: `w`rite, `t`runcate, `s`ync, `c`reate, `l`ink, `r`ename, `m`kdir or `u`nlink.
        inode: The file.
        at: Where in it, or how long it is then.
        path: Its name.
        other: Its new name.
        data: What is written.
    """

    kind: str
    inode: int
    at: int
    path: str
    other: str
    data: bytes


def read_log(log: Path) -> list[Operation]:
    """Return what was written down."""
    data, at, found = log.read_bytes(), 0, []
    while at < len(data):
        kind, inode, offset, size, path, other = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        texts = []
        for length in (path, other):
            texts.append(data[at : at + length].decode())
            at += length
        found.append(Operation(chr(kind), inode, offset, *texts, data[at : at + size]))
        at += size
    return found


class Disk:
    """A folder before a command, and what the command did to it.

    Args:
        folder: The folder, as it was before.
        operations: What was done.

    Attributes:
        operations: What was done.
    """

    def __init__(self, folder: Path, operations: list[Operation]) -> None:
        self._root = f"{folder}/"
        self._names = {str(path): path.stat().st_ino for path in folder.rglob("*")}
        self._folders = {str(path) for path in folder.rglob("*") if path.is_dir()}
        self._bytes = {path.stat().st_ino: path.read_bytes()
                       for path in folder.rglob("*") if path.is_file()}  # fmt: skip
        self._inode = folder.stat().st_ino
        self.operations = operations

    def write(self, folder: Path, end: int, *, early: bool, keeps: Callable[[], bool]) -> None:
        """Write a folder as the disk may be when the power goes.

        Args:
            folder: A new folder.
            end: How many operations were done.
            early: Whether no name is kept that was not synced.
            keeps: Whether a write is kept that was not synced, one after the other.
        """
        done = self.operations[:end]
        synced = {it.inode: number for number, it in enumerate(done) if it.kind == "s"}
        names, folders, of_folders = dict(self._names), set(self._folders), {self._inode}
        last = max((number for inode, number in synced.items()
                    if inode in of_folders | self._made_folders(done)), default=-1)  # fmt: skip
        for it in done[: last + 1] if early else done:
            self._name(it, names, folders)
        contents = {inode: bytearray(data) for inode, data in self._bytes.items()}
        for number, it in enumerate(done):
            if it.kind in "wt" and (number < synced.get(it.inode, -1) or keeps()):
                self._fill(contents.setdefault(it.inode, bytearray()), it)
        for name in sorted(folders):
            Path(folder, name.removeprefix(self._root)).mkdir(parents=True, exist_ok=True)
        for name, inode in names.items():
            if name not in folders and not name.endswith("-shm"):  # it is memory
                path = Path(folder, name.removeprefix(self._root))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(contents.get(inode, b""))

    def _made_folders(self, done: list[Operation]) -> set[int]:
        return {it.inode for it in done if it.kind == "m"} | {
            inode for name, inode in self._names.items() if name in self._folders
        }

    def _name(self, it: Operation, names: dict[str, int], folders: set[str]) -> None:
        if it.kind == "c":
            names.setdefault(it.path, it.inode)
        elif it.kind == "m":
            folders.add(it.path)
        elif it.kind == "u":
            names.pop(it.path, None)
            folders.discard(it.path)
        elif it.kind == "l":
            names[it.other] = names.get(it.path, it.inode)
        elif it.kind == "r":
            for found in [
                name for name in names if name == it.path or name.startswith(f"{it.path}/")
            ]:
                names[it.other + found.removeprefix(it.path)] = names.pop(found)
            for found in [
                name for name in folders if name == it.path or name.startswith(f"{it.path}/")
            ]:
                folders.remove(found)
                folders.add(it.other + found.removeprefix(it.path))

    @staticmethod
    def _fill(content: bytearray, it: Operation) -> None:
        if it.kind == "t":
            del content[it.at :]
            content.extend(bytes(it.at - len(content)))
            return
        content.extend(bytes(max(0, it.at - len(content))))
        content[it.at : it.at + len(it.data)] = it.data


def variants(randomly: random.Random) -> list[tuple[bool, Callable[[], bool]]]:
    """Return the ways in which a disk may be: whether names are early, and which writes are kept."""
    nothing, everything = (lambda: False), (lambda: True)
    some = lambda: randomly.random() < 0.5  # noqa: E731
    return [(False, nothing), (False, some), (True, nothing), (True, everything), (True, some)]

"""Sidecar: the parameters of a run, as simulators leave them in a file beside its database."""

from __future__ import annotations

import codecs
import json
import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from farm_merge.errors import InvalidOptionError
from farm_merge.merge.inputs.find import is_database
from farm_merge.merge.inputs.formats import without_known_ending

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Sidecar", "Sidecars", "json_object", "valid_json"]

_ENDINGS = (".json", ".yaml", ".yml", ".toml")
_FOLDER_STEMS = ("config", "params", "parameters")
"""What a file with parameters is called that is about all of its folder; AgentFarm writes
`config.json`."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_MOST_BYTES, _MOST_VALUES = 4 << 20, 1_000_000
"""So much is read of a file with parameters, which may be from anywhere."""


class Sidecar:
    """What lies beside a run.

    Attributes:
        parameters: The parameters; None where there are none, or they cannot be read.
        notes: Why they cannot be read, or are nobody's.
    """

    def __init__(self, parameters: dict[str, Any] | None = None, *notes: str) -> None:
        self.parameters = parameters
        self.notes = notes


class Sidecars:
    """Reads the parameters beside runs; the names in a folder are asked for once.

    Args:
        more: Names of other files with parameters, with `{stem}`.
        joins: Whether all databases in a folder may belong to one run.

    Raises:
        InvalidOptionError: If a name is a path, knows other fields than `{stem}`, or has an ending
            that is not read.
    """

    def __init__(self, more: Sequence[str], *, joins: bool) -> None:
        _require_names(more)
        self._more = more
        self._joins = joins
        self._folders: dict[Path, frozenset[str]] = {}
        self._shared: dict[Path, bool] = {}

    def read(self, database: Path) -> Sidecar:
        """Read the parameters beside a run."""
        names = self._names(database.parent)
        stem = without_known_ending(database.name)
        own = (name.format(stem=stem) for name in self._more)
        for name in (*own, *(f"{stem}{ending}" for ending in _ENDINGS)):
            if name in names and name != database.name:
                return _read(database.with_name(name))
        for name in (f"{stem}{ending}" for stem in _FOLDER_STEMS for ending in _ENDINGS):
            if name in names:
                if self._joins or not self._is_shared(database.parent):
                    return _read(database.with_name(name))
                return Sidecar(None, f"{name} is beside several runs, so it is not read")
        return Sidecar()

    def _names(self, folder: Path) -> frozenset[str]:
        if folder not in self._folders:
            try:
                self._folders[folder] = frozenset(path.name for path in folder.iterdir())
            except OSError:
                self._folders[folder] = frozenset()
        return self._folders[folder]

    def _is_shared(self, folder: Path) -> bool:
        """Return whether there is more than one database in a folder."""
        if folder not in self._shared:
            paths = (folder / name for name in self._names(folder))
            databases = (path for path in paths if is_database(path))
            self._shared[folder] = len(list(islice(databases, 2))) > 1
        return self._shared[folder]


def _require_names(names: Sequence[str]) -> None:
    for name in names:
        try:
            found = name.format(stem="run")
        except (KeyError, IndexError, ValueError, AttributeError) as exc:
            raise InvalidOptionError(f"sidecar {name!r}: may hold {{stem}}") from exc
        if "/" in found or not found.lower().endswith(_ENDINGS):
            raise InvalidOptionError(
                f"sidecar {name!r}: takes the name of a file beside the run, with one of"
                f" {', '.join(_ENDINGS)}"
            )


def _read(path: Path) -> Sidecar:
    try:
        value = valid_json(_parsed(path))
    except ImportError:
        return Sidecar(None, f"{path.name} is not read: the package ruamel.yaml is not installed")
    except RecursionError:
        return Sidecar(None, f"{path.name} cannot be read: it is nested too deeply")
    except Exception as exc:  # noqa: BLE001  (whatever a parser makes of somebody's file)
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        return Sidecar(None, f"{path.name} cannot be read: {reason}")
    if not isinstance(value, dict):
        return Sidecar(None, f"{path.name} holds no names with values, so no parameters")
    return Sidecar(value)


def _parsed(path: Path) -> Any:
    if not path.is_file():
        raise ValueError("it is no regular file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    text = data.decode(encoding)
    if path.suffix.lower() == ".json":
        return json.loads(text)
    if path.suffix.lower() == ".toml":
        import tomllib

        return tomllib.loads(text)
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def json_object(text: object) -> dict[str, Any] | None:
    """Return a JSON object whose numbers JSON knows; None where a text is something else."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
        return valid_json(value) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def valid_json(value: Any) -> Any:
    """Return a value with what JSON does not know as something that it does.

    NaN is null, an infinite number and everything else is its text.

    Raises:
        ValueError: If it holds very many values; aliases make a billion of a few lines of YAML.
        RecursionError: If it is nested too deeply, or holds itself.
    """
    return _valid_json(value, iter(range(_MOST_VALUES)))


def _valid_json(value: Any, left: Iterator[int]) -> Any:
    if next(left, None) is None:
        raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
    if isinstance(value, dict):
        return {str(name): _valid_json(found, left) for name, found in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_valid_json(found, left) for found in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)

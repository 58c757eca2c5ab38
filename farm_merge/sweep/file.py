"""The file of a sweep: read, and refused with the line, the key and the nearest right one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest
from farm_merge.sweep.design import Sweep

if TYPE_CHECKING:
    from os import PathLike

    from pydantic_core import ErrorDetails

__all__ = ["load_sweep"]

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"""\s*(?P<quote>["']?)(?P<key>[\w.-]+)(?P=quote)\s*=""")
_NAME = re.compile(r"[\w.-]+")


def load_sweep(path: str | PathLike[str]) -> Sweep:
    """Read a sweep file.

    Args:
        path: A TOML file; `docs/sweep.md` describes it. What it names is looked for in its folder.

    Raises:
        FarmMergeError: If it cannot be read, or what it asks for cannot be run; with the line and
            the key.
    """
    text = ""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return Sweep.model_validate(tomllib.loads(text), context={"folder": Path(path).parent})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise FarmMergeError(f"cannot be read as a sweep ({exc})", path=path) from exc
    except ValidationError as exc:
        problems = [_problem(error, text) for error in exc.errors(include_url=False)]
        raise FarmMergeError("; ".join(problems), path=path) from exc


def _problem(error: ErrorDetails, text: str) -> str:
    keys = [str(key) for key in error["loc"]]
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = with_nearest("there is no such key", keys[-1], _known(keys))
    line = _line(text, keys or _named(message))
    where = ": ".join(filter(None, [line, ".".join(_readable(keys))]))
    return f"{where}: {message}" if where else message


def _known(keys: list[str]) -> list[str]:
    """Return the keys that there are in the table of one that there is not."""
    model: Any = Sweep
    for key in keys[:-1]:
        if field := model.model_fields.get(key):  # else it is a name of the user's
            model = _model_in(field.annotation)
            if model is None:
                return []
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation such as `dict[str, Range] | None` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _readable(keys: list[str]) -> list[str]:
    """Return the keys that are in the file; pydantic adds the kinds of value that it tried."""
    return [key for key in keys if key not in {"bool", "int", "float", "str"}]


def _named(message: str) -> list[str]:
    """Return the key that a message begins with, if it does."""
    words = _NAME.findall(message)
    return words[:1]


def _line(text: str, keys: list[str]) -> str:
    """Return where the last of some keys is set, in words; empty if that cannot be seen."""
    table, best = "", ""
    wanted = _readable([key for key in keys if not key.isdigit()])
    for number, content in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(content):
            table = header[1]
            if [table] == wanted:
                best = f"line {number}"
        elif key := _KEY.match(content):
            full = f"{table}.{key['key']}" if table else key["key"]
            dotted = ".".join(wanted)
            if full == dotted or (len(wanted) == 1 and key["key"] == dotted):
                return f"line {number}"
            if dotted.startswith(f"{full}."):
                best = f"line {number}"
    return best

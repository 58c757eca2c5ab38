"""Load: what `package.module:name` means, found beside the sweep file or where Python looks."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

__all__ = ["digest_of", "load", "source_of"]


def load(name: str, folder: str) -> Callable[..., Any]:
    """Import a function or a class.

    Args:
        name: "package.module:name".
        folder: Where modules are looked for first.

    Raises:
        FarmMergeError: If it is not there.
    """
    place, _, attribute = name.partition(":")
    _let_find(place.partition(".")[0], folder)
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as exc:
        if exc.name and not f"{place}.".startswith(f"{exc.name}."):
            raise  # something that the model itself imports
        raise _error(name, f"there is no module {exc.name}") from exc
    except ValueError as exc:
        raise _error(name, "it is written as package.module:function") from exc
    return _callable(name, module, attribute)


def _let_find(module: str, folder: str) -> None:
    """Let Python look into a folder first if it has the module; its others hide Python's, too."""
    has_it = any((Path(folder) / name).exists() for name in (module, f"{module}.py"))
    if has_it and folder not in sys.path:
        sys.path.insert(0, folder)


def _callable(name: str, module: ModuleType, attribute: str) -> Callable[..., Any]:
    found = getattr(module, attribute, None)
    if callable(found):
        loaded: Callable[..., Any] = found
        return loaded
    callables = (it for it, value in vars(module).items() if callable(value))
    reason = f"{module.__name__} has no {attribute!r}"
    raise _error(name, with_nearest(reason, attribute, callables))


def _error(name: str, reason: str) -> FarmMergeError:
    return FarmMergeError(f"simulation {name!r}: {reason}")


def source_of(loaded: Callable[..., Any]) -> str:
    """Return a digest of the file that something was loaded from."""
    file = getattr(sys.modules[loaded.__module__], "__file__", None)
    return digest_of([file] if file else [])


def digest_of(files: Iterable[str | Path]) -> str:
    """Return a digest of the content of files, those that cannot be read left out."""
    digest = blake2b(digest_size=16)
    for file in files:
        with suppress(OSError):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()

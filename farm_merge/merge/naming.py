"""Naming: a run whose file does not tell its id is called by its path."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from farm_merge.merge.inspect import Inspection
    from farm_merge.merge.plan import OutputState

__all__ = ["named", "require_template"]


def require_template(template: str) -> None:
    """Refuse a template that knows other fields than `{stem}`, `{parent}` and `{grandparent}`.

    Raises:
        ShardError: If it does.
    """
    try:
        template.format(stem="", parent="", grandparent="")
    except (KeyError, IndexError, ValueError) as exc:
        raise ShardError(
            f"--simulation-id {template!r}: may hold {{stem}}, {{parent}} and {{grandparent}}"
        ) from exc


def named(
    inspections: Sequence[Inspection],
    output: OutputState,
    same_content: Callable[[Inspection, None, str], bool],
    template: str | None = None,
) -> list[Inspection]:
    """Give every simulation that has no id one: the file's stem, and as many folders as needed.

    A file that the ledger knows, by its path or as a copy, keeps the name it got then: a copy has
    the same bytes and the same stem. A name that other data has in the output is lengthened too.

    Args:
        inspections: What is known of the inputs.
        output: What the output holds.
        same_content: Tells whether the output holds a simulation with the same data.
        template: What to call a run instead: `{parent}_{stem}`.

    Raises:
        ShardError: If paths cannot tell two runs apart, or the template gives two runs one name.
    """
    unnamed = {each.path: each for each in inspections if _is_unnamed(each)}
    if not unnamed:
        return list(inspections)
    if template is not None:
        names = _by_template(list(unnamed), template)
    else:
        names = _by_ledger(unnamed.values(), output)
        first: dict[tuple[str, str], Path] = {}
        for path, source in unnamed.items():
            first.setdefault((source.fingerprint, path.stem), path)
        wanted = [path for path in first.values() if path not in names]
        taken = {
            str(found.simulation_id)
            for each in inspections
            if not _is_unnamed(each)
            for found in each.simulations
        } - output.simulation_ids  # whether those are free is decided by their content

        def is_free(path: Path, name: str) -> bool:
            return name not in output.simulation_ids or same_content(
                _with_name(unnamed[path], name), None, name
            )

        names |= _by_path(wanted, taken, is_free)
        for path, source in unnamed.items():  # a copy of a file is no other run
            names.setdefault(path, names[first[source.fingerprint, path.stem]])
    return [
        _with_name(each, names[each.path]) if _is_unnamed(each) else each for each in inspections
    ]


def _by_ledger(sources: Iterable[Inspection], output: OutputState) -> dict[Path, str]:
    """Return the names that files got when they were merged before."""
    by_copy = {
        (each.fingerprint, PurePath(each.source_path).stem): each.simulation_id
        for each in output.ledger
    }
    by_path = {each.source_path: each.simulation_id for each in output.ledger}
    names: dict[Path, str] = {}
    for source in sources:
        path = source.path
        known = by_copy.get((source.fingerprint, path.stem)) or by_path.get(str(path.absolute()))
        if known:
            names[path] = known
    return names


def _is_unnamed(source: Inspection) -> bool:
    return any(found.simulation_id is None for found in source.simulations)


def _with_name(source: Inspection, name: str) -> Inspection:
    found = tuple(replace(each, simulation_id=name) for each in source.simulations)
    return replace(source, simulations=found)


def _by_template(paths: Sequence[Path], template: str) -> dict[Path, str]:
    names = {
        path: template.format(
            stem=path.stem,
            parent=path.absolute().parent.name,
            grandparent=path.absolute().parent.parent.name,
        )
        for path in paths
    }
    for name, number in Counter(names.values()).items():
        if number > 1 or not name:
            alike = [str(path) for path, each in names.items() if each == name]
            raise ShardError(
                f"--simulation-id {template!r}: would call {number} runs {name!r}:"
                f" {', '.join(alike[:3])}{' …' if number > 3 else ''}"  # noqa: PLR2004
            )
    return names


def _by_path(
    paths: Sequence[Path], taken: set[str], is_free: Callable[[Path, str], bool]
) -> dict[Path, str]:
    """Lengthen names by parent folders until each is free and nobody else's."""
    names: dict[Path, str] = {}
    depth = dict.fromkeys(paths, 1)
    while depth:
        trial = {path: _name(path, parts) for path, parts in depth.items()}
        alike = Counter(trial.values())
        longer: dict[Path, int] = {}
        for path, name in trial.items():
            if alike[name] == 1 and name not in taken and is_free(path, name):
                names[path] = name
            else:
                longer[path] = depth[path] + 1
                if longer[path] > len(_parts(path)):
                    raise ShardError(
                        f"{path}: no part of its path tells it from another run;"
                        " name its simulation with --simulation-id"
                    )
        taken = taken | set(names.values())
        depth = longer
    return names


def _name(path: Path, parts: int) -> str:
    return "_".join(_parts(path)[-parts:])


def _parts(path: Path) -> list[str]:
    whole = path.absolute()
    folders = [part for part in whole.parent.parts if part != os.sep]
    # Ids are text in the database: a name that is no UTF-8 is written with its bytes escaped.
    return [
        part.encode(errors="surrogateescape").decode(errors="backslashreplace")
        for part in (*folders, whole.stem)
    ]

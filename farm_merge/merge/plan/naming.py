"""Naming: a run whose file does not name it is called by its path."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from farm_merge.errors import InvalidOptionError, ShardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.output import Output

__all__ = ["require_template", "with_names"]


def require_template(template: str) -> None:
    """Refuse a template that knows other fields than `{stem}`, `{parent}` and `{grandparent}`.

    Raises:
        InvalidOptionError: If it does.
    """
    try:
        template.format(stem="", parent="", grandparent="")
    except (KeyError, IndexError, ValueError, AttributeError) as exc:
        raise InvalidOptionError(
            f"simulation_id {template!r}: may hold {{stem}}, {{parent}} and {{grandparent}}"
        ) from exc


def with_names(
    sources: Sequence[Input],
    output: Output,
    same_content: Callable[[Input, None, str], bool],
    template: str | None = None,
) -> list[Input]:
    """Give every simulation that has no id one: the file's stem, and as many folders as needed.

    A file that the ledger knows, by its path or as a copy, keeps the name it got then: a copy has
    the same bytes and the same stem. A name that other data has in the output is lengthened too.

    Args:
        sources: What is known of the inputs.
        output: What the output holds.
        same_content: Whether the output holds a simulation with the same data.
        template: What to call a run instead: `{parent}_{stem}`.

    Raises:
        ShardError: If paths cannot tell two runs apart, or the template gives two runs one name.
    """
    unnamed = {source.path: source for source in sources if source.is_unnamed}
    if not unnamed:
        return list(sources)
    if template is not None:
        names = _by_template(list(unnamed), template)
    else:
        names = _by_ledger(unnamed.values(), output)
        first: dict[tuple[str, str], Path] = {}
        for path, source in unnamed.items():
            first.setdefault(_copy_key(source), path)
        wanted = [path for path in first.values() if path not in names]
        taken = {
            str(simulation.simulation_id)
            for source in sources
            if not source.is_unnamed
            for simulation in source.simulations
        } - output.simulation_ids  # whether those are free is decided by their content

        def is_free(path: Path, name: str) -> bool:
            return name not in output.simulation_ids or same_content(
                unnamed[path].named(name), None, name
            )

        names |= _by_path(wanted, taken, is_free)
        for path, source in unnamed.items():  # a copy of a file is no other run
            names.setdefault(path, names[first[_copy_key(source)]])
    return [source.named(names[source.path]) if source.is_unnamed else source for source in sources]


def _copy_key(source: Input) -> tuple[str, str]:
    """Return what two copies of a file have in common."""
    assert source.contents is not None  # noqa: S101  (only shards are not read whole at first)
    return source.contents.fingerprint, source.path.stem


def _by_ledger(sources: Iterable[Input], output: Output) -> dict[Path, str]:
    """Return the names that files got when they were merged before."""
    by_copy = {
        (entry.fingerprint, PurePath(entry.source_path).stem): entry.simulation_id
        for entry in output.ledger
    }
    by_path = {entry.source_path: entry.simulation_id for entry in output.ledger}
    names: dict[Path, str] = {}
    for source in sources:
        path = source.path
        if known := by_copy.get(_copy_key(source)) or by_path.get(str(path.absolute())):
            names[path] = known
    return names


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
            alike = [str(path) for path, given in names.items() if given == name]
            raise ShardError(
                f"simulation_id {template!r} would call {number} runs {name!r}:"
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
                        "no part of its path tells it from another run",
                        path=path,
                        remedy="name its simulation with `simulation_id=`",
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

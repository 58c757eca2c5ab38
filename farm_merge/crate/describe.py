"""Describe: the RO-Crate 1.3 metadata of a folder, which archives and programs read.

https://www.researchobject.org/ro-crate/specification/1.3/ says what has to be in it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from farm_merge import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

    from farm_merge.crate.about import About
    from farm_merge.crate.runs import Runs

__all__ = ["METADATA", "PREVIEW", "describe_folder", "sha256"]

METADATA = "ro-crate-metadata.json"
PREVIEW = "ro-crate-preview.html"

_VERSION = "1.3"
_MOST_VALUES = 20
"""Values of a parameter that are listed; of more, the least and the largest."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_folder(
    folder: Path, runs: Runs, about: About, files: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write the metadata of a folder.

    Args:
        folder: The folder, which has all that is described.
        runs: The simulations.
        about: What their author says.
        files: What is in the folder, by name, the data first: properties of each.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=_VERSION)
    authors = _authors(crate, about)
    crate.name = about.title or ", ".join(name for name, _ in runs.experiments) or "Simulations"
    crate.description = about.description or _description(runs)
    crate.datePublished = datetime.now(UTC)
    crate.license = _add(
        crate, about.license_url, "CreativeWork", name=about.license,
        description="Under which all files of this folder may be used.",
    )  # fmt: skip
    crate.root_dataset["author"] = _few(authors)
    if about.keywords:
        crate.root_dataset["keywords"] = ", ".join(about.keywords)
    if about.doi_url:
        crate.root_dataset["identifier"] = about.doi_url
    entities = [_described(crate, folder, name, known) for name, known in files.items()]
    _add(crate, PREVIEW, "CreativeWork", about=crate.root_dataset, name="Report")
    parameters = _parameters(crate, runs)
    crate.root_dataset["variableMeasured"] = parameters
    crate.root_dataset["mentions"] = [
        _simulating(crate, runs, about, [entities[1], *parameters], entities[0], authors),
        _merging(crate, entities[0], authors),
    ]
    crate.metadata.write(folder)


def _add(crate: ROCrate, identifier: str, kind: str | list[str], **properties: Any) -> Entity:
    """Add something that is described, and is no file of the crate."""
    from rocrate.model.contextentity import ContextEntity

    known = {name: value for name, value in properties.items() if value is not None}
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **known}))


def _described(crate: ROCrate, folder: Path, name: str, known: Mapping[str, Any]) -> Entity:
    """Add a file or folder, with its size and digest."""
    path = folder / name
    if path.is_dir():
        return crate.add_dataset(path, name, properties=dict(known))
    measured = {"contentSize": str(path.stat().st_size), "sha256": sha256(path)}
    return crate.add_file(path, name, properties={**known, **measured})


def _authors(crate: ROCrate, about: About) -> list[Entity]:
    authors = []
    for number, author in enumerate(about.authors, start=1):
        known: dict[str, Any] = {"name": author.name}
        if author.affiliation:
            identifier = f"#{quote(author.affiliation)}"
            known["affiliation"] = crate.dereference(identifier) or _add(
                crate, identifier, "Organization", name=author.affiliation
            )
        authors.append(_add(crate, author.orcid_url or f"#author-{number}", "Person", **known))
    return authors


def _description(runs: Runs) -> str:
    texts = " ".join(text for _, text in runs.experiments if text)
    return f"{texts} {len(runs.rows):,} simulations in one experiment database.".strip()


def _parameters(crate: ROCrate, runs: Runs) -> list[Entity]:
    """Add the parameters, each with the values that it has in the simulations."""
    entities = []
    for name in runs.names:
        found = dict.fromkeys(values[name] for values in runs.parameters if name in values)
        values = [value for value in found if value is not None]
        known: dict[str, Any] = {"name": name}
        if len(values) <= _MOST_VALUES:
            known["value"] = values[0] if len(values) == 1 else values
        elif all(isinstance(value, int | float) for value in values):
            known |= {"minValue": min(values), "maxValue": max(values)}
        else:
            known["value"] = f"{len(values)} values"
        entities.append(_add(crate, f"#parameter-{quote(name)}", "PropertyValue", **known))
    return entities


def _simulating(
    crate: ROCrate,
    runs: Runs,
    about: About,
    inputs: list[Entity],
    data: Entity,
    agents: list[Entity],
) -> Entity:
    """Add what made the data: the simulations, by which code, on which software."""
    known: dict[str, Any] = {"instrument": _few(_codes(crate, runs, about))}
    if starts := runs.values("start_time"):
        known["startTime"] = _time(starts[0])
    if ends := runs.values("end_time"):
        known["endTime"] = _time(ends[-1])
    return _add(
        crate, "#simulate", "CreateAction", name=f"{len(runs.rows):,} simulations",
        description=" ".join([f"{inputs[0].id} has the parameters of each.", *_by(runs)]),
        agent=_few(agents), object=inputs, result=data, **known,
    )  # fmt: skip


def _by(runs: Runs) -> list[str]:
    """Return sentences on what simulated."""
    return [
        f"Simulated by {model or 'code'} {version}.".replace(" .", ".")
        for model, version in runs.codes
    ]


def _codes(crate: ROCrate, runs: Runs, about: About) -> list[Entity]:
    """Add the code that simulated, once for each version, with what it ran on."""
    if about.code is None:
        return []
    needs = [
        _software(crate, name, version)
        for name, versions in runs.packages.items()
        for version in versions
    ]
    needs += [_python(crate, version) for version in runs.values("python_version")]
    return [
        _add(
            crate, f"{about.code}#{quote(version)}" if version else about.code,
            "SoftwareApplication", name=model or "Simulator", version=version or "unknown",
            url=about.code, softwareRequirements=_few(needs),
        )
        for model, version in runs.codes or [("", "")]
    ]  # fmt: skip


def _merging(crate: ROCrate, data: Entity, agents: list[Entity]) -> Entity:
    return _add(
        crate, "#merge", "CreateAction", name="Merged and published",
        description="Shards of simulations became one database, and this folder.",
        agent=_few(agents), instrument=_software(crate, "farm-merge", __version__), result=data,
        endTime=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _software(crate: ROCrate, name: str, version: str) -> Entity:
    sqlite = f"https://www.sqlite.org/#{version}"
    identifier = sqlite if name == "sqlite" else f"https://pypi.org/project/{name}/{version}/"
    return crate.dereference(identifier) or _add(
        crate, identifier, "SoftwareApplication", name=name, version=version, url=identifier
    )


def _python(crate: ROCrate, version: str) -> Entity:
    url = f"https://www.python.org/downloads/release/python-{version.replace('.', '')}/"
    return _add(crate, url, "SoftwareApplication", name="Python", version=version, url=url)


def _few(entities: list[Entity]) -> Entity | list[Entity] | None:
    """Return a single value as itself, as the specification recommends."""
    return entities[0] if len(entities) == 1 else entities or None


def _time(stored: str) -> str:
    """Return a time as ISO 8601 has it; which zone it is of is only known of our own."""
    return stored.replace(" ", "T").partition(".")[0]

"""About: what only its author knows of an experiment, from a TOML file or a CITATION.cff."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from farm_merge.errors import FarmMergeError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["About", "Author", "read_about"]

_ORCID = "https://orcid.org/"
_DOI = "https://doi.org/"
_EXAMPLE = 'license = "CC-BY-4.0" and authors = [{ name = "Ada Lovelace" }] are enough'

_Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Author(_Strict):
    """Somebody who made an experiment.

    Attributes:
        name: In full.
        orcid: As https://orcid.org has it, with or without that address.
        affiliation: The name of an institution.
    """

    name: _Text
    orcid: str | None = Field(None, pattern=rf"^({_ORCID})?(\d{{4}}-){{3}}\d{{3}}[\dX]$")
    affiliation: str | None = None

    @property
    def orcid_url(self) -> str | None:
        """The address that identifies the author."""
        return self.orcid and _ORCID + self.orcid.removeprefix(_ORCID)


class About(_Strict):
    """What is said of an experiment where it is published.

    Attributes:
        license: An identifier of https://spdx.org/licenses, such as "CC-BY-4.0", or an address.
        authors: In order.
        title: The name of the experiment by default.
        description: What is in the experiment by default.
        keywords: For those who search.
        code: The address of the simulator's repository.
        doi: Of the publication, if there is one already.
    """

    license: str = Field(pattern=r"^(https?://\S+|[\w.+-]+)$")
    authors: tuple[Author, ...] = Field(min_length=1)
    title: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()
    code: str | None = Field(None, pattern=r"^https?://\S+$")
    doi: str | None = Field(None, pattern=rf"^({_DOI})?10\.\S+/\S+$")

    @property
    def license_url(self) -> str:
        """The address of the licence's text."""
        is_url = self.license.startswith(("http:", "https:"))
        return self.license if is_url else f"https://spdx.org/licenses/{self.license}"

    @property
    def doi_url(self) -> str | None:
        """The address that identifies the publication."""
        return self.doi and _DOI + self.doi.removeprefix(_DOI)


def read_about(path: str | PathLike[str]) -> About:
    """Read what a file says of an experiment.

    Args:
        path: TOML with the attributes of `About`, or a CITATION.cff
            (https://citation-file-format.github.io).

    Raises:
        FarmMergeError: If it cannot be read, or lacks what has to be known.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        said = _from_citation(text) if path.suffix == ".cff" else tomllib.loads(text)
        return About.model_validate(said)
    except ValidationError as exc:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors()
        )
        raise FarmMergeError(wrong, path=path, remedy=_EXAMPLE) from exc
    except OSError as exc:
        raise FarmMergeError(f"cannot be read ({exc.strerror})", path=path) from exc
    except ValueError as exc:
        raise FarmMergeError(f"cannot be read ({exc})", path=path) from exc


def _from_citation(text: str) -> dict[str, Any]:
    """Return what a CITATION.cff says, under our names; what it says beyond that is left.

    Raises:
        ValueError: If it is not one.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        cff = YAML(typ="safe").load(text)
    except YAMLError as exc:
        raise ValueError(f"no YAML: {exc}") from exc
    if not isinstance(cff, dict) or "cff-version" not in cff:
        raise ValueError("it has no cff-version, so it is no CITATION.cff")
    names = {"title": "title", "abstract": "description", "repository-code": "code", "doi": "doi"}
    said = {ours: str(cff[theirs]).strip() for theirs, ours in names.items() if theirs in cff}
    licenses = cff.get("license") or cff.get("license-url")
    if licenses:
        said["license"] = licenses[0] if isinstance(licenses, list) else licenses
    authors = [_author(author) for author in cff.get("authors") or () if isinstance(author, dict)]
    return {**said, "keywords": cff.get("keywords") or (), "authors": authors}


def _author(author: dict[str, Any]) -> dict[str, Any]:
    """Return a person or an entity of a CITATION.cff."""
    parts = ("given-names", "name-particle", "family-names", "name-suffix")
    name = author.get("name") or " ".join(str(author[part]) for part in parts if part in author)
    known = {key: author[key] for key in author if key in {"orcid", "affiliation"}}
    return {**known, "name": name or author.get("alias", "")}

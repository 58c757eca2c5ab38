"""What a package says of itself is one thing in all places."""

from __future__ import annotations

import tomllib
from importlib.metadata import metadata
from pathlib import Path

from ruamel.yaml import YAML

from farm_merge import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_has_the_version_and_the_licence():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ == metadata("farm-merge")["version"]
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_everything_that_is_to_be_in_the_source_distribution_is_there():
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    for path in hatch["build"]["targets"]["sdist"]["include"]:
        assert (ROOT / path.removeprefix("/")).exists(), path


def test_every_dependency_has_a_floor():
    extras = PROJECT["optional-dependencies"]
    for package in (*PROJECT["dependencies"], *(it for extra in extras.values() for it in extra)):
        assert package.startswith("farm-merge[") or "=" in package, package

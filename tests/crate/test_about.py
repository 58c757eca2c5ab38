"""What an author says of an experiment, and what is missing in that."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm_merge.crate import About, Author, read_about
from farm_merge.errors import FarmMergeError

CITATION = """\
cff-version: 1.2.0
message: Please cite it.
title: Attack and defence
abstract: >-
  Who fights,
  and how long?
license: CC-BY-4.0
repository-code: https://example.org/model
doi: 10.5281/zenodo.1234
keywords: [agents, war]
authors:
  - given-names: Ada
    family-names: Lovelace
    orcid: https://orcid.org/0000-0001-5109-3700
    affiliation: Analytical Society
  - name: The Farm
"""


def test_toml_has_the_attributes_by_name(tmp_path):
    path = tmp_path / "about.toml"
    path.write_text(
        'license = "MIT"\ntitle = "T"\nkeywords = ["a"]\n'
        'authors = [{ name = "Ada", orcid = "0000-0001-5109-3700" }]\n'
    )
    ada = Author(name="Ada", orcid="0000-0001-5109-3700")
    assert read_about(path) == About(license="MIT", title="T", keywords=("a",), authors=(ada,))
    assert ada.orcid_url == "https://orcid.org/0000-0001-5109-3700"
    assert read_about(path).license_url == "https://spdx.org/licenses/MIT"


def test_a_citation_says_the_same(tmp_path):
    path = tmp_path / "CITATION.cff"
    path.write_text(CITATION)
    about = read_about(path)
    assert [(author.name, author.affiliation) for author in about.authors] == [
        ("Ada Lovelace", "Analytical Society"),
        ("The Farm", None),
    ]
    assert about.description == "Who fights, and how long?"
    assert about.doi_url == "https://doi.org/10.5281/zenodo.1234"
    assert (about.code, about.keywords) == ("https://example.org/model", ("agents", "war"))


def test_our_own_citation_is_one():
    assert read_about(Path(__file__).parents[2] / "CITATION.cff").license == "MIT"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.toml", 'authors = [{ name = "A" }]', "license: Field required"),
        ("a.toml", 'license = "MIT"', "authors: Field required"),
        ("a.toml", 'license = "MIT"\nauthors = []', "authors: Tuple should have at least 1"),
        ("a.toml", 'license = "MIT"\nauthors = [{ name = "" }]', "authors.0.name"),
        ("a.toml", 'license = "MIT"\nauthors = [{ name = "A", orcid = "1" }]', "authors.0.orcid"),
        (
            "a.toml",
            'license = "MIT"\nlicence = "MIT"\nauthors = [{ name = "A" }]',
            "licence: Extra",
        ),
        ("a.toml", "license = ", "cannot be read"),
        ("a.cff", "title: x", "no CITATION.cff"),
        ("a.cff", "a: [", "no YAML"),
        ("a.cff", "cff-version: 1.2.0\nlicense: MIT", "authors"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, name, text, complaint):
    (tmp_path / name).write_text(text)
    with pytest.raises(FarmMergeError) as raised:
        read_about(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert complaint in str(raised.value)

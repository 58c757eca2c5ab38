"""What is said where a package is missing works without farm-merge in a package index."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from farm_merge.extras import missing_extra

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def packages(words):
    return {word.split("=")[0].split(">")[0].split("<")[0].lower() for word in words}


@pytest.mark.parametrize("extra", ["dask", "design", "mesa", "mpi", "parquet", "report"])
def test_an_extra_is_named_by_its_packages(extra):
    error = missing_extra("it is missing", extra)
    assert error.reason == "it is missing"
    words = shlex.split(error.remedy)
    assert words[:2] == ["pip", "install"]
    assert packages(words[2:]) == packages(EXTRAS[extra])


def test_no_message_sends_a_user_to_a_package_index_for_farm_merge_itself():
    for path in (ROOT / "farm_merge").rglob("*.py"):
        assert "install 'farm-merge[" not in path.read_text(), path


def test_a_missing_package_is_named_on_the_command_line(make_shard, tmp_path):
    hidden = "import sys; sys.modules['zstandard'] = None; from farm_merge.cli import main; main()"
    words = [sys.executable, "-c", hidden, "archive", str(make_shard("a"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: archives need the package zstandard; pip install 'pyarrow"
    )

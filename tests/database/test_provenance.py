"""A simulation records the commit that its code was at, if that is under git."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from farm_merge import __version__
from farm_merge.database import SimulationDatabase
from farm_merge.database.provenance import provenance
from tests.conftest import query


@pytest.fixture(autouse=True)
def asked_anew():
    """A process asks once, and these are several."""
    provenance.cache_clear()
    yield
    provenance.cache_clear()


def recorded(path):
    SimulationDatabase(path).close()
    ((commit, packages),) = query(path, "SELECT git_commit, package_versions FROM simulations")
    return commit, json.loads(packages)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_in_the_working_directory_is_recorded(tmp_path, monkeypatch):
    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    monkeypatch.chdir(tmp_path)
    commit, packages = recorded(tmp_path / "run.db")
    assert commit == git("rev-parse", "HEAD")
    assert packages["farm-merge"] == __version__


def test_no_commit_is_recorded_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert recorded(tmp_path / "no_repository.db")[0] is None
    provenance.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert recorded(tmp_path / "no_git.db")[0] is None

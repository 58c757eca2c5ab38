"""The command, run in a folder of its own."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from farm_merge.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, stdin=None):
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin)

    return run

"""A sample of `make concurrency`; FARM_MERGE_ROUNDS makes it longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.faults.harness import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_everything_at_once_loses_no_row_and_shows_no_part_of_a_run():
    rounds = os.environ.get("FARM_MERGE_ROUNDS", "1")
    # From a process of its own, which has one thread, and no database open.
    command = [sys.executable, "-m", "tests.concurrency.harness", "--rounds", rounds]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert json.loads(done.stdout or "{}").get("violations") == [], done.stderr

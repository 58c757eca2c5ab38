"""Help and completion, in real shells where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
eval "$(farm-merge completion bash)"
COMP_WORDS=(farm-merge {words}); COMP_CWORD={at}
_farm_merge_completion farm-merge
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(*words):
    """Return what bash offers after some words, the last of which is being typed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = BASH.format(words=" ".join(words) or "''", at=len(words) or 1)
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PATH": path},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_commands_options_and_values():
    assert completed("ver") == {"verify"}
    assert {"--where", "--simulation"} <= completed("list", "--")
    assert completed("compare", "--format", "js") == {"json", "jsonl"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_theirs(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_FARM_MERGE_COMPLETE" in result.output


def test_the_shell_is_taken_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "function _farm_merge_completion" in run("completion").output
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = run("completion")
    assert result.exit_code == 2
    assert "For which shell? There are bash, zsh, fish." in result.output


def test_help_shows_a_command_or_all(run):
    assert "Merge shards and legacy files" in run("help", "merge").output
    assert run("help").output == run("--help").output
    result = run("help", "verfy")
    assert result.exit_code == 2
    assert "there is no command verfy; the nearest is verify" in result.output

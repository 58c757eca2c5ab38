"""What stops a command midway: a kill at a write that is always the same one, a full disk, and a
folder that may not be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

LIMITED = """
import resource, signal, sys
from farm_merge.cli import main

how, limit = signal.Handlers(int(sys.argv[1])), int(sys.argv[2])
signal.signal(signal.SIGXFSZ, how)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main(sys.argv[3:])
"""


def killed_at(limit, *words):
    """Run a command that the kernel kills when it makes a file larger than so many bytes."""
    done = _limited(signal.SIG_DFL, limit, words)
    assert done.returncode == -signal.SIGXFSZ, (done.returncode, done.stderr)


def on_a_full_disk(limit, *words):
    """Run a command for which no file can be larger than so many bytes."""
    return _limited(signal.SIG_IGN, limit, words)


def _limited(how, limit, words):
    command = [sys.executable, "-c", LIMITED, str(int(how)), str(limit), *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@contextmanager
def open_folder():
    """Yield a folder that others can enter too, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="farm-merge-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def without_write_permission(folder):
    """Act as somebody who may read the files of a folder, and write none."""
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:  # who may write all
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)

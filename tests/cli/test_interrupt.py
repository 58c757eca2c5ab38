"""An interrupt comes where the command can bear it, and nowhere else; but it comes."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import farm_merge
from farm_merge.cli import interrupt

SCRIPT = """
import os, signal, sqlite3, sys, threading, weakref
signal.signal(signal.SIGINT, signal.default_int_handler)
from farm_merge.cli.interrupt import interrupted, on_signal

on_signal([signal.SIGINT], interrupted)

def bite(*_):
    os.kill(os.getpid(), signal.SIGINT)
    print("gone on", flush=True)

def own(text):
    exec(compile(text, "own", "exec"), {"__name__": "farm_merge.own", "bite": bite})

try:
    {what}
    print("done", flush=True)
    own("import time; time.sleep(60)")
except KeyboardInterrupt as exc:
    print("interrupted by", exc)
"""

BEARS_NOT = {
    "an import": "import bites",
    "the import of a module of ours": "own('import bites')",
    "a lock": """
    class Lock:
        acquire, locked, release = None, None, lambda self: print("released")
        def __enter__(self): bite()
        def __exit__(self, *_): print("let go")
    with threading.Condition(Lock()): print("held")""",
    "a fork": """
    os.register_at_fork(after_in_parent=bite)
    if not os.fork(): os._exit(0)""",
    "the end of an object": "key = {1}; ref = weakref.ref(key, bite); del key",
    "a temporary folder": """
    import shutil, tempfile
    from farm_merge.cli import interrupt
    interrupt._PATIENCE_SECONDS = 0
    tempfile.TemporaryDirectory._rmtree = lambda _, path, **__: (bite(), shutil.rmtree(path))
    own("""
    + repr("""
import tempfile
with tempfile.TemporaryDirectory(): pass
""")
    + ")",
    "a call by SQLite": """
    own('''
import os, signal, sqlite3
def count():
    os.kill(os.getpid(), signal.SIGINT)
    print("gone on", flush=True)
connection = sqlite3.connect(":memory:")
connection.set_progress_handler(count, 100)
connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)"
                   " SELECT count(*) FROM n").fetchall()
''')""",
}

BEARS = {
    "a statement of ours": "own('import os; os.kill(os.getpid(), 2); print(1)')",
    "a lock that is waited for": "print('waits', flush=True); threading.Event().wait()",
    "a thread that is waited for": """
    thread = threading.Thread(target=lambda: threading.Event().wait(), daemon=True)
    thread.start()
    print("waits", flush=True)
    thread.join()""",
    "another package, after a while": "print('waits', flush=True)\n    while True: pass",
}


def start(what, folder):
    (folder / "bites.py").write_text("import __main__\n__main__.bite()\n")
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("{what}", what)],
        cwd=folder, env={"PYTHONPATH": str(folder)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("where", BEARS_NOT)
def test_it_waits_for_the_end_of(where, tmp_path):
    said, errors = start(BEARS_NOT[where], tmp_path).communicate(timeout=60)
    assert errors == ""
    lines = said.splitlines()
    assert "gone on" in lines
    assert lines[-2:] == ["done", "interrupted by 2"]


@pytest.mark.parametrize("where", BEARS)
def test_it_comes_in(where, tmp_path):
    process = start(BEARS[where], tmp_path)
    first = process.stdout.readline()
    if first == "waits\n":
        process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert errors == ""
    said = first + said
    assert said.splitlines()[-1] == "interrupted by 2"
    assert "done" not in said


def test_a_forked_process_is_left_to_its_parent(tmp_path):
    what = """
    child = os.fork()
    if not child:
        own("bite()")
        os._exit(7)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    bite()"""
    said, errors = start(what, tmp_path).communicate(timeout=60)
    assert errors == ""
    assert said.splitlines() == ["gone on", "child 7", "gone on", "done", "interrupted by 2"]


def test_what_sqlite_calls_is_known():
    """An error in such a function is nobody's; so its name has to be known."""
    setters = {"create_collation", "set_authorizer", "set_progress_handler"}
    names = set()
    for path in Path(farm_merge.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in setters:
                names |= {arg.id for arg in node.args if isinstance(arg, ast.Name)}
    assert {name for name in names if name not in {"name", "_STEPS_AT_ONCE"}} == (
        interrupt._CALLED_BY_SQLITE
    )

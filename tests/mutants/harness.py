"""Changes the code, a place at a time, and looks whether a test notices.

    python -m tests.mutants.harness [--sample 15] [--first 0] [--seed 0] [--verbose] [MODULE ...]

cosmic-ray makes the changes (mutants): other operators, numbers, conditions, exceptions, decorators,
loops without a round; `statements.py` adds statements that are left out. Of every module places are
drawn at random, and at each one change. It is made in a copy of the project, in a temporary folder,
so the working tree stays as it is, whatever happens. Then the tests of the module run until one
fails, under a time limit. What no test noticed is printed as a diff, unless `equivalent.toml` says
why it makes no difference. Exit code 1 if fewer than nine in ten are noticed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import OPERATOR_PROVIDERS, get_operator
from cosmic_ray.work_db import use_db

from tests import trust
from tests.mutants.statements import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmic_ray.work_item import MutationSpec

ROOT = Path(__file__).parents[2]

WRITING = (
    "merge/write", "merge/pages", "merge/ledger.py", "publish", "housekeeping.py", "database",
    "data_logging",
)  # fmt: skip
"""The modules that write, below `farm_merge/`."""

ALSO = {
    "merge": (
        "tests/merge/test_contract.py::TestGraft",
        "tests/merge/test_contract.py::TestLegacyAppend",
    ),
    "merge/pages": ("tests/merge/write/test_graft.py",),
    "merge/ledger.py": ("tests/merge/test_audit.py",),
    "publish": ("tests/merge/test_merge.py",),
    "database": ("tests/database", "tests/test_experiment_database.py"),
    "data_logging": (
        "tests/data_logging",
        "tests/database",
        "tests/test_simulation.py",
        "tests/agentfarm/test_calls.py",
    ),
}
"""Tests for what the mirrored ones did not notice, by the folder or module that they are of."""

SLOW = (
    "killed_at_any_step or during_a_vacuum or full_disk or hundreds_of_small_ones"
    " or many_processes_take or processes_that_persist or several_processes_can"
    " or pages_give_what_rows or lock_byte_stays or no_bit_that_flips or no_bytes_at_random"
)
"""Tests that take many seconds each, and are left out."""

_IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "shards", "*.db"
)
_FORKING = multiprocessing.get_context("fork")
_OURS = {"farm_merge", "tests"}
_HEAVY = ("hypothesis", "numpy", "pandas", "pydantic", "sqlalchemy.orm", "sqlite_utils", "tqdm")
"""What most tests import."""

_GOAL = 0.9

_SECONDS = 30
"""What the tests of a mutant may take beside four times of what they take without it."""


class Outcome(NamedTuple):
    """What became of a mutant."""

    result: Literal["noticed", "missed", "same", "no Python"]
    line: int
    operator: str
    was: str
    became: str


def modules_of(names: list[str]) -> list[str]:
    """Return modules below `farm_merge/`, of modules and folders there."""
    package = ROOT / "farm_merge"
    found: list[str] = []
    for name in names:
        path = package / name.removeprefix("farm_merge/")
        paths = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [file.relative_to(package).as_posix() for file in paths]
    return found


def tests_of(module: str) -> list[tuple[str, ...]]:
    """Return the tests of a module: the mirrored file, else its folder; then others, if any."""
    path = Path(module)
    mirrored = f"tests/{path.parent.as_posix()}/test_{path.name}"
    own = mirrored if (ROOT / mirrored).exists() else f"tests/{path.parent.as_posix()}"
    return [(own,), *(tests for part, tests in ALSO.items() if module.startswith(part))]


def sampled(module: str, copy: Path, sample: int, first: int, seed: int) -> list[MutationSpec]:
    """Return some of the changes that can be made in a module; one in a place, at random."""
    path = copy / "farm_merge" / module
    with use_db(copy / "mutants.sqlite") as session:
        init([path], session, {})
        mutations = [mutation for item in session.work_items for mutation in item.mutations]
    ignored = list(_ignored_spans(ast.parse(path.read_text(encoding="utf-8"))))
    places: dict[Any, list[MutationSpec]] = {}
    for mutation in mutations:
        span = (*mutation.start_pos, *mutation.end_pos)
        is_ignored = any(start <= span[:2] and span[2:] <= end for start, end in ignored)
        if not is_ignored and not mutation.operator_name.endswith(("_Is", "_IsNot")):
            places.setdefault((span, _kind(mutation)), []).append(mutation)
    randomly = random.Random(f"{seed} {module}")
    chosen = randomly.sample(sorted(places), len(places))[first : first + sample]
    # Each draws by itself, so that a larger sample has the mutants of a smaller one.
    return [
        random.Random(f"{seed} {place}").choice(
            sorted(places[place], key=lambda it: (it.operator_name, it.occurrence))
        )
        for place in chosen
    ]


def _kind(mutation: MutationSpec) -> str:
    return "_".join(mutation.operator_name.split("_")[:2])


def _ignored_spans(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the spans of annotations, of imports for them, and of `dataclass(frozen=True)`."""
    for node in ast.walk(tree):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.ClassDef):
            parts += node.decorator_list
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            parts.append(node)
        for part in filter(None, parts):
            yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def passes(tests: tuple[str, ...], copy: Path, seconds: float | None) -> bool:
    """Run tests until one fails; return whether all passed, in time."""
    process = _FORKING.Process(target=_run, args=(tests, copy, seconds is None))
    process.start()
    try:
        process.join(seconds)
        return process.exitcode == 0
    finally:
        process.kill()
        with suppress(ProcessLookupError):  # what it started
            os.killpg(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        process.join()


def _run(tests: tuple[str, ...], copy: Path, keeps_bytecode: bool) -> None:
    """Be the process that runs tests; what takes most of a second to import is imported already."""
    os.setsid()
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = not keeps_bytecode  # a change may be faster than the clock of a file
    os.environ |= {"PYTHONPATH": str(copy), "TMPDIR": str(copy / "tmp")}
    os.environ |= {} if keeps_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(copy)
    output = os.open(copy / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    early = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
    sys.exit(pytest.main(["-x", "-q", "-W", early, "-k", f"not ({SLOW})", *tests]))


def tried(
    mutation: MutationSpec, module: str, copy: Path, seconds: dict[tuple[str, ...], float]
) -> Outcome:
    """Make a change in the copy, run the tests of its module, take it back."""
    operator = get_operator(mutation.operator_name)(**mutation.operator_args)
    with use_mutation(mutation.module_path, operator, mutation.occurrence) as texts:
        was, became = _difference(*texts)
        result: Literal["noticed", "missed", "same", "no Python"] = "same"
        if not _is_python(texts[1]):
            result = "no Python"
        elif (module, was, became) not in equivalents():
            passed = all(passes(tests, copy, seconds[tests]) for tests in tests_of(module))
            result = "missed" if passed else "noticed"
    name = mutation.operator_name.partition("/")[2]
    return Outcome(result, mutation.start_pos[0], name, was, became)


def _is_python(text: str) -> bool:
    """Return whether a text can be compiled: cosmic-ray takes the `*` of a signature for a sign."""
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the lines that were changed, and what they became."""
    lines = list(difflib.unified_diff(before.split("\n"), after.split("\n"), n=0, lineterm=""))[3:]
    was, became = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return was, became


def run_module(
    module: str, copy: Path, options: argparse.Namespace, seconds: dict[tuple[str, ...], float]
) -> Iterator[Outcome]:
    """Yield what became of a sample of a module's mutants.

    Args:
        module: The module, below `farm_merge/`.
        copy: The copy of the project.
        options: Which sample.
        seconds: What each selection of tests may take; gains those that were not run before.

    Raises:
        RuntimeError: If its tests fail without any change.
    """
    mutations = sampled(module, copy, options.sample, options.first, options.seed)
    for tests in tests_of(module) if mutations else []:
        if tests not in seconds:
            start = time.monotonic()
            if not passes(tests, copy, None):
                raise RuntimeError(f"{tests}: {(copy / 'output').read_text()[-2000:]}")
            seconds[tests] = _SECONDS + 4 * (time.monotonic() - start)
    for mutation in mutations:
        yield tried(mutation, module, copy, seconds)


@cache
def equivalents() -> dict[tuple[str, str, str], str]:
    """Return why changes make no difference, by module, line before and line after."""
    with (Path(__file__).with_name("equivalent.toml")).open("rb") as file:
        return {
            (entry["module"], entry["was"], entry["became"]): entry["why"]
            for entry in tomllib.load(file)["equivalent"]
        }


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def run_all(options: argparse.Namespace, total: Counter[str]) -> None:
    """Run a sample of the mutants of modules, say what was found, and count it."""
    seconds: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        copy = Path(name, "farm-merge")
        Path(name).chmod(0o755)  # a few tests are another user
        shutil.copytree(ROOT, copy, ignore=_IGNORED)
        (copy / "tmp").mkdir()
        for module in modules_of(options.modules):
            counts = Counter[str]()
            for result, line, operator, was, became in run_module(module, copy, options, seconds):
                if result == "no Python":
                    continue
                counts[result] += 1
                total[result] += 1
                if result == "missed" or options.verbose:
                    _say(f"{result}: {module}:{line} {operator}\n    - {was}\n    + {became}")
            if counts:
                _say(f"{module}: {_words(counts)}")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=WRITING, help="below farm_merge/")
    parser.add_argument("--sample", type=int, default=15, help="mutants of a module")
    parser.add_argument("--first", type=int, default=0, help="mutants of a module to pass over")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="show what was noticed, too")
    parser.add_argument("--keep-figures", action="store_true", help="in docs/trust/")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    OPERATOR_PROVIDERS["ours"] = Provider()
    for package in _HEAVY:
        importlib.import_module(package)
    total, interrupted = Counter[str](), False
    try:
        run_all(options, total)
    except KeyboardInterrupt:
        interrupted = True
    _say(f"all: {_words(total)}")
    if options.keep_figures and not interrupted:
        outcomes = {name: total[name] for name in ("noticed", "missed", "same")}
        trust.keep("mutants", options.sample, mutants=total.total(), **outcomes)
    sys.exit(130 if interrupted else _rate(total) < _GOAL)


def _rate(counts: Counter[str]) -> float:
    return counts["noticed"] / max(1, counts["noticed"] + counts["missed"])


def _words(counts: Counter[str]) -> str:
    return (
        f"{counts.total()} mutants, {counts['noticed']} noticed, {counts['missed']} missed,"
        f" {counts['same']} make no difference: {_rate(counts):.0%}"
    )


if __name__ == "__main__":
    _main()

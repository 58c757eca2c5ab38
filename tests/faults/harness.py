"""Runs scenarios, each with a fault at one of its calls, and looks at what that left.

    python -m tests.faults.harness [--points 40] [--jobs 2] [--only WORD]

Every point is a process forked from one that has imported everything, in which a call that reaches
the disk is the last (SIGKILL, or half a write and then SIGKILL), or fails (EIO; ENOSPC, EMFILE and
EACCES from then on). Afterwards inputs are unchanged, what is there is whole, the command said so in
words, and the same command finishes the job and leaves nothing else. So it does when the power goes:
what was synced is there, and of the rest any part.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tests import trust
from tests.faults.power import Disk, read_log, variants

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).with_name("shim.c")

WRITE, SYNC, OPEN, NAME, REMOVE, READ, CREATE = (1 << bit for bit in range(7))
_ALL = WRITE | SYNC | CREATE | NAME | REMOVE
_PATIENCE_SECONDS = 90

POWER = "power goes"


class Fault(NamedTuple):
    """What happens at a call.

    Attributes:
        name: Of the fault.
        mask: Calls that are counted.
        error: What the call fails with; 0 for a kill.
        stays: Whether all later ones fail too.
        torn: Whether half of a write is done.
    """

    name: str
    mask: int
    error: int = 0
    stays: bool = False
    torn: bool = False


FAULTS = (
    Fault("SIGKILL", _ALL),
    Fault("SIGKILL in a write", WRITE, torn=True),
    Fault("EIO", _ALL, errno.EIO),
    Fault("EIO from a read", READ, errno.EIO),
    Fault("ENOSPC, stays", WRITE | CREATE | NAME, errno.ENOSPC, stays=True),
    Fault("EMFILE, stays", OPEN, errno.EMFILE, stays=True),
    Fault("EACCES, stays", OPEN | NAME | REMOVE, errno.EACCES, stays=True),
)


def build(folder: Path) -> Path | str:
    """Return the shim, or why there is none."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        return "needs Linux and a C compiler"
    shim = folder / "shim.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", shim, SHIM, "-ldl"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return done.stderr if done.returncode else shim


def run_all(shim: Path, points: int, jobs: int, only: str = "") -> list[dict[str, Any]]:
    """Run all scenarios in processes with the shim; return what each found with each fault."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=base) as work:
        parts = [_start(shim, Path(work), part, jobs, points, only) for part in range(jobs)]
        with ThreadPoolExecutor(jobs) as readers:  # who is not read from waits
            texts = list(readers.map(lambda part: part.communicate()[0], parts))
    if any(part.returncode for part in parts):
        raise RuntimeError("a part failed")
    return [json.loads(line) for text in texts for line in text.splitlines()]


def _start(
    shim: Path, work: Path, part: int, jobs: int, points: int, only: str
) -> subprocess.Popen[str]:
    folder = work / str(part)
    (folder / "tmp").mkdir(parents=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "OPENBLAS_NUM_THREADS": "1",
        "TMPDIR": str(folder / "tmp"),
    }
    words = [str(folder), f"{part}/{jobs}", str(points), only]
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--part", *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


class Runner:
    """Runs one scenario again and again, from the same folder."""

    def __init__(self, scenario: Any, folder: Path) -> None:
        from tests.faults import scenarios

        self._scenarios = scenarios
        self._scenario = scenario
        self._template = folder / "template"
        self._folder = folder / "run"
        self._said = folder / "said"
        self._shim = ctypes.CDLL(None)
        self._counts: dict[str, int] = {}
        self._shim.fault_count.restype = ctypes.c_long
        self._template.mkdir(parents=True)
        assert _forked(lambda: scenario.prepare(self._template)) == 0
        if scenario.shared:
            scenarios.SHARED = _valued(lambda: scenario.shared(self._template))
        self._anew()
        self.before = self._look(scenarios.result)
        for module in self._look(self._modules):
            with suppress(ImportError):  # some are made by others, and have no file
                import_module(module)
        assert self._act(FAULTS[0], 0) == 0, self._said.read_text()
        self.wanted = self._look(scenarios.result)

    def _modules(self, folder: Path) -> list[str]:
        """Return what is imported to do it once, that no other process has to."""
        had = {*sys.modules}
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            _outcome(lambda: self._scenario.act(folder))
        return [name for name in sys.modules if name not in had]

    def count(self, fault: Fault) -> int:
        """Return how many calls there are at which a fault can happen."""
        return self._counts[fault.name]

    def point(self, fault: Fault, at: int) -> list[str]:
        """Let a fault happen at a call; return what is wrong afterwards."""
        self._anew()
        status = self._act(fault, at)
        said = self._said.read_text()
        found = list(self._problems_of(fault, status, said))
        found += self._wrong()
        return found

    def powerless(self, points: int) -> tuple[int, dict[int, list[str]]]:
        """Let the power go at so many operations; return how often, and what is wrong then."""
        self._anew()
        log = self._folder.with_name("log")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        before = self._folder.with_name("before")
        self._folder.rename(before)
        shutil.copytree(before, self._folder)
        disk = Disk(self._folder, [])  # which file has which inode
        assert self._act(FAULTS[0], 0, descriptor) == 0, self._said.read_text()
        os.close(descriptor)
        operations = read_log(log)
        disk.operations = operations
        found, tried = {}, 0
        for end in _chosen(len(operations), points):
            for early, keeps in variants(random.Random(end)):
                shutil.rmtree(self._folder)
                self._folder.mkdir()
                disk.write(self._folder, end, early=early, keeps=keeps)
                tried += 1
                if wrong := self._wrong():
                    found.setdefault(end, []).extend(wrong)
        return tried, found

    def _wrong(self) -> list[str]:
        """Return what is wrong with what is there, and with what the next run makes of it."""
        found = self._look(
            lambda folder: list(
                self._scenarios.problems(self._scenario, folder, self.wanted, self.before)
            )
        )
        found += self._changed_inputs()
        if self._scenario.repeats:
            again = self._act(None, 0)
            result, wanted = self._look(self._scenarios.result), self.wanted
            if again:  # it found nothing to do
                result, wanted = self._scenarios.bare(result), self._scenarios.bare(wanted)
            if result != wanted:
                found.append(f"the second run (exit {again}) leaves {self._differences(result)}")
        return found

    def _problems_of(self, fault: Fault, status: int | None, said: str) -> Any:
        if status is None:
            yield f"hangs for {_PATIENCE_SECONDS} seconds"
        elif not fault.error and status not in (-signal.SIGKILL, 0, 1):
            yield f"ends with {status}"
        elif fault.error and status not in {0, 1, 3}:
            yield f"exit {status}"
        if "Traceback" in said or "lease report" in said:
            yield f"says {said[-300:]}"
        if fault.error and status == 0 and self._scenario.repeats:
            result = self._look(self._scenarios.result)
            if self._scenarios.bare(result) != self._scenarios.bare(self.wanted):
                yield f"exit 0, but leaves {self._differences(result)}"

    def _changed_inputs(self) -> Any:
        if not self._scenario.keeps_inputs:
            return
        for path in (self._template / "in").rglob("*"):
            now = self._folder / path.relative_to(self._template)
            if path.is_file() and (not now.exists() or now.read_bytes() != path.read_bytes()):
                yield f"input {path.name} changed"

    def _differences(self, result: Any) -> str:
        names = [name for name in {*result, *self.wanted}
                 if result.get(name, 0) != self.wanted.get(name, 0)]  # fmt: skip
        return f"{sorted(names)[:4]}; {self._said.read_text()[-200:]}"

    def _look(self, look: Any) -> Any:
        """Return what a function finds in a copy: a look may recover what a fault left."""
        copy = self._folder.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._folder, copy)
        return _valued(lambda: look(copy))

    def _anew(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._template, self._folder)

    def _act(self, fault: Fault | None, at: int, log: int = 0) -> int | None:
        """Do it in a process of its own; return its exit code, None if it does not end."""

        def act() -> None:
            os.setsid()
            descriptor = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            if fault:
                root = f"{self._folder}/".encode()
                self._shim.fault_arm(
                    root, fault.mask, ctypes.c_long(at), fault.error, fault.stays, fault.torn
                )
            if log:
                self._shim.fault_log(log)
            self._scenario.act(self._folder)

        status = _forked(act)
        self._counts = self._counts or {
            it.name: int(self._shim.fault_count(it.mask)) for it in FAULTS
        }
        self._shim.fault_arm(b"", 0, ctypes.c_long(0), 0, 0, 0)  # it is shared with this process
        return status


def _forked(act: Any) -> int | None:
    """Run a function in a forked process; return how that ends."""
    sys.stdout.flush()
    process = os.fork()
    if not process:
        os._exit(_outcome(act))
    descriptor = os.pidfd_open(process)
    try:
        if not select.select([descriptor], [], [], _PATIENCE_SECONDS)[0]:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
    finally:
        os.close(descriptor)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def _outcome(act: Any) -> int:
    from farm_merge.errors import FarmMergeError

    try:
        act()
    except SystemExit as exc:
        return int(exc.code or 0) if not isinstance(exc.code, str) else 1
    except FarmMergeError as exc:
        sys.stderr.write(f"Error: {exc}\n")
        return 1
    except BaseException:  # noqa: BLE001  (it is what is looked for)
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _valued(make: Any) -> Any:
    """Return what a function returns in a forked process: this one opens no database."""
    import pickle

    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        os.close(ours)
        with os.fdopen(theirs, "wb") as pipe:
            try:
                pickle.dump(make(), pipe)
            except BaseException as exc:  # noqa: BLE001  (it is raised in the parent)
                traceback.print_exc()
                pickle.dump(exc, pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        value = pickle.load(pipe)
    os.waitpid(process, 0)
    if isinstance(value, BaseException):
        raise value
    return value


def _chosen(total: int, points: int) -> list[int]:
    """Return so many calls: the middle one, or some with the first and the last among them."""
    if total <= points:
        return list(range(1, total + 1))
    if points == 1:
        return [1 + total // 2]
    return sorted({1 + (total - 1) * number // max(points - 1, 1) for number in range(points)})


def run_part(folder: Path, part: int, of: int, points: int, only: str) -> None:
    """Run every so-manieth pair of a scenario and a fault, and print what was found."""
    from tests.faults.scenarios import SCENARIOS

    exactly = [scenario for scenario in SCENARIOS if scenario.name == only]
    for number, scenario in enumerate(exactly or SCENARIOS):
        if number % of != part or only not in scenario.name:
            continue
        runner = Runner(scenario, folder / str(number))
        for fault in FAULTS:
            total = runner.count(fault)
            chosen = _chosen(total, points)
            found = {at: wrong for at in chosen if (wrong := runner.point(fault, at))}
            _report(scenario.name, fault.name, len(chosen), found)
        tried, found = runner.powerless(points)
        _report(scenario.name, POWER, tried, found)
        shutil.rmtree(folder / str(number))


def _report(scenario: str, fault: str, points: int, found: dict[int, list[str]]) -> None:
    """Print what was found for the parent, and for whoever waits."""
    line = {"scenario": scenario, "fault": fault, "points": points, "violations": found}
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()
    sys.stderr.write(f"{scenario}, {fault}: {points} points, {len(found)} violations\n")


def table(found: list[dict[str, Any]]) -> list[list[str]]:
    """Return what was found as rows, by scenario: points with each fault, and violations."""
    names = [*(fault.name for fault in FAULTS), POWER]
    lines = [["", *names, "points", "violations"]]
    by_scenario: dict[str, dict[str, Any]] = {}
    for line in found:
        by_scenario.setdefault(line["scenario"], {})[line["fault"]] = line
    sums: Counter[str] = Counter()
    for scenario, lines_of in by_scenario.items():
        points = sum(line["points"] for line in lines_of.values())
        wrong = sum(len(line["violations"]) for line in lines_of.values())
        sums.update({name: line["points"] for name, line in lines_of.items()})
        sums.update(points=points, violations=wrong)
        cells = [str(lines_of[name]["points"]) if name in lines_of else "" for name in names]
        lines.append([scenario, *cells, str(points), str(wrong)])
    lines.append(["all", *(str(sums[name]) for name in (*names, "points", "violations"))])
    return lines


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _main() -> None:
    if sys.argv[1:2] == ["--part"]:
        folder, part, points, only = sys.argv[2:]
        number, _, of = part.partition("/")
        run_part(Path(folder), int(number), int(of), int(points), only)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=40, help="of each scenario with each fault")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--only", default="", help="the scenario of this name, or those with it in theirs"
    )
    parser.add_argument("--keep-figures", action="store_true", help="in docs/trust/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        shim = build(Path(folder))
        if isinstance(shim, str):
            sys.exit(shim)
        found = run_all(shim, options.points, options.jobs, options.only)
    for line in found:
        for at, wrong in line["violations"].items():
            sys.stdout.write(
                f"{line['scenario']}, {line['fault']} at call {at}: {'; '.join(wrong)}\n"
            )
    lines = table(found)
    sys.stdout.write(f"{_aligned(lines)}\n")
    if options.keep_figures:
        points, violations = map(int, lines[-1][-2:])
        trust.keep("faults", options.points, points=points, violations=violations, table=lines)
    sys.exit(any(line["violations"] for line in found))


if __name__ == "__main__":
    _main()

"""What is done while faults happen, and what may be seen afterwards.

A scenario starts from a folder with `in/`, what it reads, and perhaps an output of before; what it
does is done in a forked process, and may be done again in another.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from farm_merge import ExperimentDatabase, InMemorySimulationDatabase, SimulationDatabase
from farm_merge.archive import archive_database
from farm_merge.cli import main
from farm_merge.crate import publish_database
from farm_merge.errors import FarmMergeError
from farm_merge.housekeeping import remove_simulations
from farm_merge.merge import merge_shards
from farm_merge.report import page, write_report
from farm_merge.report.chart import draw_pictures, on_page
from farm_merge.report.charts import draw_charts
from farm_merge.report.runs import read_runs
from farm_merge.sqlite import COMPANION_SUFFIXES, sqlite3
from farm_merge.sweep import run_sweep, watch_shards
from farm_merge.sweep.design import Sweep
from tests.conftest import content, query, write_shard

if TYPE_CHECKING:
    from pathlib import Path

Problems = Iterator[str]


@dataclass(frozen=True)
class Scenario:
    """Something that writes.

    Attributes:
        name: Of the scenario.
        prepare: Fills its folder.
        act: Does it, in the folder.
        simulations: Those that the output may hold, in the order in which they come; what it has
            before are the first.
        output: Where the result is.
        before: How many simulations the output has before; None where it is not there.
        whole: Whether all come at once.
        repeats: Whether it can be done again.
        keeps_inputs: Whether what it reads stays.
        shared: What takes long to make, from the folder, and is the same each time: `SHARED`.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    simulations: tuple[str, ...] = ("a", "b", "c")
    output: str = "exp.db"
    before: int | None = None
    whole: bool = True
    repeats: bool = True
    keeps_inputs: bool = True
    shared: Callable[[Path], Any] | None = None


SHARED: Any = None


def cli(*words: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        main([word.format(folder) for word in words])

    return act


def shards(*names: str, **options: Any) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        for name in names:
            write_shard(folder / "in" / f"{name}.db", name, steps=20, **options)

    return prepare


def with_output(*names: str, more: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """Prepare an experiment database, and shards that are to be merged."""

    def prepare(folder: Path) -> None:
        shards(*names)(folder)
        merge_shards([folder / "in"], folder / "exp.db", experiment_id="e")
        shutil.rmtree(folder / "in")
        shards(*more)(folder)
        (folder / "in").mkdir(exist_ok=True)

    return prepare


def of_other_data(folder: Path) -> None:
    write_shard(folder / "in" / "a.db", "a", steps=20, shift=1.0)
    merge_shards([folder / "in"], folder / "exp.db", experiment_id="e")
    shutil.rmtree(folder / "in")
    shards("a")(folder)


def legacy(folder: Path) -> None:
    (folder / "in").mkdir()
    for name in "abc":
        with closing(
            sqlite3.connect(str(folder / "in" / f"{name}.db"), isolation_level=None)
        ) as db:
            db.execute("CREATE TABLE agents (simulation_id, agent_id TEXT, birth_time INTEGER)")
            db.executemany(
                "INSERT INTO agents VALUES (?, ?, ?)", ((name, f"agent_{n}", n) for n in range(500))
            )


def with_wal(folder: Path) -> None:
    """A run that ended without closing: its rows are in its WAL."""
    shards("a")(folder)
    copy = folder / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(str(folder / "in" / "a.db"), isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE agents SET genome_id = 'late'")
        for name in ("a.db", "a.db-wal"):
            shutil.copy(folder / "in" / name, copy)
    shutil.rmtree(folder / "in")
    copy.rename(folder / "in")


def archived(folder: Path) -> None:
    with_output("a", "b", "c")(folder)
    archive_database(folder / "exp.db", folder / "in" / "exp.db.zst")
    (folder / "exp.db").unlink()


def with_space(folder: Path) -> None:
    with_output("a", "b", "c", "d")(folder)
    remove_simulations(folder / "exp.db", ["d"])


def persist(folder: Path) -> None:
    with InMemorySimulationDatabase(simulation_id="p") as memory:
        write_rows(memory)
        memory.persist_to_disk(folder / "exp.db", show_progress=False)


def write_rows(run: Any) -> None:
    run.flush_all_buffers()
    for step in range(10):
        run.logger.log_step(step, [], [("r", 1.0, 2.0, 3.0)], {"total_agents": 1})
        run.flush_all_buffers()


def log(folder: Path) -> None:
    with SimulationDatabase(folder / "exp.db", simulation_id="p") as run:
        write_rows(run)


def log_into(folder: Path) -> None:
    with ExperimentDatabase(folder / "exp.db", "e") as experiment:
        run = experiment.create_simulation_context("p", {})
        write_rows(run)


def sweep(folder: Path) -> None:
    design = Sweep(experiment_id="e", steps=2, repetitions=2, config={"population": 6})
    with ThreadPoolExecutor(1) as pool:
        report = run_sweep(design, folder / "shards", folder / "exp.db", executor=pool)
    if report.failed:
        raise FarmMergeError(f"{len(report.failed)} runs failed")


def with_list(folder: Path) -> None:
    with_output("a", "b", "c")(folder)
    (folder / "in" / "runs.csv").write_text("simulation_id,seed,status\na,7,failed\nb,8,failed\n")


def with_page(folder: Path) -> None:
    with_output("a", "b")(folder)
    template = resources.files("farm_merge.report").joinpath("page.html").read_text()
    start, _, _ = template[template.index("<!doctype") :].partition("{{ version }}")
    (folder / "r.html").write_text(f"{start}0.0.1 an older one</html>")


def with_about(folder: Path) -> None:
    with_output("a", "b")(folder)
    about = 'license = "CC0-1.0"\nauthors = [{name = "A. Author"}]\n'
    (folder / "in" / "about.toml").write_text(about)


def charts(folder: Path) -> Any:
    """Draw the charts of a report, and their pictures, which takes seconds."""
    drawn = [*draw_charts(read_runs(folder / "exp.db"))]
    on_pages = {chart.name: on_page(chart) for chart in drawn}
    return drawn, on_pages, [*draw_pictures(drawn[:3])], page._vega()


@contextmanager
def drawn() -> Iterator[None]:
    """Let pages show the charts that are drawn already."""
    charts, on_pages, pictures, vega = SHARED
    with (
        patch.multiple(
            "farm_merge.report",
            draw_charts=lambda _: charts,
            draw_pictures=lambda _: pictures,
        ),
        patch.multiple(page, on_page=lambda chart: on_pages[chart.name], _vega=lambda: vega),
    ):
        yield


def report(folder: Path) -> None:
    with drawn():
        write_report(folder / "exp.db", folder / "r.html", plots=folder / "plots")


def publish(folder: Path) -> None:
    with drawn():
        publish_database(folder / "exp.db", folder / "crate", folder / "in" / "about.toml")


def watch(folder: Path) -> None:
    for merged in watch_shards([folder / "in"], folder / "exp.db", experiment_id="e", until=3,
                               settle=0, interval=0.01):  # fmt: skip
        if merged.left_out:  # it would wait until that file changes
            raise FarmMergeError(str(merged.left_out[0]))


def nothing(folder: Path) -> None:
    (folder / "in").mkdir()


MERGE = ("merge", "{0}/in", "-o", "{0}/exp.db", "--experiment-id", "e", "-q")

SCENARIOS = (
    Scenario("merge, new, graft", shards(*"abc"), cli(*MERGE, "--engine", "graft", "-j", "1")),
    Scenario("merge, new, two processes", shards(*"abc"), cli(*MERGE, "--engine", "graft", "-j2")),
    Scenario("merge, new, attach", shards(*"abc"), cli(*MERGE, "--engine", "attach")),
    Scenario("merge, new, legacy", legacy, cli(*MERGE, "--engine", "graft", "-j", "1")),
    Scenario("merge, append", with_output("a", more=("b", "c")), cli(*MERGE), before=1, whole=False),
    Scenario("merge, append, graft", with_output("a", "d", more=("b", "c", "e")),
             cli(*MERGE, "--engine", "graft", "-j", "1"), simulations=("a", "d", "b", "c", "e"),
             before=2),
    Scenario("merge, replace", of_other_data, cli(*MERGE, "--on-conflict", "replace"),
             simulations=("a",), before=1),
    Scenario("merge --archive", with_wal, cli(*MERGE, "--archive", "{0}/done"), simulations=("a",),
             keeps_inputs=False),
    Scenario("persist, new", nothing, persist, simulations=("p",)),
    Scenario("persist, into", with_output("a"), persist, simulations=("a", "p"), before=1),
    Scenario("logger, shard", nothing, log, simulations=("p",), whole=False, repeats=False),
    Scenario("logger, experiment", with_output("a"), log_into, simulations=("a", "p"), before=1,
             whole=False, repeats=False),
    Scenario("sweep", nothing, sweep, simulations=("r1", "r2"), whole=False),
    Scenario("archive", with_output("a", "b", "c"), cli("archive", "{0}/exp.db"), before=3,
             output="exp.db"),
    Scenario("restore", archived, cli("restore", "{0}/in/exp.db.zst", "-o", "{0}/exp.db")),
    Scenario("remove", with_output("a", "b", "c"), cli("remove", "{0}/exp.db", "--simulation=a"), before=3,
             simulations=("a", "b", "c")),
    Scenario("vacuum", with_space, cli("vacuum", "{0}/exp.db"), before=3),
    Scenario("split", with_output("a", "b", "c"), cli("split", "{0}/exp.db", "-o", "{0}/parts"),
             before=3),
    Scenario("export", with_output("a", "b"), cli("export", "{0}/exp.db", "-o", "{0}/csv"),
             simulations=("a", "b"), before=2),
    Scenario("report, over another", with_page, report, simulations=("a", "b"), before=2,
             shared=charts),
    Scenario("publish", with_about, publish, simulations=("a", "b"), before=2, shared=charts),
    Scenario("describe", with_list, cli("describe", "{0}/exp.db", "--from", "{0}/in/runs.csv"),
             before=3),
    Scenario("digest", with_output("a", "b", "c"), cli("digest", "{0}/exp.db", "--store"),
             before=3),
    Scenario("watch", shards(*"abc"), watch, whole=False),
)  # fmt: skip


def result(folder: Path) -> dict[str, Any]:
    """Return what is in a folder: databases by their content, other files by their names."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".db" and path.is_file():
            try:
                found[name] = contents_of(path)
            except sqlite3.Error as exc:
                found[name] = str(exc)
        elif path.suffix in {".csv", ".png", ".svg"}:
            found[name] = path.stat().st_size
        elif path.suffix == ".html":
            found[name] = path.read_text().rstrip()[-7:]
        elif not name.endswith("-shm"):  # it is made anew by whoever needs it
            found[name] = None
    return found


def bare(found: dict[str, Any]) -> dict[str, Any]:
    """Return a result without what a command cleans up that has something to do."""
    return {
        name: value
        for name, value in found.items()
        if ".work" not in name and not name.endswith((".merge-lock", *COMPANION_SUFFIXES))
    }


def contents_of(path: Path) -> Any:
    """Return the rows of a database, of today's schema or another, by table."""
    names = {name for (name,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "agent_states" not in names:
        return {name: sorted(query(path, f'SELECT * FROM "{name}"'), key=repr)
                for name in names if name == "agents"}  # fmt: skip
    rows = content(path)
    rows["simulation_config"] = []  # it has the time
    if ".work" in str(path):
        return None
    rows["simulations"] = query(path, "SELECT simulation_id, status FROM simulations ORDER BY 1")
    return rows


def of_simulation(rows: Any, simulation_id: str) -> Any:
    """Return the rows of one simulation."""
    return {
        table: [row for row in found if row[0] == simulation_id] for table, found in rows.items()
    }


def problems(
    scenario: Scenario, folder: Path, wanted: dict[str, Any], before: dict[str, Any]
) -> Problems:
    """Yield what is wrong with what a fault left; the next run may have to finish it.

    Args:
        scenario: What was done.
        folder: Where.
        wanted: What is there when nothing goes wrong.
        before: What was there before.
    """
    if scenario.keeps_inputs:
        names = {str(path.relative_to(folder)) for path in (folder / "in").rglob("*")}
        yield from (f"{name} is new among the inputs" for name in names - {*before})
    else:
        yield from _apart(folder)
    for path in folder.glob("*.html"):
        if not path.read_text().rstrip().endswith("</html>"):
            yield f"{path.name} is not whole"
    output = folder / scenario.output
    if not output.exists():
        if scenario.before is not None:
            yield "the output is gone"
    elif not (scenario.before is None and not scenario.repeats):  # a logger makes it in place
        states = [state for it in (wanted, before) if (state := it.get(scenario.output))]
        yield from _wrong(scenario, output, states)


def _wrong(scenario: Scenario, output: Path, states: list[Any]) -> Problems:
    """Yield in what an output is neither as it was nor as it should be."""
    verdict = query(output, "PRAGMA integrity_check(3)")
    if verdict != [("ok",)]:
        yield f"integrity_check: {verdict}"
    rows = contents_of(output)
    if scenario.whole and rows not in states:
        yield "the output is neither as it was nor as it should be"
    runs = dict(rows.get("simulations", ())) if scenario.repeats else {}
    for simulation_id in (name for name, status in runs.items() if status != "failed"):
        have = of_simulation(rows, simulation_id)
        if not any(have == of_simulation(state, simulation_id) for state in states):
            yield f"simulation {simulation_id} is neither as it was nor as it should be"


def _apart(folder: Path) -> Problems:
    for place in (folder / "in", folder / "done"):
        if (place / "a.db").exists() and not (place / "a.db-wal").exists():
            yield f"{place.name}/a.db is there without its WAL"
    if not any((folder / place / "a.db").exists() for place in ("in", "done")):
        yield "the shard is gone"

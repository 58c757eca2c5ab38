"""A real folder gets in once and whole, or is named: copies, links, older outputs, other files."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from contextlib import closing
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm_merge.errors import ConflictError, FarmMergeError, ShardError
from farm_merge.merge import MergeReport, merge_shards, plan_merge
from farm_merge.sqlite import sqlite3
from tests.conftest import EXAMPLES, query, write_shard
from tests.merge.checks import ids, merge_checked, require_sound

FILES = int(os.environ.get("FARM_MERGE_FILES", "400"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

names = st.sampled_from(["run", "run_1", "beta_0.1", "beta_0.15", "out.v2", "é"])
endings = st.sampled_from([".db", ".sqlite", ".sqlite3", "", ".sca", ".db3", ".0"])
folders = st.sampled_from(["", "a", "b", "a/b", "c/a", "c/b"])


def write_run(path: Path, number: int, *, names_itself: bool = False) -> Path:
    """Write a run whose one row distinguishes it from all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        if names_itself:
            connection.execute("CREATE TABLE t (simulation_id TEXT, number INT)")
            connection.execute("INSERT INTO t VALUES (?, ?)", (f"sim_{number}", number))
        else:
            connection.execute("CREATE TABLE t (number INT)")
            connection.execute("INSERT INTO t VALUES (?)", (number,))
    return path


def numbers(path: Path) -> Counter[int]:
    """Return the rows of all simulations."""
    return Counter(number for (number,) in query(path, "SELECT number FROM t"))


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """Draw where runs are: a path, the run, and whether it is a file, a copy, packed or a link."""
    paths = draw(
        st.lists(
            st.tuples(folders, names, endings).map(lambda it: f"{it[0]}/{it[1]}{it[2]}".strip("/")),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    found = [(paths[0], 0, "file")]
    for path in paths[1:]:
        kind = draw(st.sampled_from(["file", "file", "copy", "packed", "link"]))
        number = len(found) if kind == "file" else draw(st.integers(0, len(found) - 1))
        number = number if kind == "file" else found[number][1]
        found.append((path, number, kind))
    return found


def build(folder: Path, tree: list[tuple[str, int, str]], *, names_itself: bool) -> list[Path]:
    """Make the files of a tree; return those that are no links."""
    first: dict[int, Path] = {}
    real = []
    for name, number, kind in tree:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            first[number] = write_run(path, number, names_itself=names_itself)
        elif kind == "copy":
            shutil.copy2(first[number], path)
        elif kind == "packed":
            path = path.with_name(f"{path.name}.gz")
            path.write_bytes(gzip.compress(first[number].read_bytes()))
        else:
            path.symlink_to(first[number])
        if kind != "link":
            real.append(path)
    return real


def merge_whatever_the_names(paths: list[Path], output: Path) -> MergeReport:
    """Merge; if two runs have one name, as the error advises."""
    try:
        return merge_shards(paths, output)
    except (ConflictError, ShardError) as exc:
        remedies = " ".join(cause.remedy for cause in (exc, *exc.causes))
        template, *_ = re.findall(r"simulation_id=(\S+?)`", remedies)
        return merge_shards(paths, output, simulation_id=template)


def runs_by_path(paths: list[Path]) -> Counter[int]:
    """Return the rows of all runs; a file and the same file packed beside it are one."""
    runs = {(str(path).removesuffix(".gz"), *contents(path)) for path in paths}
    return Counter(number for _, number in runs)


def contents(path: Path) -> Counter[int]:
    """Return the rows of a run that may be packed."""
    if path.suffix != ".gz":
        return numbers(path)
    with tempfile.NamedTemporaryFile() as file:
        file.write(gzip.decompress(path.read_bytes()))
        file.flush()
        return numbers(Path(file.name))


@SETTINGS
@given(trees(), st.booleans(), st.data())
def test_every_run_of_a_folder_is_there_once(tree, names_itself, data):
    """Whatever older outputs hold of it already, wherever they are, and however it is linked.

    A run that names itself is one run, however many copies there are; one that its path names is a
    run of its own at every path, unless older outputs gave copies one name.
    """
    with tempfile.TemporaryDirectory() as name:
        runs, outside = Path(name, "runs"), Path(name, "outside")
        outside.mkdir()
        real = build(runs, tree, names_itself=names_itself)
        older = []
        for number in range(data.draw(st.integers(0, 3), label="older outputs")):
            place = data.draw(st.sampled_from([runs, outside]), label="where")
            chosen = data.draw(st.lists(st.sampled_from([*real, *older]), min_size=1, unique=True))
            older.append(place / f"older_{number}.db")
            merge_whatever_the_names(chosen, older[-1])
        given_paths = data.draw(st.permutations([runs, *older]), label="order")
        output = Path(name, "exp.db")
        report = merge_whatever_the_names(given_paths, output)
        by_path = runs_by_path(real)
        once = Counter(dict.fromkeys(by_path, 1))
        found = numbers(output)
        if names_itself or not older:
            assert found == (once if names_itself else by_path)
        assert once <= found <= by_path
        assert len(ids(output)) == found.total()
        assert not report.left_out
        assert sum(report.files.values()) == len(real) + len(older)
        before = output.read_bytes()
        again = merge_whatever_the_names(given_paths, output)
        assert again.files == {
            "merged": 0,
            "already there": len(real) + len(older),
            "left out": 0,
        }
        assert output.read_bytes() == before


@SETTINGS
@given(trees(), st.data())
def test_runs_that_come_bit_by_bit_are_there_once(tree, data):
    """A folder that is merged while it fills holds what it would if it was merged at the end."""
    with tempfile.TemporaryDirectory() as name:
        real = build(Path(name, "runs"), tree, names_itself=False)
        output = Path(name, "exp.db")
        order = data.draw(st.permutations(real), label="order")
        split = data.draw(st.integers(0, len(order)), label="first")
        if order[:split]:
            merge_shards(order[:split], output)
        report = merge_shards([Path(name, "runs")], output)
        assert numbers(output) == runs_by_path(real)
        assert report.files["already there"] >= split
        require_sound(output)


def definitions(draw: st.DrawFn) -> str:
    """Draw the definition of a table `t` that disagrees with others of that name."""
    kind = st.sampled_from(["INT", "INTEGER", "REAL", "TEXT", ""])
    constraint = st.sampled_from(["", "", " NOT NULL", " UNIQUE", " CHECK (typeof({}) <> 'blob')",
                                  " COLLATE NOCASE", " DEFAULT 7"])  # fmt: skip
    columns = [
        f"{column} {draw(kind)}{draw(constraint).format(column)}"
        for column in draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
    ]
    form = draw(st.sampled_from(["none", "rowid", "first", "without"]))
    if form == "rowid":
        columns.insert(0, "id INTEGER PRIMARY KEY")
    elif form in {"first", "without"}:
        columns.append(f"PRIMARY KEY ({columns[0].split()[0]})")
    is_strict = draw(st.booleans()) and all(column.split()[1:2] for column in columns)
    options = ", ".join(
        (["WITHOUT ROWID"] if form == "without" else []) + (["STRICT"] if is_strict else [])
    )
    return f"CREATE TABLE t ({', '.join(columns)}) {options}"


@st.composite
def drifting(draw: st.DrawFn) -> list[tuple[list[str], list[list[object]]]]:
    """Draw files that disagree about a table: statements, and the rows."""
    value = st.one_of(st.none(), st.integers(-9, 9), st.sampled_from(["x", "X", "7", 1.5, "1e3"]))
    found = []
    for _ in range(draw(st.integers(2, 5))):
        statements = [definitions(draw)]
        if draw(st.booleans()):
            unique = draw(st.sampled_from(["", "UNIQUE "]))
            name = draw(st.sampled_from(["i", "t2", "u"]))
            statements.append(f"CREATE {unique}INDEX {name} ON t (1, 2)")
        if draw(st.booleans()):
            other = draw(st.sampled_from(["CREATE TABLE u (x)", "CREATE VIEW u AS SELECT 1 AS x"]))
            statements.insert(0, other)
        rows = draw(st.lists(st.lists(value, min_size=5, max_size=5), max_size=4))
        found.append((statements, rows))
    return found


def write_drifting(path: Path, statements: list[str], rows: list[list[object]]) -> Path:
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        # No two files have the same bytes.
        connection.execute(f"PRAGMA user_version = {path.stem.removeprefix('run_')}")
        for statement in statements:
            try:
                connection.execute(statement)
            except sqlite3.OperationalError:  # a name that is taken, or a type STRICT lacks
                continue
        columns = connection.execute("PRAGMA table_info(t)").fetchall()
        if not columns:
            connection.execute("CREATE TABLE t (a)")
            columns = [()]
        marks = ", ".join("?" * len(columns))
        for row in rows:
            try:
                connection.execute(f"INSERT INTO t VALUES ({marks})", row[: len(columns)])
            except sqlite3.IntegrityError:  # the run itself would not have logged it
                continue
    return path


@SETTINGS
@given(drifting(), st.data())
def test_what_a_plan_promises_happens(files, data):
    """Dry run and merge agree about every file, and what is refused gets in by the remedy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [
            write_drifting(folder / f"run_{number}.db", *file) for number, file in enumerate(files)
        ]
        split = data.draw(st.integers(0, len(paths) - 1), label="first")
        output = folder / "exp.db"
        parts = (paths[:split], paths[split:])
        for part in filter(None, parts):
            plan = plan_merge(part, output, on_bad_shard="skip")
            report = merge_shards(part, output, on_bad_shard="skip", verify="content")
            planned = {it.simulation_id: it.outcome.row_counts for it in plan.to_write}
            written = {
                it.simulation_id: it.row_counts for it in report.simulations if it.action.writes
            }
            assert written == planned
            assert [it.path for it in report.left_out] == [it.path for it in plan.left_out]
            if output.exists():
                require_sound(output)
        refused = [it.path for it in report.left_out]
        if refused and output.exists():
            assert all("-o NEW.db" in it.remedy for it in report.left_out)
            whole = folder / "NEW.db"
            everything = merge_shards([output, *refused], whole, verify="content")
            assert not everything.left_out
            require_sound(whole)
            output = whole
        for path in paths:
            if output.exists():
                columns = [row[1] for row in query(path, "PRAGMA table_info(t)")]
                asked = ", ".join(f"quote({column})" for column in columns)
                found = query(output, f"SELECT {asked} FROM t WHERE simulation_id = ?", path.stem)
                assert Counter(found) == Counter(query(path, f"SELECT {asked} FROM t"))


@SETTINGS
@given(
    st.lists(st.integers(1, 1 << 40), min_size=1, max_size=8, unique=True),
    st.sampled_from(["", "PRIMARY KEY", "UNIQUE"]),
    st.lists(st.integers(0, 7), max_size=6),
    st.booleans(),
)
def test_references_to_rowids_arrive(rowids, key, references, has_runs):
    """Rows refer to others by a number that no column of theirs has."""
    with tempfile.TemporaryDirectory() as name:
        paths = []
        for run in range(2 if has_runs else 1):
            paths.append(Path(name, f"run_{run}.db"))
            with closing(sqlite3.connect(str(paths[-1]), isolation_level=None)) as connection:
                connection.execute(f"CREATE TABLE agent (label TEXT {key})")
                connection.execute("CREATE TABLE step (agent_id INTEGER, v)")
                for number, rowid in enumerate(rowids):
                    connection.execute(
                        "INSERT INTO agent (rowid, label) VALUES (?, ?)",
                        (rowid + run, f"a{number}"),
                    )
                for reference in references:
                    target = rowids[reference % len(rowids)] + run
                    connection.execute("INSERT INTO step VALUES (?, ?)", (target, reference))
        output = Path(name, "exp.db")
        merge_checked(output, *paths)
        names = {column for _, column, *_ in query(output, "PRAGMA table_info(agent)")}
        number = "original_rowid" if "original_rowid" in names else "row_number"
        for path in paths:
            joined = "SELECT label, v FROM step JOIN agent ON agent_id = agent.rowid"
            found = query(
                output,
                f"SELECT label, v FROM step s JOIN agent a ON agent_id = a.{number}"
                " AND a.simulation_id = s.simulation_id WHERE s.simulation_id = ?",
                path.stem,
            )
            assert Counter(found) == Counter(query(path, joined))


def test_a_folder_of_mixed_files_is_accounted_for_to_the_last(tmp_path):
    """Shards, foreign runs of drifting schema, copies, links, packed, damaged, and other files."""
    choose = random.Random(7)
    root, number = tmp_path / "lab", count()
    kinds: Counter[str] = Counter()
    places = [root / f"{year}/{batch}" for year in (2022, 2023, 2024) for batch in range(8)]
    shard = write_shard(tmp_path / "shard.db", "x", steps=2, agents=1)
    damaged = shard.read_bytes()[:5000]
    for _ in range(FILES):
        kind = choose.choices(
            ["foreign", "shard", "gz", "damaged", "empty", "text", "image", "duckdb", "hidden"],
            [60, 10, 5, 2, 1, 12, 6, 2, 2],
        )[0]
        kinds[kind] += 1
        name = f"{kind}_{next(number)}"
        place = choose.choice(places)
        place.mkdir(parents=True, exist_ok=True)
        if kind == "foreign":
            write_run(
                place / f"{name}{choose.choice(['.db', '.sqlite', '', '.dat'])}", next(number)
            )
        elif kind == "shard":
            path = place / f"{name}.db"
            shutil.copy(shard, path)
            query(path, f"UPDATE simulations SET simulation_id = '{name}'")
            tables = [table for (table,) in query(path, "SELECT name FROM sqlite_schema")]
            for table in {*tables} - {"simulations", "experiments", "merged_shards"}:
                if not table.startswith("sqlite_"):
                    query(path, f"UPDATE {table} SET simulation_id = '{name}'")
        elif kind == "gz":
            path = write_run(tmp_path / "packed.db", next(number))
            (place / f"{name}.db.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
        else:
            data = {
                "damaged": damaged,
                "empty": b"",
                "text": b"seed = 1",
                "image": b"\x89PNG\r\n\x1a\n" + os.urandom(64),
                "duckdb": bytes(8) + b"DUCK" + bytes(64),
                "hidden": shard.read_bytes(),
            }[kind]
            ending = {"damaged": ".db", "empty": ".db", "text": ".txt", "image": ".png"}.get(kind)
            path = place / f"{'.' if kind == 'hidden' else ''}{name}{ending or ''}"
            path.write_bytes(data)
    output = tmp_path / "exp.db"
    report = merge_shards([root], output, on_bad_shard="skip")
    merged = kinds["foreign"] + kinds["shard"] + kinds["gz"]
    excluded = kinds["damaged"] + kinds["empty"] + kinds["duckdb"] + kinds["hidden"]
    assert report.files == {"merged": merged, "already there": 0, "left out": excluded}
    assert len(ids(output)) == merged
    assert Counter(left.path.name.strip(".").split("_")[0] for left in report.left_out) == Counter(
        {kind: kinds[kind] for kind in ("damaged", "empty", "duckdb", "hidden")}
    )
    assert numbers(output).total() == kinds["foreign"] + kinds["gz"]
    require_sound(output)
    again = merge_shards([root], output, on_bad_shard="skip")
    assert again.files == {"merged": 0, "already there": merged, "left out": excluded}
    with_bad = None
    try:
        merge_shards([root], tmp_path / "strict.db")
    except FarmMergeError as exc:
        with_bad = exc
    assert with_bad is not None
    assert len(with_bad.causes) == kinds["damaged"] + kinds["empty"]

"""What holds for all inputs: any schema, any rows, any split into files, any order of merges."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from farm_merge.merge import Action, audit, merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import EXAMPLES, query

SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

names = st.one_of(
    st.sampled_from(
        [
            "a",
            "A",
            "b",
            "B",
            "order",
            "rowid",
            "row_number",
            "simulation",
            "agents",
            "x y",
            'q"q',
            "é",
            "select",
        ]
    ),
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8
    ),
)
types = st.sampled_from(
    ["", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC", "VARCHAR(10)", "BOOLEAN"]
)
values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["007", "1e3", " 5", "9007199254740993", 9007199254740993, "x" * 5000]),
)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@st.composite
def tables(draw):
    """Draw a table: its name, its columns, and its kind of key."""
    name = draw(names.filter(lambda text: not text.lower().startswith("sqlite_")))
    columns = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.lower))
    columns = [column for column in columns if column.lower() != "simulation_id"]
    assume(columns)
    declared = [draw(types) for _ in columns]
    key = draw(st.sampled_from(["none", "rowid", "any", "without rowid", "two"]))
    extras = {
        "collate": draw(st.booleans()),
        "not_null": draw(st.booleans()),
        "unique": draw(st.booleans()),
        "index": draw(st.booleans()),
        "descending": draw(st.booleans()),
    }
    return name, columns, declared, key, extras


def create(table):
    name, columns, declared, key, extras = table
    parts = []
    for number, (column, type_) in enumerate(zip(columns, declared, strict=True)):
        text = f"{quoted(column)} {type_}"
        if number == 0 and key == "rowid":
            text = f"{quoted(column)} INTEGER PRIMARY KEY"
        elif number == 0 and extras["collate"]:
            text += " COLLATE NOCASE"
        if number == len(columns) - 1 and number and extras["not_null"]:
            text += " NOT NULL DEFAULT 'nothing'"
        parts.append(text)
    terms = [quoted(columns[0]) + (" DESC" if extras["descending"] else "")]
    if key == "two":
        terms += [quoted(column) for column in columns[1:2]]
    if key in {"any", "without rowid", "two"}:
        parts.append(f"PRIMARY KEY ({', '.join(terms)})")
    if extras["unique"] and len(columns) > 2:
        parts.append(f"UNIQUE ({quoted(columns[1])}, {quoted(columns[2])})")
    without = " WITHOUT ROWID" if key == "without rowid" else ""
    return f"CREATE TABLE {quoted(name)} ({', '.join(parts)}){without}"


@st.composite
def runs(draw, *, least=1, most=3):
    """Draw a schema, and the rows of several runs in it."""
    schema = draw(
        st.lists(tables(), min_size=1, max_size=3, unique_by=lambda table: table[0].lower())
    )
    rows = [
        [
            draw(st.lists(st.tuples(*[values] * len(columns)), max_size=6))
            for _, columns, *_ in schema
        ]
        for _ in range(draw(st.integers(least, most)))
    ]
    return schema, rows


def write_run(path, schema, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for table, found in zip(schema, rows, strict=True):
            connection.execute(create(table))
            name, columns, _, _, extras = table
            if extras["index"]:
                connection.execute(
                    f"CREATE INDEX {quoted('ix ' + name)} ON {quoted(name)} ({quoted(columns[-1])})"
                )
            marks = ", ".join("?" * len(columns))
            for row in found:
                try:
                    connection.execute(f"INSERT INTO {quoted(name)} VALUES ({marks})", row)
                except sqlite3.IntegrityError:
                    continue  # the run itself would not have logged it
        connection.execute("COMMIT")
    return path


def rows_of(path, table, columns, simulation_id=None):
    """Read rows with their types, without this package; their order does not count."""
    asked = ", ".join(f"quote({quoted(column)}), typeof({quoted(column)})" for column in columns)
    where = "WHERE simulation_id = ?" if simulation_id else ""
    values_ = [simulation_id] if simulation_id else []
    return Counter(query(path, f"SELECT {asked} FROM {quoted(table)} {where}", *values_))


def require_union(output, sources, schema):
    for source in sources:
        for name, columns, *_ in schema:
            assert rows_of(source, name, columns) == rows_of(output, name, columns, source.stem)


@SETTINGS
@given(runs())
@example(([("t", ["a"], ["TEXT"], "any", dict.fromkeys(
    ("collate", "not_null", "unique", "index", "descending"), False))],
    [[[(None,), (None,), ("x",)]], [[("x",)]]]))  # fmt: skip
def test_a_merge_is_the_union_and_a_second_one_changes_nothing(drawn):
    schema, rows = drawn
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            write_run(Path(folder, f"run_{number}.db"), schema, found)
            for number, found in enumerate(rows)
        ]
        output = Path(folder, "out", "exp.db")
        report = merge_shards(sources, output, verify="content")
        require_union(output, sources, schema)
        assert audit(output, sources).problems == ()
        assert query(output, "PRAGMA integrity_check") == [("ok",)]
        before = output.read_bytes()
        report = merge_shards(sources, output)
        assert {outcome.action for outcome in report.simulations} == {Action.ALREADY_MERGED}
        assert output.read_bytes() == before


def has_null_key(schema, rows):
    """Return whether a row has NULL in its key, for which every grouping may find another key."""
    return any(
        key in {"any", "two"} and any(None in row[:2] for row in found[number])
        for found in rows
        for number, (_, _, _, key, _) in enumerate(schema)
    )


@SETTINGS
@given(runs(least=2, most=4), st.data())
def test_merges_of_merges_in_any_grouping_are_the_merge_of_all(drawn, data):
    schema, rows = drawn
    assume(not has_null_key(schema, rows))
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            write_run(Path(folder, f"run_{number}.db"), schema, found)
            for number, found in enumerate(rows)
        ]
        groups = data.draw(
            st.lists(st.integers(0, 2), min_size=len(sources), max_size=len(sources)),
            label="groups",
        )
        parts = []
        for group in sorted(set(groups)):
            chosen = [path for path, number in zip(sources, groups, strict=True) if number == group]
            parts.append(Path(folder, f"part_{group}.db"))
            merge_shards(chosen, parts[-1])
        order = data.draw(st.permutations(parts), label="order")
        whole = Path(folder, "whole.db")
        for part in order:
            merge_shards([part], whole, verify="content")
        require_union(whole, sources, schema)
        assert audit(whole, sources).problems == ()


@SETTINGS
@given(runs(most=1), runs(most=1))
def test_two_schemas_in_one_merge(first, second):
    """Drift in every form: what can be reconciled loses nothing, what cannot is refused whole."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            write_run(Path(folder, f"run_{number}.db"), schema, rows[0])
            for number, (schema, rows) in enumerate((first, second))
        ]
        output = Path(folder, "exp.db")
        report = merge_shards(sources, output, on_bad_shard="skip", verify="content")
        left_out = {left.path for left in report.left_out}
        assert len(left_out) < 2
        for source, (schema, _) in zip(sources, (first, second), strict=True):
            if source not in left_out:
                require_union(output, [source], schema)

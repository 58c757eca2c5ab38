"""What is published can be read back, validated, and merged, and says where it came from."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pyarrow.dataset
import pytest
import rocrate
from rocrate.rocrate import ROCrate

from farm_merge import SimulationDatabase
from farm_merge.archive import restore_database
from farm_merge.crate import About, Author, publish_database
from farm_merge.database.provenance import provenance
from farm_merge.digest import digest_simulations
from farm_merge.errors import InvalidOptionError, OutputError, ShardError
from farm_merge.merge import merge_shards
from tests.conftest import content, query

ABOUT = About(
    license="CC-BY-4.0",
    authors=(
        Author(name="Ada", orcid="0000-0001-5109-3700", affiliation="Society"),
        Author(name="Grace", affiliation="Society"),
    ),
    title="Rates",
    keywords=("agents",),
    code="https://example.org/model",
    doi="10.5281/zenodo.1",
)
VALIDATOR = os.environ.get("FARM_MERGE_VALIDATOR", "")


@pytest.fixture
def commit(request, monkeypatch):
    """The commit of the code that simulates; none is known where there is no repository."""
    found = getattr(request, "param", "0123abc")
    monkeypatch.setattr("farm_merge.database.provenance._git_commit", lambda: found)
    provenance.cache_clear()
    yield found
    provenance.cache_clear()


@pytest.fixture
def experiment(tmp_path, commit):
    for number, rate in enumerate((0.1, 0.1, 0.5)):
        path = tmp_path / "shards" / f"run_{number}.db"
        parameters = {"rate": rate, "world": {"size": 10}, "name": "a b"}
        with SimulationDatabase(path, parameters=parameters, seed=number) as db:
            for step in range(4):
                db.logger.log("model", key="step", step=step, price=step * rate)
    merge_shards([tmp_path / "shards"], tmp_path / "exp.db")
    return tmp_path / "exp.db"


def digests(database):
    return {digest.simulation_id: digest.digest for digest in digest_simulations(database)}


def test_the_folder_has_all_and_every_file_its_checksum(experiment, tmp_path):
    published = publish_database(experiment, tmp_path / "out", ABOUT)
    there = {path.name for path in published.folder.iterdir()}
    assert there == set(published.files)
    sums = dict(
        reversed(line.split("  "))
        for line in (tmp_path / "out/SHA256SUMS").read_text().splitlines()
    )
    assert sums == {
        name: hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
        for name in there - {"SHA256SUMS"}
    }
    assert published.simulations == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("how", ["restored", "merged"])
def test_what_comes_back_from_the_folder_has_the_same_digests(experiment, tmp_path, how):
    publish_database(experiment, tmp_path / "out", ABOUT)
    if how == "restored":
        restore_database(tmp_path / "out/exp.db.zst", tmp_path / "back.db")
    else:
        merge_shards([tmp_path / "out"], tmp_path / "back.db")
    assert digests(tmp_path / "back.db") == digests(experiment)
    assert content(tmp_path / "back.db") == content(experiment)


def test_the_table_has_parameters_seeds_and_digests(experiment, tmp_path):
    publish_database(experiment, tmp_path / "out", ABOUT)
    with (tmp_path / "out/simulations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["simulation_id"]: row["digest"] for row in rows} == digests(experiment)
    assert [row["parameters.rate"] for row in rows] == ["0.1", "0.1", "0.5"]
    assert [row["seed"] for row in rows] == ["0", "1", "2"]


def test_rocrate_reads_the_description_back(experiment, tmp_path):
    query(experiment, "UPDATE simulations SET git_commit = 'abc123'")
    publish_database(experiment, tmp_path / "out", ABOUT)
    crate = ROCrate(tmp_path / "out")
    assert (crate.name, crate.license.id) == ("Rates", "https://spdx.org/licenses/CC-BY-4.0")
    assert crate.root_dataset["identifier"] == "https://doi.org/10.5281/zenodo.1"
    authors = crate.root_dataset["author"]
    assert [author["name"] for author in authors] == ["Ada", "Grace"]
    assert authors[0].id == "https://orcid.org/0000-0001-5109-3700"
    assert authors[0]["affiliation"] == authors[1]["affiliation"]
    data = crate.get("exp.db.zst")
    archive = (tmp_path / "out/exp.db.zst").read_bytes()
    assert data["sha256"] == hashlib.sha256(archive).hexdigest()
    assert data["contentSize"] == str(len(archive))
    action = crate.get("#simulate")
    assert action["result"] == data
    assert action["instrument"]["version"] == "abc123"
    assert "numpy" in {needed["name"] for needed in action["instrument"]["softwareRequirements"]}
    values = {it["name"]: it["value"] for it in crate.root_dataset["variableMeasured"]}
    assert values == {"rate": [0.1, 0.5], "world.size": 10, "name": "a b"}


def test_the_page_shows_the_runs_and_carries_the_description(experiment, tmp_path):
    publish_database(experiment, tmp_path / "out", ABOUT)
    page = (tmp_path / "out/ro-crate-preview.html").read_text()
    start = page.index('<script type="application/ld+json">') + 35
    embedded = json.loads(page[start : page.index("</script>", start)])
    assert embedded == json.loads((tmp_path / "out/ro-crate-metadata.json").read_text())
    assert "run_2" in page


@pytest.mark.parametrize("commit", ["0123abc", None], indirect=True)
def test_the_code_that_simulated_has_a_version_known_or_not(experiment, commit, tmp_path):
    """The profile asks for one of all software."""
    publish_database(experiment, tmp_path / "out", ABOUT)
    software = ROCrate(tmp_path / "out").get_by_type("SoftwareApplication")
    (code,) = [it for it in software if it.id.startswith(ABOUT.code)]
    assert code["version"] == (commit or "unknown")
    assert all(it["version"] for it in software)


def test_parquet_has_the_same_rows(experiment, tmp_path):
    publish_database(experiment, tmp_path / "out", ABOUT, format="parquet")
    table = pyarrow.dataset.dataset(tmp_path / "out/data/model", partitioning="hive").to_table()
    rows = table.select(["simulation_id", "step", "price"]).to_pylist()
    expected = query(experiment, "SELECT simulation_id, step, price FROM model")
    assert sorted(tuple(row.values()) for row in rows) == expected
    assert ROCrate(tmp_path / "out").get("data/").type == "Dataset"


@pytest.mark.skipif(not VALIDATOR, reason="FARM_MERGE_VALIDATOR names no Python with roc-validator")
@pytest.mark.parametrize(
    ("form", "commit"), [("sqlite", "0123abc"), ("parquet", None)], indirect=["commit"]
)
def test_the_validator_of_ro_crates_finds_nothing_that_is_required(experiment, tmp_path, form):
    publish_database(experiment, tmp_path / "out", ABOUT, format=form)
    script = Path(__file__).with_name("validate.py")
    context = Path(rocrate.__file__).parent / "data/ro-crate.jsonld"
    words = [VALIDATOR, script, tmp_path / "out", context, "ro-crate-1.3"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert "ro-crate-1.3: 1" in done.stdout, done.stderr
    assert "REQUIRED: " not in done.stdout


def test_a_dry_run_writes_nothing(experiment, tmp_path):
    published = publish_database(experiment, tmp_path / "out", ABOUT, dry_run=True)
    assert (published.simulations, published.files[0]) == (3, "exp.db.zst")
    assert not (tmp_path / "out").exists()


def test_it_appears_whole_or_not_at_all(experiment, tmp_path):
    query(experiment, "UPDATE model SET price = 'text' WHERE simulation_id = 'run_2'")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Exception, match="declared type"):
        publish_database(experiment, tmp_path / "out", ABOUT, format="parquet")
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_in_the_way_stays(experiment, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    for dry_run in (True, False):
        with pytest.raises(OutputError, match="not empty"):
            publish_database(experiment, tmp_path / "out", ABOUT, dry_run=dry_run)
    with pytest.raises(InvalidOptionError, match="'sqlite', 'parquet'"):
        publish_database(experiment, tmp_path / "new", ABOUT, format="zip")
    (tmp_path / "bad.db").write_text("no database")
    with pytest.raises(ShardError, match=r"bad\.db"):
        publish_database(tmp_path / "bad.db", tmp_path / "new", ABOUT)
    assert not (tmp_path / "new").exists()

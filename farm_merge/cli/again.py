"""The commands that answer for a sweep's results: sensitivity, digest and rerun."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from farm_merge.cli import options
from farm_merge.cli.show import (
    DIFFERENT,
    draws_bars,
    echo,
    note,
    print_done,
    print_json,
    print_rows,
)

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["COMMANDS"]


@click.command()
@options.database
@click.option("--outcome", required=True, help="A number that every simulation has.")
@click.option("--experiment", help="Which experiment, if there are several.")
@click.option("--sql", help="SELECT simulation_id, … FROM …: the outcome, where no name has it.")
@options.form
def sensitivity(
    database: Path, *, outcome: str, experiment: str | None, sql: str | None, form: str
) -> None:
    """Analyse how much an outcome depends on the parameters of a sweep.

    For designs of Morris and Saltelli these are SALib's indices, with confidence intervals; for any
    other, rank correlations.
    """
    from farm_merge.sweep import sensitivity as analyse

    found = analyse(database, outcome, experiment_id=experiment, sql=sql)
    if form == "json":
        print_json(asdict(found))
        return
    for text in found.notes:
        note(text)
    note(f"of {found.simulations:,} simulations: {found.method}", found.outcome)
    columns = list(dict.fromkeys(name for row in found.rows for name in row))
    rows = ([row.get(name) for name in columns] for row in found.rows)
    print_rows(columns or ["parameter"], rows, form)


@click.command()
@options.database
@options.simulations
@options.where
@click.option("--store", is_flag=True, help="Keep the digests in the ledger.")
@options.dry_run
@options.form
def digest(
    database: Path,
    *,
    simulations: tuple[str, ...],
    where: tuple[str, ...],
    store: bool,
    dry_run: bool,
    form: str,
) -> None:
    """Print the content digest of simulations, and check those that the ledger has.

    The same content has the same digest on any machine, in a shard or an experiment database, in
    whatever order its rows are. The exit code is 4 if a simulation is not what it was.
    """
    from farm_merge.digest import digest_simulations, store_digests

    digests = digest_simulations(database, simulations, where=where, progress=draws_bars())
    options.note_if_none(digests, database, where)
    changed = [it for it in digests if not it.is_as_stored]
    if form == "table":
        for it in digests:
            echo(f"{it.digest}  {it.simulation_id}")
    else:
        columns = ["simulation_id", "digest", "stored", "tables"]
        rows = ([asdict(it)[name] for name in columns] for it in digests)
        print_rows(columns, rows, form)
    for it in changed:
        echo(f"changed: {it.simulation_id} was {it.stored} in the ledger", err=True)
    if changed:
        sys.exit(DIFFERENT)
    if store and dry_run:
        note(f"{len(digests):,} digests would be stored; nothing was written")
    elif store:
        store_digests(database, digests)


@click.command()
@options.database
@click.argument("simulation")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    show_default=True,
    help="Where the model is: the folder of the sweep file.",
)
@options.form
def rerun(database: Path, simulation: str, *, folder: str, form: str) -> None:
    """Run a simulation of a sweep again, and compare its digest; the database stays as it is."""
    from farm_merge.sweep import rerun_simulation

    found = rerun_simulation(database, simulation, folder=folder)
    for text in found.notes:
        note(text)
    message = f"the same, {found.now}"
    if not found.is_same:
        differing = ", ".join(found.differing)
        message = f"differs in {differing}: was {found.before}, now {found.now}"
    print_done(f"{found.simulation_id}: {message}", form, **asdict(found))
    sys.exit(0 if found.is_same else DIFFERENT)


COMMANDS = (sensitivity, digest, rerun)

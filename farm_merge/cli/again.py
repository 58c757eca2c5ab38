"""The commands that answer for a sweep's results: sensitivity, digest and rerun."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from farm_merge.cli import options
from farm_merge.cli.show import (
    NOTHING_DONE,
    bar,
    print_json,
    print_rows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.sweep import Rerun

__all__ = ["COMMANDS"]


@click.command()
@options.database
@click.option("--outcome", required=True, help="A number that every simulation has.")
@click.option("--experiment-id", help="Which experiment, if there are several.")
@click.option("--sql", help="SELECT simulation_id, … FROM …: the outcome, where no name has it.")
@options.form
def sensitivity(
    database: Path, *, outcome: str, experiment_id: str | None, sql: str | None, form: str
) -> None:
    """Analyse how much an outcome depends on the parameters of a sweep.

    For designs of Morris and Saltelli SALib's indices, with confidence intervals; for any other
    rank correlations.
    """
    from farm_merge.sweep import sensitivity as analyse

    found = analyse(database, outcome, experiment_id=experiment_id, sql=sql)
    if form == "json":
        print_json(asdict(found))
        return
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{found.outcome} of {found.simulations:,} simulations: {found.method}", err=True)
    columns = list(dict.fromkeys(name for row in found.rows for name in row))
    rows = ([row.get(name) for name in columns] for row in found.rows)
    print_rows(columns or ["parameter"], rows, form)


@click.command()
@options.database
@click.argument("simulations", nargs=-1, metavar="SIMULATIONS...")
@options.where
@click.option("--store", is_flag=True, help="Keep the digests in the ledger.")
@options.as_json
def digest(
    database: Path,
    *,
    simulations: tuple[str, ...],
    where: tuple[str, ...],
    store: bool,
    as_json: bool,
) -> None:
    """Print the content digest of simulations, and check those that the ledger has.

    The same content has the same digest on any machine, in a shard or an experiment database, in
    whatever order its rows are. The exit code is 1 if a simulation is not what it was.
    """
    from farm_merge.digest import digest_simulations, store_digests

    with bar("simulations") as progress:
        digests = digest_simulations(database, simulations, where=where, progress=progress)
        changed = [it for it in digests if not it.is_as_stored]
        if store and not changed:
            store_digests(database, digests)
    if as_json:
        print_json(list(map(asdict, digests)))
    else:
        for it in digests:
            click.echo(f"{it.digest}  {it.simulation_id}")
    for it in changed:
        click.echo(f"changed: {it.simulation_id} was {it.stored} in the ledger", err=True)
    sys.exit(NOTHING_DONE if changed else 0)


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
@options.as_json
def rerun(database: Path, simulation: str, *, folder: str, as_json: bool) -> None:
    """Run a simulation of a sweep again, and compare its digest.

    The exit code is 1 if something else comes out.
    """
    from farm_merge.sweep import rerun_simulation

    found = rerun_simulation(database, simulation, folder=folder)
    if as_json:
        print_json(asdict(found))
    else:
        _print_rerun(found)
    sys.exit(0 if found.is_same else NOTHING_DONE)


def _print_rerun(found: Rerun) -> None:
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if found.is_same:
        click.echo(f"{found.simulation_id}: the same, {found.now}")
        return
    click.echo(
        f"{found.simulation_id}: differs in {', '.join(found.differing)}: was {found.before},"
        f" now {found.now}"
    )


COMMANDS = (sensitivity, digest, rerun)

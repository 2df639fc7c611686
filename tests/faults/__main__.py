"""Runs a campaign: `python -m tests.faults --seed 1 --minutes 5`. Exits with 1 if anything is wrong."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import click

from tests.faults.campaign import campaign
from tests.faults.nemesis import KINDS
from tests.faults.plan import Plan


@click.command
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--minutes", type=float, default=5.0, show_default=True, help="How long events are written.")
@click.option("--rate", type=float, default=1000.0, show_default=True, help="Events a second.")
@click.option("--speed", type=int, default=600, show_default=True, help="Seconds of event time a second.")
@click.option("--workers", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", help=f"Kinds of faults, separated by commas, or none. All: {', '.join(KINDS)}.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to leave logs and differences.")
def main(
    seed: int,
    minutes: float,
    rate: float,
    speed: int,
    workers: int,
    only: str | None,
    as_json: bool,
    folder: Path | None,
) -> None:
    """Break what can be broken while people shop, and see whether anything is lost, doubled or wrong."""
    kinds = list(KINDS) if only is None else [kind for kind in only.split(",") if kind and kind != "none"]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; allowed: {', '.join(KINDS)}", param_hint="--only")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the generator's client loses its broker, as it must
    folder = folder or Path(tempfile.mkdtemp(prefix="campaign-"))
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(seed, minutes, rate, speed)
    report = asyncio.run(campaign(plan, workers, kinds, folder, lambda text: click.echo(text, err=True)))
    click.echo(report.as_json() if as_json else report.as_text())
    click.echo(f"logs and differences: {folder}", err=True)
    sys.exit(0 if report.clean else 1)


if __name__ == "__main__":
    main()

"""`tracker worker`: runs the two stages until it is told to stop."""

from __future__ import annotations

import click

from tracker.commands.options import with_settings
from tracker.settings import Settings


@click.command
@click.option("--only", type=click.Choice(["ingest", "track"]), help="Run one of the two stages.")
@click.option(
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Share the partitions out."
)
@with_settings("brokers", "redis_url", "namespace", "model", "raw_topics", "clock", logs=True)
def worker(settings: Settings, only: str | None, processes: int) -> None:
    """Make canonical events of what the shop sends, and follow every person's journey.

    Ends on Ctrl-C or SIGTERM, after the batch in hand.
    """
    from tracker.wiring import run_worker

    run_worker(settings, only, processes)

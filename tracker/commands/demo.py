"""`tracker demo`: the real pipeline on an embedded broker and store, with visits to an invented shop."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import print_json, replay_progress
from tracker.settings import Settings

if TYPE_CHECKING:
    from tracker.demo.summary import Run, Summary


@click.command
@click.option(
    "--visitors", type=click.IntRange(0, 100_000), default=3000, show_default=True, help="Simulated visitors."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, other visitors.")
@click.option(
    "--stay/--once",
    default=None,
    help="Stay up for a second terminal until Ctrl-C, or end after the summary. [default: stay on a terminal]",
)
@json_option
@with_settings("model", logs=True)
def demo(settings: Settings, visitors: int, seed: int, stay: bool | None, as_json: bool) -> None:
    """Replay the stories of Nina, Oliver and their twins, and simulated visitors, through the real pipeline.

    Needs no Kafka and no Redis: it starts a broker and a store of its own, which end with it.
    """
    from rich.console import Console

    from tracker.demo.summary import as_dict
    from tracker.demo.summary import show as show_page
    from tracker.wiring import run_demo

    bars = ExitStack()

    def show(summary: Summary, run: Run) -> None:
        bars.close()  # before anything else is printed
        if as_json:
            print_json(as_dict(summary, run))
        else:
            show_page(Console(), summary, run)

    staying = sys.stdout.isatty() and not as_json if stay is None else stay
    with bars:
        report = bars.enter_context(replay_progress())
        run_demo(settings, visitors=visitors, seed=seed, stay=staying, report=report, show=show)

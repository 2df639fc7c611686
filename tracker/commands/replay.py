"""`tracker replay FILE…`: sends recorded events or scenarios through the pipeline and waits until all of it is out."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import number_of, print_json, replay_progress, time_text
from tracker.settings import Settings


class Moment(click.ParamType):
    """A time as RFC 3339 text or as milliseconds since 1970; a time without zone is UTC."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) or value.isdecimal():
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; allowed: 2026-03-02T12:00:00Z or milliseconds", param, ctx)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class Speed(click.FloatRange):
    """A number above zero; neither `nan` nor `inf`, which Python reads as numbers, too."""

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        speed = float(super().convert(value, param, ctx))
        if not math.isfinite(speed):
            self.fail(f"{value!r} is not a speed; allowed: a number above 0, for example 1 or 60", param, ctx)
        return speed


@click.command
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--speed",
    type=Speed(min=0, min_open=True),
    help="Times real time, 1 or 60 for example. [default: as fast as the tracker follows]",
)
@click.option("--rebase", is_flag=True, help="Shift the times where the recording lies behind the tracker's time.")
@click.option("--until", type=Moment(), help="Let the tracker's time go on to then; a later one ends more journeys.")
@click.option("--skip-bad", is_flag=True, help="Leave out lines that are no canonical events, and say how many.")
@json_option
@with_settings("brokers", "namespace", "model", "raw_topics", "clock")
def replay(
    settings: Settings,
    files: tuple[str, ...],
    speed: float | None,
    rebase: bool,
    until: int | None,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Send canonical events (JSON lines, plain or .gz) or scenarios (.yaml, or the id of a built-in one: nina) to the
    first raw topic, sorted by time.

    Returns when the tracker has published everything that follows from them. A `tracker worker` must run with
    the same settings; under TRACKER_CLOCK=event it lives in the recording's time.
    """
    from tracker.wiring import run_replay

    with replay_progress() as report:
        done, left_out = run_replay(settings, files, speed, rebase, until, skip_bad=skip_bad, report=report)
    if as_json:
        print_json(asdict(done) | {"left_out": left_out})
        return
    shifted = f", shifted by {done.shift / 1000:+,.0f} s" if done.shift else ""
    click.echo(
        f"{number_of(done.events, 'event')} from {time_text(done.first)} to {time_text(done.last)}{shifted} in "
        f"{done.seconds:.1f} s; the tracker has published all up to {time_text(done.end)}."
    )
    if left_out:
        click.echo(f"{left_out:,} lines left out: no canonical events.")

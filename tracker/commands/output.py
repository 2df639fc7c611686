"""How commands print: tables for people, lines for pipes, JSON for scripts; progress as bars on a terminal, as a line
now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tracker.stream.replay import Sent


def print_json(data: object) -> None:
    """Indented JSON on stdout."""
    click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere; what does not print is shown as escapes in both."""
    console = Console()
    rows = [[printable(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def printable(text: str) -> str:
    """What a shop sent, for a terminal: characters that would steer it are shown as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def number_of(count: int, what: str) -> str:
    """A number of things: `1 order`, `1,200 orders`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def time_text(ms: int | None) -> str:
    """A time for people: UTC, to the second."""
    if ms is None:
        return "never"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


class Rate(ProgressColumn):
    """Events a second, over the last few seconds."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and task.fields.get("rated") else "")


@contextmanager
def count_progress(what: str) -> Iterator[Callable[[int], None]]:
    """A count with its rate on stderr, where nobody knows how many there will be. Nothing without a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, Rate(), console=console, transient=True) as progress:
        task = progress.add_task(what, total=None, rated=True)
        yield lambda count: progress.update(task, completed=count)


LINE_EVERY = 10.0
"""Seconds between two lines of progress where nobody watches."""


def _replay_lines() -> Callable[[Sent], None]:
    last, before = time.monotonic(), 0

    def report(state: Sent) -> None:
        nonlocal last, before
        now = time.monotonic()
        if now - last < LINE_EVERY:
            return
        rate = (state.sent - before) / (now - last)
        last, before = now, state.sent
        left = f", {(state.total - state.sent) / rate:,.0f} s left" if rate and state.sent < state.total else ""
        reached = min(max(state.watermark or state.first, state.first), state.end)
        click.echo(
            f"{state.sent:,} of {state.total:,} events sent, {rate:,.0f}/s{left}; followed up to {time_text(reached)}",
            err=True,
        )

    return report


@contextmanager
def replay_progress() -> Iterator[Callable[[Sent], None]]:
    """On stderr: events sent, and how far the tracker's own time has come. Two bars on a terminal; without one a line
    every `LINE_EVERY` seconds, for logs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _replay_lines()
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, Rate(), TimeRemainingColumn(), console=console, transient=True) as progress:
        sent = progress.add_task("starting", total=None, rated=True)
        followed = progress.add_task("", total=None, visible=False)

        def report(state: Sent) -> None:
            progress.update(sent, description="events sent", total=state.total, completed=state.sent)
            reached = min(max(state.watermark or state.first, state.first), state.end)
            progress.update(
                followed,
                description=f"followed up to {time_text(reached)[:10]}",
                total=state.end - state.first,
                completed=reached - state.first,
                visible=True,
            )

        yield report

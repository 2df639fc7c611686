"""`tracker dead-letters`: what could not be used, and how it gets a second chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import count_progress, number_of, print_json, print_table, time_text
from tracker.settings import Settings

if TYPE_CHECKING:
    from tracker.wire.deadletters import DeadLetter

BEGINNING = 200


def _known(_: click.Context, __: click.Parameter, reason: str | None) -> str | None:
    from tracker.wire.decode import REASONS

    if reason is not None and reason not in REASONS:
        raise click.BadParameter(f"{reason!r} is no reason; allowed: {', '.join(REASONS)}")
    return reason


reason_option = click.option("--reason", callback=_known, help="Only those with this reason.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Records that were refused: their reason, where they came from, and sending them again."""


@dead_letters.command("list")
@reason_option
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
@json_option
@with_settings("brokers", "namespace", "dead_letters_key")
def list_(settings: Settings, reason: str | None, limit: int, as_json: bool) -> None:
    """Show the dead letters, oldest first."""
    from tracker.wiring import list_dead_letters

    letters = list_dead_letters(settings, reason=reason, limit=limit)
    if as_json:
        print_json([_as_dict(letter) for letter in letters])
        return
    if not letters:
        click.echo("No dead letters.", err=True)
        return
    print_table(
        ("reason", "from", "at", "detail", "begins"),
        [
            (letter.reason, _origin(letter), time_text(letter.origin.timestamp), letter.detail, _text(letter)[:60])
            for letter in letters
        ],
    )


@dead_letters.command("replay")
@reason_option
@json_option
@with_settings("brokers", "namespace", "dead_letters_key")
def replay(settings: Settings, reason: str | None, as_json: bool) -> None:
    """Send them once more to the topics they came from, after what was wrong has been mended.

    Each letter is sent once, however often this is called; what is refused again becomes a new letter.
    Letters whose record has no value, or more bytes than an event may have, are left alone and counted.
    """
    from tracker.wiring import replay_dead_letters

    with count_progress("records sent again") as told:
        done = replay_dead_letters(settings, reason=reason, told=told)
    if as_json:
        print_json(done._asdict())
        return
    click.echo(f"{number_of(done.sent, 'record')} sent again.")
    for count, why in (
        (done.too_large, "too large, or the letters do not hold them and where they came from they are no more"),
        (done.sealed, "encrypted, and TRACKER_DEAD_LETTERS_KEY does not open them"),
        (done.hopeless, "they can only be refused again, having no value or more bytes than an event may have"),
        (done.homeless, "the topic or partition they came from is gone"),
        (done.foreign, "no letters of this tracker"),
    ):
        if count:
            click.echo(f"{count} left alone: {why}.")


def _origin(letter: DeadLetter) -> str:
    origin = letter.origin
    return f"{origin.topic}/{origin.partition} @{origin.offset}"


def _text(letter: DeadLetter) -> str:
    return (letter.value or b"")[:BEGINNING].decode("utf-8", "backslashreplace")


def _as_dict(letter: DeadLetter) -> dict[str, object]:
    return {
        "reason": letter.reason,
        "detail": letter.detail,
        **letter.origin._asdict(),
        "size": letter.size,
        "pointer": letter.pointer,
        "sealed": letter.sealed or None,
        "begins": _text(letter),
    }

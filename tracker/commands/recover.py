"""`tracker recover`: why partitions stop, and the operator's word to go on in spite of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import print_json, print_table
from tracker.settings import Settings

if TYPE_CHECKING:
    from tracker.stream.recovery import Finding
    from tracker.wire.position import Position


@click.command
@click.option("--accept-loss", is_flag=True, help="Go on; what is lost, or may not have been published, stays away.")
@click.option("--accept-repeats", is_flag=True, help="Go on; what may have been published comes again, same ids.")
@click.option("--partition", "chosen", type=click.IntRange(0), multiple=True, help="Only this one; repeatable.")
@json_option
@with_settings("brokers", "redis_url", "namespace", "raw_topics")
def recover(
    settings: Settings, accept_loss: bool, accept_repeats: bool, chosen: tuple[int, ...], as_json: bool
) -> None:
    """Show how far each partition is folded and published, and what its log holds; why it stops, and the ways out.

    Changes nothing without an --accept option, and refuses these while workers run.
    """
    from tracker.wiring import run_recover

    if accept_loss and accept_repeats:
        raise click.UsageError("--accept-loss and --accept-repeats are two ways: choose one")
    accepted = "loss" if accept_loss else "repeats" if accept_repeats else None
    findings = run_recover(settings, accepted, chosen)  # type: ignore[arg-type]
    if as_json:
        print_json([_as_dict(finding) for finding in findings])
        return
    print_table(
        ("partition", "folded", "published", "log", ""),
        [
            (
                str(finding.partition),
                _offset(finding.known.folded),
                _offset(finding.known.published),
                f"{finding.known.start} to {'?' if finding.known.end is None else finding.known.end}",
                _state(finding),
            )
            for finding in findings
        ],
    )
    for finding in findings:
        if finding.why and not finding.done:
            click.echo(f"\n{finding.why}.")
            for accepted, does in finding.offers.items():
                click.echo(f"  --accept-{accepted}: {does}")


def _offset(position: Position | None) -> str:
    return "nothing" if position is None else str(position.offset)


def _state(finding: Finding) -> str:
    if finding.done:
        return f"will {finding.done}"
    return "goes on" if finding.stop is None else f"stops: {finding.stop}"


def _as_dict(finding: Finding) -> dict[str, object]:
    known = finding.known
    return {
        "partition": finding.partition,
        "folded": known.folded and known.folded.encode(),
        "published": known.published and known.published.encode(),
        "log_start": known.start,
        "log_end": known.end,
        "outbox": finding.outbox,
        "stop": finding.stop,
        "why": finding.why,
        "offers": {f"--accept-{accepted}": does for accepted, does in finding.offers.items()},
        "done": finding.done,
    }

"""`tracker topics`: creates the topics that are missing and says what is wrong with the others."""

from __future__ import annotations

import asyncio

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import print_json, print_table
from tracker.settings import Settings


@click.command
@click.option("--dry-run", is_flag=True, help="Only say what is missing.")
@json_option
@with_settings("brokers", "namespace", "raw_topics", "partitions", "replication", "events_retention")
def topics(settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Create the topics that are missing; look at the others, change nothing about them."""
    from tracker.broker.topics import ensure_topics
    from tracker.wire.topics import Topics

    found = asyncio.run(
        ensure_topics(
            settings.brokers_text,
            Topics(settings.namespace, settings.raw_topics),
            partitions=settings.partitions,
            replication=settings.replication,
            events_retention=settings.events_retention,
            outputs_retention=settings.outputs_retention,
            dry_run=dry_run,
        )
    )
    if as_json:
        print_json([topic._asdict() for topic in found])
    else:
        print_table(
            ("topic", "partitions", "", "look at"),
            [(topic.name, str(topic.partitions), topic.state, "; ".join(topic.problems)) for topic in found],
        )

"""`tracker schemas`: what is on the topics, for those who read and write them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import click

from tracker.commands.options import with_settings
from tracker.settings import Settings


@click.command
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the AsyncAPI document and a JSON Schema for each message into this directory.",
)
@with_settings("namespace", "raw_topics")
def schemas(settings: Settings, out: Path | None) -> None:
    """Print the AsyncAPI 3.0 document of the topics, with the names that they have here."""
    import orjson

    from tracker.wire.contract import asyncapi
    from tracker.wire.contract import schemas as payloads
    from tracker.wiring.parts import topics_of

    documents = {"asyncapi": asyncapi(topics_of(settings), version("journey-tracker")), **payloads()}
    if out is None:
        click.echo(orjson.dumps(documents["asyncapi"], option=orjson.OPT_INDENT_2))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        (out / f"{name}.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    click.echo(f"{len(documents)} documents in {out}")

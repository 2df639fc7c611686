"""`tracker dialects`: what raw topics may speak, and what sample records become."""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec
import orjson

from tracker.commands.options import json_option
from tracker.commands.output import print_json, print_table, printable
from tracker.errors import BadEvent, SettingError

if TYPE_CHECKING:
    from tracker.wire.reading import Reader

_files = click.argument("files", nargs=-1, required=True, metavar="FILE…")
_headers = click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header of every record; repeatable."
)


class Sample(NamedTuple):
    """A record as aiokafka would hand it over."""

    value: bytes
    headers: Sequence[tuple[str, bytes | None]]
    origin: str


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}", err=True)


@click.group
def dialects() -> None:
    """The dialects that raw topics may speak, and help with a mapping of one's own."""


@dialects.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the built-in dialects."""
    from tracker.wire.dialects import DIALECTS

    found = [("canonical", "The tracker's own form.")]
    found += [(dialect.name, dialect.reads) for dialect in DIALECTS]
    if as_json:
        print_json([{"dialect": name, "reads": reads} for name, reads in found])
    else:
        print_table(("dialect", "what is read"), found)


@dialects.command
@_files
@click.option("--dialect", default="auto", metavar="DIALECT", help="A built-in one or a mapping. [default: detect it]")
@_headers
def read(files: tuple[str, ...], dialect: str, headers: tuple[str, ...]) -> None:
    """Print the canonical events in sample records, one a line. FILE has one JSON record, an array of them, or one a
    line; plain or .gz. What became of the records goes to stderr; the exit code is 1 if one was refused."""
    from tracker.wire.reading import reader_of
    from tracker.wiring.dialects import dialect_of

    _show(reader_of(dialect_of(dialect, _warn) or dialect), files, headers)


@dialects.command
@click.argument("mapping", metavar="MAPPING")
@click.argument("samples", nargs=-1, metavar="[SAMPLE]…")
@_headers
def check(mapping: str, samples: tuple[str, ...], headers: tuple[str, ...]) -> None:
    """Check a mapping; the first error is named with file, line, key and what is allowed (exit code 2). SAMPLE files
    are read with it, as by `tracker dialects read`."""
    from tracker.wire.reading import reader_of
    from tracker.wiring.mappings import load_mapping

    dialect, slips = load_mapping(mapping)
    for slip in slips:
        _warn(slip)
    cases = f", {len(dialect.cases)} cases" if len(dialect.cases) > 1 else ""
    known = "by itself among others" if dialect.marks is not None else "only where TRACKER_DIALECTS names it"
    click.echo(f"{mapping} is valid: dialect {dialect.name}{cases}; recognised {known}.", err=bool(samples))
    if samples:
        _show(reader_of(dialect), samples, headers)


def _show(reader: Reader, files: Sequence[str], headers: Sequence[str]) -> None:
    from tracker.stream.canonical import UNEXPECTED

    given = [_header(header) for header in headers]
    stamp = time.time_ns() // 1_000_000
    records: Counter[str] = Counter()
    events = left_out = refused = 0
    for file in files:
        for sample in _samples(file, given):
            try:
                reading = reader(sample, stamp)
            except (BadEvent, *UNEXPECTED) as error:
                refused += 1
                said = str(error) if isinstance(error, BadEvent) else repr(error)
                click.echo(printable(f"{sample.origin}: {said}"), err=True)
                continue
            records[reading.dialect] += 1
            events += len(reading.events)
            left_out += not reading.events
            for one in reading.events:
                click.echo(orjson.dumps(msgspec.to_builtins(one.event)).decode())
    by_dialect = ", ".join(f"{count} {name}" for name, count in sorted(records.items())) or "none"
    click.echo(f"Read: {by_dialect}. Events: {events}. Left out: {left_out}. Refused: {refused}.", err=True)
    if refused:
        sys.exit(1)


def _header(text: str) -> tuple[str, bytes | None]:
    name, found, value = text.partition("=")
    if not name or not found:
        raise SettingError(f"--header is {text!r}; allowed: NAME=VALUE, for example X-Shopify-Topic=orders/create")
    return name, value.encode()


def _samples(file: str, headers: Sequence[tuple[str, bytes | None]]) -> Iterator[Sample]:
    try:
        raw = Path(file).read_bytes()
        raw = gzip.decompress(raw) if file.endswith(".gz") else raw
    except (OSError, EOFError, zlib.error) as error:
        raise SettingError(f"{file}: cannot be read: {error}") from None
    try:
        whole = msgspec.json.decode(raw, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except (ValueError, RecursionError):  # one a line, or what is said when a reader refuses it
        for number, line in enumerate(raw.splitlines(), 1):
            if line.strip():
                yield Sample(line, headers, f"{file}:{number}")
        return
    if isinstance(whole, dict):
        yield Sample(raw, headers, file)
        return
    for number, one in enumerate(whole, 1):
        yield Sample(bytes(one), headers, f"{file}[{number}]")

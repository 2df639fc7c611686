"""Records as nobody should send them: the fixtures' records with bytes flipped, fields removed, doubled, retyped and
nested, numbers huge, texts long."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import yaml

from tests.dialects.wires import Headers
from tests.dialects.writers import WRITERS
from tracker.demo.scenarios import scenarios
from tracker.wire.control import Progress, control_headers, encode_control
from tracker.wire.reading import CANONICAL

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "docs" / "examples" / "kasse.json"
MAPPED = "kasse"
"""The dialect that the mapping beside the example describes."""
LONG = b'"' + b"x" * 9000 + b'"'
WEIRD = (
    b"null", b"true", b"false", b"0", b"-1", b"1e400", b"-1e-400", b"1e308", b"NaN", b"9" * 19, b"9" * 400, b"9" * 5000,
    b"1.5", b"1700000000", b"1700000000000", b"253402300800000", b"18446744073709551616", b"-0.0", b"[]", b"{}",
    b"[[]]", b"[null]", b'[{"product_id":7}]', b'""', b'" "', b'"null"', b'"0"', b'"-1"', b'"1e400"', b'"nan"',
    b'"inf"', b'"1_000"', b'"2026-03-02T10:00:00Z"', b'"2026-03-02T10:00:00"', b'"2026-13-02"', b'"1700000000.5"',
    b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59-23:59"', '"½٣"'.encode(), '"\u202e\U0001f6d2é"'.encode(),
    b'"\\ud800"', b'"\\u0000"', b'"\x00"', b'"\xff\xfe"', b'"guest"', b'"track"', b'"purchase"', LONG,
    b'{"a":{"b":[1,2,{"c":null}]}}',
)  # fmt: skip
"""In place of a value: some are no JSON."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


class Seed(NamedTuple):
    """A record that is right. `values` are the spans of its JSON's values, `pairs` those of objects' fields with one
    comma."""

    dialect: str
    value: bytes
    headers: Headers
    values: list[tuple[int, int]]
    pairs: list[tuple[int, int]]


class Mutant(NamedTuple):
    """What became of one."""

    dialect: str
    value: bytes | None
    headers: Headers


def seeds() -> list[Seed]:
    """The fixtures of every dialect, what their writers write, and records of other rooms that stand in raw topics."""
    found = [
        _seed(file.stem, msgspec.json.encode(example["record"]), _headers(example.get("headers")))
        for file in sorted(HERE.glob("*.yaml"))
        for example in yaml.safe_load(file.read_text("utf-8"))
    ]
    events = [event for scenario in scenarios() for event in scenario.events]
    for number, event in enumerate(events):
        for name, writer in WRITERS.items():
            wire = writer.write(event)
            if wire is not None and number % 3 == 0:
                found.append(_seed(name, wire.value, wire.headers))
    value = WRITERS[CANONICAL].write(events[0])
    assert value is not None
    cloud = {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop",
        "type": "no.shop.page_viewed",
        "time": "2026-03-02T10:00:00Z",
    }
    attributes = tuple((f"ce_{name}", text.encode()) for name, text in cloud.items())
    structured = msgspec.json.encode({**cloud, "data": msgspec.Raw(value.value)})
    return [
        *found,
        *(_seed(MAPPED, msgspec.json.encode(record), ()) for record in json.loads(EXAMPLE.read_text("utf-8"))),
        _seed(CANONICAL, value.value, attributes),
        _seed(CANONICAL, structured, (("content-type", b"application/cloudevents+json"),)),
        _seed(CANONICAL, structured, ()),
        _seed(CANONICAL, encode_control(Progress(1_700_000_000_000)), tuple(control_headers(Progress(0)))),
    ]


def _headers(given: dict[str, str] | None) -> Headers:
    return tuple((name, text.encode()) for name, text in (given or {}).items())


def _seed(dialect: str, value: bytes, headers: Headers) -> Seed:
    values: list[tuple[int, int]] = []
    pairs: list[tuple[int, int]] = []
    open_: list[tuple[bytes, int]] = []
    key: list[int] = []
    tokens = list(_TOKEN.finditer(value))
    for place, token in enumerate(tokens):
        text = token[0]
        if text in {b"{", b"["}:
            open_.append((text, token.start()))
            key.append(-1)
            continue
        if text in {b"}", b"]"}:
            start = open_.pop()[1]
            key.pop()
        elif text in {b",", b":"}:
            continue
        elif place + 1 < len(tokens) and tokens[place + 1][0] == b":":
            key[-1] = token.start()
            continue
        else:
            start = token.start()
        values.append((start, token.end()))
        if key and key[-1] >= 0:
            pairs.append((key[-1], token.end()))
            key[-1] = -1
    return Seed(dialect, value, headers, values, pairs)


def mutated(seed: Seed, random: Random) -> Mutant:
    """One that is changed in one to three places."""
    value, headers = seed.value, seed.headers
    choice = random.random()
    if choice < 0.85:
        value = _restructured(seed, random)
    if choice > 0.8:
        value = _damaged(value, random)
    if headers and random.random() < 0.3:
        name, text = headers[random.randrange(len(headers))]
        headers = ((name, random.choice((b"", _damaged(text, random), b"\xff", b"progress", text * 50))),)
    elif random.random() < 0.01:
        headers = (
            (random.choice(("tracker-control", "ce_specversion", "content-type", "x")), random.choice(WEIRD)[:200]),
        )
    return Mutant(seed.dialect, None if random.random() < 0.001 else value, headers)


def _restructured(seed: Seed, random: Random) -> bytes:
    """Spans replaced from the right, so that those to the left stay where they are."""
    value = seed.value
    spans = [
        (*random.choice(seed.pairs if pairs and seed.pairs else seed.values), pairs)
        for pairs in (random.random() < 0.4 for _ in range(random.choice((1, 1, 2, 3))))
    ]
    least = len(value) + 1
    for start, end, pair in sorted(spans, reverse=True):
        if end > least:
            continue
        least = start
        was = value[start:end]
        if pair and random.random() < 0.5:  # gone, with a comma on one side
            if value[end : end + 1] == b",":
                end += 1
            elif value[start - 1 : start] == b",":
                start -= 1
                least = start
            now = b""
        elif pair:  # twice, the other time with another value
            name = was[: was.find(b":") + 1]
            now = was + b"," + name + random.choice(WEIRD)
        else:
            now = _another(was, random)
        value = value[:start] + now + value[end:]
    return value


def _another(was: bytes, random: Random) -> bytes:
    kind = random.randrange(10)
    if kind < 6:
        return random.choice(WEIRD)
    if kind == 6:
        depth = random.choice((1, 2, 40, 2000))
        return b"[" * depth + was + b"]" * depth
    if kind == 7:
        depth = random.choice((1, 2, 40))
        return b'{"a":' * depth + was + b"}" * depth
    if kind == 8:
        return b"[" + b",".join([was] * random.choice((2, 3, 120, 600)))[:200_000] + b"]"
    return b'"' + was.replace(b'"', b"") + b'"'


def _damaged(value: bytes, random: Random) -> bytes:
    if not value:
        return bytes(random.randrange(256) for _ in range(3))
    kind = random.randrange(5)
    place = random.randrange(len(value))
    if kind == 0:
        return value[:place]
    if kind == 1:
        return value[:place] + bytes([value[place] ^ 1 << random.randrange(8)]) + value[place + 1 :]
    if kind == 2:
        return value[:place] + random.randbytes(random.choice((1, 2, 8))) + value[place:]
    if kind == 3:
        return value[:place] + value[place + random.choice((1, 2, 20)) :]
    return value[:place] + value[place // 2 : place // 2 + 30] + value[place:]

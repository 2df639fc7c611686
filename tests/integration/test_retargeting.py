"""docs/retargeting.md is true: its messages are what comes out, its consumer does each of them once."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.integration.pipeline import Pipeline
from tests.services import KafkaServer, RedisServer

_DOCS = Path(__file__).parents[2] / "docs"
_SAID = [
    "forget the reminder of mona: had bought already",
    "remind a:lars-laptop: browse_abandoned in vurdering, nothing in the cart",
    "remind kari: cart_abandoned in kjop, 899 NOK in the cart",
    "remind mona: cart_abandoned in kjop, 498 NOK in the cart",
    "stop reminding kari: bought for 899 NOK",
]


def _examples() -> list[dict[str, Any]]:
    text = (_DOCS / "retargeting.md").read_text(encoding="utf-8")
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


async def _messages(brokers: str, topic: str, count: int) -> list[tuple[dict[str, str], dict[str, Any]]]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=brokers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    async with consumer:
        found: list[tuple[dict[str, str], dict[str, Any]]] = []
        while len(found) < count:
            record = await consumer.getone()
            found.append(({name: value.decode() for name, value in record.headers}, json.loads(record.value)))
        return found


def _remembered(seen: Path) -> int:
    with closing(sqlite3.connect(seen)) as database:
        return int(database.execute("SELECT count(*) FROM seen").fetchone()[0])


def _consume(pipeline: Pipeline, program: Path, lines: int) -> list[str]:
    """What a consumer says until it is killed after so many lines, the last of which it remembers."""
    folder = pipeline.folder
    said, seen = folder / f"said-{time.monotonic_ns()}", folder / "seen.db"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(program), pipeline.prefix],
            env=pipeline.env | {"SEEN": str(seen)},
            stdout=out,
            stderr=out,
        )
        try:
            deadline = time.monotonic() + 60
            while len(said.read_text("utf-8").splitlines()) < lines or _remembered(seen) < lines:
                assert process.poll() is None, said.read_text("utf-8")
                assert time.monotonic() < deadline, said.read_text("utf-8")
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    return said.read_text("utf-8").splitlines()


async def test_the_documented_messages_come_out_and_the_documented_consumer_does_each_once(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    dropped, headers, recovered, late_order, cancelled = _examples()
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", str(_DOCS / "examples" / "dropoffs.jsonl"))
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            await producer.send_and_wait(f"{namespace}shop.orders", json.dumps(late_order).encode())
        messages = await _messages(kafka.bootstrap, f"{namespace}journey.dropoffs", len(_SAID))
    assert [payload for _, payload in messages if payload["id"] == dropped["id"]] == [dropped]
    assert [payload for _, payload in messages if payload["id"] == recovered["id"]] == [recovered]
    assert [payload for _, payload in messages if payload["id"] == cancelled["id"]] == [cancelled]
    headers["ce_source"] = f"/{namespace}tracker-track"
    assert [given for given, payload in messages if payload["id"] == dropped["id"]] == [headers]

    consumer = _DOCS / "examples" / "retargeting.py"
    assert sorted(_consume(pipeline, consumer, len(_SAID))) == _SAID
    # A group of its own reads all of it again, as if the offsets had not been committed before it died.
    text = consumer.read_text(encoding="utf-8")
    again = text.replace("}retargeting", "}again").replace("await consumer.commit()", "print('read', flush=True)")
    copy = tmp_path / "again.py"
    copy.write_text(again, encoding="utf-8")
    assert _consume(pipeline, copy, len(_SAID)) == ["read"] * len(_SAID)

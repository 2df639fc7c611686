"""`tracker recover`: every contradiction, brought about for real, stops the partition, is named, and is left by the
operator's word; what comes out then is what the word said."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.client import CoordinationType
from aiokafka.protocol.admin import DeleteGroupsRequest

from tests.integration.disturbance import Outcome, answer, flush, identity, outcome
from tests.integration.pipeline import COMMAND, PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.broker.kafka import connected
from tracker.broker.offsets import Offsets, members
from tracker.child import free_port
from tracker.wire.position import Position, decode_position
from tracker.wire.topics import Topics

_IDS = ("event_id", "customer_id", "anonymous_id", "order_id", "cart_id", "checkout_id")
_EXAMPLE = str(Path(__file__).parents[2] / "docs" / "examples" / "dropoffs.jsonl")


DIES_EARLY = """
import tracker.stream.track as track
from tracker.cli import main

async def dead(self, position, fold):
    pass

track.TrackPartition._trim = dead
main(prog_name="tracker")
"""
"""A worker that is gone before it takes out of the store what it has published."""


class Place:
    """A tracker that has folded and published the example, and has been ended."""

    def __init__(self, pipeline: Pipeline, kafka: KafkaServer, own: RedisServer, client: AIOKafkaClient) -> None:
        self.pipeline = pipeline
        self.kafka = kafka
        self.redis = own
        self.client = client
        self.topics = Topics(pipeline.prefix)

    def later(self, days: int) -> str:
        """The example again, of other people and so many days later."""
        path = self.pipeline.folder / f"later-{days}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for line in Path(_EXAMPLE).read_text("utf-8").splitlines():
                event = json.loads(line)
                event |= {name: f"later-{days}-{event[name]}" for name in _IDS if name in event}
                event["ts"] = (datetime.fromisoformat(event["ts"]) + timedelta(days=days)).isoformat()
                file.write(json.dumps(event) + "\n")
        return str(path)

    def replay(self, days: int = 60) -> None:
        """More events; returns when what follows from them is published."""
        self.pipeline.run("replay", self.later(days))

    def recover(self, *options: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.pipeline.run("recover", "--json", *options))
        return found

    def refused(self, *options: str) -> str:
        done = subprocess.run(
            [*COMMAND, "recover", *options],
            env=self.pipeline.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in {1, 2}, done.stdout
        return done.stderr

    def stops(self, name: str, *, some: bool = False) -> list[dict[str, Any]]:
        """Every partition stops for this reason (`some`: none for another); asking changes nothing."""
        found = self.recover()
        assert {one["stop"] for one in found} - ({None} if some else set()) == {name}, found
        assert self.recover() == found
        return found

    async def outcome(self) -> Outcome:
        return await outcome(self.pipeline, self.redis)

    async def forget_published(self) -> None:
        group = self.topics.track_group
        node = await self.client.coordinator_lookup(CoordinationType.GROUP, group)
        reply = await self.client.send(node, DeleteGroupsRequest([group]))
        assert reply.results[0][1] == 0, reply

    async def publish_as(self, partition: int, position: Position) -> None:
        offsets = Offsets(self.client, self.topics.track_group, self.topics.events, partition)
        await offsets.write(position.offset, position.encode())

    def folded(self, partition: int) -> Position:
        with redis.Redis.from_url(self.redis.url) as store:
            return decode_position(store.hget(f"{self.pipeline.prefix}{{p{partition}}}:r", "position"))


@pytest.fixture
async def place(kafka: KafkaServer, namespace: str, tmp_path: Path) -> AsyncIterator[Place]:
    with RedisServer() as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path)
        pipeline.run("topics")
        with pipeline.worker():
            pipeline.run("replay", _EXAMPLE)
        async with connected(kafka.bootstrap) as client:
            yield Place(pipeline, kafka, own, client)


@asynccontextmanager
async def administration(kafka: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def delete_records(place: Place) -> None:
    everything = {
        TopicPartition(place.topics.events, partition): RecordsToDelete(-1) for partition in range(PARTITIONS)
    }
    async with administration(place.kafka) as admin:
        await admin.delete_records(everything)


def more(found: Outcome, before: Outcome) -> Counter[str]:
    """How many records each output topic has more than before."""
    return Counter({topic: len(payloads) - len(before.outputs[topic]) for topic, payloads in found.outputs.items()})


def twice(found: Outcome) -> set[int]:
    """How often each output is there."""
    return {times for payloads in found.outputs.values() for times in Counter(map(identity, payloads)).values()}


async def test_nothing_is_wrong_and_nothing_is_done(place: Place) -> None:
    found = place.recover()
    assert [one["stop"] for one in found] == [None] * PARTITIONS
    assert place.recover("--accept-loss") == found
    assert "allowed: 0 to 3" in place.refused("--partition", "4")
    assert "choose one" in place.refused("--accept-loss", "--accept-repeats")


async def test_it_refuses_to_act_while_a_worker_runs_but_looks(place: Place) -> None:
    with place.pipeline.worker() as worker:
        async with asyncio.timeout(30):
            while not await members(place.client, place.topics.track_group):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)
        assert "End all workers of this TRACKER_NAMESPACE first" in place.refused("--accept-loss")
        assert len(place.recover("--partition", "2")) == 1
        assert worker.poll() is None


@pytest.mark.parametrize("accept", ["--accept-loss", "--accept-repeats"])
async def test_both_positions_are_lost(place: Place, accept: str) -> None:
    before = await place.outcome()
    flush(place.redis)
    await place.forget_published()
    place.stops("both_lost", some=True)  # where nothing was published, it is a first start
    assert any(one["done"] for one in place.recover(accept))
    with place.pipeline.worker():
        place.replay()
    after = await place.outcome()
    assert set(before.states) <= set(after.states)
    if accept == "--accept-loss":
        assert twice(after) == {1}
        assert more(after, before)["journey.dropoffs"] > 0, "the tracker goes on"
    else:
        again = [identity(one) for one in after.outputs["journey.dropoffs"]]
        assert all(again.count(identity(one)) == 2 for one in before.outputs["journey.dropoffs"])


@pytest.mark.parametrize("accept", ["--accept-loss", "--accept-repeats"])
async def test_the_brokers_position_is_lost(place: Place, accept: str) -> None:
    with place.pipeline.worker(command=[sys.executable, "-c", DIES_EARLY]):
        place.replay(days=30)
    before = await place.outcome()
    assert before.outbox > 0
    await place.forget_published()
    place.stops("published_lost")
    place.recover(accept)
    again = await place.outcome()
    assert again.outbox == 0
    assert (sum(more(again, before).values()) > 0) == (accept == "--accept-repeats")
    with place.pipeline.worker():
        place.replay()
    assert (twice(await place.outcome()) == {1}) == (accept == "--accept-loss")


async def test_what_is_no_position_counts_as_lost(place: Place) -> None:
    offsets = Offsets(place.client, place.topics.track_group, place.topics.events, 1)
    await offsets.write(3, "somebody else's")
    assert [one["stop"] for one in place.recover()] == [None, "published_lost", None, None]
    assert "--accept-loss is no way" not in str(place.recover("--accept-loss", "--partition", "1"))
    assert [one["stop"] for one in place.recover()] == [None] * PARTITIONS


async def test_the_log_was_deleted_before_it_was_folded(place: Place) -> None:
    before = await place.outcome()
    ends = [one["log_end"] for one in place.recover()]
    with place.pipeline.worker("--only", "ingest"):
        # In the log and not folded when it is deleted.
        sending = subprocess.Popen([*COMMAND, "replay", place.later(60)], env=place.pipeline.env)  # noqa: ASYNC220
        await until(
            lambda: all(now["log_end"] > then for now, then in zip(place.recover(), ends, strict=True)),
            "the events are in the log",
        )
        await asyncio.sleep(2)
        sending.kill()
        sending.wait()
    await delete_records(place)
    stopped = place.stops("log_deleted")
    assert "--accept-repeats is no way out here; allowed: --accept-loss" in place.refused("--accept-repeats")
    place.recover("--accept-loss")
    assert [place.folded(partition).offset for partition in range(PARTITIONS)] == [one["log_start"] for one in stopped]
    with place.pipeline.worker():
        place.replay()
    after = await place.outcome()
    assert twice(after) == {1}
    assert more(after, before)["journey.dropoffs"] > 0


async def test_redis_lost_what_the_log_no_longer_has(place: Place) -> None:
    before = await place.outcome()
    await delete_records(place)
    flush(place.redis)
    place.stops("folded_lost")
    place.recover("--accept-loss")
    with place.pipeline.worker():
        place.replay()
    after = await place.outcome()
    assert more(after, before)["journey.dropoffs"] > 0


async def test_the_log_is_made_anew_under_a_redis_that_remembers_the_old_one(place: Place) -> None:
    before = await place.outcome()
    log = place.topics.events
    async with administration(place.kafka) as admin:
        await admin.delete_topics([log])
        async with asyncio.timeout(20):
            while log in await admin.list_topics():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)
        await admin.create_topics([NewTopic(log, PARTITIONS, 1)])
    # Kafka forgets the offsets with the topic. With them the log alone says it.
    for partition in range(PARTITIONS):
        await place.publish_as(partition, place.folded(partition))
    place.stops("folded_past_end")
    place.recover("--accept-loss")
    with place.pipeline.worker():
        place.replay()
    after = await place.outcome()
    assert twice(after) == {1}
    assert more(after, before)["journey.dropoffs"] > 0


@pytest.mark.parametrize("accept", ["--accept-loss", "--accept-repeats"])
async def test_what_was_published_lies_past_the_logs_end(place: Place, accept: str) -> None:
    before = await place.outcome()
    flush(place.redis)
    for one in place.recover():
        await place.publish_as(one["partition"], Position(one["log_end"] + 1000))
    place.stops("published_past_end")
    place.recover(accept)
    with place.pipeline.worker():
        place.replay()
    after = await place.outcome()
    if accept == "--accept-loss":
        assert twice(after) == {1}
    else:
        assert more(after, before)["journey.dropoffs"] > len(before.outputs["journey.dropoffs"])


async def test_a_worker_believes_a_log_that_ends_too_early_only_after_a_while(place: Place) -> None:
    flush(place.redis)
    for one in place.recover():
        await place.publish_as(one["partition"], Position(one["log_end"] + 1000))
    port = free_port()
    place.pipeline.env["TRACKER_METRICS_PORT"] = str(port)
    with place.pipeline.worker():
        await until(lambda: "before what is known of it" in place.pipeline.worker_log(), "it pauses first")
        assert "has stopped" not in place.pipeline.worker_log()
        await until(lambda: answer(port, "readyz") == 200, "ingest has joined its group, too")
        await until(lambda: "has stopped; its events wait in the log" in place.pipeline.worker_log(), "it stops", 40)
        assert (answer(port, "livez"), answer(port, "readyz")) == (200, 503)

"""Topics on real Kafka and on the embedded broker: what is missing is created, what is wrong is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.services import KafkaServer
from tracker.broker.embedded import embedded_broker
from tracker.broker.kafka import partitions_of
from tracker.broker.topics import ensure_topics
from tracker.errors import SettingError, Unavailable
from tracker.wire.topics import Topics

DAY = 86_400_000
ensure = partial(ensure_topics, partitions=3, replication=1, events_retention=30 * DAY, outputs_retention=7 * DAY)


@pytest.fixture(params=["kafka", "embedded"])
async def brokers(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param == "kafka":
        yield request.getfixturevalue("kafka").bootstrap
        return
    async with embedded_broker() as bootstrap:
        yield bootstrap


@pytest.fixture
def topics(namespace: str) -> Topics:
    return Topics(namespace, ("shop.clicks", "shop.orders"))


async def create(brokers: str, *new: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics(list(new))
    finally:
        await admin.close()
    async with asyncio.timeout(20):
        while 0 in (await partitions_of(brokers, *(topic.name for topic in new))).values():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def configs(brokers: str, topic: str) -> dict[str, Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        (reply,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    ((_, _, _, _, entries),) = reply.resources
    return {key: value for key, value, *_ in entries}


async def test_what_is_missing_is_created_and_then_there_is_nothing_to_say(brokers: str, topics: Topics) -> None:
    created = await ensure(brokers, topics)
    assert {found.name for found in created} == {*topics.raw_topics, *topics.produced}
    assert {(found.state, found.partitions, *found.problems) for found in created} == {("created", 3)}
    assert await partitions_of(brokers, topics.events, topics.late) == {topics.events: 3, topics.late: 3}
    again = await ensure(brokers, topics)
    assert {(found.state, *found.problems) for found in again} == {("there",)}


async def test_a_dry_run_creates_nothing(brokers: str, topics: Topics) -> None:
    found = await ensure(brokers, topics, dry_run=True)
    assert {topic.state for topic in found} == {"missing"}
    assert await partitions_of(brokers, topics.events) == {topics.events: 0}


async def test_the_log_is_kept_long_and_raw_topics_are_stamped_by_the_broker(
    kafka: KafkaServer, topics: Topics
) -> None:
    await ensure(kafka.bootstrap, topics)
    assert (await configs(kafka.bootstrap, topics.events))["retention.ms"] == str(30 * DAY)
    assert (await configs(kafka.bootstrap, topics.sessions))["retention.ms"] == str(7 * DAY)
    assert (await configs(kafka.bootstrap, topics.raw_topics[0]))["message.timestamp.type"] == "LogAppendTime"


async def test_topics_that_must_go_together_follow_the_log(brokers: str, topics: Topics) -> None:
    await create(brokers, NewTopic(topics.events, 5, 1), NewTopic(topics.sessions, 2, 1))
    found = {topic.name: topic for topic in await ensure(brokers, topics)}
    assert found[topics.transitions].partitions == 5
    assert any("has 2 partitions" in problem and "equal" in problem for problem in found[topics.sessions].problems)
    assert any("TRACKER_PARTITIONS is 3" in problem for problem in found[topics.events].problems)


async def test_settings_that_lose_records_or_their_time_are_named(kafka: KafkaServer, topics: Topics) -> None:
    settings = {"cleanup.policy": "compact", "retention.ms": str(DAY), "message.timestamp.type": "CreateTime"}
    await create(kafka.bootstrap, NewTopic(topics.events, 3, 1, topic_configs=settings))
    found = {topic.name: topic for topic in await ensure(kafka.bootstrap, topics)}
    problems = " ".join(found[topics.events].problems)
    assert "compacted" in problems
    assert "LogAppendTime" in problems
    assert "30d" in problems


async def test_more_replicas_than_brokers_are_refused_with_the_settings_name(
    kafka: KafkaServer, topics: Topics
) -> None:
    with pytest.raises(SettingError, match="TRACKER_REPLICATION is 3"):
        await ensure(kafka.bootstrap, topics, replication=3)


async def test_a_broker_that_is_away_is_unavailable(topics: Topics, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match=f"127.0.0.1:{unused_tcp_port}"):
        await ensure(f"127.0.0.1:{unused_tcp_port}", topics)

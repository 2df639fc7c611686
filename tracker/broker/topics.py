"""The topics on the broker: creates what is missing and says what is wrong with what is there.

Every topic gets LogAppendTime: it tells how late a record came, and it makes retention count from the writing
(with the producers' own times a replay of last year's events would be deleted as soon as it is written).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from tracker.durations import format_duration
from tracker.errors import SettingError, Unavailable
from tracker.wire.topics import Topics

TIMEOUT_MS = 20_000
VISIBLE_WITHIN = 20.0
"""Seconds that a new topic may take until the brokers tell of it."""


class Wanted(NamedTuple):
    """A topic as it should be; `retention` in ms, None leaves the broker's own."""

    name: str
    retention: int | None

    def configs(self, replication: int) -> dict[str, str]:
        """The topic's configuration where the tracker makes it."""
        configs = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}
        if self.retention is not None:
            configs["retention.ms"] = str(self.retention)
        if replication >= 3:
            configs["min.insync.replicas"] = "2"
        return configs


class Found(NamedTuple):
    """What became of one topic. `problems` are sentences for the operator; an empty list is good news."""

    name: str
    partitions: int
    state: Literal["there", "created", "missing"]
    problems: list[str]


def wanted(topics: Topics, events_retention: int, outputs_retention: int) -> list[Wanted]:
    """Every topic that a tracker needs. Retentions in ms."""
    kept = dict.fromkeys(topics.produced, outputs_retention)
    kept[topics.events] = events_retention
    return [
        *(Wanted(name, None) for name in topics.raw_topics),
        *(Wanted(name, retention) for name, retention in kept.items()),
    ]


async def ensure_topics(
    brokers: str,
    topics: Topics,
    *,
    partitions: int,
    replication: int,
    events_retention: int,
    outputs_retention: int,
    dry_run: bool = False,
) -> list[Found]:
    """Create what is missing (`dry_run`: only say so) and look at the rest. Nothing that exists is changed.

    `brokers` is `host:port,…`. The topics beside journey.events get its partition count where it exists,
    `partitions` otherwise. Raises `Unavailable`, and `SettingError` where the broker refuses a topic."""
    plan = wanted(topics, events_retention, outputs_retention)
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=TIMEOUT_MS)
    try:
        await admin.start()
        there = await _partitions(admin, [topic.name for topic in plan])
        count = there.get(topics.events, partitions)
        missing = [topic for topic in plan if topic.name not in there]
        if missing and not dry_run:
            await _create(admin, missing, count, replication)
        configs = await _configs(admin, list(there))
    except (KafkaError, OSError) as error:
        away = isinstance(error, KafkaConnectionError | OSError)
        why = "no broker answers" if away else "asking for topics failed"
        raise Unavailable(f"{why} at TRACKER_BROKERS = {brokers}: {error!r}") from error
    finally:
        await admin.close()
    together = {topics.events, *topics.outputs}
    found = []
    for topic in plan:
        if topic.name not in there:
            found.append(Found(topic.name, count, "missing" if dry_run else "created", []))
            continue
        problems = _problems(topic, configs.get(topic.name, {}))
        if topic.name in together and there[topic.name] != count:
            problems.append(f"has {there[topic.name]} partitions, {topics.events} has {count}: they must be equal")
        if topic.name == topics.events and count != partitions:
            problems.append(f"has {count} partitions, TRACKER_PARTITIONS is {partitions}: the topic's count stays")
        found.append(Found(topic.name, there[topic.name], "there", problems))
    return found


def _problems(topic: Wanted, configs: Mapping[str, str]) -> list[str]:
    problems = []
    if configs.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime":
        problems.append("has message.timestamp.type=CreateTime; LogAppendTime tells how late a record came")
    if "compact" in configs.get("cleanup.policy", ""):
        problems.append("is compacted: the tracker needs every record; use cleanup.policy=delete")
    kept = int(configs.get("retention.ms", "-1"))
    if topic.retention is not None and 0 <= kept < topic.retention:
        problems.append(f"is kept for {format_duration(kept)}, the setting says {format_duration(topic.retention)}")
    return problems


async def _create(admin: AIOKafkaAdminClient, missing: list[Wanted], count: int, replication: int) -> None:
    new = [NewTopic(topic.name, count, replication, topic_configs=topic.configs(replication)) for topic in missing]
    reply = await admin.create_topics(new, timeout_ms=TIMEOUT_MS)
    for name, code, *words in reply.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            why = words[0] if words and words[0] else error.description
            raise SettingError(
                f"topic {name}: the broker refused it: {why} (TRACKER_PARTITIONS is {count}, "
                f"TRACKER_REPLICATION is {replication})"
            )
    names = [topic.name for topic in missing]
    deadline = asyncio.get_running_loop().time() + VISIBLE_WITHIN
    while len(await _partitions(admin, names)) < len(names):
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"topics {', '.join(names)} were created but do not show up")
        await asyncio.sleep(0.05)


async def _partitions(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """How many partitions those topics have that exist and have leaders. Lists before it describes, because
    describing may create a topic on brokers with automatic creation."""
    existing = sorted(set(await admin.list_topics()) & set(names))
    if not existing:
        return {}
    described: list[dict[str, Any]] = await admin.describe_topics(existing)
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if not topic["error_code"] and all(part["leader"] >= 0 for part in topic["partitions"])
    }


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """The configuration of topics, as far as the broker tells it."""
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    replies = await admin.describe_configs(asked)
    return {
        name: {key: value for key, value, *_ in entries if value is not None}
        for reply in replies
        for code, _, _, name, entries in reply.resources
        if not code
    }

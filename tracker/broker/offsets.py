"""What a consumer group knows: a partition's committed offset with its metadata, which aiokafka's `committed()` does
not give back, and how many members there are."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from aiokafka import AIOKafkaClient
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

_NO_MEMBER = ""
_PAUSE = 0.1


class Committed(NamedTuple):
    """What a group committed for a partition. `metadata` is empty on a broker that does not keep it."""

    offset: int
    metadata: str


class Offsets:
    """Reads and writes a group's offset of one partition through a connected client, without joining the group.

    Brokers let an outsider write only where the group has no members. Each call tries for `timeout` seconds
    (the coordinator of a new group takes a moment to be found) and then raises aiokafka's last `KafkaError`."""

    def __init__(
        self, client: AIOKafkaClient, group: str, topic: str, partition: int, *, timeout: float = 10.0
    ) -> None:
        self._client = client
        self._group = group
        self._topic = topic
        self._partition = partition
        self._timeout = timeout

    async def read(self) -> Committed | None:
        """What is committed, or None."""
        reply = await self._ask(OffsetFetchRequest(self._group, [(self._topic, [self._partition])]))
        _, offset, metadata, _ = reply
        return None if offset < 0 else Committed(offset, metadata or "")

    async def write(self, offset: int, metadata: str) -> None:
        """Commit an offset as nobody's member."""
        await self._ask(
            OffsetCommitRequest(
                self._group,
                OffsetCommitRequest.DEFAULT_GENERATION_ID,
                _NO_MEMBER,
                OffsetCommitRequest.DEFAULT_RETENTION_TIME,
                [(self._topic, [(self._partition, offset, metadata)])],
            )
        )

    async def _ask(self, request: OffsetCommitRequest | OffsetFetchRequest) -> tuple[Any, ...]:
        """The reply about our partition; its last field is the error code."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout
        while True:
            try:
                node = await self._client.coordinator_lookup(CoordinationType.GROUP, self._group)
                reply = await self._client.send(node, request)
                rows = [row for _, rows in reply.topics for row in rows]
                codes = [getattr(reply, "error_code", 0), *(row[-1] for row in rows)]
                for code in filter(None, codes):
                    raise for_code(code)(f"group {self._group}, {self._topic}/{self._partition}")
            except KafkaError as error:
                if not error.retriable or loop.time() > until:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return tuple(rows[0])


async def members(client: AIOKafkaClient, group: str) -> int:
    """How many members a consumer group has, 0 where it does not exist. One that was killed counts until its session
    times out. Raises `KafkaError`."""
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    reply = await client.send(node, DescribeGroupsRequest([group]))
    ((code, _, _, _, _, found, *_),) = reply.groups
    if code:
        raise for_code(code)(f"group {group}")
    return len(found)

"""Gets rid of an aiokafka producer in whatever state it is: the one place that reaches into aiokafka's private parts.

`AIOKafkaProducer.stop` waits until everything is delivered, for ever if the broker is gone; cancelled, it leaves
tasks behind that keep connecting. A second call returns at once, having done nothing. (aiokafka 0.14)
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

FAILURES = (KafkaError, OSError, TimeoutError, AssertionError)
"""What a call to Kafka may end with: aiokafka's errors, the system's, time-outs, aiokafka's own assertions."""

_ROUNDS = 5


async def discard(producer: AIOKafkaProducer, *, patience: float = 3.0) -> None:
    """Stop a producer: politely for `patience` seconds, then by cancelling its tasks. Raises nothing of its own."""
    try:
        async with asyncio.timeout(patience):
            await producer.stop()
    except FAILURES:
        await _terminate(producer)
    finally:
        for task in _tasks(producer):  # where there are any, we were cancelled ourselves
            task.cancel()
        _look_away(producer)


async def _terminate(producer: AIOKafkaProducer) -> None:
    # Several rounds, because a cancelled sender first waits for the requests it has under way.
    for _ in range(_ROUNDS):
        tasks = _tasks(producer)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=0.2)
    try:
        async with asyncio.timeout(1):
            await producer.client.close()
    except FAILURES:
        pass


def _tasks(producer: AIOKafkaProducer) -> set[asyncio.Task[Any]]:
    owners = {id(producer._sender), id(producer._message_accumulator)}  # noqa: SLF001
    found = set()
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and id(frame.f_locals.get("self")) in owners:
            found.add(task)
    return found


def _look_away(producer: AIOKafkaProducer) -> None:
    """A failed producer leaves exceptions in futures that nobody can reach; asyncio would log each at length."""
    accumulator, transactions = producer._message_accumulator, producer._txn_manager  # noqa: SLF001
    futures = [batch._drain_waiter for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
    if transactions is not None:
        futures.append(transactions.wait_for_transaction_end())
    for future in futures:
        if future is not None and future.done() and not future.cancelled():
            future.exception()

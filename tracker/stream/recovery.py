"""`tracker recover`: what a partition knows, why it would stop, and the operator's explicit way out of that.

Looking changes nothing. Acting is done as an owner would: first the token and the producer, which fence whoever may
still write, then R and C are read once more, what the store has not published goes out, R moves, and C last. Ended in
the middle it can be called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import NamedTuple, Protocol

import msgspec

from tracker.errors import Irreconcilable, PartitionError
from tracker.stream.marks import without_told
from tracker.stream.ports import Commit, OutRecord, PartitionRow, Publisher, Store
from tracker.stream.reconcile import Accepted, Contradiction, Known, Resolution, Stop, reconcile, resolve
from tracker.wire.position import Position

_decode_outbox = msgspec.msgpack.Decoder(list[OutRecord]).decode


class Finding(NamedTuple):
    """One partition. `stop` is why it stops (None: it does not), `why` says it at length; `outbox` counts the batches
    whose outputs lie in the store; `offers` has what each way out would do; `done` what was done."""

    partition: int
    known: Known
    outbox: int
    stop: Stop | None
    why: str | None
    offers: Mapping[Accepted, str]
    done: str | None = None


def check_offered(found: Finding, accepted: Accepted) -> None:
    """Raises `PartitionError` where a partition stops, and this is no way out of that."""
    if found.stop is not None and accepted not in found.offers:
        other = " or ".join(f"--accept-{offer}" for offer in found.offers) or "none of this command's"
        raise PartitionError(f"{found.why} (--accept-{accepted} is no way out here; allowed: {other})")


class Broker(Protocol):
    """What recovery asks of the broker; every call raises `Unavailable` when it is away."""

    async def published(self, partition: int) -> Position | None:
        """C, read without a producer. None also where something else has written there."""

    async def log_range(self, partition: int) -> tuple[int, int | None]:
        """The log's first and next offset."""

    async def has_outputs(self, partition: int) -> bool:
        """Whether anything of the partition was published."""


class Recovery:
    """The partitions of one tracker, none of which may have an owner while something is done."""

    def __init__(self, topic: str, store: Store, broker: Broker, make_publisher: Callable[[int], Publisher]) -> None:
        self._topic = topic
        self._store = store
        self._broker = broker
        self._make_publisher = make_publisher

    async def look(self, partition: int) -> Finding:
        """What a worker would find. Raises `Unavailable`, and `Irreconcilable` where R cannot be read."""
        row = await self._store.row(partition)
        return await self._finding(partition, row, await self._broker.published(partition))

    async def accept(self, partition: int, accepted: Accepted) -> Finding:
        """Go the way out, where the partition would stop. Raises `PartitionError` where there is no such way,
        `Unavailable`, `Fenced`."""
        store, publisher = self._store, self._make_publisher(partition)
        token = token_hex(16)
        await store.take(partition, token)
        try:
            await publisher.open()
            row = await store.row(partition)
            found = await self._finding(partition, row, await _committed(publisher))
            if found.stop is None:
                return found
            check_offered(found, accepted)
            await self._act(partition, token, publisher, row, resolve(found.known, accepted))
        finally:
            await publisher.close()
        return found._replace(done=found.offers[accepted])

    async def _act(
        self, partition: int, token: str, publisher: Publisher, row: PartitionRow | None, resolution: Resolution
    ) -> None:
        outbox = await self._store.outbox(partition)
        if not resolution.drop_outbox:
            after = resolution.outbox_after
            for position, blob in outbox:
                if after is None or position.order() > after.order():
                    await publisher.publish(_decode_outbox(blob), position)
        if resolution.folded is not None:
            commit = Commit(
                begin=row.position if row is not None else None,
                end=resolution.folded,
                meta=without_told(row.meta) if row is not None else b"",
                states=(),
                gone=(),
                timers=(),
                counters=(),
                outbox=None,
                trim=[position for position, _ in outbox],
            )
            await self._store.commit(partition, token, commit)
        await publisher.publish((), resolution.published)

    async def _finding(self, partition: int, row: PartitionRow | None, published: Position | None) -> Finding:
        folded = row.position if row is not None else None
        start, end = await self._broker.log_range(partition)
        outputs = folded is None and await self._broker.has_outputs(partition)
        known = Known(folded, published, start, end, outputs)
        outbox = len(await self._store.outbox(partition))
        try:
            reconcile(known, f"partition {partition} of {self._topic}")
        except Contradiction as error:
            accepts = error.accepts if end is not None else ()
            offers = {accepted: resolve(known, accepted).says for accepted in accepts}
            return Finding(partition, known, outbox, error.stop, str(error), offers)
        return Finding(partition, known, outbox, None, None, {})


async def _committed(publisher: Publisher) -> Position | None:
    try:
        return await publisher.committed()
    except Irreconcilable:
        return None  # what something else has written there is as good as nothing, and is replaced

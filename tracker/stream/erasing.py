"""`tracker erase`: asks the log to forget somebody, and waits until the store holds nothing of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from tracker.domain.erasure import linked_ids, mark_of_person
from tracker.domain.state import State, decode_state
from tracker.errors import Unavailable
from tracker.stream.marks import decode_marks
from tracker.stream.ports import OutRecord, PartitionRow
from tracker.stream.track import ERASED_KEY, decode_erased
from tracker.wire.control import Erase, control_headers, encode_control
from tracker.wire.partition import partition_of
from tracker.wire.position import Position

LOOK_EVERY = 0.2
"""Seconds between two looks at the store."""


class Kept(Protocol):
    """A person's state, and the timer if one is set."""

    @property
    def state(self) -> bytes: ...
    @property
    def due(self) -> int | None: ...


class Store(Protocol):
    """What is asked of the store; nothing is written to it."""

    async def find(self, person: str, partitions: int) -> Kept | None: ...
    async def row(self, partition: int) -> PartitionRow | None: ...
    async def states(self, partition: int, persons: Sequence[str]) -> list[bytes | None]: ...
    async def outbox(self, partition: int) -> list[tuple[Position, bytes]]: ...


class Erased(NamedTuple):
    """An id of which nothing is kept any more, and what was: numbers by what they are of."""

    person_id: str
    partition: int
    removed: dict[str, int]


class Eraser:
    """Erases people of one tracker. `partitions` counts the log's; `append` writes records to `topic` and awaits their
    acknowledgement."""

    def __init__(
        self,
        store: Store,
        topic: str,
        partitions: int,
        append: Callable[[Sequence[OutRecord]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._topic = topic
        self._partitions = partitions
        self._append = append

    async def known(self, persons: Sequence[str]) -> list[str]:
        """Those of these person ids of whom something is kept."""
        return [person for person in persons if await self._store.find(person, self._partitions) is not None]

    async def watermark(self) -> int:
        """The furthest that time has come in any partition, in ms; 0 where it has not begun."""
        rows = [await self._store.row(partition) for partition in range(self._partitions)]
        marks = [decode_marks(row.meta).watermark(self._partitions) for row in rows if row is not None and row.meta]
        return max([0, *marks])

    async def erase(self, persons: Sequence[str], ts: int, now: int, patience: float) -> list[Erased]:
        """Erase everything of these person ids up to `ts`, and of every id linked to them; `now` stamps the records
        (both ms). Raises `Unavailable` after `patience` seconds: then it is in the log and will be done by a worker."""
        kept = await self._linked(persons)
        value, headers = encode_control(Erase(ts, spread=True)), control_headers(Erase(ts))
        await self._append(
            [
                OutRecord(self._topic, self._place(person), person.encode(), value, headers, now)
                for person in dict.fromkeys(persons)
            ]
        )
        await self._wait(list(kept), ts, patience)
        return [
            Erased(person, self._place(person), {} if state is None else _content(state))
            for person, state in kept.items()
        ]

    async def _linked(self, persons: Sequence[str]) -> dict[str, State | None]:
        """These and all linked to them, with what is kept of each."""
        found: dict[str, State | None] = {}
        ahead = list(persons)
        while ahead:
            person = ahead.pop(0)
            if person in found:
                continue
            kept = await self._store.find(person, self._partitions)
            state = found[person] = None if kept is None else decode_state(kept.state)
            if state is not None:
                ahead += linked_ids(state)
        return found

    async def _wait(self, persons: list[str], ts: int, patience: float) -> None:
        until = time.monotonic() + patience
        while left := [person for person in persons if not await self._is_gone(person, ts)]:
            if time.monotonic() > until:
                raise Unavailable(
                    f"after {patience:g} s the store still holds something of {', '.join(left)}; the erasure is in the "
                    "log, and the worker that reads it there will do it: look for one that runs, then ask again"
                )
            await asyncio.sleep(LOOK_EVERY)

    async def _is_gone(self, person: str, ts: int) -> bool:
        store = self._store
        kept = await store.find(person, self._partitions)
        if kept is not None and decode_state(kept.state).erased <= ts:
            return False
        mark = mark_of_person(person.encode())
        for number in range(self._partitions):
            (stored,) = await store.states(number, [ERASED_KEY])
            if stored is None or decode_erased(stored).get(mark, 0) <= ts:
                return False
        # What was to be published when the erasure came, the erasure of linked ids too, is in the outbox until then.
        said = person.encode()
        outboxes = [await store.outbox(number) for number in range(self._partitions)]
        return not any(said in blob for outbox in outboxes for _, blob in outbox)

    def _place(self, person: str) -> int:
        return partition_of(person.encode(), self._partitions)


def _content(state: State) -> dict[str, int]:
    facts = state.facts
    content = {
        "journeys": sum(len(track.converted) + (track.journey is not None) for track in facts.tracks),
        "orders": facts.order_count,
        "sessions": facts.sessions + (facts.session is not None),
        "cart_lines": len(facts.cart),
        "dropoffs": len(state.said.dropoffs),
        "reminders": len(facts.pending) + (facts.armed is not None),
        "recent_events": state.tail_count + len(state.waiting),
        "links": len(linked_ids(state)),
    }
    return {name: count for name, count in content.items() if count}

"""What is known of a few people, folded again from the log in memory: as it was, and as it would have been.

A link that turned out wrong is taken apart by folding both persons' events once more without it. The log's own times
and configs are those of the first fold, so what does not depend on the link comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tracker.domain.claims import is_claim
from tracker.domain.erasure import mark_of_person
from tracker.domain.state import State, decode_state, new_state
from tracker.domain.units import NEVER
from tracker.domain.unmerging import is_of
from tracker.metrics import Tally
from tracker.stream.marks import Marks
from tracker.stream.partition import Compile, PartitionFold
from tracker.stream.ports import Record
from tracker.wire.control import FORWARD_HEADER, Absorb, Config, Merge, control_kind, decode_control
from tracker.wire.decode import decode_canonical
from tracker.wire.encode import OutputEncoder
from tracker.wire.position import Position
from tracker.wire.topics import Topics

FORGETTING = {"erase", "entombed"}
"""Control records that go to other people and bring them nothing."""
_message = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Shadow:
    """One partition of the log folded for `people` alone, as far as `keep` says. `dropoffs` are the ids of the
    drop-offs that were said, `sent_on` whether anything went to other people, `counters` what the map counted."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        config: Config,
        compile_config: Compile,
        topics: Topics,
        people: Sequence[bytes],
        keep: Callable[[Record], bool] = lambda _: True,
    ) -> None:
        """`config` is in force from the start."""
        self.dropoffs: set[str] = set()
        self.sent_on = False
        self.counters: dict[str, int] = {}
        self._topics = topics
        self._people = people
        self._keep = keep
        self._states: dict[bytes, bytes] = {}
        self._timers: dict[bytes, int] = {}
        self._fold = PartitionFold(
            partition,
            partitions,
            config,
            compile_config,
            OutputEncoder(topics, partitions),
            decode_canonical,
            Tally(),
            cache=len(people),
            position=Position(0),
            marks=Marks(),
        )

    def feed(self, records: Sequence[Record]) -> None:
        """The next records of the partition, all of them in order."""
        some = [one for one in records if (not one.key or one.key in self._people) and self._keep(one)]
        if not some:
            return
        fold = self._fold
        needs = fold.scan(some)
        until = NEVER if needs.until is None else needs.until
        timers = sorted((due, key) for key, due in self._timers.items() if due <= until)
        wanted = dict.fromkeys([*needs.persons, *fold.missing(key for _, key in timers)])
        fold.load([(key, self._states.get(key)) for key in wanted], timers)
        walked = fold.walk(some, some[-1].offset + 1, until, None)
        self._states |= {person.encode(): state for person, state in walked.states}
        for person in walked.gone:
            self._states.pop(person.encode(), None)
        for person, due in walked.timers:
            if due is None:
                self._timers.pop(person.encode(), None)
            else:
                self._timers[person.encode()] = due
        for name, by in walked.counters:
            self.counters[name] = self.counters.get(name, 0) + by
        for topic, _, key, value, headers in walked.outputs:
            if topic == self._topics.dropoffs:
                message = _message(value)
                if message["kind"] == b'"dropped_off"':
                    self.dropoffs.add(msgspec.json.decode(message["id"], type=str))
            if topic == self._topics.events and not is_claim(key) and control_kind(headers) not in FORGETTING:
                self.sent_on = True

    def guard(self, person: bytes) -> tuple[int, int]:
        """See `Rebuilt`."""
        return self._fold.states.erased.get(mark_of_person(person), NEVER), self.state(person).shut

    def state(self, person: bytes) -> State:
        """What is known of one of the people."""
        stored = self._states.get(person)
        if stored is not None:
            return decode_state(stored)
        fresh = new_state(person.decode())
        fresh.lineup = self._fold.table.mark
        return fresh


def apart(visitor: str, customers: Sequence[str], customer: str, visitors: Sequence[str]) -> Callable[[Record], bool]:
    """Which records there would be, had `visitor` never been one of `customers`, nor any of `visitors` `customer`."""

    def keep(record: Record) -> bool:
        if not record.key:
            return True
        kind = control_kind(record.headers)
        if kind is None:
            forwarded = any(name == FORWARD_HEADER for name, _ in record.headers)
            if not forwarded or record.key != customer.encode():
                return True
            event = decode_canonical(record.value)
            return not any(is_of(event, one) for one in visitors)
        if kind in {"unmerge", "rebuilt"}:
            return False
        control = decode_control(kind, record.value)
        if isinstance(control, Merge):
            return record.key != visitor.encode() or control.customer not in customers
        return not isinstance(control, Absorb) or record.key != customer.encode() or control.person not in visitors

    return keep


def difference(would: Shadow, was: Shadow) -> dict[str, int]:
    """What has to be added to the map's counters, but for orders and revenue: these follow from the states."""
    names = would.counters.keys() | was.counters.keys()
    found = {name: would.counters.get(name, 0) - was.counters.get(name, 0) for name in sorted(names)}
    return {name: by for name, by in found.items() if by and name.partition(":")[0] not in {"orders", "revenue"}}

"""Compares what is on broker and store at the end with the truth, by two judges that know nothing of each other.

- `Refold` folds the log again: every output once and in order, every state and counter as it must be.
- The naive oracle folds the sorted truth of each person, which the log was not asked for: nobody is missing, nothing
  is said that did not happen, no drop-off of somebody who ordered before it was detected.

Partition after partition, so that what is in memory is a part of it; merged people, whose past lies in two
partitions, come last. A late event is late by the watermark that the log itself had said when it came, which is
worked out here from the control records alone.

At the end every input has to be accounted for: raw records = applied + duplicates + late + dead letters. No term is
what the others leave over. Raw records are counted in the raw topics; duplicates are those of them beyond the events
that the truth says were sent; applied are the distinct events of the log that came in time; late are those of them that
`journey.late` holds; dead letters are counted by origin.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis

from tests.faults.lives import CLICKS, LATENESS, ORDERS, Kind, Life, customer_of, visitor_of
from tests.faults.plan import Plan
from tests.faults.poison import KEY
from tests.faults.reader import read_all, read_partition
from tests.faults.refold import Refold, digest
from tests.faults.verdict import WITHHELD, Verdict, compare_sequences
from tests.oracle.naive import Fold, fold
from tests.properties.runner import (
    Person,
    drop_offs_of,
    drop_offs_said,
    recoveries_of,
    recoveries_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
)
from tracker.domain.claims import Claims, decode_claims, is_claim
from tracker.domain.events import Event, person_id
from tracker.domain.outputs import DropOff, Output, SessionClosed, Transition
from tracker.domain.state import State, decode_state
from tracker.domain.units import NEVER
from tracker.wire.control import CONTROL_HEADER, FORWARD_HEADER
from tracker.wire.decode import encode_event
from tracker.wire.partition import partition_of
from tracker.wire.position import Position, decode_position
from tracker.wire.topics import Topics

PLACES = 1000
"""More events than anybody has: (person, place) as one number."""
NEVER_LATE = {"order_completed", "order_refunded"}
CHUNK = 2000


@dataclass
class Log:
    """What one partition of the log says, beside what `Refold` makes of it."""

    first: dict[int, int] = field(default_factory=dict)
    """person and place -> hash of the first copy's key and value"""
    late: set[int] = field(default_factory=set)
    copies: int = 0
    sent_on: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)
    controls: Counter[str] = field(default_factory=Counter)


class Judge:
    """`brokers` and `url` reach the servers themselves, not through proxies; `poisoned` bad records were written."""

    def __init__(self, plan: Plan, brokers: str, url: str, topics: Topics, verdict: Verdict, poisoned: int = 0) -> None:
        self.verdict = verdict
        self._plan = plan
        self._brokers = brokers
        self._topics = topics
        self._store: Any = redis.Redis.from_url(url)  # its types say that every answer may be to come
        self._merged: dict[str, tuple[list[Output], bytes | None]] = {}
        self._late: set[int] = set()
        self._said_late: set[int] = set()
        self._poisoned = poisoned
        self._kinds = {topics.transitions: Transition, topics.dropoffs: DropOff, topics.sessions: SessionClosed}

    async def run(self) -> None:
        """All of it; `verdict` holds what was found."""
        plan, verdict = self._plan, self.verdict
        raw = await self._read_raw()
        expected, found = Counter[tuple[bytes, bytes]](), Counter[tuple[bytes, bytes]]()
        first: dict[int, int] = {}
        for partition in range(plan.partitions):
            log, refold = await self._read_log(partition)
            expected += refold.sent_on
            found += log.sent_on
            merged_first = await self._judge_partition(partition, log, refold)
            first |= merged_first
        for (key, _), times in (expected - found).items():
            verdict.differs("outputs missing", times, where=self._topics.events, person=key.decode())
        for (key, _), times in (found - expected).items():
            verdict.differs("outputs duplicated", times, where=self._topics.events, person=key.decode())
        self._judge_merged(first)
        await self._judge_letters(raw)
        self._account(len(raw))
        self._store.close()

    def _account(self, bad: int) -> None:
        """Whether every input is accounted for, `bad` of which are no events."""
        counts, differs = self.verdict.counts, self.verdict.differs
        counts["applied"] = counts["in the log"] - len(self._late)
        counts["late"] = len(self._late & self._said_late)
        counts["duplicates"] = counts["raw events"] - counts["distinct events sent"]
        accounted = counts["applied"] + counts["duplicates"] + counts["late"] + counts["dead letters"]
        if accounted != counts["raw records"]:
            differs("inputs not accounted for", abs(counts["raw records"] - accounted))
        # What is written again because nobody knew whether it had arrived comes on top.
        if counts["raw events"] < counts["events sent"]:
            differs("raw records missing", counts["events sent"] - counts["raw events"])
        if bad < self._poisoned:
            differs("raw records missing", self._poisoned - bad)

    # Input

    async def _read_raw(self) -> set[tuple[str, int, int]]:
        """Counts what was written; answers where the records are that must become dead letters."""
        counts = self.verdict.counts
        bad: set[tuple[str, int, int]] = set()
        for name in (CLICKS, ORDERS):
            topic = self._topics.prefix + name
            for partition in range(self._plan.partitions):
                async for record in read_all(self._brokers, topic, partition):
                    if record.key == KEY:
                        bad.add((topic, partition, record.offset))
                    elif record.key is not None:
                        counts["raw events"] += 1
        counts["raw records"] = counts["raw events"] + len(bad)
        return bad

    async def _judge_letters(self, bad: set[tuple[str, int, int]]) -> None:
        """Each bad record has a dead letter. One that ingest read again has another, which names the same origin."""
        verdict = self.verdict
        letters: Counter[tuple[str, int, int]] = Counter()
        for partition in range(self._plan.partitions):
            async for record in read_all(self._brokers, self._topics.dead_letters, partition):
                about = {name: value.decode() for name, value in record.headers}
                origin = (about["source-topic"], int(about["source-partition"]), int(about["source-offset"]))
                letters[origin] += 1
        verdict.counts["dead letters"] = len(letters)
        verdict.counts["dead letters repeated"] = letters.total() - len(letters)
        for origin in bad - letters.keys():
            verdict.differs("dead letters missing", where=f"{origin[0]}/{origin[1]}", offset=origin[2])
        for origin in letters.keys() - bad:
            verdict.differs("dead letters of good records", where=f"{origin[0]}/{origin[1]}", offset=origin[2])

    # The log

    async def _read_log(self, partition: int) -> tuple[Log, Refold]:
        """The log up to what Redis says is folded."""
        plan, topics = self._plan, self._topics
        log, refold = Log(), Refold(partition, plan.partitions, topics)
        end = self.position(partition).offset
        clock = _Clock(plan.partitions)
        async for records, position in read_partition(self._brokers, topics.events, partition):
            if records[0].offset >= end:
                break
            if position > end:
                records = [record for record in records if record.offset < end]
                position = end
            for record in records:
                self._take(record, log, clock)
            refold.feed(records, position)
        return log, refold

    def _take(self, record: Any, log: Log, clock: _Clock) -> None:
        for name, value in record.headers:
            if name == CONTROL_HEADER:
                kind = value.decode()
                log.controls[kind] += 1
                if kind == "passed":
                    clock.passed(record.value)
                elif kind == "absorb" or (FORWARD_HEADER, b"1") in record.headers:
                    log.sent_on[record.key, digest(record.value)] += 1
                return
            if name == FORWARD_HEADER:
                log.sent_on[record.key, digest(record.value)] += 1
                return
        event = _decode(record.value)
        which = _number(event.event_id)
        if which in log.first:
            log.copies += 1
            return
        log.first[which] = hash((record.key, record.value))
        if event.ts < clock.watermark - LATENESS and event.type not in NEVER_LATE:
            log.late.add(which)

    def position(self, partition: int) -> Position:
        """R."""
        stored: bytes | None = self._store.hget(self._key(partition, "r"), "position")
        return Position(0) if stored is None else decode_position(stored)

    # One partition

    async def _judge_partition(self, partition: int, log: Log, refold: Refold) -> dict[int, int]:
        verdict, topics = self.verdict, self._topics
        said: defaultdict[bytes, list[Output]] = defaultdict(list)
        for topic, expected in refold.outputs.items():
            found: list[tuple[bytes, bytes]] = []
            kind = self._kinds.get(topic)
            decode = None if kind is None else msgspec.json.Decoder(kind).decode
            async for record in read_all(self._brokers, topic, partition):
                found.append((record.key, digest(record.value)))
                if topic == topics.late:
                    self._said_late.add(_number(_decode(record.value).event_id))
                if decode is not None:
                    said[record.key].append(decode(record.value))
            name = topic.removeprefix(topics.prefix)
            compare_sequences(verdict, f"{name}/{partition}", expected, found)
            expected.clear()
        states = self._compare_store(partition, refold)
        verdict.counts["copies in the log"] += log.copies
        verdict.counts["in the log"] += len(log.first)
        self._late |= log.late
        if refold.dead:
            verdict.differs("records of the log that could not be folded", refold.dead, partition=partition)
        return self._judge_people(partition, log, said, states)

    def _judge_people(
        self, partition: int, log: Log, said: dict[bytes, list[Output]], states: dict[str, bytes]
    ) -> dict[int, int]:
        """Everybody who lives in this partition, against the truth; merged people are kept for later."""
        plan = self._plan
        merged: dict[int, int] = {}
        for number in range(plan.people):
            for person in (customer_of(number), visitor_of(number)):
                key = person.encode()
                if partition_of(key, plan.partitions) != partition:
                    continue
                outputs, state = said.pop(key, []), states.pop(person, None)
                life = plan.life(number)
                if life.kind is Kind.MERGED:
                    self._merged[person] = (outputs, state)
                    for place in range(len(life.events)):
                        which = number * PLACES + place
                        if which in log.first and person_id(life.events[place]) == person:
                            merged[which] = log.first.pop(which)
                elif person == customer_of(number):
                    self._compare_input(life, log.first)
                    self._compare_person(life, outputs, state, log.late)
        for which in log.first:
            self.verdict.differs("events of nobody", person=customer_of(which // PLACES), place=which % PLACES)
        for key in said:
            self.verdict.differs("outputs of nobody", person=key.decode())
        for person in states:
            if is_claim(person.encode()):
                continue
            self.verdict.differs("states of nobody", person=person)
        return merged

    def _judge_merged(self, first: dict[int, int]) -> None:
        plan = self._plan
        for number in range(plan.people):
            person, past = customer_of(number), visitor_of(number)
            if person not in self._merged and past not in self._merged:
                continue
            life = plan.life(number)
            self._compare_input(life, first)
            outputs, state = self._merged.get(person, ([], None))
            before, _ = self._merged.get(past, ([], None))
            self._compare_merged(life, [*before, *outputs], state)

    # One person

    def _compare_input(self, life: Life, first: dict[int, int]) -> None:
        """Every event of the truth is in the log, as it was written and under the right key."""
        end, events = self._plan.end, life.sent_until(self._plan.end)
        self.verdict.counts["distinct events sent"] += len(events)
        self.verdict.counts["events sent"] += sum(sending.at <= end for sending in life.sendings)
        for event in events:
            person = person_id(event)
            assert person is not None
            there = first.pop(_number(event.event_id), None)
            if there is None:
                self.verdict.differs("inputs missing", person=person, event_id=event.event_id)
            elif there != hash((person.encode(), encode_event(event))):
                self.verdict.differs("inputs changed", person=person, event_id=event.event_id)

    def _compare_person(self, life: Life, outputs: list[Output], state: bytes | None, late: set[int]) -> None:
        plan = self._plan
        events = life.sent_until(plan.end)
        if not events:
            return
        on_time = [event for event in events if _number(event.event_id) not in late]
        expected = fold(on_time, plan.last_mark)
        person = _retold(life.person, outputs, state, plan.last_mark)
        self._count(expected)
        expected = self._overtaken(expected, on_time, person)
        checks: dict[str, tuple[object, object]] = {
            "orders": (expected.order_count, person.state.facts.order_count),
            "revenue": (expected.revenue, _nonzero(person.state.facts.revenue)),
        }
        if life.kind in {Kind.STEADY, Kind.LATE}:
            checks |= {
                "sessions": (sessions_of(expected), sessions_said(person)),
                "standing": (standing_of(expected, plan.last_mark), standing_said(person)),
            }
        if life.kind is Kind.STEADY:
            checks |= {
                "drop-offs": (drop_offs_of(expected), drop_offs_said(person)),
                # Of two orders that close together, the first to come in is the one that recovers.
                "recoveries": (
                    [at for at, _ in recoveries_of(expected)],
                    sorted(at for at, _ in recoveries_said(person)),
                ),
                "corrections": (0, sum(said.kind == "cancelled" for said in person.said(DropOff))),
            }
        self._report(life, checks)
        self._find_false(life, events, person)

    def _overtaken(self, expected: Fold, events: list[Event], person: Person) -> Fold:
        """The oracle's fold without what the tracker withheld because a later order was folded before: of the truth
        alone, which does not know what was read first, it cannot be said. There has to be such an order."""
        withheld = {drop.event_id for drop in person.state.said.dropoffs if drop.ended == "withheld"}
        overtaken = {
            drop.armed_by
            for drop in expected.drop_offs
            if drop.armed_by in withheld and any(order.ts >= drop.detected_at for order in expected.orders)
        }
        self.verdict.counts[WITHHELD] += len(overtaken)
        return fold(events, self._plan.last_mark, overtaken=overtaken) if overtaken else expected

    def _compare_merged(self, life: Life, outputs: list[Output], state: bytes | None) -> None:
        plan = self._plan
        events = life.sent_until(plan.end)
        if not events:
            return
        expected = fold(events, plan.last_mark)
        self._count(expected)
        person = _retold(life.person, outputs, state, plan.last_mark)
        expected = self._overtaken(expected, events, person)
        dropped = [said for said in person.said(DropOff) if said.kind == "dropped_off"]
        moves = person.said(Transition)
        checks: dict[str, tuple[object, object]] = {
            "drop-offs": (
                Counter((drop.reason, drop.armed_at, drop.detected_at) for drop in expected.drop_offs),
                Counter((drop.reason, drop.armed_at, drop.detected_at) for drop in dropped),
            ),
            "recoveries": (len(expected.recoveries), len(recoveries_said(person))),
            "converted": (len(expected.orders), sum(move.direction == "converted" for move in moves)),
        }
        self._report(life, checks)
        self._find_false(life, events, person)

    def _count(self, expected: Fold) -> None:
        counts = self.verdict.counts
        counts["people"] += 1
        counts["sessions by the oracle"] += len(expected.sessions)
        counts["drop-offs by the oracle"] += len(expected.drop_offs)
        counts["orders by the oracle"] += len(expected.orders)

    def _report(self, life: Life, checks: dict[str, tuple[object, object]]) -> None:
        for what, (wanted, there) in checks.items():
            if wanted != there:
                self.verdict.differs(
                    f"{what} of {life.kind} people differ from the oracle's",
                    person=life.person,
                    expected=repr(wanted),
                    found=repr(there),
                )

    def _find_false(self, life: Life, events: list[Event], person: Person) -> None:
        """A drop-off of somebody whose order came before it was detected. Where orders come late it may be said,
        but must have ended: cancelled by the late order, unless a later one had come first and recovered it. And one of
        somebody who was known to have bought since."""
        said = person.said(DropOff)
        ended = {end.dropoff_id for end in said if end.kind != "dropped_off"} if life.kind is Kind.TARDY else set()
        orders = [event.ts for event in events if event.type == "order_completed"]
        for drop in said:
            stands = drop.kind == "dropped_off" and drop.id not in ended
            if stands and any(drop.armed_at < ts < drop.detected_at for ts in orders):
                self.verdict.differs("false drop-offs", person=life.person, dropoff=drop.id)
        bought: dict[str, int] = {}
        for message in said:
            if message.kind == "recovered" and message.last_event.type == "order_completed":
                bought[message.person_id] = max(bought.get(message.person_id, NEVER), message.last_event.ts)
            elif message.kind == "dropped_off" and bought.get(message.person_id, NEVER) >= message.detected_at:
                self.verdict.differs("drop-offs after a known order", person=life.person, dropoff=message.id)

    # Redis

    def _compare_store(self, partition: int, refold: Refold) -> dict[str, bytes]:
        """States, timers and counters are those of the log folded again. Answers the states that are there."""
        verdict, store = self.verdict, self._store
        prefix = self._key(partition, "s:")
        keys = [key for key in store.scan_iter(match=f"{prefix}*", count=CHUNK) if key != f"{prefix}config".encode()]
        timers = {
            person.decode(): int(due)
            for person, due in store.zrange(self._key(partition, "timers"), 0, -1, withscores=True)
        }
        there: dict[str, bytes] = {}
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            for key, value in zip(chunk, store.mget(chunk), strict=True):
                there[key.decode().removeprefix(prefix)] = value
        verdict.counts["states"] += len(there)
        for person in refold.states.keys() - there.keys():
            verdict.differs("states missing", person=person)
        for person, value in there.items():
            wanted = refold.states.get(person)
            if wanted is None:
                verdict.differs("states that should not be there", person=person)
                continue
            decode: Callable[[bytes], State | Claims] = decode_claims if is_claim(person.encode()) else decode_state
            state = decode(value)
            if timers.get(person) != state.timer:
                verdict.differs("timers differ from their states", person=person)
            if value != wanted:
                other = decode(wanted)
                state.timer = other.timer = None  # a lower bound: any will do
                if state != other:
                    verdict.differs("states differ", person=person, expected=repr(other), found=repr(state))
        for person in timers.keys() - there.keys():
            verdict.differs("timers of nobody", person=person)
        counters = {
            name.decode(): int(count)
            for name, count in store.hgetall(self._key(partition, "map")).items()
            if int(count)
        }
        if counters != refold.counters:
            verdict.differs("counters differ", partition=partition, expected=refold.counters, found=counters)
        return there

    def _key(self, partition: int, name: str) -> str:
        return f"{self._topics.prefix}{{p{partition}}}:{name}"


class _Clock:
    """The watermark that a partition's log has reached: the least w1 that all partitions have said."""

    def __init__(self, partitions: int) -> None:
        self.watermark = NEVER
        self._w1 = dict.fromkeys(map(str, range(partitions)), NEVER)

    def passed(self, value: bytes) -> None:
        for partition, (_, w1) in json.loads(value)["partitions"].items():
            self._w1[partition] = max(self._w1[partition], w1)
        self.watermark = min(self._w1.values())


_decode = msgspec.json.Decoder(Event).decode


def _number(event_id: str) -> int:
    """Person and place of an event."""
    number, _, place = event_id[1:].partition("-")
    return int(number) * PLACES + int(place)


def _retold(person_id: str, outputs: list[Output], state: bytes | None, watermark: int) -> Person:
    """What was said of a person, and their state, in the shape in which the property tests compare it."""
    person = Person(name=person_id)
    person.out = sorted(outputs, key=lambda said: isinstance(said, SessionClosed))  # a stable sort: each topic in order
    if state is not None:
        person.state = decode_state(state)
    person.watermark = watermark
    return person


def _nonzero(revenue: dict[str, int]) -> dict[str, int]:
    return {currency: amount for currency, amount in revenue.items() if amount}

"""Consent to analytics and erasure, at any point of any script: nothing is known that must not be, all else is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.privacy import Known, People
from tests.properties.apart import take_apart
from tests.properties.cluster import Cluster
from tests.properties.log import Log, LogRecord, Worker, retold, send_on
from tests.properties.runner import (
    END_OF_TIME,
    NEVER,
    DropOffs,
    Person,
    Sessions,
    drop_offs_of,
    drop_offs_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
    table,
)
from tests.properties.strategies import (
    MINUTE,
    SHORT_STEPS,
    SMALL_DELAYS,
    START,
    Arrival,
    as_person,
    event,
    honest,
    named,
    scripts,
)
from tracker.domain.events import Consent, Event
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import Transition
from tracker.wire.control import Erase, Merge, Rebuilt, control_kind, decode_control

ANALYTICS = st.sampled_from((None,) * 5 + (False, True, True))
MARKETING = st.sampled_from((None,) * 4 + (False, True))


@st.composite
def asked(draw: st.DrawFn, made: Event) -> Event:
    """The event with a statement of consent, or with none."""
    said = Consent(marketing=draw(MARKETING), analytics=draw(ANALYTICS))
    return msgspec.structs.replace(made, consent=None if said == Consent() else said)


@dataclass(frozen=True)
class Story:
    """A log, what may be known of its people after all of it, and the watermark then."""

    log: Log
    known: dict[str, Known]
    end: int
    asks: bool
    """Whether analytics has to be consented to before anything is known."""

    def worker(self, cache: int = 1000, deadlines: int = 1000) -> Worker:
        return worker(self.asks, cache, deadlines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("" if cycle else repr(self.log))


def worker(asks: bool, cache: int = 1000, deadlines: int = 1000) -> Worker:
    settings = FoldSettings(analytics_default=not asks)
    return Worker(cache=cache, deadlines=deadlines, compile=lambda _: table(None, settings))


@st.composite
def one_person(draw: st.DrawFn, arrivals: st.SearchStrategy[list[Arrival]]) -> Story:
    """Somebody who refuses, grants and is erased, while time goes on."""
    asks = draw(st.booleans())
    log, known, watermark = Log(), Known(asks), NEVER
    told = draw(arrivals)
    latest = max(arrival.event.ts for arrival in told)
    for arrival in told:
        if arrival.watermark is not None and arrival.watermark > watermark:
            watermark = arrival.watermark
            log.watermark(watermark)
            known.now.step(watermark)
        if draw(st.sampled_from((False,) * 9 + (True,))):
            ts = draw(st.sampled_from((arrival.event.ts, arrival.event.ts - 1, latest, max(watermark, 0))))
            log.control(Erase(ts, spread=True), "c:p")
            known.erase(ts + 1, watermark)
        made = draw(asked(arrival.event))
        log.event(made, "c:p")
        known.hear(made, watermark)
        known.now.step(watermark)
    log.watermark(latest + END_OF_TIME)
    return Story(log, {"c:p": known}, latest + END_OF_TIME, asks)


def told_of(known: Known, end: int) -> tuple[Sessions, DropOffs, int]:
    """Sessions, drop-offs and how many were withheld, of all lives together."""
    folds = [life.folded(end) for life in known.lives]
    return (
        sorted(chain.from_iterable(map(sessions_of, folds))),
        sorted(chain.from_iterable(map(drop_offs_of, folds)), key=str),
        sum(fold.withheld for fold in folds),
    )


def withheld(worker: Worker) -> int:
    return sum(count for name, count in worker.counted().items() if name.startswith("withheld:"))


def without_numbers(standing: dict[str, object]) -> dict[str, object]:
    """Journeys of a new beginning are numbered from its time."""
    converted = standing["converted"]
    assert isinstance(converted, list)
    return {name: value for name, value in standing.items() if name != "journeys"} | {
        "converted": [phase for _, phase in converted]
    }


def check_standing(worker: Worker, person: Person, known: Known, end: int) -> None:
    """The stored state is what the present life comes to, and nothing is stored of nobody."""
    now = known.now.folded(end)
    if person.name in worker.states:
        assert without_numbers(standing_said(person)) == without_numbers(standing_of(now, end))
    else:
        assert (known.now.events, known.now.stated, known.refusal) == ([], [], None)
    if known.refused:
        assert person.name not in worker.timers


@given(story=one_person(honest(scripts(), SMALL_DELAYS) | honest(scripts(longest=6))))
def test_whatever_is_refused_granted_and_erased_each_life_is_what_the_naive_fold_of_its_events_is(story: Story) -> None:
    reader = story.worker().read(story.log)
    person = retold(reader)
    known = story.known["c:p"]
    check_standing(reader, person, known, story.end)
    said = sessions_said(person), sorted(drop_offs_said(person), key=str), withheld(reader)
    assert said == told_of(known, story.end)
    moves = person.said(Transition)
    assert len({move.id for move in moves}) == len(moves)


@st.composite
def linked(draw: st.DrawFn) -> Story:
    """Two visitors and the customer they both turn out to be; everything within the allowed lateness."""
    asks = draw(st.booleans())
    log, reader, people = Log(), worker(asks), People(asks)
    log.watermark(START)
    ts = START
    for number in range(draw(st.integers(1, 10))):
        ts += draw(st.sampled_from((*SHORT_STEPS, 20 * MINUTE)))
        if draw(st.sampled_from((False,) * 9 + (True,))):
            erased = draw(st.sampled_from(("c:p", "a:v", "a:w")))
            log.control(Erase(ts, spread=True), erased)
            people.erase(erased, ts, START)
            send_on(log, reader)
            continue
        back = draw(st.sampled_from((0, 0, 0, 1, 10 * MINUTE)))
        who = draw(st.sampled_from(("c:p", "c:p", "a:v", "a:v", "a:w")))
        made = draw(asked(as_person(draw(event(number, ts - back)), who)))
        both = draw(st.sampled_from((None, None, "a:v", "a:w"))) if who == "c:p" else None
        if both is not None:
            made.anonymous_id = both[2:]
        log.event(made, who)
        people.hear(who, made, START)
        if both is not None:
            log.control(Merge("c:p", made.ts), both)
            people.merge(both, "c:p", made.ts, START)
        people.step(START)
        send_on(log, reader)
    log.watermark(ts + END_OF_TIME)
    send_on(log, reader)
    return Story(log, people.known, ts + END_OF_TIME, asks)


@given(story=linked())
def test_who_turns_out_to_be_a_customer_has_their_consent_in_common(story: Story) -> None:
    reader = story.worker().read(story.log)
    for name, known in story.known.items():
        person = retold(reader, name)
        check_standing(reader, person, known, story.end)
        assert (sessions_said(person), sorted(drop_offs_said(person), key=str)) == told_of(known, story.end)[:2]


@given(
    story=one_person(honest(scripts(), SMALL_DELAYS)) | linked(),
    cuts=st.lists(st.integers(1, 6), max_size=20),
    cache=st.sampled_from((0, 1, 1000)),
    deadlines=st.sampled_from((1, 3, 1000)),
)
def test_any_split_into_batches_and_any_restart_gives_the_same(
    story: Story, cuts: list[int], cache: int, deadlines: int
) -> None:
    one_by_one = story.worker().read(story.log)
    split = story.worker(cache, deadlines).read(story.log, chain(cuts, repeat(3)), repeat(True))
    for other in (story.worker().read(story.log, repeat(10_000)), split):
        assert other.said == one_by_one.said
        assert other.people() == one_by_one.people()
        assert other.erased == one_by_one.erased
        assert other.counted() == one_by_one.counted()


# Nothing of who was erased is left

NAMES = {"p": "kari-nordmann", "q": "ola-nordmann", "v": "first-visitor", "w": "second-visitor", "x": "third-visitor"}


def by_name(made: Event) -> Event:
    """With ids that nothing else contains."""
    customer, anonymous = made.customer_id, made.anonymous_id
    return msgspec.structs.replace(
        made,
        customer_id=None if customer is None else NAMES[customer],
        anonymous_id=None if anonymous is None else NAMES[anonymous],
    )


def erased_in(records: Iterable[LogRecord], ts: int) -> set[str]:
    """Whom the erase records of a log name that reach as far as `ts`: who was erased before may have come back."""
    found = set()
    for record in records:
        if control_kind(record.headers) == "erase":
            control = decode_control("erase", record.value)
            assert isinstance(control, Erase)
            if control.member is None and control.ts >= ts:
                found.add((record.key or b"").decode())
    return found


def traces(worker: Worker, persons: set[str]) -> list[str]:
    """Where an id of theirs still is."""
    ids = [person[2:].encode() for person in persons]
    stored = {**worker.states, "meta": worker.meta, **{f"mark {mark!r}": mark for mark in worker.erased}}
    found = [f"in {key}: {state!r}" for key, state in stored.items() if any(one in state for one in ids)]
    names = [*worker.states, *worker.timers, *worker.counters]
    return found + [name for name in names if any(one in name.encode() for one in ids)]


@given(data=st.data(), customers=st.sampled_from((("c:p",), ("c:p", "c:q"))))
def test_nothing_of_who_was_erased_is_left_whatever_was_under_way(
    data: st.DataObject, customers: tuple[str, ...]
) -> None:
    draw = data.draw
    cluster, ts, number = Cluster(), START, 0
    cluster.time(START)
    told: list[Event] = []
    people = [f"{who[:2]}{NAMES[who[2:]]}" for who in ("c:p", "a:v", "a:w")]
    what = st.sampled_from(("event",) * 6 + ("move",) * 8 + ("restart", "erase"))
    for step in draw(st.lists(what, max_size=20)):
        if step == "event":
            ts += draw(st.sampled_from((*SHORT_STEPS, 20 * MINUTE)))
            number += 1
            made = by_name(draw(asked(draw(named(number, ts, customers)))))
            if len(customers) > 1:  # what two customers name joins nobody; a device of both is known by its events
                made = msgspec.structs.replace(made, order_id=None, cart_id=None, checkout_id=None)
            told.append(made)
            cluster.tell(made)
        elif step == "move" and cluster.moves():
            cluster.make(draw(st.sampled_from(cluster.moves())))
        elif step == "restart":
            cluster.workers[draw(st.integers(0, 2))].start()
        elif step == "erase":
            cluster.control(Erase(ts, spread=True), draw(st.sampled_from(people)))
    cluster.control(Erase(ts, spread=True), draw(st.sampled_from(people)))
    while moves := cluster.moves():
        cluster.make(draw(st.sampled_from(moves)))
    erased = erased_in((record for log in cluster.logs for record in log.records), ts)
    said = [len(worker.said) for worker in cluster.workers]
    for worker in cluster.workers:
        assert traces(worker, erased) == []
    for made in told:  # a raw topic is read again
        cluster.tell(made)
    cluster.time(ts + END_OF_TIME)
    for worker, since in zip(cluster.workers, said, strict=True):
        assert traces(worker, erased) == []
        for topic, key, value in worker.said[since:]:
            if b'"member"' not in value:
                assert not [one for one in erased if one[2:].encode() in key + value], (topic, key, value)


@given(data=st.data(), place=st.integers(1, 3))
def test_an_erasure_before_while_or_after_a_link_is_taken_apart_leaves_nothing(data: st.DataObject, place: int) -> None:
    draw = data.draw
    visitor, customer = f"a:{NAMES['v']}", f"c:{NAMES['p']}"
    erased = draw(st.sampled_from((visitor, customer)))
    moments = ["merged", "apart", "rebuilt"]
    moments.insert(place, "erased")
    log, reader, ts, number = Log(), Worker(), START, 0
    log.watermark(START)
    rebuilt: list[tuple[Rebuilt, str]] = []
    for moment in moments:
        for _ in range(draw(st.integers(0, 2)) if "erased" not in moments[: moments.index(moment)] else 0):
            ts, number = ts + draw(st.sampled_from(SHORT_STEPS)), number + 1
            who = draw(st.sampled_from(("a:v", "c:p")))
            log.event(
                by_name(draw(asked(as_person(draw(event(number, ts)), who)))), visitor if who == "a:v" else customer
            )
        if moment == "merged":
            login = by_name(Event("login", "identified", ts, customer_id="p", anonymous_id="v"))
            log.event(login, customer)
            log.control(Merge(customer, ts), visitor)
        elif moment == "apart":
            rebuilt = take_apart(log, reader, visitor, customer)
        elif moment == "rebuilt":
            for record, key in rebuilt:
                log.control(record, key)
        else:
            log.control(Erase(ts, spread=True), erased)
        send_on(log, reader)
    log.control(Merge(customer, ts), visitor)  # ingest says it again
    log.watermark(ts + END_OF_TIME)
    send_on(log, reader)
    gone = erased_in(log.records, ts)
    assert erased in gone
    assert traces(reader, gone) == []

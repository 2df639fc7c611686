"""Logs drawn at random: of several people, or of a visitor who turns out to be a customer."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import strategies as st

from tests.oracle.naive import Fold, fold
from tests.properties.log import Log, Worker, send_on
from tests.properties.runner import END_OF_TIME
from tests.properties.strategies import HOUR, MINUTE, ORDERS, SHORT_STEPS, START, STEPS, as_person, event
from tracker.domain.events import Event
from tracker.wire.control import Merge

PEOPLE = ("c:p", "c:q", "a:v", "a:w")


@st.composite
def logs(
    draw: st.DrawFn, kinds: tuple[str, ...] = ("event",) * 8 + ("late", "copy", "merge"), longest: int = 14
) -> Log:
    """Events of four people, two of them anonymous, with watermarks that follow at different distances, copies of
    earlier records, and merges. What the tracker sends on to itself is in the log where it would come."""
    log, worker = Log(), Worker()
    ts = START
    reached = START
    for number in range(draw(st.integers(1, longest))):
        ts += draw(st.sampled_from(STEPS if draw(st.booleans()) else SHORT_STEPS))
        kind = draw(st.sampled_from(kinds))
        person = draw(st.sampled_from(PEOPLE))
        if kind == "copy" and log.records:
            copied = draw(st.sampled_from(log.records))
            log.add(copied.key, copied.value, copied.headers)
        elif kind == "merge":
            customer = draw(st.sampled_from(("c:p", "c:p", "c:q")))
            log.control(Merge(customer, ts), draw(st.sampled_from(("a:v", "a:w"))))
        else:
            back = draw(st.sampled_from((1, 30_000, 45 * MINUTE, 60 * MINUTE, 61 * MINUTE))) if kind == "late" else 0
            made = draw(event(number, ts - back))
            log.event(as_person(made, person), person)
        if draw(st.booleans()):
            reached = max(reached, ts - draw(st.sampled_from((0, 0, 1, 30_000, 45 * MINUTE))))
            log.watermark(reached)
        send_on(log, worker)
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return log


@dataclass(frozen=True)
class Story:
    """Events in log order with their owners, a merge among them, and the watermark before all of it."""

    log: Log
    events: list[Event]
    end: int
    steps: list[Fold] = field(default_factory=list)
    """The naive folds of what is known of either person after each event and the merge, and of both at the end."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A visitor and a customer who are one and the same; everything within the allowed lateness of the merge."""
    log = Log()
    script: list[Event] = []
    ts = START
    for number in range(draw(st.integers(1, 10))):
        ts += draw(st.sampled_from((*SHORT_STEPS, 20 * MINUTE, 30 * MINUTE)))
        script.append(as_person(draw(event(number, ts)), draw(st.sampled_from(("a:v", "c:p")))))
    records: list[Event | Merge] = list(script)
    for _ in range(draw(st.integers(1, 2))):
        records.insert(draw(st.integers(0, len(records))), Merge("c:p", ts))
    worker = Worker()
    log.watermark(START)
    known: dict[str, list[Event]] = {"a:v": [], "c:p": []}
    steps: list[Fold] = []
    for record in records:
        if isinstance(record, Merge):
            log.control(record, "a:v")
            if known["a:v"] is not known["c:p"]:
                both = [*known["a:v"], *known["c:p"]]
                known = {"a:v": both, "c:p": both}
        else:
            person = "c:p" if record.customer_id else "a:v"
            log.event(record, person)
            known[person].append(record)
        steps += [fold(events, START) for events in known.values()]
        send_on(log, worker)
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return Story(log, script, ts + END_OF_TIME, [*steps, fold(script, ts + END_OF_TIME)])


@st.composite
def long_stories(draw: st.DrawFn) -> Story:
    """The same over days, the watermark following at once: much of the past is older than the lateness when merged."""
    log, worker = Log(), Worker()
    script: list[Event] = []
    ts = START
    length = draw(st.integers(1, 10))
    merged = draw(st.integers(0, length - 1))
    for number in range(length):
        ts += draw(st.sampled_from((*SHORT_STEPS, 30 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR)))
        made = as_person(draw(event(number, ts)), draw(st.sampled_from(("a:v", "c:p"))))
        if made.type in ORDERS:
            made = msgspec.structs.replace(made, order_id=f"own{number}")
        script.append(made)
        log.event(made, "c:p" if made.customer_id else "a:v")
        log.watermark(ts)
        if number == merged:
            log.control(Merge("c:p", ts), "a:v")
        send_on(log, worker)
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return Story(log, script, ts + END_OF_TIME)

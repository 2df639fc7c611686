"""However the log is cut into batches and commits, and wherever the worker starts again: the same outputs."""

from __future__ import annotations

from itertools import chain, repeat

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.naive import fold
from tests.properties.log import TOPICS, Log, Worker
from tests.properties.runner import END_OF_TIME
from tests.properties.stories import PEOPLE, logs
from tests.properties.strategies import START
from tracker.domain.events import Event
from tracker.wire.control import Merge, control_kind, decode_control

MINUTES = 60_000


@given(
    log=logs(),
    cuts=st.lists(st.integers(1, 6), max_size=20),
    crashes=st.lists(st.booleans(), max_size=20),
    cache=st.sampled_from((0, 1, 2, 1000)),
    deadlines=st.sampled_from((1, 2, 3, 1000)),
)
def test_any_split_into_batches_and_commits_gives_the_same_outputs_in_the_same_order(
    log: Log, cuts: list[int], crashes: list[bool], cache: int, deadlines: int
) -> None:
    one_by_one = Worker().read(log)
    whole = Worker().read(log, cuts=repeat(10_000))
    split = Worker(cache=cache, deadlines=deadlines)
    split.read(log, cuts=chain(cuts, repeat(3)), crashes=chain(crashes, repeat(True)))
    for other in (whole, split):
        assert other.said == one_by_one.said
        assert other.people() == one_by_one.people()
        assert other.counted() == one_by_one.counted()
        assert other.dead == one_by_one.dead


@given(log=logs())
def test_no_id_is_said_twice(log: Log) -> None:
    worker = Worker().read(log)
    ids = []
    for topic, _, value in worker.said:
        if topic in {TOPICS.transitions, TOPICS.dropoffs, TOPICS.sessions}:
            message = msgspec.json.decode(value)
            ids.append((topic, message["id"] if "id" in message else (message["session_id"], message["revision"])))
    assert len(set(ids)) == len(ids)


def test_a_journey_that_a_late_event_revived_leaves_once_though_another_one_left_among_the_recent_events() -> None:
    month, log = 30 * 24 * 60 * MINUTES, Log()
    for number, (ts, reached) in enumerate(
        [(0, 0), (month, month), (2 * month, 2 * month), (2 * month - 1, 2 * month + 1), (3 * month, 6 * month)]
    ):
        kind = "product_viewed" if number == 2 else "page_viewed"
        log.event(Event(f"e{number}", kind, START + ts, customer_id="p"), "c:p")
        log.watermark(START + reached)
    said = [msgspec.json.decode(value) for topic, _, value in Worker().read(log).said if topic == TOPICS.transitions]
    left = [move["id"] for move in said if move["direction"] == "left"]
    assert len(left) == len(set(left)) == 3


@given(log=logs())
def test_orders_and_revenue_of_all_people_are_those_of_the_log_whatever_was_merged(log: Log) -> None:
    """Lifetime facts of whoever ended up with the events equal the naive fold of the same events."""
    worker = Worker().read(log)
    people = worker.people()
    events: dict[str, list[Event]] = {person: [] for person in PEOPLE}
    owner = {person: person for person in PEOPLE}
    links: dict[str, list[str]] = {}
    for record in log.records:
        kind = control_kind(record.headers)
        key = (record.key or b"").decode()
        if kind == "merge":
            control = decode_control(kind, record.value)
            assert isinstance(control, Merge)
            known = links.setdefault(key, [])
            if control.customer not in known:
                known.append(control.customer)
            if len(known) == 1:
                events[control.customer] += events.pop(key, [])
                owner[key] = control.customer
            elif len(known) == 2:
                owner[key] = key
                events.setdefault(key, [])
        elif kind is None and not record.headers:
            events[owner[key]].append(msgspec.json.decode(record.value, type=Event))
    for person, their in events.items():
        expected = fold(their, START + 10 * END_OF_TIME)
        facts = people[person].facts if person in people else None
        assert (facts.order_count if facts else 0) == expected.order_count, person

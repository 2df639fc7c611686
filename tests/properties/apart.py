"""`tracker unmerge` over a log in memory."""

from __future__ import annotations

from tests.properties.log import CONFIG, TOPICS, Log, Worker, send_on
from tests.properties.runner import table
from tracker.domain.state import encode_state
from tracker.domain.unmerging import forget_unsaid
from tracker.stream.rebuilding import Shadow, apart, difference
from tracker.wire.control import Rebuilt, Unmerge


def take_apart(log: Log, worker: Worker, visitor: str = "a:v", customer: str = "c:p") -> list[tuple[Rebuilt, str]]:
    """What `tracker unmerge` does up to the point where it sends what it rebuilt."""
    log.control(Unmerge(visitor, customer, "t"), visitor)
    send_on(log, worker)
    people = (visitor.encode(), customer.encode())
    was = Shadow(0, 1, CONFIG, lambda _: table(), TOPICS, people)
    would = Shadow(0, 1, CONFIG, lambda _: table(), TOPICS, people, apart(visitor, [customer], customer, [visitor]))
    for record in log.records:
        was.feed([record])
        would.feed([record])
    assert not would.sent_on
    found = []
    for key, counters in ((people[0], difference(would, was)), (people[1], {})):
        state = would.state(key)
        wrong = forget_unsaid(state, was.dropoffs)
        found.append((Rebuilt(encode_state(state), counters, wrong, was.guard(key)), key.decode()))
    return found

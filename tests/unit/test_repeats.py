from __future__ import annotations

import logging

from tracker.wiring.repeats import EVERY, Repeats, hold_back_repeats


def record(message: str, *values: object, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, values, None)


def test_a_repeated_message_comes_once_and_then_says_how_often_it_came() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)
    assert repeats.filter(record("Unable to connect to node %s", 1))
    assert not repeats.filter(record("Unable to connect to node %s", 1))
    assert not repeats.filter(record("Unable to connect to node %s", 2))
    assert repeats.filter(record("Unable to update metadata"))
    now = EVERY
    again = record("Unable to connect to node %s", 3)
    assert repeats.filter(again)
    assert again.getMessage() == "Unable to connect to node 3 (and 2 like it before)"
    now = 2 * EVERY
    last = record("Unable to connect to node %s", 4)
    assert repeats.filter(last)
    assert last.getMessage() == "Unable to connect to node 4"


def test_what_the_tracker_says_itself_is_never_held_back() -> None:
    repeats = Repeats()
    assert all(repeats.filter(record("track: %s pauses", 1, name="tracker.stream.processor")) for _ in range(3))


def test_every_handler_gets_it_once() -> None:
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        hold_back_repeats()
        hold_back_repeats()
        assert [type(known) for known in handler.filters] == [Repeats]
    finally:
        root.removeHandler(handler)
        for other in root.handlers:
            other.filters = [known for known in other.filters if not isinstance(known, Repeats)]

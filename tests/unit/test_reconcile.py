"""What a partition's positions and log say about each other, and what an operator's word makes of a contradiction."""

from __future__ import annotations

from itertools import product

import pytest

from tracker.stream.reconcile import Accepted, Contradiction, Known, Stop, reconcile, resolve
from tracker.wire.position import Position

WHERE = "partition 3 of journey.events"


def at(offset: int) -> Position:
    return Position(offset, 1_000)


@pytest.mark.parametrize(
    ("known", "suppressed"),
    [
        (Known(None, None, 0, 0, outputs=False), None),
        (Known(None, None, 5, 9, outputs=False), None),
        (Known(None, Position(5), 5, 9, outputs=False), None),
        (Known(at(7), at(7), 5, 9, outputs=True), None),
        (Known(at(9), at(7), 5, 9, outputs=True), None),
        (Known(at(6), at(8), 5, 9, outputs=True), at(8)),
        (Known(None, at(8), 0, 9, outputs=True), at(8)),
        (Known(Position(7, 1_000, 900, "a:1"), Position(7, 1_000, 900, "a:2"), 5, 9, outputs=True), "C"),
        (Known(at(8), at(50), 5, None, outputs=True), at(50)),
    ],
)
def test_positions_that_fit_together_say_up_to_where_outputs_were_published(
    known: Known, suppressed: Position | str | None
) -> None:
    assert reconcile(known, WHERE) == (known.published if suppressed == "C" else suppressed)


@pytest.mark.parametrize(
    ("known", "stop"),
    [
        (Known(None, None, 0, 9, outputs=True), "both_lost"),
        (Known(at(7), None, 5, 9, outputs=True), "published_lost"),
        (Known(at(4), at(4), 5, 9, outputs=True), "log_deleted"),
        (Known(at(4), at(3), 5, 9, outputs=True), "log_deleted"),
        (Known(at(4), at(7), 5, 9, outputs=True), "folded_lost"),
        (Known(None, at(7), 5, 9, outputs=True), "folded_lost"),
        (Known(at(12), at(12), 5, 9, outputs=True), "folded_past_end"),
        (Known(at(12), at(8), 5, 9, outputs=True), "folded_past_end"),
        (Known(at(12), at(14), 5, 9, outputs=True), "folded_past_end"),
        (Known(at(7), at(12), 5, 9, outputs=True), "published_past_end"),
        (Known(None, at(12), 0, 9, outputs=True), "published_past_end"),
    ],
)
def test_a_contradiction_has_a_name_and_says_the_ways_out(known: Known, stop: Stop) -> None:
    with pytest.raises(Contradiction, match=rf"^{WHERE}: .* Ways out: .*`tracker recover`.*--accept-loss") as raised:
        reconcile(known, WHERE)
    assert raised.value.stop == stop


def everything() -> list[Known]:
    places = (None, Position(0), at(0), at(4), at(5), Position(7, 1_000, 900, "c:1"), at(7), at(9), at(12))
    logs = ((0, 0), (0, 9), (5, 5), (5, 9))
    return [
        Known(folded, published, *log, outputs=outputs)
        for folded, published, log, outputs in product(places, places, logs, (False, True))
    ]


def test_every_way_out_that_is_offered_leads_on_from_within_the_log() -> None:
    tried: set[tuple[Stop, Accepted]] = set()
    for known in everything():
        try:
            reconcile(known, WHERE)
        except Contradiction as error:
            for accepted in error.accepts:
                done = resolve(known, accepted)
                assert done.says
                after = known._replace(folded=done.folded, published=done.published)
                suppressed = reconcile(after, WHERE)
                start, end = known.start, known.end or 0
                assert start <= (done.folded or Position(start)).offset <= max(start, end), (known, accepted)
                assert suppressed is None or suppressed.offset <= max(end, start), (known, accepted)
                if accepted == "repeats":
                    assert suppressed is None or suppressed == known.published, (known, accepted)
                if known.folded is not None and done.folded is not None:
                    assert done.folded.watermark == known.folded.watermark, "time never falls"
                tried.add((error.stop, accepted))
    assert len({stop for stop, _ in tried}) == 6
    assert len(tried) == 10


def test_what_is_folded_and_not_published_goes_out_before_the_log_is_left() -> None:
    done = resolve(Known(at(4), at(3), 5, 9, outputs=True), "loss")
    assert (done.outbox_after, done.drop_outbox, done.folded) == (at(3), False, at(5))


def test_the_last_outputs_are_dropped_or_repeated_where_nobody_knows_whether_they_were_published() -> None:
    known = Known(at(7), None, 5, 9, outputs=True)
    assert resolve(known, "loss").drop_outbox
    again = resolve(known, "repeats")
    assert (again.drop_outbox, again.outbox_after, again.published) == (False, None, at(7))

"""Recovery compares what is folded (R, in the store) with what is published (C, on the broker) and with the log.

Where the three fit together, `reconcile` says what the next owner does; where they contradict each other it raises a
`Contradiction`, which stops the partition, because going on would lose or repeat something without a word.
`resolve` is what an operator's explicit word makes of it (`tracker recover`). Pure: positions in, positions out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tracker.errors import Irreconcilable
from tracker.wire.position import Position

Stop = Literal["both_lost", "published_lost", "log_deleted", "folded_lost", "folded_past_end", "published_past_end"]
"""What contradicts: the store and the broker lost their positions; the broker alone; the log was deleted before it
was folded; the store lost what the log no longer has; the log ends before what is folded; before what is published."""

PAST_END: frozenset[Stop] = frozenset({"folded_past_end", "published_past_end"})

Accepted = Literal["loss", "repeats"]
"""What the operator would rather have where nobody knows what was published: outputs that are missing, or outputs
that come a second time with the same ids."""


class Known(NamedTuple):
    """What is known of a partition. `start` and `end` are the log's first and next offset (`end` None where the broker
    does not say it reliably); `outputs` whether an output topic holds, or has held, a record of the partition."""

    folded: Position | None
    published: Position | None
    start: int
    end: int | None
    outputs: bool


class Resolution(NamedTuple):
    """Positions to write, `folded` None where the store shall stay without one. What the store has not published yet
    (its outbox) goes out from `outbox_after` on (None: all of it), or is dropped where `drop_outbox`."""

    folded: Position | None
    published: Position
    outbox_after: Position | None
    drop_outbox: bool
    says: str


class Contradiction(Irreconcilable):
    """Store, broker and log contradict each other. `accepts` are the ways out that `tracker recover` has."""

    def __init__(self, stop: Stop, what: str, ways: str, accepts: tuple[Accepted, ...]) -> None:
        offered = " or ".join(f"--accept-{accepted}" for accepted in accepts)
        super().__init__(
            f"{what}. Ways out: {ways}; or end the workers and look at `tracker recover`, which goes on with {offered}"
        )
        self.stop = stop
        self.may_pass = stop in PAST_END
        self.accepts = accepts


def reconcile(known: Known, where: str) -> Position | None:
    """Up to where outputs were published already and must not be said again; None where the store is not behind.
    `where` names the partition. Raises `Contradiction`."""
    folded, published, start, end, outputs = known
    if published is None:
        if folded is not None:
            raise Contradiction(
                "published_lost",
                f"{where}: Redis is at {folded.encode()}, but the broker has no committed position: it was lost, so "
                "what was published is not known",
                "restore the consumer group's offset and metadata",
                ("loss", "repeats"),
            )
        if outputs:
            raise Contradiction(
                "both_lost",
                f"{where}: neither Redis nor the broker knows a position, but outputs of this partition are there: "
                "both were lost, and everything would be published again",
                "restore Redis and the consumer group",
                ("loss", "repeats"),
            )
        return None
    if folded is None and published == Position(start):
        return None  # a first start that got no further
    behind = folded is None or published.order() > folded.order()
    if end is not None and folded is not None and folded.offset > end:
        raise Contradiction(
            "folded_past_end",
            f"{where}: Redis is at offset {folded.offset}, but the log ends at {end}: the topic was cut off or made "
            "anew, or Redis holds another cluster's state",
            "bring the topic back",
            ("loss", "repeats") if behind else ("loss",),
        )
    if end is not None and behind and published.offset > end:
        raise Contradiction(
            "published_past_end",
            f"{where}: the broker is at offset {published.offset}, but the log ends at {end}, and Redis is at "
            f"{folded.offset if folded else 'its beginning'}: the topic was cut off or made anew, so which of its "
            "records were published is not known",
            "bring the topic back, or restore a Redis backup that is not older than the consumer group's position",
            ("loss", "repeats"),
        )
    at = folded.offset if folded is not None else 0
    if at < start:
        if behind:
            raise Contradiction(
                "folded_lost",
                f"{where}: Redis is at offset {at}, the broker at {published.offset}, and the log begins at {start}: "
                "what Redis lost cannot be rebuilt",
                "restore a Redis backup that is not older than the log",
                ("loss",),
            )
        raise Contradiction(
            "log_deleted",
            f"{where}: Redis is at offset {at}, but the log begins at {start}: what lay between was deleted before it "
            "was folded (TRACKER_EVENTS_RETENTION)",
            "send those events again, if somebody still has them",
            ("loss",),
        )
    return published if behind else None


def resolve(known: Known, accepted: Accepted) -> Resolution:
    """What to write so that the next owner of a partition that has stopped goes on, at the log's start where the log
    does not have the store's position. Needs `end`."""
    folded, published, start, end, _ = known
    assert end is not None
    repeats = accepted == "repeats"
    if folded is None:
        on = Position(start)
        if published is not None and published.offset <= end:
            return Resolution(
                on,
                max(on, published, key=Position.order),
                None,
                drop_outbox=False,
                says=f"begin without states at offset {start}, publish nothing up to {published.offset} again",
            )
        if repeats:
            return Resolution(None, on, None, drop_outbox=False, says=f"fold and publish all from offset {start} again")
        return Resolution(
            on if start else None,
            Position(end),
            None,
            drop_outbox=False,
            says=f"fold from offset {start} again, publish nothing of what lies before {end}",
        )
    there = start <= folded.offset <= end
    on = folded if there else Position(start, folded.watermark)
    going = f"go on at offset {on.offset} with the states that Redis has"
    if published is None:
        what = "publish the last outputs once more" if repeats else "do not publish the last outputs again"
        return Resolution(on, on, None, drop_outbox=not repeats, says=f"{going}, {what}")
    if published.order() <= folded.order():
        return Resolution(on, on, published, drop_outbox=False, says=going)
    if published.offset <= end and not (repeats and folded.offset > end):
        said = max(on, published, key=Position.order)
        what = f"publish nothing up to {said.offset} again"
        return Resolution(on, said, None, drop_outbox=True, says=f"{going}, {what}")
    if repeats:
        return Resolution(
            on, on, None, drop_outbox=True, says=f"{going}, publish what follows from there, perhaps again"
        )
    said = max(on, Position(end), key=Position.order)
    return Resolution(on, said, None, drop_outbox=True, says=f"{going}, publish nothing of what lies before {end}")

"""What ingest costs in each dialect, without a broker: records per second of CPU, beside a decode of the same bytes.

python -m loadtests.dialects [--records 20000] [--repeat 5] [NAME …]

The records are workload W1's events as the dialect's producers write them (`tests.dialects.writers`: a new dialect's
writer is its sample). `take` is all that ingest does with a record in memory: dialect, events, checks, canonical JSON,
key and partition; `auto` detects the dialect, `named` is told it. `decode` is msgspec into plain objects: what reading
the JSON alone costs. One run, alternating, garbage collected as in a worker.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

from loadtests.measuring import COMPILED, spread
from loadtests.workload import START, events
from tests.dialects.fuzz import BATCH, PARTITIONS, RECORD_BYTES, TOPICS, Raw
from tests.dialects.writers import WRITERS, Wire, Writer
from tracker.domain.events import Event
from tracker.metrics import Tally
from tracker.stream.canonical import Canonical
from tracker.stream.sources import WallSource
from tracker.wire.decode import decode_event
from tracker.wire.reading import AUTO, reader_of

GOALS = {"canonical": 60_000, "segment": 35_000}
"""Records per CPU-second that ingest must take."""
NOW = START + 86_400_000
PARTS = ("decode", "auto", "named")


def sample(writer: Writer, count: int) -> list[Raw]:
    """W1 as a dialect has it; what a dialect has no words for is said without consent, else it is an order there."""
    found = [decode_event(sent.value) for sent in events(count)]
    wires = [writer.write(event) or writer.write(_silent(event)) or _order(writer, event) for event in found]
    return [Raw(wire.value, wire.headers, place, NOW) for place, wire in enumerate(wires)]


def _silent(event: Event) -> Event:
    return msgspec.structs.replace(event, consent=None)


def _order(writer: Writer, event: Event) -> Wire:
    order = msgspec.structs.replace(
        event, type="order_completed", order_id=event.event_id, value=199.0, currency="NOK", items=event.items or []
    )
    wire = writer.write(order)
    assert wire is not None, f"the dialect has words for neither {event.type} nor an order"
    return wire


def take(raw: Sequence[Raw], dialect: str) -> None:
    """All that ingest does in memory. Raises `SystemExit` where a record is refused."""
    tally = Tally()
    ingest = Canonical(TOPICS, PARTITIONS, reader_of(dialect), tally, RECORD_BYTES, wall=True)
    for begin in range(0, len(raw), BATCH):
        ingest.take(raw[begin : begin + BATCH], WallSource(0), NOW)
    if tally.dead_letters or sum(tally.dialects.values()) != len(raw):
        raise SystemExit(f"refused: {dict(tally.dead_letters)}")


def decode(raw: Sequence[Raw]) -> None:
    """Only read the JSON."""
    read = msgspec.json.Decoder().decode
    for record in raw:
        read(record.value or b"")


def measured(work: Callable[[], None]) -> float:
    """Seconds of CPU."""
    gc.collect()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def rates(dialect: str, raw: Sequence[Raw], repeat: int) -> dict[str, list[float]]:
    """By part, records per CPU-second in each repetition."""
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(repeat):
        for part, work in zip(
            PARTS, (lambda: decode(raw), lambda: take(raw, AUTO), lambda: take(raw, dialect)), strict=True
        ):
            found[part].append(len(raw) / measured(work))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("names", nargs="*", metavar="NAME", help="dialects; all of them if none is named")
    chosen = parser.parse_args()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as in a worker
    print(f"ingest is {'compiled' if COMPILED else 'not compiled'}\n")
    print("| dialect | bytes | decode | auto | named | auto / decode | goal |")
    print("|---|---|---|---|---|---|---|")
    for name in chosen.names or WRITERS:
        raw = sample(WRITERS[name], chosen.records)
        found = rates(name, raw, chosen.repeat)
        size = sum(len(record.value or b"") for record in raw) / len(raw)
        ratio = statistics.median(auto / plain for auto, plain in zip(found["auto"], found["decode"], strict=True))
        goal = f"{GOALS[name]:,}" if name in GOALS else ""
        print(f"| {name} | {size:.0f} | {' | '.join(spread(found[part]) for part in PARTS)} | {ratio:.2f} | {goal} |")


if __name__ == "__main__":
    main()

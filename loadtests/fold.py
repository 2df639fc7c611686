"""What an event of workload W1 costs in the parts of the fold, without broker and store: CPU µs, in one process.

python -m loadtests.fold [--events 200000] [--repeat 3] [--models nettbutikk-5,klage]

It answers within seconds whether a change to the domain or the wire made the hot path cheaper. The watermark
follows a minute behind, so that sessions close and drop-offs fire among the events.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from loadtests.workload import MINUTE, events
from tracker.domain.counters import Counts, count
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import Output
from tracker.domain.state import State, encode_state, new_state
from tracker.domain.step import accept, advance, next_due
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load
from tracker.wire.decode import decode_event
from tracker.wire.encode import OutputEncoder
from tracker.wire.topics import Topics


def fold(decoded: list[tuple[str, Event]], table: Table) -> tuple[dict[str, State], list[Output]]:
    """Every event in order of time; each person's deadlines when their next event comes, and at the end."""
    states: dict[str, State] = {}
    outputs: list[Output] = []
    watermark = 0
    for person, event in decoded:
        state = states.get(person)
        if state is None:
            state = states[person] = new_state(person)
        watermark = max(watermark, event.ts - MINUTE)
        if next_due(state, table, watermark) <= watermark:
            advance(state, watermark, watermark, table, outputs)
        accept(state, event, table, watermark, outputs)
    for state in states.values():
        if next_due(state, table, watermark) <= watermark:
            advance(state, watermark, watermark, table, outputs)
    return states, outputs


class Costs:
    """The least CPU time of each part over the repetitions, in µs per event."""

    def __init__(self, events_count: int) -> None:
        self.best: dict[str, float] = {}
        self._count = events_count

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Time what the block does."""
        begin = time.process_time()
        yield
        spent = (time.process_time() - begin) / self._count * 1e6
        self.best[part] = min(self.best.get(part, spent), spent)


def once(values: list[tuple[str, bytes]], table: Table, costs: Costs) -> str:
    """Every part once, over all events; what there was, in words."""
    plain = msgspec.json.Decoder(Event).decode
    encoder = OutputEncoder(Topics(), 4)
    counts: Counts = defaultdict(int)
    with costs.of("msgspec alone"):
        for _, value in values:
            plain(value)
    with costs.of("decode and check"):
        decoded = [(person, decode_event(value)) for person, value in values]
    with costs.of("fold"):
        states, outputs = fold(decoded, table)
    with costs.of("encode outputs"):
        for output in outputs:
            encoder.encode(output, 0)
    with costs.of("count outputs"):
        for output in outputs:
            count(output, table.model.zone, counts)
    with costs.of("encode states, each once"):
        encoded = [encode_state(state) for state in states.values()]
    size = sum(map(len, encoded)) / len(encoded)
    return f"{len(values):,} events, {len(states):,} persons, {len(outputs):,} outputs, {size:,.0f} bytes a state"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--models", default="nettbutikk-5", help="as TRACKER_MODEL, the first one's rules")
    chosen = parser.parse_args()
    values = [(sent.person, sent.value) for sent in events(chosen.events)]
    first, *others = map(load, chosen.models.split(","))
    table = compile_table(first, FoldSettings(bots_out=True), *others)
    costs = Costs(chosen.events)
    gc.disable()  # what collection costs depends on what else is in memory: the worker's measurement has it
    for number in range(chosen.repeat):
        gc.collect()
        said = once(values, table, costs)
        if not number:
            print(said)
    for part, spent in costs.best.items():
        print(f"{part:28}{spent:7.2f} µs an event")


if __name__ == "__main__":
    main()

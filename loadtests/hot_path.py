"""How much of the machine the hot path leaves: events per CPU-second of the worker against a reader that only decodes.

python -m loadtests.hot_path [--events 400000] [--repeat 3] [--finish] [--announce] [--profile] [--json]

In one run, on a real Kafka and Redis, alternating: (a) `loadtests.reader`, (b) the whole `track` worker as in
production (`tracker worker --only track --processes 1`, exactly-once publishing) on a log that is already there,
from the moment it is connected until the broker holds, for every partition, a position past the log's end with the
last watermark: every event folded, every session and drop-off published. CPU is the process's own, all threads.

`make bench` compiles the hot path first; without that it is measured as plain Python.

The servers are started for the run, unless TRACKER_BROKERS and TRACKER_REDIS_URL say where others are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pstats
import re
import subprocess
import sys
import tempfile
from operator import itemgetter
from pathlib import Path
from typing import Any

from loadtests.measuring import (
    COMPILED,
    PARTITIONS,
    PATIENCE,
    Measured,
    Servers,
    measure_worker,
    prepare,
    servers,
    spread,
)
from loadtests.workload import end_of, events
from tracker.wire.topics import Topics


def measure_reader(where: Servers, topics: Topics, count: int) -> Measured:
    """(a), in a process of its own."""
    command = [sys.executable, "-m", "loadtests.reader", where.brokers, topics.events, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    said = json.loads(done.stdout)
    return Measured(said["events"], said["cpu"], said["wall"])


def print_profile(path: Path, lines: int = 40) -> None:
    """What takes the time itself, and through which of the tracker's own functions it is spent."""
    stats: dict[Any, Any] = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in stats.values())
    rows = [
        (
            own,
            cumulative,
            calls,
            f"{re.sub(r'.*/(site-packages|python3[.][0-9]+)/', '', file)}:{line}({name})",
        )
        for (file, line, name), (_, calls, own, cumulative, _) in stats.items()
    ]
    for title, place, part in (
        ("everything, by own time", 0, ""),
        ("the tracker's own, by time spent within", 1, "tracker/"),
    ):
        print(f"\n{title} (the profiler slows everything, small functions most)")
        for row in sorted((row for row in rows if part in row[3]), key=itemgetter(place), reverse=True)[:lines]:
            own, cumulative, calls, name = row
            print(
                f"{own:7.2f} s {own / total:6.1%}  within {cumulative:7.2f} s {cumulative / total:6.1%}"
                f"  {calls:>10,} x  {name[-70:]}"
            )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--finish",
        action="store_true",
        help="let a day pass at the end: every session and drop-off comes out",
    )
    parser.add_argument("--announce", action="store_true", help="time advances while the log is read, as it does live")
    parser.add_argument("--profile", action="store_true", help="one run under cProfile instead of the measurement")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    workload = list(events(chosen.events))
    end = end_of(chosen.events, finish=chosen.finish)
    size = sum(len(sent.value) for sent in workload) / len(workload)
    people = len({sent.person for sent in workload})
    note = print if not chosen.json else (lambda *_, **__: None)
    note(
        f"{len(workload):,} events of {size:.0f} bytes, {people:,} customers, {PARTITIONS} partitions; "
        f"the hot path is {'compiled' if COMPILED else 'not compiled'}",
        flush=True,
    )
    readers: list[Measured] = []
    workers: list[Measured] = []
    with servers() as where:
        if chosen.profile:
            topics, ends = await prepare(where, workload, end=end, announce=chosen.announce)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "worker.prof"
                await measure_worker(where, topics, chosen.events, ends, end, profile=path)
                print_profile(path)
            return
        for _ in range(chosen.repeat):
            topics, ends = await prepare(where, workload, end=end, announce=chosen.announce)
            readers.append(await asyncio.to_thread(measure_reader, where, topics, chosen.events))
            note(f"reader  {readers[-1].rate:>9,.0f} events/CPU-s", flush=True)
            workers.append(await measure_worker(where, topics, chosen.events, ends, end))
            done = workers[-1]
            note(
                f"worker  {done.rate:>9,.0f} events/CPU-s  CPU {done.cpu:.2f} s  wall {done.wall:.2f} s  outputs "
                f"{done.outputs:,}  Redis {done.redis_cpu:.2f} s  broker {done.broker_cpu:.2f} s",
                flush=True,
            )
    ratios = [worker.rate / reader.rate for worker, reader in zip(workers, readers, strict=True)]
    if chosen.json:
        result = {
            "events": chosen.events,
            "bytes": size,
            "customers": people,
            "finish": chosen.finish,
            "announce": chosen.announce,
            "compiled": COMPILED,
            "reader": [one._asdict() | {"rate": one.rate} for one in readers],
            "worker": [one._asdict() | {"rate": one.rate} for one in workers],
            "ratio": ratios,
        }
        print(json.dumps(result, indent=1))
        return
    print(f"\nreader {spread([one.rate for one in readers])} events/CPU-s")
    print(f"worker {spread([one.rate for one in workers])} events/CPU-s, {workers[-1].outputs:,} outputs")
    print(f"ratio  {spread(ratios, '.3f')}")


if __name__ == "__main__":
    asyncio.run(main())

"""What a campaign came to, as a table for people and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.faults.generator import Generator
from tests.faults.monitor import Fault, Monitor, Recovery
from tests.faults.plan import Plan
from tests.faults.verdict import WITHHELD, Verdict
from tests.faults.workers import Pool

ASKED = {
    "missing": "outputs missing",
    "duplicated": "outputs duplicated",
    "out of order": "outputs out of order",
    "false drop-offs": "false drop-offs",
}
REPEATS = {"copies in the log", "dead letters repeated"}
HEADINGS = ("fault", "times", "first progress: median", "worst", "all partitions: median", "worst", "not seen")
"""First progress is that of a partition that the fault touched."""


@dataclass
class Report:
    """`settled` is how many seconds the tracker took for the rest once everything was written, None if it did not
    get there; `faults` come with what became of the tracker after each."""

    plan: Plan
    workers: int
    verdict: Verdict
    faults: Sequence[tuple[Fault, Recovery]]
    settled: float | None
    rewritten: int
    behind: float
    by_themselves: Sequence[str]
    slow: Sequence[str]

    @property
    def clean(self) -> bool:
        """Whether the campaign found nothing wrong."""
        return self.verdict.clean and self.settled is not None

    def as_json(self) -> str:
        """All of it."""
        shown: dict[str, Any] = {
            "seed": self.plan.seed,
            "minutes": self.plan.minutes,
            "rate": self.plan.rate,
            "workers": self.workers,
            "clean": self.clean,
            "counts": dict(self.verdict.counts),
            "violations": dict(self.verdict.violations),
            "settled": self.settled,
            "workers that ended by themselves": list(self.by_themselves),
            "workers that were slow to end": list(self.slow),
            "faults": self._by_kind(),
        }
        return json.dumps(shown, indent=2)

    def as_text(self) -> str:
        """For people."""
        plan, counts = self.plan, self.verdict.counts
        rows: list[Sequence[str]] = [HEADINGS]
        for kind, found in self._by_kind().items():
            seconds = [found[name] for name in ("first_median", "first_worst", "all_median", "all_worst")]
            rows.append((kind, str(found["times"]), *map(_seconds, seconds), str(found["not_seen"] or "")))
        accounted = " + ".join(f"{counts[what]:,} {what}" for what in ("applied", "duplicates", "late", "dead letters"))
        oracle = ", ".join(
            f"{counts[f'{what} by the oracle']:,} {what}" for what in ("sessions", "drop-offs", "orders")
        )
        lines = [
            f"seed {plan.seed}, {plan.minutes:g} minutes, {self.workers} workers, {plan.rate:g} events/s",
            "",
            *_table(rows),
            "",
            f"inputs   {counts['raw records']:,} = {accounted}",
            *(f"         {name}: {count:,}" for name, count in sorted(counts.items()) if name in REPEATS),
            *self._outputs(),
            f"people   {counts['people']:,}; by the oracle {oracle}; {counts['states']:,} states compared",
            f"         {WITHHELD}: {counts[WITHHELD]:,}",
            "verdict  " + ", ".join(f"{what} {self.verdict.violations[name]:,}" for what, name in ASKED.items()),
            f"written  at most {self.behind:.1f} s after it was due, {self.rewritten} attempts failed",
            f"workers  ended by themselves: {', '.join(self.by_themselves) or 'none'}",
            f"         slow to end: {', '.join(self.slow) or 'none'}",
            f"the rest was tracked {_seconds(self.settled)} after the last was written",
            "",
        ]
        lines += [f"VIOLATION: {name}: {count:,}" for name, count in self.verdict.violations.items()]
        if self.settled is None:
            lines.append("VIOLATION: the tracker did not get to the end")
        lines.append("clean" if self.clean else "NOT clean")
        return "\n".join(lines)

    def _outputs(self) -> list[str]:
        counts = self.verdict.counts
        topics = sorted(name.removesuffix(" expected") for name in counts if name.endswith(" expected"))
        lines = [
            f"{topic}: {counts[f'{topic} expected']:,} expected, {counts[f'{topic} found']:,} found" for topic in topics
        ]
        return [f"{'' if place else 'outputs':9}{line}" for place, line in enumerate(lines)]

    def _by_kind(self) -> dict[str, dict[str, Any]]:
        kinds: defaultdict[str, list[Recovery]] = defaultdict(list)
        for fault, recovery in self.faults:
            kinds[fault.name].append(recovery)
        found = {}
        for kind, recoveries in sorted(kinds.items()):
            first = [one.first for one in recoveries if one.first is not None]
            every = [one.all for one in recoveries if one.all is not None]
            found[kind] = {
                "times": len(recoveries),
                "first_median": median(first) if first else None,
                "first_worst": max(first, default=None),
                "all_median": median(every) if every else None,
                "all_worst": max(every, default=None),
                "not_seen": len(recoveries) - len(every),
            }
        return found


def report_of(
    plan: Plan,
    workers: int,
    verdict: Verdict,
    monitor: Monitor,
    faults: Sequence[Fault],
    pool: Pool,
    generator: Generator,
    settled: float | None,
) -> Report:
    """Put together what the parts of a campaign know."""
    for fell in [*monitor.backwards, *(what for _, what in monitor.fallen.values())]:
        verdict.differs("committed positions that fell", position=fell)
    return Report(
        plan,
        workers,
        verdict,
        [(fault, monitor.recovery(fault)) for fault in faults],
        settled,
        generator.rewritten,
        generator.behind,
        pool.by_themselves,
        pool.slow,
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:{'>' if place else '<'}{widths[place]}}" for place, cell in enumerate(row)) for row in rows
    ]


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"

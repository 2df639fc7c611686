"""The map's counters: what a count over the published outputs would give, kept up to date with every batch.

| field | counts |
|---|---|
| `people` | persons seen (a merged anonymous person is taken back) |
| `in:<model>:<phase>` | journeys that stand in the phase now |
| `entered:<model>:<phase>:<day>` | journeys that entered it, by the day they did |
| `converted:<model>:<day>` `left:<model>:<phase>:<day>` `back:<model>:<phase>:<day>` `merged:<model>:<day>` | moves |
| `dropped_off:<reason>:<day>` `recovered:…` `cancelled:…` `withheld:<why>` | drop-offs and their ends |
| `triggered:<rule>:<day>` `trigger_withheld:<why>` | triggers |
| `dropped_value:<currency>` `recovered_value:<currency>` | cart value lost, order value won back; 1/10000 |
| `orders` `revenue:<currency>` | orders that stand, and their value in 1/10000 |
| `felt:<model>:<phase>:<touchpoint>:<kind>:<day>` | scores given, of a kind; no touchpoint: empty |
| `felt_score:…` `felt_level:…` | their sum, and that of their levels, -2 to 2 |
| `felt_net:…` | of `nps` only: promoters (9-10) less detractors (0-6) |
| `wrong_score:<kind>:<day>` | scores that are none on their scale; `survey` where no kind is named |
| `removed:<why>` | persons of whom all was forgotten, because they were `erased` or gave `no_consent` |
| `sessions:<day>` | closed sessions, by the day they began |

Days are the shop's calendar days (`zone` of the model).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from tracker.domain.outputs import (
    DropOff,
    Felt,
    Merged,
    Output,
    Removed,
    Sales,
    SessionClosed,
    Superseded,
    Transition,
    Trigger,
    TriggerWithheld,
    Withheld,
)
from tracker.domain.scores import level
from tracker.domain.units import MONEY

Counts = defaultdict[str, int]

QUARTER = 900_000
"""Time zones change their offset, and days begin, on the quarter hour (ms)."""


def count(output: Output, zone: str, counts: Counts) -> None:
    """Add one output to the counters."""
    if isinstance(output, Transition):
        _count_transition(output, zone, counts)
    elif isinstance(output, SessionClosed):
        if output.revision == 1:
            counts[f"sessions:{day_of(output.started_at // QUARTER, zone)}"] += 1
    elif isinstance(output, Superseded):
        counts[f"sessions:{day_of(output.started_at // QUARTER, zone)}"] -= 1
    elif isinstance(output, DropOff):
        _count_dropoff(output, zone, counts)
    elif isinstance(output, Trigger):
        counts[f"triggered:{output.rule}:{day_of(output.detected_at // QUARTER, zone)}"] += 1
    elif isinstance(output, TriggerWithheld):
        counts[f"trigger_withheld:{output.why}"] += 1
    elif isinstance(output, Sales):
        counts["orders"] += output.orders
        counts[f"revenue:{output.currency}"] += output.revenue
    elif isinstance(output, Felt):
        _count_felt(output, zone, counts)
    elif isinstance(output, Withheld):
        counts[f"withheld:{output.why}"] += 1
    elif isinstance(output, Removed):
        counts[f"removed:{output.why}"] += 1
        for model, phase in output.standing:
            counts[f"in:{model}:{phase}"] -= 1
    elif isinstance(output, Merged):
        counts["people"] -= output.people
        for model, phase, at in output.entries:
            counts[f"entered:{model}:{phase}:{day_of(at // QUARTER, zone)}"] -= 1
        for model, at in output.converted:
            counts[f"converted:{model}:{day_of(at // QUARTER, zone)}"] -= 1


def _count_transition(move: Transition, zone: str, counts: Counts) -> None:
    day = day_of(move.entered_at // QUARTER, zone)
    model, origin, goal, direction = move.model, move.from_phase, move.to_phase, move.direction
    if origin is not None:
        counts[f"in:{model}:{origin}"] -= 1
    if goal is not None and (origin is not None or direction != "backfilled"):
        counts[f"in:{model}:{goal}"] += 1
    if goal is not None and goal != origin and direction != "back":
        counts[f"entered:{model}:{goal}:{day}"] += 1
    if direction in {"converted", "merged"}:
        counts[f"{direction}:{model}:{day}"] += 1
    elif direction in {"left", "back"}:
        counts[f"{direction}:{model}:{origin}:{day}"] += 1


def _count_dropoff(message: DropOff, zone: str, counts: Counts) -> None:
    day = day_of((message.detected_at if message.kind == "dropped_off" else message.last_event.ts) // QUARTER, zone)
    counts[f"{message.kind}:{message.reason}:{day}"] += 1
    if message.kind == "dropped_off" and message.cart is not None:
        counts[f"dropped_value:{message.cart.currency or ''}"] += round(message.cart.value * MONEY)
    elif message.kind == "recovered" and message.value is not None:
        counts[f"recovered_value:{message.currency or ''}"] += round(message.value * MONEY)


def _count_felt(felt: Felt, zone: str, counts: Counts) -> None:
    kind, score, times = felt.kind, felt.score, felt.times
    day = day_of(felt.at // QUARTER, zone)
    if score is None:
        counts[f"wrong_score:{kind}:{day}"] += times
        return
    place = f"{felt.model}:{felt.phase}:{felt.touchpoint}:{kind}:{day}"
    felt_level = level(kind, score)
    counts[f"felt:{place}"] += times
    counts[f"felt_score:{place}"] += times * score
    counts[f"felt_level:{place}"] += times * felt_level
    if kind == "nps":
        counts[f"felt_net:{place}"] += times * ((felt_level > 0) - (felt_level < 0))


@lru_cache(maxsize=4096)
def day_of(quarter: int, zone: str) -> str:
    """The calendar day of a quarter of an hour since 1970, as YYYY-MM-DD in the zone."""
    return datetime.fromtimestamp(quarter * QUARTER / 1000, ZoneInfo(zone)).date().isoformat()

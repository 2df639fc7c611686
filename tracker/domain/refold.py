"""Recent events are folded again: one that comes late is sorted into them, and all of them start from the base.

A state keeps the facts before its recent events (`base`) and the events themselves (`tail`); times are ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tracker.domain import feelings
from tracker.domain.events import Event
from tracker.domain.fold import blocks_from, fire_deadlines, fold_event, next_deadline
from tracker.domain.outputs import Bound, Felt, Happening, Output, Sales, SessionClosed, TriggerFired
from tracker.domain.said import forget_oldest, is_member, say
from tracker.domain.state import (
    MAX_KEPT_BYTES,
    MAX_TAIL,
    Facts,
    State,
    decode_facts,
    encode_facts,
    framed,
    unframed,
)
from tracker.domain.table import Table
from tracker.domain.units import FAR

Entry = tuple[int, str, bytes]
"""An event as it is kept: (ts, event_id, encoded event); sorts in fold order."""

encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode


def fold_again(state: State, table: Table, watermark: int, out: list[Output], more: Sequence[Entry] = ()) -> None:
    """Fold the recent events from the base once more, `more` among them, and say what that changes."""
    entries = sorted([*entries_of(state), *more]) if more else entries_of(state)
    assert state.base is not None
    facts = decode_facts(state.base)
    happenings: list[Happening] = []
    folded = replay(facts, entries, table, watermark, happenings)
    recount(state, entries, happenings, table, out)
    moved = folded > MAX_TAIL or (folded > 1 and too_much(entries[:folded]))
    if moved:
        # Too many to fold again each time: the older half becomes the base, and what comes before it is late.
        half = folded // 2
        base = decode_facts(state.base)
        replay(base, entries[:half], table, watermark, [])
        state.base, state.base_ts = encode_facts(base), latest_of(base)
        feelings.forget_settled(state.said, state.base_ts)
        entries, folded = entries[half:], folded - half
        out.append(Bound("recent_events"))
    while (due := next_deadline(facts, table)) <= watermark:
        fire_deadlines(facts, due, table, happenings)
    alive = {happening.session_id for happening in happenings if isinstance(happening, SessionClosed)}
    if facts.session is not None:
        alive.add(facts.session.id)
    fired = {(h.message.rule, h.key, h.message.due_at) for h in happenings if isinstance(h, TriggerFired)}
    for trigger in state.said.triggers:
        trigger.gone = trigger.detected_at > state.base_ts and (trigger.rule, trigger.key, trigger.due) not in fired
    undecided = entries[folded][0] if folded < len(entries) else FAR
    for known in state.said.sessions:
        known.gone = state.base_ts < known.start < undecided and known.id not in alive
    count_sales(state, out, facts, state.facts.order_count, state.facts.revenue, table)
    state.facts = facts
    state.tail = b"".join(framed(raw) for _, _, raw in entries[:folded])
    state.tail_count = folded
    state.waiting = entries[folded:]
    state.mid, state.mid_count = None, 0
    say(state, happenings, table, out)
    if moved:
        forget_oldest(state, out)


def replay(facts: Facts, entries: list[Entry], table: Table, watermark: int, out: list[Happening]) -> int:
    """Fold sorted entries with the deadlines between them; answers how many were folded before one had to wait."""
    for place, (ts, _, raw) in enumerate(entries):
        while (due := next_deadline(facts, table)) <= ts and due <= watermark:
            fire_deadlines(facts, due, table, out)
        if ts >= blocks_from(facts, table, watermark):
            return place
        fold_event(facts, decode_event(raw), table, out)
    return len(entries)


def count_sales(
    state: State, out: list[Output], facts: Facts, count: int, revenue: dict[str, int], table: Table
) -> None:
    """The map's orders and revenue are the sum over all states: whatever changed them here is added there. What an
    account's members order is counted with the account."""
    if is_member(state, table):
        return
    orders = facts.order_count - count
    for currency in dict.fromkeys([*facts.revenue, *revenue, ""]):
        amount = facts.revenue.get(currency, 0) - revenue.get(currency, 0)
        if orders or amount:
            out.append(Sales(orders, amount, currency))
            orders = 0


def recount(state: State, entries: list[Entry], happenings: list[Happening], table: Table, out: list[Output]) -> None:
    """See `feelings.recount`; what an account's members feel is counted with the account."""
    if is_member(state, table):
        happenings[:] = [happening for happening in happenings if not isinstance(happening, Felt)]
        return
    feelings.recount(state.said, entries, happenings, table, out)


def keep_base(state: State) -> None:
    """Before the first change after a rest: the facts from which recent events can be folded again."""
    if state.base is not None:
        return
    facts = state.facts
    state.base = encode_facts(facts)
    state.base_ts = latest_of(facts)
    state.mid, state.mid_count = None, 0
    state.expired = False


def drop_tail(state: State) -> None:
    """Forget the recent events."""
    state.base, state.tail, state.tail_count = None, b"", 0
    state.mid, state.mid_count, state.mid_at, state.mid_ts = None, 0, 0, 0


def entries_of(state: State) -> list[Entry]:
    """The recent events, in fold order, and those that wait after them."""
    events = [(decode_event(raw), raw) for raw in unframed(state.tail)]
    return [(event.ts, event.event_id, raw) for event, raw in events] + state.waiting


def too_much(entries: list[Entry]) -> bool:
    """Whether these are more bytes than a state should keep."""
    return sum(len(raw) for _, _, raw in entries) > MAX_KEPT_BYTES


def latest_of(facts: Facts) -> int:
    """The time of the last event folded or deadline fired."""
    return max(facts.last, facts.fired)

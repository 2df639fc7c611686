"""One step of one person: an event, a deadline, a merge or an absorbed past changes the state and gives outputs.

Facts are the fold of the person's distinct events in (ts, event_id) order, whatever the order of arrival: an event
that comes in order is folded onto them; one that comes late (but within the allowed lateness) is sorted into the
recent events, which are folded again from the base. Deadlines fire by the watermark only: an event at or after a
pending deadline waits until the watermark has reached it. What is said follows the log (see `said`).

Functions change the given state and append to `out`; they read no clock and draw nothing. Times are ms.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Literal

import msgspec

from tracker.domain import feelings, identity, latefacts, orders
from tracker.domain.events import Event
from tracker.domain.fold import blocks_from, fire_deadlines, fold_event, next_deadline
from tracker.domain.ids import short_hash
from tracker.domain.migration import migrate_facts
from tracker.domain.outputs import (
    AbsorbState,
    Bound,
    Forward,
    Happening,
    LateEvent,
    Output,
    Sales,
    SessionClosed,
    Transition,
    TriggerFired,
)
from tracker.domain.said import say
from tracker.domain.state import (
    MAX_KEPT_BYTES,
    MAX_TAIL,
    MAX_WAITING,
    Facts,
    Said,
    State,
    Track,
    decode_facts,
    encode_facts,
    framed,
    new_state,
    unframed,
)
from tracker.domain.table import Table
from tracker.domain.units import FAR, NEVER

MID_EVERY = 32
"""Recent events after which the facts are kept as the next base."""
MAX_RECENT_BYTES = 400_000
"""Recent events that travel with a merged person's past, so that it fits a record; more of them are forwarded."""
LARGE = MAX_KEPT_BYTES // MAX_WAITING
"""Bytes of an event up to which `MAX_WAITING` of them are bounded by their number alone."""
MAX_EVENT_IDS = 2 * (MAX_TAIL + MAX_WAITING)

Entry = tuple[int, str, bytes]
"""An event as it is kept: (ts, event_id, encoded event); sorts in fold order."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


Outcome = Literal["applied", "waiting", "duplicate", "late", "forwarded"]
"""What became of an event, in the words of the metrics."""


def accept(
    state: State, event: Event, table: Table, watermark: int, out: list[Output], reached: int = NEVER
) -> Outcome:
    """Take in one event of this person. `reached` is how far the sources are (w0, at or past the watermark): what
    is forwarded by that measure is not late at its new owner, whose watermark cannot be past it."""
    if state.merged_into is not None:
        return _forward(state, event, table, max(reached, watermark), out)
    event_id = event.event_id
    mark = short_hash(event_id)
    if mark in state.ids:
        return "duplicate"
    ts = event.ts
    facts = state.facts
    late_by = watermark - table.lateness - ts
    if late_by > 0 or ts < state.base_ts:
        return _take_late(state, event, table, watermark, max(late_by, 0), out)
    event.user_agent = None
    if event.properties is not None:
        event.properties = table.kept(event)
    raw = _encode(event)
    state.ids += mark
    if ts >= facts.fired and (ts > facts.last or (ts == facts.last and event_id > facts.last_id)):
        session = facts.session
        in_session = session is not None and ts - session.last < table.gap and ts - session.start < table.cap
        quiet = in_session and not table.timed and facts.wakes is None
        if not quiet and ts >= blocks_from(facts, table, watermark):
            insort(state.waiting, (ts, event_id, raw))
            while len(state.waiting) > MAX_WAITING or (len(raw) > LARGE and _too_much(state.waiting)):
                _force(state, table, watermark, out)
            return "waiting"
        _keep_base(state)
        happenings: list[Happening] = []
        _fold_live(state, event, table, happenings, out)
        state.tail += framed(raw)
        state.tail_count += 1
        if happenings:
            say(state, happenings, table, out)
        if state.tail_count - state.mid_count >= MID_EVERY or len(state.tail) > MAX_KEPT_BYTES // 2:
            _move_base(state, table, watermark, out)
        waiting = state.waiting
        wakes = facts.wakes
        if (
            ts + table.gap <= watermark
            or (wakes is not None and wakes <= watermark)
            or (waiting and waiting[0][0] < blocks_from(facts, table, watermark))
        ):
            advance(state, watermark, watermark, table, out)
        return "applied"
    _keep_base(state)
    _fold_again(state, table, watermark, out, [(ts, event_id, raw)])
    return "applied"


def next_due(state: State, table: Table, watermark: int) -> int:
    """When this state next wants `advance` to be called, FAR if never."""
    facts = state.facts
    if state.merged_into is not None or state.expired:
        return FAR if facts.wakes is None else facts.wakes
    if state.waiting:
        return blocks_from(facts, table, watermark)
    due = next_deadline(facts, table)
    if state.base is not None:
        due = min(due, _settles_after(state) + table.lateness + 1)
    return min(due, facts.last + table.settings.state_ttl) if facts.last > 0 else due


def advance(state: State, until: int, watermark: int, table: Table, out: list[Output]) -> bool:
    """Fire every deadline up to `until` (at most the watermark) and fold the events that waited for them.
    Answers whether anything is left worth keeping."""
    facts = state.facts
    waiting = state.waiting
    happenings: list[Happening] = []
    while True:
        due = next_deadline(facts, table)
        head = waiting[0][0] if waiting else FAR
        if due <= until and due <= head:
            _keep_base(state)
            fire_deadlines(facts, due, table, happenings)
        elif waiting and head < blocks_from(facts, table, watermark):
            _fold_waiting(state, table, happenings, out)
        else:
            break
    if happenings:
        say(state, happenings, table, out)
    if state.base is not None and not waiting and _settles_after(state) + table.lateness < until:
        _settle(state)
    elif state.tail_count - state.mid_count >= MID_EVERY or len(state.tail) > MAX_KEPT_BYTES // 2:
        _move_base(state, table, watermark, out)
    if facts.last > 0 and not state.expired and facts.last + table.settings.state_ttl <= until and not waiting:
        return _expire(state)
    return True


def merge(
    state: State, customer: str, ts: int, table: Table, watermark: int, out: list[Output], reached: int = NEVER
) -> None:
    """This anonymous person turned out to be `customer`: their past goes there, and every later event with it.
    From a second customer on the device is shared and stands alone. `reached` as for `accept`."""
    if customer in state.links:
        return
    state.links = [*state.links, customer]
    if len(state.links) > 1:
        state.merged_into = None
        return
    horizon = max(reached, watermark) - table.lateness
    entries = _entries(state)
    older = [entry for entry in entries if entry[0] < horizon]
    facts = decode_facts(state.base or encode_facts(state.facts))
    settled: list[Happening] = []
    recent = entries[_replay(facts, older, table, watermark, settled) :]
    feelings.recount(state.said, entries, settled, table, out)
    state.said.felt = []
    ended, merged = identity.leave_merged(state, facts, ts, table)
    say(state, ended, table, out)
    out.append(merged)
    size = 0
    taken: list[bytes] = []
    for _, _, raw in recent:
        size += len(raw)
        if size > MAX_RECENT_BYTES:
            break
        taken.append(raw)
    if recent or not identity.is_empty(facts, state.said):
        legacy = identity.Legacy(facts=facts, said=state.said, lineup=table.lineup, recent=taken)
        payload = identity.encode_legacy(legacy)
        out.append(AbsorbState(to=customer, source=state.facts.person, ts=ts, payload=payload))
    out.extend(Forward(customer, _decode(raw)) for _, _, raw in recent[len(taken) :])
    fresh = new_state(state.facts.person)
    # a device that is shared later must not use their ids again
    fresh.facts.tracks = [Track(journeys=track.journeys) for track in state.facts.tracks]
    fresh.facts.ended = state.facts.ended
    _count_sales(out, fresh.facts, state.facts.order_count, state.facts.revenue)
    state.facts, state.said, state.waiting = fresh.facts, Said(), []
    state.base_ts = fresh.base_ts
    _drop_tail(state)
    state.merged_into = customer


def absorb(state: State, source: str, payload: bytes, table: Table, watermark: int, out: list[Output]) -> bool:
    """Take over the past of the anonymous person `source`; False when that was done before."""
    if source in state.absorbed:
        return False
    state.absorbed = [*state.absorbed, source]
    legacy = identity.decode_legacy(payload)
    if legacy.lineup != table.lineup:
        migrate_legacy(legacy, table, out)
    happenings: list[Happening] = []
    pasts = identity.past(state.facts, state.said), identity.past(legacy.facts, legacy.said)
    pasts[1].orders.update(orders.order_key(_decode(raw)) for raw in legacy.recent)
    own = decode_facts(state.base or encode_facts(state.facts))
    # Both pasts up to the same time: an order in the one disarms what the other armed.
    mine = _entries(state)
    older = [entry for entry in mine if entry[0] < watermark - table.lateness]
    state.tail, state.waiting = b"", mine[_replay(own, older, table, watermark, []) :]
    combined = identity.combine(own, legacy.facts, table, happenings)
    identity.join_said(state.said, legacy.said)
    state.base = encode_facts(combined)
    state.base_ts = _latest(combined)
    state.absorbed_at = watermark
    state.expired = False
    say(state, happenings, table, out)
    # All at once: with only the first of them here, deadlines would fire that the next ones put off.
    entries, late = [], []
    for raw in legacy.recent:
        event = _decode(raw)
        mark = short_hash(event.event_id)
        if mark in state.ids:
            continue
        if event.ts < state.base_ts:
            late.append(event)
            continue
        state.ids += mark
        entries.append((event.ts, event.event_id, raw))
    _fold_again(state, table, watermark, out, entries)
    for event in late:
        _take_late(state, event, table, watermark, max(watermark - table.lateness - event.ts, 0), out)
    identity.end_absorbed(state, *pasts, table, out)
    return True


def migrate_legacy(legacy: identity.Legacy, table: Table, out: list[Output]) -> None:
    """A past from a partition that another config was in force in. Its journey under way was ended there already."""
    facts = legacy.facts
    gone = {track.journey.id for track in facts.tracks if track.journey is not None}
    moves: list[Output] = []
    migrate_facts(facts, legacy.said, legacy.lineup, table, moves)
    out.extend(move for move in moves if isinstance(move, Transition) and move.journey_id not in gone)


def _forward(state: State, event: Event, table: Table, reached: int, out: list[Output]) -> Outcome:
    assert state.merged_into is not None
    late_by = reached - table.lateness - event.ts
    rule = table.rule_of(event.type)
    if late_by > 0 and not (rule.orders or rule.refund or event.consent is not None):
        out.append(LateEvent(state.facts.person, event, late_by))
        return "late"
    out.append(Forward(state.merged_into, event))
    return "forwarded"


def _take_late(state: State, event: Event, table: Table, watermark: int, late_by: int, out: list[Output]) -> Outcome:
    facts = state.facts
    rule = table.rule_of(event.type)
    if not (rule.orders or rule.refund):
        out.append(LateEvent(facts.person, event, late_by))
        if event.consent is None:
            return "late"
    elif latefacts.known(facts, event, rule):
        return "duplicate"
    happenings: list[Happening] = []
    if state.base is not None:
        base = decode_facts(state.base)
        latefacts.apply(base, event, table, happenings)
        state.base = encode_facts(base)
        say(state, happenings, table, out)
        _fold_again(state, table, watermark, out)
    else:
        count, revenue = facts.order_count, facts.revenue
        latefacts.apply(facts, event, table, happenings)
        _count_sales(out, facts, count, revenue)
        say(state, happenings, table, out)
        if state.waiting and state.waiting[0][0] < blocks_from(facts, table, watermark):
            advance(state, watermark, watermark, table, out)  # what they waited for will not come any more
    return "applied" if rule.orders or rule.refund else "late"


def _fold_again(state: State, table: Table, watermark: int, out: list[Output], more: Sequence[Entry] = ()) -> None:
    entries = sorted([*_entries(state), *more]) if more else _entries(state)
    assert state.base is not None
    facts = decode_facts(state.base)
    happenings: list[Happening] = []
    folded = _replay(facts, entries, table, watermark, happenings)
    feelings.recount(state.said, entries, happenings, table, out)
    if folded > MAX_TAIL or (folded > 1 and _too_much(entries[:folded])):
        # Too many to fold again each time: the older half becomes the base, and what comes before it is late.
        half = folded // 2
        base = decode_facts(state.base)
        _replay(base, entries[:half], table, watermark, [])
        state.base, state.base_ts = encode_facts(base), _latest(base)
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
    for known in state.said.sessions:
        known.gone = known.start > state.base_ts and known.id not in alive
    _count_sales(out, facts, state.facts.order_count, state.facts.revenue)
    state.facts = facts
    state.tail = b"".join(framed(raw) for _, _, raw in entries[:folded])
    state.tail_count = folded
    state.waiting = entries[folded:]
    state.mid, state.mid_count = None, 0
    say(state, happenings, table, out)


def _replay(facts: Facts, entries: list[Entry], table: Table, watermark: int, out: list[Happening]) -> int:
    """Fold sorted entries with the deadlines between them; answers how many were folded before one had to wait."""
    for place, (ts, _, raw) in enumerate(entries):
        while (due := next_deadline(facts, table)) <= ts and due <= watermark:
            fire_deadlines(facts, due, table, out)
        if ts >= blocks_from(facts, table, watermark):
            return place
        fold_event(facts, _decode(raw), table, out)
    return len(entries)


def _fold_live(state: State, event: Event, table: Table, happenings: list[Happening], out: list[Output]) -> None:
    facts = state.facts
    count, revenue = facts.order_count, facts.revenue
    fold_event(facts, event, table, happenings)
    if facts.revenue is not revenue or facts.order_count != count:
        _count_sales(out, facts, count, revenue)


def _count_sales(out: list[Output], facts: Facts, count: int, revenue: dict[str, int]) -> None:
    """The map's orders and revenue are the sum over all states: whatever changed them here is added there."""
    orders = facts.order_count - count
    for currency in dict.fromkeys([*facts.revenue, *revenue, ""]):
        amount = facts.revenue.get(currency, 0) - revenue.get(currency, 0)
        if orders or amount:
            out.append(Sales(orders, amount, currency))
            orders = 0


def _fold_waiting(state: State, table: Table, happenings: list[Happening], out: list[Output]) -> None:
    _, _, raw = state.waiting.pop(0)
    _keep_base(state)
    _fold_live(state, _decode(raw), table, happenings, out)
    state.tail += framed(raw)
    state.tail_count += 1


def _force(state: State, table: Table, watermark: int, out: list[Output]) -> None:
    """Too many events wait: the oldest is folded now, and the deadlines before it fire."""
    happenings: list[Happening] = []
    head = state.waiting[0][0]
    _keep_base(state)
    while (due := next_deadline(state.facts, table)) <= head:
        fire_deadlines(state.facts, due, table, happenings)
    _fold_waiting(state, table, happenings, out)
    say(state, happenings, table, out)
    out.append(Bound("waiting_forced"))
    if state.tail_count - state.mid_count >= MID_EVERY or len(state.tail) > MAX_KEPT_BYTES // 2:
        _move_base(state, table, watermark, out)


def _too_much(entries: list[Entry]) -> bool:
    return sum(len(raw) for _, _, raw in entries) > MAX_KEPT_BYTES


def _keep_base(state: State) -> None:
    """Before the first change after a rest: the facts from which recent events can be folded again."""
    if state.base is not None:
        return
    facts = state.facts
    state.base = encode_facts(facts)
    state.base_ts = _latest(facts)
    state.mid, state.mid_count = None, 0
    state.expired = False


def _drop_tail(state: State) -> None:
    state.base, state.tail, state.tail_count = None, b"", 0
    state.mid, state.mid_count, state.mid_at, state.mid_ts = None, 0, 0, 0


def _entries(state: State) -> list[Entry]:
    events = [(_decode(raw), raw) for raw in unframed(state.tail)]
    return [(event.ts, event.event_id, raw) for event, raw in events] + state.waiting


def _move_base(state: State, table: Table, watermark: int, out: list[Output]) -> None:
    """Recent events older than the allowed lateness need not be folded again: the kept facts become the base."""
    forced = state.tail_count > MAX_TAIL or len(state.tail) > MAX_KEPT_BYTES
    if state.mid is not None and (state.mid_ts < watermark - table.lateness or forced):
        if forced and state.mid_ts >= watermark - table.lateness:
            out.append(Bound("recent_events"))
        state.base, state.base_ts = state.mid, state.mid_ts
        state.tail = state.tail[state.mid_at :]
        state.tail_count -= state.mid_count
        state.mid, state.mid_count = None, 0
        feelings.forget_settled(state.said, state.base_ts)
    if state.mid is None and (state.tail_count >= MID_EVERY or len(state.tail) > MAX_KEPT_BYTES // 2):
        state.mid = encode_facts(state.facts)
        state.mid_count, state.mid_at = state.tail_count, len(state.tail)
        state.mid_ts = _latest(state.facts)
    if len(state.ids) > 8 * MAX_EVENT_IDS:
        state.ids = b"".join(short_hash(event_id) for _, event_id, _ in _entries(state))


def _latest(facts: Facts) -> int:
    """The time of the last event folded or deadline fired."""
    return max(facts.last, facts.fired)


def _settles_after(state: State) -> int:
    """The latest thing that an event still to come might have to be sorted before."""
    return max(_latest(state.facts), state.absorbed_at)


def _settle(state: State) -> None:
    """Nothing accepted from now on can come before these facts: forget how they were made."""
    open_session = state.facts.session
    said = state.said
    state.ids = b""
    state.base_ts = _latest(state.facts)
    _drop_tail(state)
    said.moves, said.entered, said.orders, said.triggers, said.felt = [], {}, b"", [], []
    tracks = state.facts.tracks
    alive = {journey.id for t in tracks for journey in (t.journey, *t.converted) if journey is not None}
    said.phases = {journey: phase for journey, phase in said.phases.items() if journey in alive}
    said.sessions = [s for s in said.sessions if open_session is not None and s.id == open_session.id]


def _expire(state: State) -> bool:
    """Long silence: only lifetime facts stay. Answers whether there are any."""
    state.facts = orders.lifetime(state.facts)
    state.said = Said()
    _drop_tail(state)
    state.expired = True
    facts = state.facts
    return bool(facts.order_ids or state.links or facts.consent_marketing or facts.pending or facts.times)

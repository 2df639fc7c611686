"""One step of one person: an event or a deadline changes the state and gives outputs (merges: see `merging`).

Facts are the fold of the person's distinct events in (ts, event_id) order, whatever the order of arrival: an event
that comes in order is folded onto them; one that comes late (but within the allowed lateness) is sorted into the
recent events, which are folded again from the base. Deadlines fire by the watermark only: an event at or after a
pending deadline waits until the watermark has reached it. What is said follows the log (see `said`).

Functions change the given state and append to `out`; they read no clock and draw nothing. Times are ms.
"""

from __future__ import annotations

from bisect import insort
from typing import Literal

from tracker.domain import accounts, claims, consent, feelings, latefacts, orders
from tracker.domain.events import BOT, Event
from tracker.domain.fold import blocks_from, fire_deadlines, fold_event, next_deadline
from tracker.domain.ids import short_hash
from tracker.domain.outputs import Bound, Forward, Happening, LateEvent, Output
from tracker.domain.pace import BUSY, runs_away
from tracker.domain.refold import (
    count_sales,
    decode_event,
    drop_tail,
    encode_event,
    entries_of,
    fold_again,
    keep_base,
    latest_of,
    too_much,
)
from tracker.domain.said import forget_oldest, say
from tracker.domain.state import (
    MAX_CONVERTED,
    MAX_KEPT_BYTES,
    MAX_TAIL,
    MAX_WAITING,
    Said,
    State,
    decode_facts,
    encode_facts,
    framed,
)
from tracker.domain.table import Table
from tracker.domain.units import FAR, NEVER

MID_EVERY = 32
"""Recent events after which the facts are kept as the next base."""
LARGE = MAX_KEPT_BYTES // MAX_WAITING
"""Bytes of an event up to which `MAX_WAITING` of them are bounded by their number alone."""
MAX_EVENT_IDS = 2 * (MAX_TAIL + MAX_WAITING)

Outcome = Literal["applied", "waiting", "duplicate", "late", "forwarded", "bot", "runaway", "erased", "no_consent"]
"""What became of an event, in the words of the metrics."""
CHANGED_NOTHING: frozenset[Outcome] = frozenset({"duplicate", "bot", "runaway"})


def accept(
    state: State, event: Event, table: Table, watermark: int, out: list[Output], reached: int = NEVER
) -> Outcome:
    """Take in one event of this person. `reached` is w1 (see `stream.marks`), at or past the watermark: what
    is forwarded by that measure is not late at its new owner, whose watermark cannot be past it."""
    bots_out = table.bots_out
    if bots_out and event.flags is not None and BOT in event.flags:
        return "bot"
    said = event.consent
    if state.shut > NEVER or (said is not None and said.analytics is not None) or table.asks_consent:
        why = None if table.of_accounts else consent.judge(state, event, table, out)
        if why is not None:
            return why
    if state.merged_into is not None:
        return _forward(state, event, table, max(reached, watermark), out)
    event_id = event.event_id
    mark = short_hash(event_id)
    if mark in state.ids:
        return "duplicate"
    if bots_out and (state.pace is not None or len(state.ids) >= BUSY) and runs_away(state, event, table):
        return "runaway"
    if table.shares and not accounts.share(state, event, table, watermark, out, reached):
        return "duplicate"
    ts = event.ts
    facts = state.facts
    late_by = watermark - table.lateness - ts
    if late_by > 0 or ts < state.base_ts:
        outcome = take_late(state, event, table, watermark, max(late_by, 0), out)
        if outcome == "applied":
            claims.note(state, event, out)
        return outcome
    if event.order_id is not None or event.cart_id is not None or event.checkout_id is not None:
        claims.note(state, event, out)
    event.user_agent = None
    if event.properties is not None:
        event.properties = table.kept(event)
    raw = encode_event(event)
    state.ids += mark
    if ts >= facts.fired and (ts > facts.last or (ts == facts.last and event_id > facts.last_id)):
        session = facts.session
        in_session = session is not None and ts - session.last < table.gap and ts - session.start < table.cap
        quiet = in_session and not table.timed and facts.wakes is None
        if not quiet and ts >= blocks_from(facts, table, watermark):
            insort(state.waiting, (ts, event_id, raw))
            while len(state.waiting) > MAX_WAITING or (len(raw) > LARGE and too_much(state.waiting)):
                _force(state, table, watermark, out)
            return "waiting"
        keep_base(state)
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
    keep_base(state)
    fold_again(state, table, watermark, out, [(ts, event_id, raw)])
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
            keep_base(state)
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


def _forward(state: State, event: Event, table: Table, reached: int, out: list[Output]) -> Outcome:
    assert state.merged_into is not None
    late_by = reached - table.lateness - event.ts
    rule = table.rule_of(event.type)
    if late_by > 0 and not (rule.orders or rule.refund or event.consent is not None):
        out.append(LateEvent(state.facts.person, event, late_by))
        return "late"
    if event.order_id is not None or event.cart_id is not None or event.checkout_id is not None:
        claims.note(state, event, out)
    out.append(Forward(state.merged_into, event))
    return "forwarded"


def take_late(state: State, event: Event, table: Table, watermark: int, late_by: int, out: list[Output]) -> Outcome:
    """Take in an event that is older than what can be folded again: lasting facts only; the rest is reported late."""
    facts = state.facts
    rule = table.rule_of(event.type)
    if not (rule.orders or rule.refund):
        out.append(LateEvent(facts.person, event, late_by))
        if event.consent is None:
            return "late"
    elif not latefacts.adds(facts, event, rule):
        return "duplicate"
    happenings: list[Happening] = []
    if state.base is not None:
        base = decode_facts(state.base)
        latefacts.apply(base, event, table, happenings)
        state.base = encode_facts(base)
        say(state, happenings, table, out)
        fold_again(state, table, watermark, out)
    else:
        count, revenue = facts.order_count, facts.revenue
        latefacts.apply(facts, event, table, happenings)
        count_sales(state, out, facts, count, revenue, table)
        say(state, happenings, table, out)
        if state.waiting and state.waiting[0][0] < blocks_from(facts, table, watermark):
            advance(state, watermark, watermark, table, out)  # what they waited for will not come any more
    return "applied" if rule.orders or rule.refund else "late"


def _fold_live(state: State, event: Event, table: Table, happenings: list[Happening], out: list[Output]) -> None:
    facts = state.facts
    count, revenue = facts.order_count, facts.revenue
    fold_event(facts, event, table, happenings)
    if facts.revenue is not revenue or facts.order_count != count:
        count_sales(state, out, facts, count, revenue, table)


def _fold_waiting(state: State, table: Table, happenings: list[Happening], out: list[Output]) -> None:
    ts, _, raw = state.waiting.pop(0)
    keep_base(state)
    _fold_live(state, decode_event(raw), table, happenings, out)
    session = state.facts.session
    for known in state.said.sessions:
        if known.start == ts:  # folded again it had to wait, so only now it shows whether it still begins a session
            known.gone = session is None or session.id != known.id
    state.tail += framed(raw)
    state.tail_count += 1


def _force(state: State, table: Table, watermark: int, out: list[Output]) -> None:
    """Too many events wait: the oldest is folded now, and the deadlines before it fire."""
    happenings: list[Happening] = []
    head = state.waiting[0][0]
    keep_base(state)
    while (due := next_deadline(state.facts, table)) <= head:
        fire_deadlines(state.facts, due, table, happenings)
    _fold_waiting(state, table, happenings, out)
    say(state, happenings, table, out)
    out.append(Bound("waiting_forced"))
    if state.tail_count - state.mid_count >= MID_EVERY or len(state.tail) > MAX_KEPT_BYTES // 2:
        _move_base(state, table, watermark, out)


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
        forget_oldest(state, out)
    if state.mid is None and (state.tail_count >= MID_EVERY or len(state.tail) > MAX_KEPT_BYTES // 2):
        state.mid = encode_facts(state.facts)
        state.mid_count, state.mid_at = state.tail_count, len(state.tail)
        state.mid_ts = latest_of(state.facts)
    if len(state.ids) > 8 * MAX_EVENT_IDS:
        state.ids = b"".join(short_hash(event_id) for _, event_id, _ in entries_of(state))


def _settles_after(state: State) -> int:
    """The latest thing that an event still to come might have to be sorted before."""
    return max(latest_of(state.facts), state.absorbed_at)


def _settle(state: State) -> None:
    """Nothing accepted from now on can come before these facts: forget how they were made."""
    open_session = state.facts.session
    said = state.said
    state.ids = b""
    state.base_ts = latest_of(state.facts)
    drop_tail(state)
    said.moves, said.entered, said.orders, said.triggers, said.felt = [], {}, b"", [], []
    tracks = state.facts.tracks
    alive = {journey.id for t in tracks for journey in (t.journey, *t.converted) if journey is not None}
    over = {journey.id for track in tracks for journey in track.converted}
    said.converted = [known for known in said.converted if known[1] and known[1] not in over][-MAX_CONVERTED:]
    said.phases = {journey: phase for journey, phase in said.phases.items() if journey in alive}
    said.sessions = [s for s in said.sessions if open_session is not None and s.id == open_session.id]


def _expire(state: State) -> bool:
    """Long silence: only lifetime facts stay. Answers whether there are any."""
    state.facts = orders.lifetime(state.facts)
    state.said = Said()
    state.claims = {}
    drop_tail(state)
    state.expired = True
    facts = state.facts
    kept = facts.order_ids or facts.consent_marketing or facts.consent_analytics or facts.pending or facts.times
    return bool(kept or state.links or state.members)

"""Merging: an anonymous person turned out to be a customer, whose past takes in theirs."""

from __future__ import annotations

from tracker.domain import accounts, claims, consent, identity, orders
from tracker.domain.ids import SHORT_HASH_BYTES, short_hash
from tracker.domain.migration import migrate_facts
from tracker.domain.outputs import AbsorbState, Bound, Forward, Happening, Merged, Output, Transition
from tracker.domain.refold import (
    count_sales,
    decode_event,
    drop_tail,
    entries_of,
    fold_again,
    latest_of,
    recount,
    replay,
)
from tracker.domain.said import is_member, say
from tracker.domain.state import MAX_JOINED, MAX_LINKS, Said, State, Track, decode_facts, encode_facts, new_state
from tracker.domain.step import take_late
from tracker.domain.table import Table
from tracker.domain.units import NEVER


def merge(
    state: State, customer: str, ts: int, table: Table, watermark: int, out: list[Output], reached: int = NEVER
) -> None:
    """This anonymous person turned out to be `customer`: their past goes there, and every later event with it.
    From a second customer on the device is shared and stands alone. `reached` as for `accept`."""
    if customer in state.links or customer in state.blocked:
        return
    if len(state.links) >= MAX_LINKS:
        out.append(Bound("links"))
        return
    state.links = [*state.links, customer]
    if len(state.links) > 1:
        state.merged_into = None
        return
    horizon = max(reached, watermark) - table.lateness
    entries = entries_of(state)
    older = [entry for entry in entries if entry[0] < horizon]
    facts = decode_facts(state.base or encode_facts(state.facts))
    settled: list[Happening] = []
    recent = entries[replay(facts, older, table, watermark, settled) :]
    recount(state, entries, settled, table, out)
    state.said.felt = []
    ended, merged = identity.leave_merged(state.facts, facts, ts, table)
    if is_member(state, table):
        merged = Merged([], [])
    say(state, ended, table, out)
    out.append(merged)
    taken = [raw for _, _, raw in recent][: identity.fitting([raw for _, _, raw in recent])]
    if recent or state.accounts or not identity.is_empty(facts, state.said):
        legacy = identity.Legacy(
            facts=facts, said=state.said, lineup=table.lineup, recent=taken, accounts=state.accounts
        )
        payload = identity.encode_legacy(legacy)
        out.append(AbsorbState(to=customer, source=state.facts.person, ts=ts, payload=payload))
    out.extend(Forward(customer, decode_event(raw)) for _, _, raw in recent[len(taken) :])
    consent.pass_on(state)
    fresh = new_state(state.facts.person)
    # a device that is shared later must not use their ids again
    fresh.facts.tracks = [Track(journeys=track.journeys) for track in state.facts.tracks]
    fresh.facts.ended = state.facts.ended
    count_sales(state, out, fresh.facts, state.facts.order_count, state.facts.revenue, table)
    state.facts, state.said, state.waiting = fresh.facts, Said(), []
    state.base_ts = fresh.base_ts
    drop_tail(state)
    state.merged_into = customer
    claims.pass_on(state, customer, out)


def absorb(state: State, source: str, ts: int, payload: bytes, table: Table, watermark: int, out: list[Output]) -> bool:
    """Take over the past of the anonymous person `source`, or of an account's member, who turned out at `ts` (ms) to be
    that; False when it was done before."""
    if source in state.blocked or _is_taken(state, source, ts, table, out):
        return False
    legacy = identity.decode_legacy(payload)
    if not table.of_accounts and not consent.admit(state, legacy, table, out):
        return True
    if legacy.lineup != table.lineup:
        migrate_legacy(legacy, table, [] if legacy.accounts or table.of_accounts else out)
    if table.account is not None:
        for since, account in legacy.accounts:
            accounts.belong(state, account, since, table, watermark, out)
        if state.accounts and not legacy.accounts:
            accounts.pass_on(state, legacy, table, out)
    if legacy.joins and not legacy.recent and identity.is_empty(legacy.facts, legacy.said):
        accounts.welcome(state, source, out)  # a new member whose first deed this is
        return True
    happenings: list[Happening] = []
    pasts = identity.past(state.facts, state.said), identity.past(legacy.facts, legacy.said)
    pasts[1].orders.update(orders.order_key(decode_event(raw)) for raw in legacy.recent)
    own = decode_facts(state.base or encode_facts(state.facts))
    # Both pasts up to the same time: an order in the one disarms what the other armed.
    mine = entries_of(state)
    older = [entry for entry in mine if entry[0] < watermark - table.lateness]
    state.tail, state.waiting = b"", mine[replay(own, older, table, watermark, []) :]
    combined = identity.combine(own, legacy.facts, table, happenings)
    identity.join_said(state.said, legacy.said)
    state.base = encode_facts(combined)
    state.base_ts = latest_of(combined)
    state.absorbed_at = watermark
    state.expired = False
    say(state, happenings, table, out)
    # All at once: with only the first of them here, deadlines would fire that the next ones put off.
    entries, late = [], []
    for raw in legacy.recent:
        event = decode_event(raw)
        mark = short_hash(event.event_id)
        if mark in state.ids:
            continue
        if event.ts < state.base_ts:
            late.append(event)
            continue
        state.ids += mark
        entries.append((event.ts, event.event_id, raw))
    fold_again(state, table, watermark, out, entries)
    for event in late:
        take_late(state, event, table, watermark, max(watermark - table.lateness - event.ts, 0), out)
    identity.end_absorbed(state, *pasts, table, out)
    if legacy.joins:
        accounts.welcome(state, source, out)
    return True


def _is_taken(state: State, source: str, ts: int, table: Table, out: list[Output]) -> bool:
    """Whether this past was taken over before; it is from now on. Customers know all their visitors, since an erasure
    has to find them. Accounts have any number of members, who know their account themselves, and may join anew once
    nothing else is known of them."""
    if not table.of_accounts:
        if source in state.absorbed:
            return True
        state.absorbed = [*state.absorbed, source]
        return False
    mark = short_hash(f"{source} {ts}")
    if mark in state.joined:
        return True
    state.joined += mark
    if len(state.joined) > MAX_JOINED * SHORT_HASH_BYTES:
        out.append(Bound("joined"))
        state.joined = state.joined[SHORT_HASH_BYTES:]
    return False


def migrate_legacy(legacy: identity.Legacy, table: Table, out: list[Output]) -> None:
    """A past from a partition that another config was in force in. Its journey under way was ended there already."""
    facts = legacy.facts
    gone = {track.journey.id for track in facts.tracks if track.journey is not None}
    moves: list[Output] = []
    migrate_facts(facts, legacy.said, legacy.lineup, table, moves)
    out.extend(move for move in moves if isinstance(move, Transition) and move.journey_id not in gone)

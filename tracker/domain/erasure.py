"""Erasure: everything that is kept of a person goes, and nothing of theirs up to then is taken in again.

What was counted stays counted (orders, revenue, who entered which phase); only where journeys stand now changes.
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec.structs import replace

from tracker.domain import journeys
from tracker.domain.claims import Claims
from tracker.domain.events import is_identity
from tracker.domain.outputs import EraseToo, Happening, Output, Removed, Transition
from tracker.domain.refold import decode_event, drop_tail, encode_event
from tracker.domain.said import say
from tracker.domain.state import (
    MAX_IDS,
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
from tracker.domain.units import NEVER

NUMBERED_FROM = 1000
"""Journeys of somebody who begins anew are numbered from the second (ms divided by this) of the new beginning, so that
no id of a former journey comes back although nobody remembers how many there were."""


def mark_of_person(person: bytes) -> bytes:
    """The 16 bytes by which a tombstone knows an erased id. Whoever guesses the id can tell that it was erased."""
    return blake2b(person, digest_size=16, person=b"tracker.erased").digest()


def erased_state(person: str, until: int, table: Table) -> State:
    """The state of somebody of whom nothing before `until` (ms) may be known."""
    state = new_state(person)
    state.shut = state.erased = until
    state.facts.tracks = numbered_anew(until, table)
    return state


def numbered_anew(ts: int, table: Table) -> list[Track]:
    """Tracks on which nothing has happened, for a beginning at `ts` (ms)."""
    return [Track(journeys=max(ts, 0) // NUMBERED_FROM) for _ in table.courses]


def erase(state: State, until: int, table: Table, out: list[Output], *, spread: bool) -> int:
    """Count the person out, and tell everybody linked to them (`spread`: their other ids too). Answers the time (ms)
    before which nothing of theirs may come back: `until`, or what was known of them is later."""
    facts = state.facts
    known = [facts.last, facts.active_at, *(ts for ts, _, _ in state.waiting[-1:])]
    known += [said[0] for said in (facts.consent_marketing, facts.consent_analytics) if said is not None]
    until = max(until, state.shut_at, *(ts + 1 for ts in known))
    person = facts.person
    if spread:
        # a customer has ids besides these, a visitor has not
        out.extend(EraseToo(other, until, spread=other == state.merged_into) for other in linked_ids(state))
    names = [*(f"b:{name}" for _, name in state.accounts), *(link for link in state.links if link != state.merged_into)]
    if not spread and state.merged_into is not None:
        names.append(state.merged_into)
    out.extend(EraseToo(name, until, member=person) for name in dict.fromkeys([*names, *state.blocked, *state.claims]))
    # what a visitor named was passed on to their first customer (`claims.pass_on`), who does not remember it
    out.extend(EraseToo(key, until, member=customer) for customer in state.links[:1] for key in state.claims)
    leave_map(state, until, table, out, "erased")
    return until


def linked_ids(state: State) -> list[str]:
    """The other ids of the same person. A device that several customers used is nobody's, and who was taken apart from
    them is somebody else."""
    ids = [*(f"a:{anonymous}" for anonymous in _anonymous_ids(state)), *state.absorbed]
    if state.merged_into is not None:
        ids.append(state.merged_into)
    apart = {state.facts.person, *state.blocked}
    return [other for other in dict.fromkeys(ids) if other not in apart]


def leave_map(state: State, ts: int, table: Table, out: list[Output], why: str) -> None:
    """The person's journeys stand in no phase any more; that is counted and not published."""
    ended: list[Happening] = []
    facts = state.facts
    for track, course in zip(facts.tracks, table.courses, strict=False):
        for journey in track.converted:
            journeys.end(facts, journey, ts, course, ended, "merged")
        journeys.leave(facts, track, ts, course, ended, "merged")
    moves: list[Output] = []
    say(state, ended, table, moves)
    standing = [(move.model, move.from_phase) for move in moves if isinstance(move, Transition) and move.from_phase]
    out.append(Removed(why, standing))


def forget_other(state: State, person: str) -> None:
    """Keep no id of somebody else who was erased: of an account's member, of a customer who shared a device. What they
    did for the account is the account's."""
    state.members = [member for member in state.members if member != person]
    state.absorbed = [source for source in state.absorbed if source != person]
    state.links = [link for link in state.links if link != person]
    state.blocked = [other for other in state.blocked if other != person]
    if state.merged_into == person:
        state.merged_into = None
    state.facts.anonymous_ids = [known for known in state.facts.anonymous_ids if f"a:{known}" != person]
    if state.base is not None:
        base = decode_facts(state.base)
        base.anonymous_ids = [known for known in base.anonymous_ids if f"a:{known}" != person]
        state.base = encode_facts(base)
        state.mid, state.mid_count = None, 0
    state.tail = b"".join(framed(_without(raw, person)) for raw in unframed(state.tail))
    state.waiting = [(ts, event_id, _without(raw, person)) for ts, event_id, raw in state.waiting]


def _anonymous_ids(state: State) -> list[str]:
    """A customer's, those of events that have yet to be folded among them."""
    ids = list(state.facts.anonymous_ids)
    if state.facts.person.startswith("c:"):
        waiting = (decode_event(raw).anonymous_id for _, _, raw in state.waiting)
        ids += [anonymous for anonymous in waiting if anonymous is not None and is_identity(anonymous)]
    return list(dict.fromkeys(ids))


def forget_claimant(claims: Claims, person: str) -> bool:
    """An order, cart or checkout id keeps no claim of somebody who was erased; one that two customers named binds
    nobody all the same. Answers whether anything is left."""
    claims.visitors = [visitor for visitor in claims.visitors if visitor != person]
    if len(claims.customers) > 1:
        claims.customers = ["" if customer == person else customer for customer in claims.customers]
    else:
        claims.customers = [customer for customer in claims.customers if customer != person]
    return bool(claims.visitors or any(claims.customers))


def _without(raw: bytes, person: str) -> bytes:
    event = decode_event(raw)
    if person == f"c:{event.customer_id}":
        return encode_event(replace(event, customer_id=None))
    if person == f"a:{event.anonymous_id}":
        return encode_event(replace(event, anonymous_id=None))
    return raw


def begin_anew(state: State, table: Table, ts: int) -> None:
    """Forget everything but statements of consent and links between ids: without those neither would a visitor's
    refusal reach the customer that they are, nor an erasure the visitor."""
    was = state.facts
    fresh = new_state(was.person)
    state.facts = Facts(
        person=was.person,
        customer_id=was.customer_id,
        anonymous_ids=_anonymous_ids(state)[-MAX_IDS:],
        tracks=numbered_anew(ts, table),
        consent_marketing=was.consent_marketing,
        consent_analytics=was.consent_analytics,
    )
    state.said, state.waiting, state.ids = Said(), [], b""
    state.claims, state.pace = {}, fresh.pace
    state.base_ts, state.absorbed_at, state.expired = fresh.base_ts, NEVER, False
    drop_tail(state)

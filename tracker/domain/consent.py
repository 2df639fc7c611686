"""Consent to analytics: without it nothing is kept of a person but that they refused, and links between their ids.

A refusal works when it is read: everything is forgotten, and events that say nothing of consent are left out from then
on, until a later statement grants it. From there the person begins anew; what happened before the grant stays out.
Where a grant is known already, an older refusal changes nothing. Orders need no word: nothing is armed that one could
disarm. Statements on marketing are kept, since a refusal of messages must outlive all of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from tracker.domain import claims, erasure
from tracker.domain.events import Event, is_identity
from tracker.domain.identity import Legacy
from tracker.domain.migration import migrate_facts
from tracker.domain.outputs import EraseToo, Linked, Output
from tracker.domain.refold import count_sales, decode_event
from tracker.domain.state import MAX_IDS, Facts, Said, State, decode_facts, encode_facts
from tracker.domain.table import Table
from tracker.domain.units import FAR, NEVER

Statement = tuple[int, str, bool]
"""(ts in ms, event id, granted)."""
Refused = Literal["erased", "no_consent"]


def judge(state: State, event: Event, table: Table, out: list[Output]) -> Refused | None:
    """Whether this event must be left out, and why; takes in what it says of consent."""
    why = _judge(state, event, table, out)
    if why is not None:
        # ingest has told others what this event named
        person, until = state.facts.person, event.ts + 1
        out.extend(EraseToo(key, until, member=person) for key in claims.claim_keys(event))
        if why == "erased" and is_identity(event.anonymous_id) and person.startswith("c:"):
            visitor = f"a:{event.anonymous_id}"
            if visitor not in erasure.linked_ids(state):  # since the erasure
                out.append(EraseToo(visitor, until, member=person))
    return why


def _judge(state: State, event: Event, table: Table, out: list[Output]) -> Refused | None:
    facts, consent, ts = state.facts, event.consent, event.ts
    if ts < state.erased:
        return "erased"
    merged = state.merged_into is not None
    if ts < state.shut != FAR:
        if not merged:
            _note(state, event)
        return "no_consent"
    if merged:
        return None  # the customer is asked, who is also told what is said here
    said = consent.analytics if consent is not None else None
    known = _known(state) if said is False else facts.consent_analytics
    stamp = (ts, event.event_id)
    if said is not None and (known is None or stamp > known[:2]):
        if not said:
            _refuse(state, (*stamp, False), table, out)
            _note(state, event)
            return "no_consent"
        if _is_barred(state, table):
            _forget(state, table, ts, out)
            state.shut = ts
    elif said is False or _is_barred(state, table):
        if said is None and (facts.last_id or state.waiting):  # kept from when it needed no consent
            _forget(state, table, ts, out)
        _note(state, event)
        return "no_consent"
    if state.erased > NEVER and facts.person.startswith("c:"):
        _link_again(facts, event, out)
    return None


def admit(state: State, legacy: Legacy, table: Table, out: list[Output]) -> bool:
    """Whether the past of somebody merged may be taken in; what must not be known is taken out of it."""
    mine, settled = _known(state), legacy.facts.consent_analytics
    grants = _grants(legacy.recent)
    theirs = max([*grants, *([settled] if settled else [])], default=None)
    refuses = theirs is not None and not theirs[2]
    if theirs is not None and refuses and (mine is None or mine < theirs):
        _refuse(state, theirs, table, out)
    if refuses or _is_barred(state, table):
        if settled is not None and settled[2]:
            grants.append(settled)
        later = min((grant for grant in grants if mine is None or mine < grant), default=None)
        if refuses or later is None:
            _note_marketing(state, [legacy.facts.consent_marketing, *_marketing(legacy.recent)])
            _leave_out(legacy, table, out)
            return False
        _forget(state, table, later[0], out)
        state.shut = later[0]
    if state.shut == NEVER:
        return True
    if begins(legacy.facts) < state.shut:
        said = legacy.facts
        _leave_out(legacy, table, out)
        legacy.facts = Facts(
            person=said.person, consent_marketing=said.consent_marketing, consent_analytics=said.consent_analytics
        )
        legacy.said = Said()
    before: list[bytes] = []
    since: list[bytes] = []
    for raw in legacy.recent:
        (before if decode_event(raw).ts < state.shut else since).append(raw)
    _note_marketing(state, _marketing(before))
    legacy.recent = since
    return True


def _leave_out(legacy: Legacy, table: Table, out: list[Output]) -> None:
    """A past that is not taken in leaves the map as what is refused does: what it counted stays. The visitor's own
    state has taken its orders back, and its journey under way."""
    if legacy.lineup != table.lineup:
        migrate_facts(legacy.facts, legacy.said, legacy.lineup, table, [])
    visitor = State(facts=legacy.facts, accounts=legacy.accounts, said_now=legacy.said)
    for track in legacy.facts.tracks:
        track.journey = None
    if any(track.converted for track in legacy.facts.tracks):
        erasure.leave_map(visitor, legacy.facts.last, table, out, "no_consent")
    count_sales(visitor, out, legacy.facts, 0, {}, table)


def pass_on(state: State) -> None:
    """A merged visitor's refusal is the customer's now: what happens on the device goes to them, but for the past."""
    refused = state.facts.consent_analytics
    if state.shut == FAR:
        state.shut = max(state.erased, refused[0]) if refused is not None else state.erased


def begins(facts: Facts) -> int:
    """The first thing (ms) that these facts tell of, FAR if they tell nothing."""
    times = [order.ts for order in facts.orders]
    times += [journey.opened_at for t in facts.tracks for journey in (t.journey, *t.converted) if journey is not None]
    if facts.session is not None:
        times.append(facts.session.start)
    if facts.past is not None and facts.past.first_seen > NEVER:
        times.append(facts.past.first_seen)
    if facts.last > NEVER:
        # what was forgotten of a long past is older than all of the above
        times.append(NEVER if facts.sessions > 1 or facts.order_count > len(facts.orders) else facts.last)
    return min(times, default=FAR)


def _refuse(state: State, statement: Statement, table: Table, out: list[Output]) -> None:
    out.extend(EraseToo(key, statement[0] + 1, member=state.facts.person) for key in state.claims)
    _forget(state, table, statement[0], out)
    state.facts.consent_analytics = statement
    state.shut = FAR


def _is_barred(state: State, table: Table) -> bool:
    """Whether nothing may be kept of this person."""
    return state.shut == FAR or (state.facts.consent_analytics is None and not table.settings.analytics_default)


def _forget(state: State, table: Table, ts: int, out: list[Output]) -> None:
    facts = state.facts
    if facts.last_id or facts.last > NEVER or state.waiting:
        erasure.leave_map(state, ts, table, out, "no_consent")
    marketing = _marketing(raw for _, _, raw in state.waiting)
    erasure.begin_anew(state, table, ts)
    _note_marketing(state, marketing)


def _known(state: State) -> Statement | None:
    """The latest statement on analytics, that of an event which has yet to be folded among them."""
    known = state.facts.consent_analytics
    return max([*_grants(raw for _, _, raw in state.waiting), *([known] if known else [])], default=None)


def _note(state: State, event: Event) -> None:
    """Keep of an event that is left out what it says of marketing, and of who is who."""
    consent, anonymous = event.consent, event.anonymous_id
    if consent is not None and consent.marketing is not None:
        _note_marketing(state, [(event.ts, event.event_id, consent.marketing)])
    if anonymous is not None and state.facts.person.startswith("c:") and is_identity(anonymous):
        for facts in _versions(state):
            if anonymous not in facts.anonymous_ids:
                facts.anonymous_ids = [*facts.anonymous_ids, anonymous][-MAX_IDS:]


def _note_marketing(state: State, statements: Iterable[Statement | None]) -> None:
    latest = max(filter(None, statements), default=None)
    if latest is not None:
        for facts in _versions(state):
            if facts.consent_marketing is None or facts.consent_marketing < latest:
                facts.consent_marketing = latest


def _versions(state: State) -> Iterator[Facts]:
    """The facts, and those from which they are folded again."""
    yield state.facts
    if state.base is not None:
        base = decode_facts(state.base)
        yield base
        state.base = encode_facts(base)
        state.mid, state.mid_count = None, 0


def _marketing(recent: Iterable[bytes]) -> list[Statement]:
    return [
        (event.ts, event.event_id, said)
        for event in map(decode_event, recent)
        if event.consent is not None and (said := event.consent.marketing) is not None
    ]


def _grants(recent: Iterable[bytes]) -> list[Statement]:
    events = map(decode_event, recent)
    return [(e.ts, e.event_id, True) for e in events if e.consent is not None and e.consent.analytics]


def _link_again(facts: Facts, event: Event, out: list[Output]) -> None:
    """Ingest says once in a while only who a visitor is, and the erasure took the link that it spoke of."""
    anonymous = event.anonymous_id
    if anonymous is not None and anonymous not in facts.anonymous_ids and is_identity(anonymous):
        out.append(Linked(f"a:{anonymous}", facts.person, event.ts))

"""Consent to analytics: without it nothing is kept of a person but that they refused, and links between their ids.

A refusal works when it is read: everything is forgotten, and events that say nothing of consent are left out from then
on, until a later statement grants it. From there the person begins anew; what happened before the grant stays out.
Where a grant is known already, an older refusal changes nothing. Orders need no word: nothing is armed that one could
disarm. Statements on marketing are kept, since a refusal of messages must outlive all of that.
"""

from __future__ import annotations

from typing import Literal

from tracker.domain import claims, erasure
from tracker.domain.events import Event, is_identity
from tracker.domain.identity import Legacy
from tracker.domain.outputs import EraseToo, Linked, Output
from tracker.domain.refold import decode_event
from tracker.domain.state import Facts, Said, State
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
            out.append(EraseToo(f"a:{event.anonymous_id}", until, member=person))
    return why


def _judge(state: State, event: Event, table: Table, out: list[Output]) -> Refused | None:
    facts, consent, ts = state.facts, event.consent, event.ts
    if ts < state.shut != FAR:
        return "erased" if ts < state.erased else "no_consent"
    if ts < state.erased:
        return "erased"
    known = facts.consent_analytics
    said = consent.analytics if consent is not None else None
    stamp = (ts, event.event_id)
    if said is not None and (known is None or stamp > known[:2]):
        if not said:
            _note_marketing(facts, event)
            _refuse(state, (*stamp, False), table, out)
            return "no_consent"
        if state.shut == FAR or (known is None and not table.settings.analytics_default):
            erasure.begin_anew(state, table, ts)
            state.shut = ts
    elif said is False or state.shut == FAR:
        _note_marketing(facts, event)
        return "no_consent"
    elif known is None and not table.settings.analytics_default:
        if facts.last_id or state.waiting:  # kept from when it needed no consent
            erasure.leave_map(state, ts, table, out, "no_consent")
            erasure.begin_anew(state, table, ts)
        _note_marketing(facts, event)
        return "no_consent"
    if state.erased > NEVER and facts.person.startswith("c:"):
        _link_again(facts, event, out)
    return None


def admit(state: State, legacy: Legacy, table: Table, out: list[Output]) -> bool:
    """Whether the past of somebody merged may be taken in; what must not be known is taken out of it."""
    facts = state.facts
    mine, theirs = facts.consent_analytics, legacy.facts.consent_analytics
    if theirs is not None and not theirs[2]:
        facts.consent_marketing = _latest(facts.consent_marketing, legacy.facts.consent_marketing)
        if mine is None or mine < theirs:
            _refuse(state, theirs, table, out)
        return False
    if state.shut == NEVER:
        return True
    if state.shut == FAR:
        granted = max([*([theirs] if theirs else []), *_grants(legacy.recent)], default=None)
        if mine is None or granted is None or granted < mine:
            facts.consent_marketing = _latest(facts.consent_marketing, legacy.facts.consent_marketing)
            return False
        erasure.begin_anew(state, table, granted[0])
        state.shut = granted[0]
    elif begins(legacy.facts) < state.shut:
        said = legacy.facts
        legacy.facts = Facts(
            person=said.person, consent_marketing=said.consent_marketing, consent_analytics=said.consent_analytics
        )
        legacy.said = Said()
    legacy.recent = [raw for raw in legacy.recent if decode_event(raw).ts >= state.shut]
    return True


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
    facts = state.facts
    if facts.last_id or facts.last > NEVER or state.waiting:
        erasure.leave_map(state, statement[0], table, out, "no_consent")
    out.extend(EraseToo(key, statement[0] + 1, member=facts.person) for key in state.claims)
    erasure.begin_anew(state, table, statement[0])
    state.facts.consent_analytics = statement
    state.shut = FAR


def _note_marketing(facts: Facts, event: Event) -> None:
    if event.consent is not None and event.consent.marketing is not None:
        said = (event.ts, event.event_id, event.consent.marketing)
        facts.consent_marketing = _latest(facts.consent_marketing, said)


def _latest(one: Statement | None, other: Statement | None) -> Statement | None:
    if one is None or other is None:
        return one or other
    return max(one, other)


def _grants(recent: list[bytes]) -> list[Statement]:
    events = map(decode_event, recent)
    return [(e.ts, e.event_id, True) for e in events if e.consent is not None and e.consent.analytics]


def _link_again(facts: Facts, event: Event, out: list[Output]) -> None:
    """Ingest says once in a while only who a visitor is, and the erasure took the link that it spoke of."""
    anonymous = event.anonymous_id
    if anonymous is not None and anonymous not in facts.anonymous_ids and is_identity(anonymous):
        out.append(Linked(f"a:{anonymous}", facts.person, event.ts))

"""Accounts: where several people act for one business, phases and orders are its own (`buyer: account` in a model).

A member is whoever named an account: sessions, cart, consent and rules stay theirs, and what they do goes on to the
account, whose state folds journeys and orders out of what all members do. The account tells them of each other's orders
and refunds, which disarm, cancel and recover what is theirs. All of that goes through the log: a `Forward` to the
account, and one with `NOTICE` from it to each member.

An event that names no account is that of the account which its person named last before it, else of the first that
they named: who somebody buys for is mostly learnt after they have looked around.
"""

from __future__ import annotations

from msgspec.structs import replace

from tracker.domain import identity
from tracker.domain.events import Event, Item, is_identity
from tracker.domain.ids import derive
from tracker.domain.notices import NOTICE
from tracker.domain.outputs import AbsorbState, Bound, Forward, Happening, Output
from tracker.domain.refold import count_sales, decode_event, entries_of, recount, replay
from tracker.domain.said import say
from tracker.domain.state import Facts, Order, Said, State, account_at, decode_facts, encode_facts
from tracker.domain.table import Table
from tracker.domain.units import MONEY, NEVER

PREFIX = "b:"
"""Of an account's key, as `c:` is of a customer's."""
MAX_ACCOUNTS = 5
"""Changes of account that are remembered of a person."""
MAX_MEMBERS = 200
"""Members of an account that hear of its orders; those who joined first give way."""


def share(state: State, event: Event, table: Table, watermark: int, out: list[Output], reached: int) -> bool:
    """Before this person takes an event in: pass it on to whoever it concerns besides. False if it is a notice that
    does not concern them."""
    rule = table.rule_of(event.type)
    if table.of_accounts:
        if rule.orders or rule.refund:
            notice = replace(event, account_id=state.facts.person[len(PREFIX) :], flags=[NOTICE])
            out.extend(Forward(member, notice) for member in state.members)
        return True
    if event.flags is not None and NOTICE in event.flags:
        return account_at(state, event.ts) == event.account_id
    if event.account_id is not None and is_identity(event.account_id):
        belong(state, event.account_id, event.ts, table, watermark, out, reached)
    account = account_at(state, event.ts)
    late = event.ts < max(watermark - table.lateness, state.base_ts)
    if account is not None and (not late or rule.orders or rule.refund):
        out.append(Forward(PREFIX + account, _theirs(event, table)))
    return True


def belong(
    state: State, account: str, ts: int, table: Table, watermark: int, out: list[Output], reached: int = NEVER
) -> None:
    """From `ts` on this person acts for an account. What they did before they named any becomes the first one's: their
    own journeys end with `merged`."""
    if account_at(state, ts) == account:
        return
    person = state.facts.person
    if all(name != account for _, name in state.accounts):
        facts, said = Facts(person=person), Said()
        recent: list[bytes] = []
        if not state.accounts:
            facts, said, recent = _give_up(state, ts, table, watermark, out, reached)
        _send_past(account, ts, facts, said, recent, table, out, joins=True)
    state.accounts = sorted([*state.accounts, (ts, account)])[-MAX_ACCOUNTS:]


def pass_on(state: State, legacy: identity.Legacy, table: Table, out: list[Output]) -> None:
    """The past of somebody who turned out to be this member is the account's as well."""
    recent = [raw for raw in legacy.recent if not _is_notice(decode_event(raw))]
    ts = max(legacy.facts.last, 0)
    said = _said_of(legacy.said, legacy.facts)
    _send_past(state.accounts[-1][1], ts, legacy.facts, said, recent, table, out, joins=False)


def welcome(state: State, member: str, out: list[Output]) -> None:
    """Somebody joined this account: they hear of its orders from now on, and of those that it has had."""
    state.members = [*(known for known in state.members if known != member), member]
    if len(state.members) > MAX_MEMBERS:
        out.append(Bound("members"))
        del state.members[0]
    account = state.facts.person[len(PREFIX) :]
    out.extend(Forward(member, _notice_of(order, account)) for order in state.facts.orders if not order.cancelled)
    for _, _, raw in state.waiting:
        event = decode_event(raw)
        if event.order_id is not None:
            out.append(Forward(member, replace(event, account_id=account, flags=[NOTICE])))


def _give_up(
    state: State, ts: int, table: Table, watermark: int, out: list[Output], reached: int
) -> tuple[Facts, Said, list[bytes]]:
    """Take back from the counters what this person was alone, and answer it: facts, what was said of those journeys
    that go along, and recent events."""
    horizon = max(reached, watermark) - table.lateness
    entries = entries_of(state)
    facts = decode_facts(state.base or encode_facts(state.facts))
    settled: list[Happening] = []
    older = [entry for entry in entries if entry[0] < horizon]
    recent = entries[replay(facts, older, table, watermark, settled) :]
    recount(state, entries, settled, table, out)
    state.said.felt = []
    said = _said_of(state.said, facts)
    alone = decode_facts(encode_facts(state.facts))
    ended, merged = identity.leave_merged(alone, facts, ts, table)
    merged.people = 0
    say(state, ended, table, out)
    out.append(merged)
    count_sales(state, out, Facts(person=facts.person), state.facts.order_count, state.facts.revenue, table)
    return facts, said, [raw for _, _, raw in recent]


def _said_of(said: Said, facts: Facts) -> Said:
    """Converted journeys keep their ids: what recent events were said to have done to them is not said again."""
    kept = {journey.id for track in facts.tracks for journey in track.converted}
    return Said(
        moves=[move for move in said.moves if move[1] in kept],
        entered={journey: phases for journey, phases in said.entered.items() if journey in kept},
    )


def _send_past(
    account: str,
    ts: int,
    facts: Facts,
    said: Said,
    recent: list[bytes],
    table: Table,
    out: list[Output],
    *,
    joins: bool,
) -> None:
    assert table.account is not None
    kept = identity.fitting(recent)
    legacy = identity.Legacy(
        facts=_shared(facts), said=said, lineup=table.account.lineup, recent=recent[:kept], joins=joins
    )
    to = PREFIX + account
    out.append(AbsorbState(to=to, source=facts.person, ts=ts, payload=identity.encode_legacy(legacy)))
    out.extend(Forward(to, _theirs(decode_event(raw), table)) for raw in recent[kept:])


def _shared(facts: Facts) -> Facts:
    """What of a person's facts is the account's: journeys and orders, and what conditions remember."""
    return Facts(
        person=facts.person,
        last=facts.last,
        last_id=facts.last_id,
        tracks=facts.tracks,
        orders=facts.orders,
        order_count=facts.order_count,
        revenue=facts.revenue,
        order_ids=facts.order_ids,
        early_refunds=facts.early_refunds,
        currency=facts.currency,
        segments=facts.segments,
        past=facts.past,
    )


def _theirs(event: Event, table: Table) -> Event:
    """An event on its way to the account: consent is the member's own."""
    return replace(event, consent=None, user_agent=None, properties=table.kept(event))


def _is_notice(event: Event) -> bool:
    return event.flags is not None and NOTICE in event.flags


def _notice_of(order: Order, account: str) -> Event:
    _, cart_id, checkout_id = order.names
    return Event(
        event_id=derive("order", account, order.id),
        type=order.kind,
        ts=order.ts,
        account_id=account,
        order_id=order.id,
        cart_id=cart_id,
        checkout_id=checkout_id,
        items=[Item(product) for product in order.products] or None,
        value=(order.value - order.refunded) / MONEY,
        currency=order.currency or None,
        flags=[NOTICE],
    )

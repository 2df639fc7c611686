"""`tracker journey PERSON`: what the tracker knows about one person, read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import number_of, print_json, printable, time_text
from tracker.domain.claims import is_claim
from tracker.domain.events import EVENT_TYPES
from tracker.domain.model import Model
from tracker.domain.scores import level
from tracker.domain.state import Feelings, Journey, Score, State, Track, account_at
from tracker.domain.units import FAR, MONEY, NEVER
from tracker.errors import TrackerError
from tracker.journeys import words
from tracker.settings import Settings
from tracker.wire.identities import Identities

KINDS = ("c", "a", "b", "order", "cart", "checkout")
"""What stands before the colon of an id: customer, visitor, account, and what is claimed."""


@click.command
@click.argument("person")
@json_option
@with_settings("brokers", "redis_url", "namespace")
def journey(settings: Settings, person: str, as_json: bool) -> None:
    """Show where PERSON is: a person id (c:… or a:…), an account (b:…), what somebody named (order:…, cart:… or
    checkout:…), or any of these ids alone.

    Somebody who was recognised as a customer is shown as that customer.
    """
    from tracker.wiring import find_claimants, show_journey

    asked = _ids(person, settings)
    for asked_id in asked:
        person_id = asked_id
        if is_claim(asked_id.encode()):
            claimants = find_claimants(settings, asked_id)
            if not claimants:
                continue
            click.echo(printable(f"{asked_id} was named by {' and '.join(claimants)}."), err=True)
            person_id = claimants[0]
        found = show_journey(settings, person_id)
        if found is not None and (customer := found[0].merged_into):
            click.echo(printable(f"{person_id} is {customer}."), err=True)
            found = show_journey(settings, customer) or found
        if found is not None:
            state, models = found
            if as_json:
                print_json(view(state, models))
            else:
                click.echo("\n".join(map(printable, lines(view(state, models), models))))
            return
    raise TrackerError(
        f"nothing is known about {' or '.join(asked)}; ids are written as the shop sends them, and who named an order, "
        "cart or checkout is known for 30 days"
    )


def _ids(person: str, settings: Settings) -> list[str]:
    """The ids that this may be, the likeliest first; a customer's as ingest writes it."""
    kind, colon, rest = person.partition(":")
    customer = Identities(settings.customer_ids).customer
    if colon and kind in KINDS:
        return [f"c:{customer(rest)}"] if kind == "c" else [person]
    return [f"c:{customer(person)}", *(f"{kind}:{person}" for kind in KINDS[1:])]


def view(state: State, models: Sequence[Model]) -> dict[str, Any]:
    """A state for people and scripts: phases and rules by name, money in the currency's unit, times in ms UTC.
    `journey` and `converted` are of the first model, `other_models` has them by id."""
    facts = state.facts
    model, armed = models[0], facts.armed
    journeys = {each.id: _track(track, each) for each, track in zip(models, facts.tracks, strict=False)}
    return {
        "person_id": facts.person,
        "customer_id": facts.customer_id,
        "anonymous_ids": facts.anonymous_ids,
        "last_event": {"event_id": facts.active_id, "type": facts.active_type, "ts": facts.active_at}
        if facts.active_id
        else None,
        **journeys.pop(model.id, _track(Track(), model)),
        "other_models": journeys,
        "session": {
            "session_id": facts.session.id,
            "started_at": facts.session.start,
            "last_at": facts.session.last,
            "event_count": facts.session.events,
            "channel": facts.session.channel,
            "device": facts.session.device,
        }
        if facts.session
        else None,
        "sessions": facts.sessions,
        "cart": {"cart_id": facts.cart_id, "items": msgspec.to_builtins(facts.cart), "currency": facts.currency}
        if facts.cart
        else None,
        "armed": {
            "reason": "payment_failed" if armed.failed else model.rules[armed.rule].id,
            "armed_at": armed.at,
            "due_at": armed.due,
        }
        if armed and armed.rule < len(model.rules)
        else None,
        "pending": [
            {
                "rule": pending.rule,
                "key": pending.key or None,
                "armed_at": pending.at,
                "due_at": pending.due,
            }
            for pending in sorted(facts.pending, key=lambda pending: (pending.due, pending.rule, pending.key))
        ],
        "triggers": [
            {
                "rule": sent.rule,
                "key": sent.key or None,
                "due_at": sent.due,
                "detected_at": sent.at,
                "withheld": sent.withheld,
            }
            for sent in facts.sent
            if sent.due != NEVER
        ],
        "dropoffs": [
            {
                "id": said.id,
                "reason": said.reason,
                "phase": said.phase,
                "armed_at": said.armed_at,
                "detected_at": said.detected_at,
                "ended": said.ended,
            }
            for said in state.said.dropoffs
        ],
        "orders": [
            {
                "order_id": order.id,
                "ts": order.ts,
                "value": order.value / MONEY,
                "currency": order.currency or None,
                "refunded": order.refunded / MONEY,
                "cancelled": order.cancelled,
            }
            for order in facts.orders
        ],
        "order_count": facts.order_count,
        "revenue": {currency: value / MONEY for currency, value in facts.revenue.items()},
        "consent": {
            name: said[2]
            for name, said in (("marketing", facts.consent_marketing), ("analytics", facts.consent_analytics))
            if said
        },
        "segments": facts.segments,
        "waiting_events": len(state.waiting),
        "merged_into": state.merged_into,
        "linked_to": state.links,
        "account": account_at(state, FAR),
        "members": state.members,
    }


def _track(track: Track, model: Model) -> dict[str, Any]:
    return {
        "journey": _journey(track.journey, model) if track.journey else None,
        "converted": [_journey(journey, model) for journey in track.converted],
    }


def _journey(journey: Journey, model: Model) -> dict[str, Any]:
    path = [model.phases[i].id for i in journey.path if i < len(model.phases)]
    return {
        "journey_id": journey.id,
        "number": journey.number,
        "phase": path[-1] if path else None,
        "path": path,
        "opened_at": journey.opened_at,
        "moved_at": journey.moved_at,
        "touchpoints_met": [name for bit, name in enumerate(EVENT_TYPES) if journey.met >> bit & 1],
        "channel": journey.channel,
        "device": journey.device,
        "segments": journey.segments,
        "order_id": journey.order_id,
        "feelings": _feelings(journey.feelings, model) if journey.feelings is not None else None,
    }


def _feelings(feelings: Feelings, model: Model) -> dict[str, Any]:
    """Scores in the model's order of phases and touchpoints; levels, expected and actual, from -2 to 2."""
    places = _expected(model)
    order = {place: number for number, place in enumerate(places)}
    rows = sorted(feelings.scores, key=lambda row: (order.get((row.phase, row.touchpoint), len(order)), row.kind))
    return {
        "scores": [
            {
                "phase": row.phase,
                "touchpoint": row.touchpoint or None,
                "kind": row.kind,
                "number": row.number,
                "mean": round(row.total / row.number, 2),
                "level": round(row.levels / row.number, 2),
                "expected": places.get((row.phase, row.touchpoint)),
            }
            for row in rows
        ],
        "peak": _felt(feelings.peak, places),
        "end": _felt(feelings.end, places),
    }


def _felt(felt: Score, places: dict[tuple[str, str], int | None]) -> dict[str, Any]:
    return {
        "phase": felt.phase,
        "touchpoint": felt.touchpoint or None,
        "kind": felt.kind,
        "score": felt.score,
        "level": level(felt.kind, felt.score),
        "expected": places.get((felt.phase, felt.touchpoint)),
        "at": felt.at,
        "event_id": felt.event_id,
    }


def _expected(model: Model) -> dict[tuple[str, str], int | None]:
    """The level that the model expects by phase and touchpoint ("": the phase as a whole)."""
    expected: dict[tuple[str, str], int | None] = {}
    for phase in model.phases:
        expected[phase.id, ""] = phase.feeling.level if phase.feeling is not None else None
        expected |= {(phase.id, touchpoint.id): touchpoint.feeling.level for touchpoint in phase.touchpoints}
    return expected


def lines(shown: dict[str, Any], models: Sequence[Model]) -> list[str]:
    """A view as text, phases by their names. Empty parts are left out."""
    also = f" (also {', '.join(f'a:{i}' for i in shown['anonymous_ids'])})" if shown["anonymous_ids"] else ""
    text = [f"{shown['person_id']}{also}"]
    if len(shown["linked_to"]) > 1:
        text.append(f"  shared       by {', '.join(shown['linked_to'])}: what happens here counts for none of them")
    if last := shown["last_event"]:
        text.append(f"  last seen    {time_text(last['ts'])}  {last['type']}")
    if shown["account"]:
        text.append(f"  acts for     b:{shown['account']}, whose journeys are published; below is their own way")
    if shown["members"]:
        text.append(f"  members      {', '.join(shown['members'])}")
    text += _journey_lines(shown, models[0])
    for model in models[1:]:
        if of_model := _journey_lines(shown["other_models"].get(model.id, {}), model):
            text += [f"  by {model.id}", *of_model]
    if session := shown["session"]:
        text.append(
            f"  in a session since {time_text(session['started_at'])}, {number_of(session['event_count'], 'event')}"
        )
    if cart := shown["cart"]:
        text.append(f"  cart         {', '.join(map(_item, cart['items']))}")
    if armed := shown["armed"]:
        text.append(f"  will be      {armed['reason']} at {time_text(armed['due_at'])}, unless something happens")
    for dropoff in shown["dropoffs"]:
        ended = f", {dropoff['ended']}" if dropoff["ended"] else ""
        text.append(f"  dropped off  {time_text(dropoff['detected_at'])}  {dropoff['reason']}{ended}")
    for trigger in shown["triggers"]:
        of = f" of {trigger['key']}" if trigger["key"] else ""
        what = "withheld    " if trigger["withheld"] else "triggered   "
        text.append(f"  {what} {time_text(trigger['detected_at'])}  {trigger['rule']}{of}")
    rules = {rule.id: rule for rule in models[0].rules}
    for pending in shown["pending"]:
        of = f" of {pending['key']}" if pending["key"] else ""
        rule = rules.get(pending["rule"])
        asked = f"; only if then {words.condition(rule.only_if)}" if rule is not None and rule.only_if else ""
        when = time_text(pending["due_at"])
        text.append(f"  waits for    {when}  {pending['rule']}{of}, unless something happens{asked}")
    for order in shown["orders"]:
        gone = " refunded in part" if order["refunded"] else ""
        gone = " cancelled, or refunded in full" if order["cancelled"] else gone
        money = f"{order['value']:,.2f} {order['currency'] or ''}".rstrip()
        text.append(f"  order        {time_text(order['ts'])}  {order['order_id']}  {money}{gone}")
    if shown["revenue"]:
        money = ", ".join(f"{value:,.2f} {currency}".rstrip() for currency, value in shown["revenue"].items())
        orders, sessions = number_of(shown["order_count"], "order"), number_of(shown["sessions"], "session")
        text.append(f"  in all       {orders}, {money}; {sessions}")
    if shown["consent"]:
        said = ", ".join(f"{name} {'yes' if given else 'no'}" for name, given in shown["consent"].items())
        text.append(f"  consent      {said}")
    return text


def _journey_lines(track: dict[str, Any], model: Model) -> list[str]:
    names = {phase.id: phase.name for phase in model.phases}
    text = []
    for journey in (*track.get("converted", ()), *filter(None, [track.get("journey")])):
        state = f"order {journey['order_id']}" if journey["order_id"] else "under way"
        path = " → ".join(names[phase] for phase in journey["path"]) or "no phase yet"
        moved = time_text(journey["moved_at"])
        text.append(f"  journey {journey['number']:<4} {path}  ({state}, last move {moved})")
        if journey["touchpoints_met"]:
            text.append(f"               met {', '.join(journey['touchpoints_met'])}")
        if feelings := journey["feelings"]:
            text += _feeling_lines(feelings, model)
    return text


def _feeling_lines(feelings: dict[str, Any], model: Model) -> list[str]:
    names = {phase.id: phase.name for phase in model.phases}
    names |= {touchpoint.id: touchpoint.name.text for phase in model.phases for touchpoint in phase.touchpoints}

    def line(word: str, felt: dict[str, Any], what: str) -> str:
        place = ", ".join(names.get(name, name) for name in (felt["phase"], felt["touchpoint"]) if name)
        expected = "" if felt["expected"] is None else f" (expected {felt['expected']:+})"
        return f"               {word:<4} {place}: {what} → {felt['level']:+g}{expected}"

    text = []
    for row in feelings["scores"]:
        times = f" in {row['number']} answers" if row["number"] > 1 else ""
        text.append(line("felt", row, f"{row['kind']} {row['mean']:g}{times}"))
    for word in ("peak", "end"):
        felt = feelings[word]
        text.append(line(word, felt, f"{felt['kind']} {felt['score']} at {time_text(felt['at'])}"))
    return text


def _item(item: dict[str, Any]) -> str:
    quantity = item.get("quantity", 1)
    name = item.get("name") or item["product_id"]
    return f"{quantity} × {name}" if quantity != 1 else str(name)

"""Journeys: at most one before purchase, moved by events through the model's phases, then followed per order."""

from __future__ import annotations

from functools import lru_cache

from tracker.domain import remembered, segments
from tracker.domain.events import EVENT_TYPES, Event
from tracker.domain.ids import derive
from tracker.domain.outputs import Direction, Happening, Transition
from tracker.domain.predicates import Moment
from tracker.domain.state import MAX_CHANNELS, MAX_CONVERTED, Facts, Journey, Order
from tracker.domain.table import Table, TypeRule, Way
from tracker.domain.units import FAR


def try_to_open(facts: Facts, event: Event, rule: TypeRule, table: Table) -> Journey | None:
    """Begin the next journey if the event enters a phase."""
    if rule.before < 0 and not rule.conditional:
        return None
    ordered_last = facts.ordered_last
    journey = open_journey(facts, event, rule, table)
    if rule.before >= 0 or target(facts, journey, event, rule) >= 0:
        return journey
    facts.journey = None
    facts.journeys -= 1
    facts.ordered_last = ordered_last
    return None


def open_journey(facts: Facts, event: Event, rule: TypeRule, table: Table) -> Journey:
    """Begin the person's next journey; its dimensions are those of the session it starts in."""
    session = facts.session
    number = facts.journeys = facts.journeys + 1
    journey = Journey(
        id=journey_id(facts.person, table, number),
        number=number,
        opened_at=event.ts,
        moved_at=event.ts,
        last_active=event.ts,
        met=rule.bit,
        channel=session.channel if session else event.channel,
        device=session.device if session else event.device,
        campaign=session.campaign if session else event.campaign,
    )
    if rule.tally is not None and rule.tally.journey:
        remembered.note_on(journey, event)
    journey.segments = segments.of(facts, journey, event, event.ts, table)
    facts.journey = journey
    facts.ordered_last = False
    return journey


def journey_id(person: str, table: Table, number: int) -> str:
    """The id of a person's journey by its running number."""
    return derive("journey", person, table.model.id, number)


def opens(facts: Facts, rule: TypeRule, added: bool) -> bool:
    """Whether an active event begins a journey while none is under way."""
    if not facts.ordered_last or added:
        return True
    session = facts.session
    return rule.reopens and (session is None or session.id != facts.order_session)


def target(facts: Facts, journey: Journey, event: Event, rule: TypeRule) -> int:
    """The furthest phase up to the purchase that the event satisfies, -1 for none."""
    phase = _furthest(rule.conditional, Moment(facts, journey, event, event.ts))
    return phase if phase >= 0 else rule.before


def _furthest(ways: tuple[Way, ...], moment: Moment) -> int:
    """The phase of the first of these ways that is open, -1 for none."""
    for way in ways:
        if moment.facts.order_count >= way.orders and (way.where is None or way.where.holds(moment)):
            return way.phase
    return -1


def move(
    facts: Facts,
    journey: Journey,
    phase: int,
    direction: Direction,
    at: int,
    event: Event | None,
    table: Table,
    out: list[Happening],
    session_id: str | None,
) -> None:
    """Put the journey into a phase and say so; without an event, time did it."""
    path = journey.path
    current = path[-1] if path else None
    if direction == "back":
        path.pop()
    elif current != phase:
        path.append(phase)
        journey.entries.append((phase, at))
    if journey.leads:
        journey.leads = [lead for lead in journey.leads if lead[1] > phase]
    out.append(_transition(facts, journey, table, current, phase, direction, at, event, session_id))
    journey.moved_at = at


def advance(
    facts: Facts,
    journey: Journey,
    phase: int,
    at: int,
    event: Event | None,
    table: Table,
    out: list[Happening],
    session_id: str | None,
) -> None:
    """Move the journey forward to `phase` if that lies beyond where it stands."""
    current = journey.path[-1] if journey.path else -1
    if phase <= current:
        return
    direction: Direction = "enter" if current < 0 else "forward" if phase == current + 1 else "skip"
    move(facts, journey, phase, direction, at, event, table, out, session_id)


def step_back(
    facts: Facts, journey: Journey, event: Event, table: Table, out: list[Happening], session_id: str | None
) -> None:
    """Back to the previous furthest phase; a journey that began in this one stays."""
    if len(journey.path) > 1:
        move(facts, journey, journey.path[-2], "back", event.ts, event, table, out, session_id)


def convert(
    facts: Facts,
    order: Order,
    event: Event,
    rule: TypeRule,
    table: Table,
    out: list[Happening],
    session_id: str | None,
) -> Journey:
    """An order enters (where need be) and completes the purchase phase; the journey is then the order's."""
    journey = facts.journey or open_journey(facts, event, rule, table)
    move(facts, journey, table.purchase, "converted", event.ts, event, table, out, session_id)
    journey.leads = []
    journey.order_id = order.id
    journey.converted_at = event.ts
    order.journey = journey.id
    facts.journey = None
    facts.ordered_last = True
    facts.converted.append(journey)
    if len(facts.converted) > MAX_CONVERTED:
        del facts.converted[0]
    return journey


def follow(
    facts: Facts,
    event: Event,
    rule: TypeRule,
    table: Table,
    out: list[Happening],
    session_id: str | None,
    is_order: bool,
) -> None:
    """Try the phases after the purchase on the journey that the event belongs to; its own order it has met."""
    journey = owner(facts, event)
    if journey is None:
        return
    if not is_order:
        journey.met |= rule.bit
        if rule.tally is not None and rule.tally.journey:
            remembered.note_on(journey, event)
    phase = _furthest(rule.after, Moment(facts, journey, event, event.ts))
    advance(facts, journey, phase, event.ts, event, table, out, session_id)
    lead(journey, rule.leads_after, event.ts)


def lead(journey: Journey, leads: tuple[tuple[int, int], ...], at: int) -> None:
    """From `at` on time leads the journey on: the first event of a kind starts the clock, and a phase that was
    entered once is not entered by time."""
    for phase, wait in leads:
        if phase > journey.path[-1] and all(entered != phase for entered, _ in journey.entries):
            dues = [due for due, goal in journey.leads if goal == phase]
            others = [(due, goal) for due, goal in journey.leads if goal != phase]
            journey.leads = sorted([*others, (min([*dues, at + wait]), phase)])


def leads_at(facts: Facts) -> int:
    """When time alone next leads a journey on, FAR if it never does."""
    at = FAR
    if facts.journey is not None and facts.journey.leads:
        at = facts.journey.leads[0][0]
    for journey in facts.converted:
        if journey.leads and journey.leads[0][0] < at:
            at = journey.leads[0][0]
    return at


def lead_on(facts: Facts, at: int, table: Table, out: list[Happening]) -> None:
    """Each journey moves to the furthest phase whose time has come and whose conditions hold."""
    journeys = [*facts.converted, facts.journey] if facts.journey is not None else facts.converted
    for journey in journeys:
        if not journey.leads or journey.leads[0][0] > at:
            continue
        phases = [phase for due, phase in journey.leads if due <= at]
        journey.leads = [lead for lead in journey.leads if lead[0] > at]
        moment = Moment(facts, journey, None, at)
        phase = max((_furthest(table.timed.get(phase, ()), moment) for phase in phases), default=-1)
        advance(facts, journey, phase, at, None, table, out, None)


def owner(facts: Facts, event: Event) -> Journey | None:
    """The converted journey by order id, else of the latest order with the product, else the latest."""
    converted = facts.converted
    if not converted:
        return None
    if event.order_id:
        for journey in reversed(converted):
            if journey.order_id == event.order_id:
                return journey
    if event.items:
        products = {item.product_id for item in event.items}
        for order in reversed(facts.orders):
            if products.intersection(order.products):
                for journey in reversed(converted):
                    if journey.id == order.journey:
                        return journey
    return converted[-1]


def leave(facts: Facts, at: int, table: Table, out: list[Happening], direction: Direction = "left") -> None:
    """The journey before purchase ends without an order."""
    journey = facts.journey
    if journey is None:
        return
    end(facts, journey, at, table, out, direction)
    facts.journey = None
    facts.ordered_last = False


def end(facts: Facts, journey: Journey, at: int, table: Table, out: list[Happening], direction: Direction) -> None:
    """Say that a journey is over."""
    current = journey.path[-1] if journey.path else None
    out.append(_transition(facts, journey, table, current, None, direction, at, None, None))


def backfilled(facts: Facts, journey: Journey, phase: int, at: int, table: Table, moves: bool) -> Transition:
    """An entry learned of afterwards, by a merge; `moves` where it lies beyond the present phase."""
    current = journey.path[-1] if moves and journey.path else None
    move = _transition(facts, journey, table, current, phase, "backfilled", at, None, None)
    move.dwell_ms = None
    return move


def note_channel(journey: Journey, channel: str | None) -> None:
    """Keep the channels of the journey's sessions, in order, repetitions of the same one folded."""
    channels = journey.channels
    if channel is not None and (not channels or channels[-1] != channel) and len(channels) < MAX_CHANNELS:
        channels.append(channel)


@lru_cache(maxsize=65_536)
def touchpoints(met: int) -> list[str]:
    """The event types behind the bits of `Journey.met`."""
    return [name for place, name in enumerate(EVENT_TYPES) if met >> place & 1] if met else []


def _transition(
    facts: Facts,
    journey: Journey,
    table: Table,
    current: int | None,
    phase: int | None,
    direction: Direction,
    at: int,
    event: Event | None,
    session_id: str | None,
) -> Transition:
    names = table.phase_ids
    to_phase = None if phase is None else names[phase]
    event_id = event.event_id if event is not None else None
    by_time = phase is not None and direction != "backfilled"
    return Transition(
        id=derive(journey.id, event_id or ("time" if by_time else direction), to_phase),
        person_id=facts.person,
        anonymous_ids=facts.anonymous_ids,
        model=table.model.id,
        journey_id=journey.id,
        from_phase=None if current is None else names[current],
        to_phase=to_phase,
        direction=direction,
        at=at,
        entered_at=at if phase is not None else journey.moved_at,
        dwell_ms=None if current is None else at - journey.moved_at,
        event_id=event_id,
        event_type=event.type if event is not None else None,
        segments=journey.segments,
        touchpoints_met=touchpoints(journey.met),
        customer_id=facts.customer_id,
        session_id=session_id,
        channel=journey.channel,
        device=journey.device,
        campaign=journey.campaign,
        order_id=event.order_id if event is not None and direction == "converted" else journey.order_id,
    )

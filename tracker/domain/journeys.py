"""Journeys: per model at most one before purchase, moved by events through the phases, then followed."""

from __future__ import annotations

from functools import lru_cache

from tracker.domain import remembered, rules, segments
from tracker.domain.events import EVENT_TYPES, Event
from tracker.domain.ids import derive
from tracker.domain.outputs import Direction, Happening, Transition
from tracker.domain.predicates import Moment
from tracker.domain.state import MAX_CHANNELS, MAX_CONVERTED, Facts, Journey, Track
from tracker.domain.table import Course, Steps, Table, Way
from tracker.domain.units import FAR


def try_to_open(facts: Facts, track: Track, event: Event, steps: Steps, course: Course, table: Table) -> Journey | None:
    """Begin the next journey if the event enters a phase."""
    if steps.before < 0 and not steps.conditional:
        return None
    ordered_last = track.ordered_last
    journey = open_journey(facts, track, event, steps, course, table)
    if steps.before >= 0 or target(facts, journey, event, steps) >= 0:
        return journey
    track.journey = None
    track.journeys -= 1
    track.ordered_last = ordered_last
    return None


def open_journey(facts: Facts, track: Track, event: Event, steps: Steps, course: Course, table: Table) -> Journey:
    """Begin the person's next journey; its dimensions are those of the session it starts in."""
    session = facts.session
    number = track.journeys = track.journeys + 1
    journey = Journey(
        id=journey_id(facts.person, course, number),
        number=number,
        opened_at=event.ts,
        moved_at=event.ts,
        last_active=event.ts,
        met=steps.bit,
        channel=session.channel if session else event.channel,
        device=session.device if session else event.device,
        campaign=session.campaign if session else event.campaign,
    )
    if steps.counted:
        remembered.note_on(journey, event)
    track.journey = journey
    journey.segments = segments.of(facts, rules.present(facts), event, event.ts, table)
    track.ordered_last = False
    return journey


def journey_id(person: str, course: Course, number: int) -> str:
    """The id of a person's journey by its running number."""
    return derive("journey", person, course.model.id, number)


def opens(facts: Facts, track: Track, steps: Steps, added: bool) -> bool:
    """Whether an active event begins a journey while none is under way."""
    if not track.ordered_last or added:
        return steps.opens
    session = facts.session
    return steps.reopens and (session is None or session.id != facts.order_session)


def target(facts: Facts, journey: Journey, event: Event, steps: Steps) -> int:
    """The furthest phase up to the purchase that the event satisfies, -1 for none."""
    phase = _furthest(steps.conditional, Moment(facts, journey, event, event.ts))
    return phase if phase >= 0 else steps.before


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
    course: Course,
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
    out.append(_transition(facts, journey, course, current, phase, direction, at, event, session_id))
    journey.moved_at = at


def advance(
    facts: Facts,
    journey: Journey,
    phase: int,
    at: int,
    event: Event | None,
    course: Course,
    out: list[Happening],
    session_id: str | None,
) -> None:
    """Move the journey forward to `phase` if that lies beyond where it stands."""
    current = journey.path[-1] if journey.path else -1
    if phase <= current:
        return
    direction: Direction = "enter" if current < 0 else "forward" if phase == current + 1 else "skip"
    move(facts, journey, phase, direction, at, event, course, out, session_id)


def step_back(
    facts: Facts, journey: Journey, event: Event, course: Course, out: list[Happening], session_id: str | None
) -> None:
    """Back to the previous furthest phase; a journey that began in this one stays."""
    if len(journey.path) > 1:
        move(facts, journey, journey.path[-2], "back", event.ts, event, course, out, session_id)


def convert(
    facts: Facts,
    track: Track,
    order_id: str | None,
    event: Event,
    steps: Steps,
    course: Course,
    table: Table,
    out: list[Happening],
    session_id: str | None,
    began: list[str] | None = None,
) -> None:
    """Enter (where need be) and complete the purchase phase; the journey is then the order's. A part that nothing
    has begun is not converted. `began` are the segments before the order was counted, for a journey that it opens."""
    journey = track.journey
    if journey is None:
        if course.part:
            return
        journey = open_journey(facts, track, event, steps, course, table)
        if began is not None:
            journey.segments = began
    move(facts, journey, course.purchase, "converted", event.ts, event, course, out, session_id)
    journey.leads = []
    journey.order_id = order_id
    journey.converted_at = event.ts
    track.journey = None
    track.ordered_last = not course.part
    track.converted.append(journey)
    if len(track.converted) > MAX_CONVERTED:
        del track.converted[0]


def follow(
    facts: Facts,
    track: Track,
    event: Event,
    steps: Steps,
    course: Course,
    out: list[Happening],
    session_id: str | None,
    converted: bool,
) -> None:
    """Try the phases after the purchase on the journey that the event belongs to; the one that it `converted` has
    met it."""
    journey = owner(facts, track, event)
    if journey is None:
        return
    if not converted:
        journey.met |= steps.bit
        if steps.counted:
            remembered.note_on(journey, event)
    phase = _furthest(steps.after, Moment(facts, journey, event, event.ts))
    advance(facts, journey, phase, event.ts, event, course, out, session_id)
    lead(journey, steps.leads_after, event.ts)


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
    for track in facts.tracks:
        for journey in _all_of(track):
            if journey.leads and journey.leads[0][0] < at:
                at = journey.leads[0][0]
    return at


def _all_of(track: Track) -> list[Journey]:
    return track.converted if track.journey is None else [*track.converted, track.journey]


def lead_on(facts: Facts, track: Track, at: int, course: Course, out: list[Happening]) -> None:
    """Each journey moves to the furthest phase whose time has come and whose conditions hold."""
    for journey in _all_of(track):
        if not journey.leads or journey.leads[0][0] > at:
            continue
        phases = [phase for due, phase in journey.leads if due <= at]
        journey.leads = [lead for lead in journey.leads if lead[0] > at]
        moment = Moment(facts, journey, None, at)
        phase = max((_furthest(course.timed.get(phase, ()), moment) for phase in phases), default=-1)
        advance(facts, journey, phase, at, None, course, out, None)


def meet(facts: Facts, track: Track, event: Event, steps: Steps, course: Course) -> None:
    """The converted journey that an event belongs to meets it, if the event names its order or it is past the
    purchase."""
    journey = owner(facts, track, event)
    if journey is None:
        return
    names_it = event.order_id is not None and event.order_id == journey.order_id
    if names_it or journey.path[-1] > course.purchase:
        journey.met |= steps.bit


def meet_by_order(track: Track, order_id: str, steps: Steps) -> None:
    """The converted journey of the order that an event names meets it, whatever else is under way."""
    for journey in reversed(track.converted):
        if journey.order_id == order_id:
            journey.met |= steps.bit
            return


def owner(facts: Facts, track: Track, event: Event) -> Journey | None:
    """The converted journey by order id, else of the latest order with the product, else the latest."""
    journey = named(facts, track, event)
    return track.converted[-1] if journey is None and track.converted else journey


def named(facts: Facts, track: Track, event: Event) -> Journey | None:
    """The converted journey of the order that the event names: by its id, else the latest with the product."""
    converted = track.converted
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
                    if journey.order_id == order.id:
                        return journey
    return None


def leave(
    facts: Facts, track: Track, at: int, course: Course, out: list[Happening], direction: Direction = "left"
) -> None:
    """The journey before purchase ends without an order."""
    journey = track.journey
    if journey is None:
        return
    end(facts, journey, at, course, out, direction)
    track.journey = None
    track.ordered_last = False


def end(facts: Facts, journey: Journey, at: int, course: Course, out: list[Happening], direction: Direction) -> None:
    """Say that a journey is over."""
    current = journey.path[-1] if journey.path else None
    out.append(_transition(facts, journey, course, current, None, direction, at, None, None))


def backfilled(facts: Facts, journey: Journey, phase: int, at: int, course: Course, moves: bool) -> Transition:
    """An entry learned of afterwards, by a merge; `moves` where it lies beyond the present phase."""
    current = journey.path[-1] if moves and journey.path else None
    move = _transition(facts, journey, course, current, phase, "backfilled", at, None, None)
    move.dwell_ms = None
    return move


def replaced(facts: Facts, journey: Journey, course: Course, was: str | None, known: bool) -> Transition:
    """The journey's phase is no more: the present one takes its place, with its time. `known`: it was there before."""
    move = _transition(facts, journey, course, None, journey.path[-1], "back", journey.moved_at, None, None)
    move.direction = "back" if known else "backfilled"
    move.id = derive(journey.id, "replaced", was, move.to_phase)
    move.from_phase = was
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
    course: Course,
    current: int | None,
    phase: int | None,
    direction: Direction,
    at: int,
    event: Event | None,
    session_id: str | None,
) -> Transition:
    names = course.phase_ids
    to_phase = None if phase is None else names[phase]
    event_id = event.event_id if event is not None else None
    account = facts.person[2:] if facts.person.startswith("b:") else None
    by_time = phase is not None and direction != "backfilled"
    return Transition(
        id=derive(journey.id, event_id or ("time" if by_time else direction), to_phase),
        person_id=facts.person,
        anonymous_ids=facts.anonymous_ids,
        model=course.model.id,
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
        session_id=session_id if account is None else None,  # sessions are the members' own
        channel=journey.channel,
        device=journey.device,
        campaign=journey.campaign,
        order_id=event.order_id if event is not None and direction == "converted" else journey.order_id,
        account_id=account,
    )

"""A state that was written under other models is carried over to those in force, when it is read.

A journey keeps its phase by the phase's id. Where the model has no such phase any more (or has it on the other side of
the purchase), the facts say where the journey stands: before the purchase, in the furthest phase that an event which it
met enters without further conditions, else in the nearest earlier phase that there still is; after the purchase, in the
nearest earlier one from the purchase on. Only that move is published. Rules go by their id.
"""

from __future__ import annotations

from tracker.domain.events import EVENT_TYPES
from tracker.domain.journeys import replaced
from tracker.domain.lineup import Lineup
from tracker.domain.outputs import Output
from tracker.domain.state import Facts, Journey, Said, State, Track, decode_facts, encode_facts
from tracker.domain.table import Course, Table
from tracker.domain.triggers import next_due


def migrate(state: State, old: Lineup | None, table: Table, out: list[Output]) -> None:
    """Carry a state over from an `old` lineup; None for one that is no longer known, of which no phase is kept."""
    if state.base is not None:
        state.base = _migrated(state.base, old, table)
    if state.mid is not None:
        state.mid = _migrated(state.mid, old, table)
    migrate_facts(state.facts, state.said, old, table, out)
    state.lineup = table.mark


def _migrated(encoded: bytes, old: Lineup | None, table: Table) -> bytes:
    facts = decode_facts(encoded)
    migrate_facts(facts, Said(), old, table, [])
    return encode_facts(facts)


def migrate_facts(facts: Facts, said: Said, old: Lineup | None, table: Table, out: list[Output]) -> None:
    """Carry facts over, and what was said about them."""
    if old is None:
        old = Lineup(tuple((course.model.id, ()) for course in table.courses), ())
    had = {model: (track, phases) for track, (model, phases) in zip(facts.tracks, old.models, strict=False)}
    facts.tracks = [Track() for _ in table.courses]
    for place, course in enumerate(table.courses):
        model = course.model.id
        if model not in had:
            facts.tracks[place].journeys = facts.ended.pop(model, 0)
            continue
        track, phases = had.pop(model)
        facts.tracks[place] = track
        for journey in track.converted:
            _carry(facts, said, journey, phases, course, course.purchase, len(course.phase_ids) - 1, out)
        if track.journey is not None:
            met = _furthest_met(facts, track.journey, place, table)
            _carry(facts, said, track.journey, phases, course, 0, course.purchase, out, met)
    for model, (track, _) in had.items():
        if track.journeys:
            facts.ended[model] = track.journeys
    rules = {rule.id: place for place, rule in enumerate(table.model.rules) if rule.emit == "drop_off"}
    if facts.armed is not None:
        facts.armed.rule = _rule(facts.armed.rule, old, rules)
        if facts.armed.rule < 0:
            facts.armed = None
    if facts.pending:
        facts.pending = [pending for pending in facts.pending if pending.rule in table.triggers]
        facts.wakes = next_due(facts, table)
    for dropoff in said.dropoffs:
        dropoff.rule = _rule(dropoff.rule, old, rules)


def _rule(place: int, old: Lineup, rules: dict[str, int]) -> int:
    return rules.get(old.rules[place], -1) if 0 <= place < len(old.rules) else -1


def _furthest_met(facts: Facts, journey: Journey, place: int, table: Table) -> int:
    furthest = -1
    for bit, name in enumerate(EVENT_TYPES):
        if journey.met >> bit & 1:
            steps = table.types[name].steps[place]
            ways = [way.phase for way in steps.conditional if way.where is None and facts.order_count >= way.orders]
            furthest = max(furthest, steps.before, *ways)
    return furthest


def _carry(
    facts: Facts,
    said: Said,
    journey: Journey,
    phases: tuple[str, ...],
    course: Course,
    first: int,
    last: int,
    out: list[Output],
    met: int = -1,
) -> None:
    """One journey, whose phase has to lie between `first` and `last`; `met` is where its events lead, -1: nowhere."""
    places = {name: place for place, name in enumerate(course.phase_ids)}
    now = [places.get(name, -1) for name in phases]

    def new(phase: int) -> int:
        return now[phase] if phase < len(now) else -1

    if not journey.path:
        return
    old = journey.path[-1]
    was = phases[old] if old < len(phases) else None
    current = new(old)
    kept = first <= current <= last
    if not kept:
        earlier = [new(phase) for phase in reversed(range(min(old, len(now))))]
        current = met if met >= 0 else next((phase for phase in earlier if first <= phase <= last), first)
    path: list[int] = []
    for phase in map(new, journey.path[:-1]):
        if (path[-1] if path else -1) < phase < current:
            path.append(phase)
    journey.path = [*path, current]
    entered = [(new(phase), at) for phase, at in journey.entries]
    journey.entries = [(phase, at) for phase, at in entered if phase >= 0]
    known = current in [phase for phase, _ in journey.entries]
    if not known:
        journey.entries.append((current, journey.moved_at))
    leads = [(due, new(phase)) for due, phase in journey.leads]
    journey.leads = [(due, phase) for due, phase in leads if phase > current]
    if kept:
        return
    move = replaced(facts, journey, course, said.phases.get(journey.id, was), known)
    said.moves.append((move.at, journey.id, move.direction, move.to_phase or ""))
    said.entered.setdefault(journey.id, []).append(course.phase_ids[current])
    if journey.id in said.phases:
        said.phases[journey.id] = move.to_phase
    if move.from_phase != move.to_phase:
        out.append(move)

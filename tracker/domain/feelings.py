"""What people felt on a journey: their scores by phase and touchpoint, the peak, and the end.

A score belongs to the journey of the order that its event names (by id, else by product), else to the one under way,
else to the latest that converted; to none where there is none. A touchpoint of the model that the event names says
which phase it is about, else it is about the phase in which the journey stands once the event has moved it, and about
the only touchpoint of that phase which the event's type meets, if there is just one.

Feelings are facts: folded again with late events, joined where two persons are one, gone with their journeys. What the
map counts of them follows: `recount` takes back what recent events, folded again, do not make any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracker.domain import journeys
from tracker.domain.events import Event
from tracker.domain.outputs import Bound, Felt, Happening, Output
from tracker.domain.scores import TOUCHPOINT, level, scores_in
from tracker.domain.state import MAX_SCORES, Facts, Feelings, Journey, Said, Score, Scores, Track
from tracker.domain.table import Table, TypeRule


def feel(facts: Facts, event: Event, rule: TypeRule, table: Table, out: list[Happening]) -> None:
    """Keep the scores that an event brings, in every model's journey that it belongs to."""
    named = event.properties.get(TOUCHPOINT) if event.properties is not None else None
    for kind, score in scores_in(event):
        if score is None:
            out.append(Felt(event.event_id, event.ts, "", "", "", kind, None))
            continue
        for track, course, steps in zip(facts.tracks, table.courses, rule.steps, strict=True):
            journey = _journey_of(facts, track, event)
            if journey is None or not journey.path:
                continue
            phase, touchpoint = journey.path[-1], ""
            if isinstance(named, str) and named in course.touchpoints:
                phase, touchpoint = course.touchpoints[named], named
            else:
                touchpoint = steps.touchpoints.get(phase, "")
            felt = Score(course.phase_ids[phase], touchpoint, kind, score, event.ts, event.event_id)
            out.append(Felt(event.event_id, event.ts, course.model.id, felt.phase, touchpoint, kind, score))
            if not _keep(journey, felt):
                out.append(Bound("feelings"))


def _journey_of(facts: Facts, track: Track, event: Event) -> Journey | None:
    journey = journeys.named(facts, track, event) or track.journey
    return track.converted[-1] if journey is None and track.converted else journey


def _keep(journey: Journey, felt: Score) -> bool:
    feelings = journey.feelings
    if feelings is None:
        feelings = journey.feelings = Feelings([], felt, felt)
    feelings.end = felt
    if strength(felt) >= strength(feelings.peak):
        feelings.peak = felt
    scores = Scores(felt.phase, felt.touchpoint, felt.kind, 1, felt.score, level(felt.kind, felt.score))
    return _add(feelings.scores, scores)


def strength(felt: Score) -> int:
    """How far from neutral a score lies, 0 to 2."""
    return abs(level(felt.kind, felt.score))


def joined(one: Feelings | None, other: Feelings | None) -> Feelings | None:
    """What was felt on two journeys that are one: the sums, the stronger peak, the later end."""
    if one is None or other is None:
        return one or other
    for scores in other.scores:
        _add(one.scores, scores)
    one.peak = max(one.peak, other.peak, key=lambda felt: (strength(felt), _place(felt)))
    one.end = max(one.end, other.end, key=_place)
    return one


def _place(felt: Score) -> tuple[int, str]:
    return felt.at, felt.event_id


def _add(rows: list[Scores], more: Scores) -> bool:
    for row in rows:
        if row.kind == more.kind and row.phase == more.phase and row.touchpoint == more.touchpoint:
            row.number += more.number
            row.total += more.total
            row.levels += more.levels
            return True
    if len(rows) >= MAX_SCORES:
        return False
    rows.append(more)
    return True


def recount(
    said: Said, again: Iterable[tuple[int, str, bytes]], happenings: list[Happening], table: Table, out: list[Output]
) -> None:
    """The events of `again` were folded (once more) and gave these happenings, out of which scores are taken: what was
    counted of these events and is not felt any more is taken back, and what is new is counted. Models that are not
    tracked any more keep what was counted for them."""
    felt = [happening for happening in happenings if isinstance(happening, Felt)]
    if not felt and not said.felt:
        return
    if felt:
        happenings[:] = [happening for happening in happenings if not isinstance(happening, Felt)]
    events = {event_id for _, event_id, _ in again}
    models = {"", *(course.model.id for course in table.courses)}
    now = {_key(each) for each in felt}
    kept = []
    for key in said.felt:
        if key[0] in events and key[2] in models and key not in now:
            out.append(Felt(*key, times=-1))
        else:
            kept.append(key)
    known = set(kept)
    said.felt = kept
    for each in felt:
        if _key(each) not in known:
            count(said, each, out)


def count(said: Said, felt: Felt, out: list[Output]) -> None:
    """Count a score, and remember it as long as its event may be folded again."""
    said.felt.append(_key(felt))
    out.append(felt)


def forget_settled(said: Said, base_ts: int) -> None:
    """Events before the base (ms) are not folded again."""
    if said.felt:
        said.felt = [key for key in said.felt if key[1] >= base_ts]


def _key(felt: Felt) -> tuple[str, int, str, str, str, str, int | None]:
    return felt.event_id, felt.at, felt.model, felt.phase, felt.touchpoint, felt.kind, felt.score

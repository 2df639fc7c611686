"""What was said before decides what is said now: each thing once, corrections only where something was wrong."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

import msgspec

from tracker.domain import feelings
from tracker.domain.ids import SHORT_HASH_BYTES, derive, short_hash
from tracker.domain.outputs import (
    Bound,
    DropOff,
    Felt,
    Fired,
    Happening,
    Ordered,
    Output,
    SessionClosed,
    Superseded,
    Transition,
    TriggerFired,
    TriggerWithheld,
    Withheld,
)
from tracker.domain.rules import ended_by
from tracker.domain.state import (
    MAX_DROPOFFS,
    MAX_IDS,
    MAX_SAID,
    MAX_SAID_TRIGGERS,
    Said,
    SaidDropOff,
    SaidSession,
    SaidTrigger,
    State,
    account_at,
)
from tracker.domain.table import Table

_encode = msgspec.msgpack.Encoder().encode


def say(state: State, happenings: list[Happening], table: Table, out: list[Output]) -> None:
    """Turn what the fold reports into outputs. Where recent events were folded once more, much of it was said
    already, and some of it may correct what was said."""
    if is_member(state, table):
        happenings = _of_member(state, happenings)
    for happening in happenings:
        if isinstance(happening, Transition):
            _say_transition(state, happening, table, out)
        elif isinstance(happening, SessionClosed):
            _say_session(state, happening, out)
        elif isinstance(happening, Fired):
            _say_dropoff(state, happening, out)
        elif isinstance(happening, TriggerFired):
            _say_trigger(state.said, happening, out)
        elif isinstance(happening, Felt):
            feelings.count(state.said, happening, out)
        elif isinstance(happening, Bound):
            out.append(happening)
        else:
            _say_order(state.said, happening, table, out)


def forget_oldest(state: State, out: list[Output]) -> None:
    """Of somebody who is never silent nothing settles: once it is very much, what was said of journeys that are over
    goes, but for what recent events, folded again, may repeat."""
    said, base = state.said, state.base_ts
    if max(len(said.moves), len(said.sessions), len(said.orders) // SHORT_HASH_BYTES) <= MAX_SAID:
        return
    tracks = state.facts.tracks
    journeys = {journey.id for track in tracks for journey in (track.journey, *track.converted) if journey is not None}
    journeys.update(move[1] for move in said.moves if move[0] >= base)
    said.moves = [move for move in said.moves if move[1] in journeys]
    said.entered = {journey: phases for journey, phases in said.entered.items() if journey in journeys}
    said.phases = {journey: phase for journey, phase in said.phases.items() if journey in journeys}
    converted = [known for known in said.converted if not known[1] or known[1] in journeys]
    said.converted = converted[-MAX_SAID:]
    said.sessions = [known for known in said.sessions[:-MAX_IDS] if known.start >= base] + said.sessions[-MAX_IDS:]
    said.orders = said.orders[-MAX_SAID * SHORT_HASH_BYTES :]
    out.append(Bound("said"))


def is_member(state: State, table: Table) -> bool:
    """Whether journeys and orders of this person are an account's."""
    return table.account is not None and bool(state.accounts)


def _of_member(state: State, happenings: list[Happening]) -> list[Happening]:
    """What is to be said of a member: where they stand on their own tells the phase in which they fell away, but that
    journey is nobody's."""
    own: list[Happening] = []
    for happening in happenings:
        if isinstance(happening, Transition | Felt):
            continue
        if isinstance(happening, Fired | TriggerFired | Ordered):
            message = happening.message
            message.journey_id = None
            at = happening.ts if isinstance(happening, Ordered) else happening.message.detected_at
            message.account_id = account_at(state, at)
        own.append(happening)
    return own


def _say_transition(state: State, move: Transition, table: Table, out: list[Output]) -> None:
    said = state.said
    if move.direction == "left":
        gone = move.journey_id, "left", ""
        if said.left.get(move.model) == move.journey_id or any(known[1:] == gone for known in said.moves):
            return
        said.left[move.model] = move.journey_id
    elif move.direction == "converted" and not _converts(said, move):
        if move.from_phase == move.to_phase or _is_converted(said, move.journey_id):
            return
        move = msgspec.structs.replace(move, direction="enter" if move.from_phase is None else "forward")
    if move.session_id is not None and all(known.id != move.session_id for known in said.sessions):
        session = state.facts.session
        start = session.start if session is not None and session.id == move.session_id else move.at
        said.sessions.append(SaidSession(move.session_id, start))
    # What time does comes before the events of that time.
    by_time = "" if move.direction in {"enter", "forward", "skip"} else move.direction
    key = (move.at, move.journey_id, move.event_id or by_time, move.to_phase or "")
    if key in said.moves:
        return
    stands = said.phases.get(move.journey_id, move.from_phase)
    # An order may move its journey twice: what it does itself stands in order.
    latest = max((known[:3] for known in said.moves if known[1] == move.journey_id), default=None)
    behind = False
    if move.to_phase is not None and move.direction != "converted" and latest is not None and key[:3] < latest:
        entered = said.entered.get(move.journey_id, [])
        if move.to_phase in entered:
            return
        names = table.phase_ids(move.model)
        behind = names.index(move.to_phase) < max((names.index(name) for name in entered if name in names), default=-1)
        move = msgspec.structs.replace(
            move, direction="backfilled", dwell_ms=None, from_phase=None if behind else stands
        )
    elif move.from_phase != stands:
        if move.to_phase == stands and move.direction != "converted":
            return
        move = msgspec.structs.replace(move, from_phase=stands, dwell_ms=None)
    said.moves.append(key)
    if move.to_phase is not None:
        said.entered.setdefault(move.journey_id, []).append(move.to_phase)
    if not behind:
        said.phases[move.journey_id] = move.to_phase
    out.append(move)


def _converts(said: Said, move: Transition) -> bool:
    """Whether to say a conversion: once for each journey, and for no more journeys than there were orders. One that
    comes after a later order takes its journey, and the later one the next; or shows that there was one before."""
    order = move.order_id or move.event_id or ""
    journeys = {journey for model, journey, _ in said.converted if model == move.model and journey}
    orders = {order for model, _, order in said.converted if model == move.model}
    known = order in orders
    if move.journey_id in journeys or (known and len(journeys) >= len(orders)):
        if not known:
            said.converted.append((move.model, "", order))
        return False
    said.converted.append((move.model, move.journey_id, order))
    return True


def _is_converted(said: Said, journey_id: str) -> bool:
    return any(journey == journey_id for _, journey, _ in said.converted)


def _say_session(state: State, closed: SessionClosed, out: list[Output]) -> None:
    sessions = state.said.sessions
    digest = _digest(closed)
    mine = next((known for known in sessions if known.id == closed.session_id), None)
    if mine is None:
        mine = SaidSession(closed.session_id, closed.started_at)
        sessions.append(mine)
    elif mine.digest == digest:
        return
    mine.start = closed.started_at
    mine.digest = digest
    mine.gone = False
    mine.revision += 1
    closed.revision = mine.revision
    if len(sessions) > 1:
        closed.supersedes = [
            known.id
            for known in sessions
            if known is not mine and (known.gone or closed.started_at <= known.start <= closed.ended_at)
        ]
        if closed.supersedes:
            gone = set(closed.supersedes)
            out.extend(Superseded(known.start) for known in sessions if known.id in gone and known.revision)
            state.said.sessions = [known for known in sessions if known.id not in gone]
    out.append(closed)


def _digest(closed: SessionClosed) -> bytes:
    """What makes a published session another one: everything but its place among the person's sessions."""
    content = (
        closed.started_at, closed.ended_at, closed.event_count, closed.page_count, closed.entry_url,
        closed.exit_url, closed.channel, closed.campaign, closed.device, closed.engaged,
    )  # fmt: skip
    return blake2b(_encode(content), digest_size=8).digest()


def _say_dropoff(state: State, fired: Fired, out: list[Output]) -> None:
    message, said = fired.message, state.said
    if any(d.event_id == fired.event_id and d.rule == fired.rule for d in said.dropoffs):
        return
    # Who has bought since is reminded of nothing. In sorted order the drop-off comes first, and the order ends it.
    why = fired.why or ("ordered" if said.ordered >= message.detected_at else None)
    said.dropoffs.append(
        SaidDropOff(
            id=message.id,
            reason=message.reason,
            rule=fired.rule,
            event_id=fired.event_id,
            armed_at=message.armed_at,
            due_at=message.due_at,
            detected_at=message.detected_at,
            session_id=fired.armed_session,
            names=fired.names,
            journey_id=message.journey_id,
            phase=message.phase,
            value=message.cart.value if message.cart is not None else None,
            currency=message.cart.currency if message.cart is not None else None,
            added_at=fired.added_at,
            ended="withheld" if why else None,
        )
    )
    del said.dropoffs[:-MAX_DROPOFFS]
    out.append(Withheld(message.reason, why) if why else message)


def _say_trigger(said: Said, fired: TriggerFired, out: list[Output]) -> None:
    message = fired.message
    rule, due, at = message.rule, message.due_at, message.detected_at
    for known in said.triggers:
        if known.rule != rule or known.key != fired.key:
            continue
        if known.due == due:
            return
        if known.gone and message.armed_at <= known.detected_at:
            known.due, known.detected_at, known.gone = due, at, False
            return
    said.triggers.append(SaidTrigger(rule, fired.key, due, at))
    del said.triggers[:-MAX_SAID_TRIGGERS]
    why = fired.why or ("ordered" if fired.ends_with_order and said.ordered > at else None)
    out.append(TriggerWithheld(rule, why) if why else message)


def _say_order(said: Said, ordered: Ordered, table: Table, out: list[Output]) -> None:
    mark = short_hash(ordered.order_id)
    known = mark in said.orders
    if not known:
        said.orders += mark
    said.ordered = max(said.ordered, ordered.ts)
    end_dropoffs(said, ordered, table, out, cancels=not known)


def end_dropoffs(
    said: Said,
    ordered: Ordered,
    table: Table,
    out: list[Output],
    cancels: bool = True,
    among: Collection[str] | None = None,
) -> None:
    """End what this order ends among the drop-offs that were said: cancel what should never have been sent,
    recover the latest of the others (once per order); earlier ones end with it, silently. An order that is folded
    again `cancels` nothing: no drop-off said since was armed when it came. `among` names those to judge, None for
    all."""
    recovered = any(d.ended == "recovered" and d.ended_by == ordered.order_id for d in said.dropoffs)
    candidates: list[SaidDropOff] = []
    for dropoff in said.dropoffs:
        if dropoff.ended is not None or (among is not None and dropoff.id not in among):
            continue
        end = ended_by(dropoff, ordered, table)
        if end == "cancelled" and cancels:
            dropoff.ended = "cancelled"
            dropoff.ended_by = ordered.order_id
            out.append(_end(dropoff, "cancelled", ordered, dropoff.value, dropoff.currency))
        elif end == "recovered":
            candidates.append(dropoff)
    latest = max(candidates, key=lambda dropoff: (dropoff.detected_at, dropoff.id), default=None)
    for dropoff in candidates:
        dropoff.ended = "recovered" if dropoff is latest and not recovered else "passed_over"
        dropoff.ended_by = ordered.order_id
    if latest is not None and not recovered:
        value = None if ordered.colleague else ordered.value
        out.append(_end(latest, "recovered", ordered, value, None if value is None else ordered.currency))


def _end(dropoff: SaidDropOff, kind: str, ordered: Ordered, value: float | None, currency: str | None) -> DropOff:
    return msgspec.structs.replace(
        ordered.message,
        id=derive(dropoff.id, kind),
        kind=kind,
        reason=dropoff.reason,
        armed_at=dropoff.armed_at,
        due_at=dropoff.due_at,
        detected_at=dropoff.detected_at,
        journey_id=dropoff.journey_id,
        phase=dropoff.phase,
        dropoff_id=dropoff.id,
        value=value,
        currency=currency or None,
    )

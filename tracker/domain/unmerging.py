"""Taking a wrong link apart: the visitor stands alone from here on, and rebuilt states take the place of what was."""

from __future__ import annotations

import msgspec

from tracker.domain.events import Event
from tracker.domain.identity import join_said
from tracker.domain.ids import short_hash
from tracker.domain.outputs import Output, Unlinked
from tracker.domain.refold import count_sales, decode_event, entries_of
from tracker.domain.state import Said, State
from tracker.domain.step import accept, advance
from tracker.domain.table import Table


def unlink(state: State, visitor: str, customer: str, token: str, out: list[Output]) -> None:
    """`visitor` is not `customer`, and never will be again: this is the state of either. What the visitor does from
    here on is their own."""
    other = customer if state.facts.person == visitor else visitor
    if other not in state.blocked:
        state.blocked = [*state.blocked, other]
    if other == visitor:
        return
    state.links = [link for link in state.links if link != customer]
    if state.merged_into == customer:
        state.merged_into = None
    out.append(Unlinked(visitor, customer, token))


def take_place(
    rebuilt: State, state: State, table: Table, watermark: int, reached: int, wrong: set[str], out: list[Output]
) -> None:
    """`rebuilt` follows `state`, of the same person, and takes in what they have done since it was made. Nothing of
    that is said: it was, when it happened. The map's orders and revenue change by what the two differ in. Drop-offs of
    `wrong` are not this person's."""
    for _, event_id, raw in entries_of(state):
        event = decode_event(raw)
        if short_hash(event_id) not in rebuilt.ids and not any(is_of(event, visitor) for visitor in state.blocked):
            accept(rebuilt, event, table, watermark, [], reached)
    advance(rebuilt, watermark, watermark, table, [])
    _join_said(rebuilt.said, state.said, wrong)
    count_sales(rebuilt, out, rebuilt.facts, state.facts.order_count, state.facts.revenue, table)
    rebuilt.timer = state.timer
    rebuilt.blocked = state.blocked
    rebuilt.absorbed = list(dict.fromkeys([*rebuilt.absorbed, *state.absorbed]))


def _join_said(own: Said, since: Said, wrong: set[str]) -> None:
    """What was said since: the rebuilt person must not say it again, though events may wait there that had not to."""
    left = msgspec.structs.replace(since, dropoffs=[one for one in since.dropoffs if one.id not in wrong])
    known = set(own.moves)
    join_said(own, left)
    own.moves = [*own.moves[: len(own.moves) - len(since.moves)], *(move for move in since.moves if move not in known)]
    own.left = {**own.left, **since.left}
    own.orders += since.orders


def is_of(event: Event, visitor: str) -> bool:
    """Whether an event is of this visitor and names no customer."""
    return event.customer_id is None and visitor == f"a:{event.anonymous_id}"


def forget_unsaid(rebuilt: State, said: set[str]) -> list[str]:
    """A drop-off that was not `said`, because of the link, can neither be recovered nor cancelled. Answers those that
    were said, but not of this person."""
    own = {dropoff.id for dropoff in rebuilt.said.dropoffs}
    rebuilt.said.dropoffs = [dropoff for dropoff in rebuilt.said.dropoffs if dropoff.id in said]
    return sorted(said - own)

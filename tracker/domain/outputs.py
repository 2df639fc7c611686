"""What the tracker says: transitions, drop-offs and their ends, sessions; and what it sends on inside the log.

Fields are those of the outside contract: times in ms UTC, money as a number in the event's currency. A field
with a default is left out of the payload when it has nothing to say.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tracker.domain.events import Campaign, Event

Direction = Literal["enter", "forward", "skip", "back", "backfilled", "converted", "left", "merged"]


class Transition(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A journey moved from one phase to another; `to_phase` is null when it left or was merged."""

    id: str
    person_id: str
    anonymous_ids: list[str]
    model: str
    journey_id: str
    from_phase: str | None
    to_phase: str | None
    direction: Direction
    at: int
    entered_at: int
    dwell_ms: int | None
    event_id: str | None
    event_type: str | None
    segments: list[str]
    touchpoints_met: list[str]
    customer_id: str | None = None
    session_id: str | None = None
    channel: str | None = None
    device: str | None = None
    campaign: Campaign | None = None
    order_id: str | None = None
    account_id: str | None = None


class LastEvent(msgspec.Struct, gc=False):
    """The person's last active event."""

    event_id: str
    type: str
    ts: int


class CartLine(msgspec.Struct, omit_defaults=True, gc=False):
    """A line of the cart. Its number is there even where it is 1; `price` is for one, null where it is not known."""

    product_id: str
    quantity: int
    price: float | None
    sku: str | None = None
    name: str | None = None
    category: str | None = None


class CartContent(msgspec.Struct, omit_defaults=True, gc=False):
    """What lies in the cart; `value` is the sum of quantity times price of the lines whose price is known."""

    items: list[CartLine]
    value: float
    currency: str | None
    cart_id: str | None = None


class DropOff(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """Somebody fell away (`dropped_off`), came back and bought (`recovered`), or had not fallen away after all
    (`cancelled`). The last two name the drop-off they end."""

    id: str
    kind: Literal["dropped_off", "recovered", "cancelled"]
    reason: str
    person_id: str
    anonymous_ids: list[str]
    model: str
    journey_id: str | None
    phase: str | None
    last_event: LastEvent
    last_activity_at: int
    armed_at: int
    due_at: int
    detected_at: int
    channels: list[str]
    segments: list[str]
    consent: dict[str, bool]
    session_id: str | None
    cart: CartContent | None = None
    campaign: Campaign | None = None
    customer_id: str | None = None
    dropoff_id: str | None = None
    value: float | None = None
    currency: str | None = None
    """Of `value`."""
    account_id: str | None = None


class Trigger(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The moment to send something, by a rule of the model that is no drop-off."""

    id: str
    rule: str
    person_id: str
    anonymous_ids: list[str]
    model: str
    journey_id: str | None
    phase: str | None
    last_event: LastEvent
    last_activity_at: int
    armed_at: int
    due_at: int
    detected_at: int
    channels: list[str]
    segments: list[str]
    consent: dict[str, bool]
    session_id: str | None
    cart: CartContent | None = None
    campaign: Campaign | None = None
    customer_id: str | None = None
    cart_id: str | None = None
    order_id: str | None = None
    value: float | None = None
    currency: str | None = None
    """Of `value`."""
    data: dict[str, Any] = {}
    account_id: str | None = None


class SessionClosed(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A session that is over. A later `revision` of the same id replaces the earlier one."""

    session_id: str
    revision: int
    person_id: str
    index: int
    started_at: int
    ended_at: int
    event_count: int
    page_count: int
    entry_url: str | None
    exit_url: str | None
    channel: str | None
    campaign: Campaign | None
    device: str | None
    engaged: bool
    bounced: bool
    first_event_id: str
    previous_session_id: str | None
    phase_at_start: str | None
    phase_at_end: str | None
    supersedes: list[str]


class Fired(msgspec.Struct, gc=False):
    """Inside the fold: an armed rule's time came. `why` withheld it, or None; what is said of it is for later."""

    message: DropOff
    rule: int
    names: tuple[str | None, str | None, str | None]
    armed_session: str | None
    event_id: str
    added_at: int
    why: str | None


class TriggerFired(msgspec.Struct, gc=False):
    """Inside the fold: a waiting trigger's time came. `why` withheld it, or None."""

    message: Trigger
    key: str
    ends_with_order: bool
    """Whether an order of the person takes it back."""
    why: str | None


class Ordered(msgspec.Struct, gc=False):
    """Inside the fold: an order was counted. `message` is the end of a drop-off, its own fields still to fill."""

    order_id: str
    ts: int
    value: float
    currency: str
    session_id: str | None
    names: tuple[str | None, str | None, str | None]
    message: DropOff
    colleague: bool = False
    """Whether another member of the person's account made it: what it ends then carries no value."""


class Withheld(msgspec.Struct, gc=False):
    """A drop-off that was due but must not be sent: counted, never published."""

    reason: str
    why: str


class TriggerWithheld(msgspec.Struct, gc=False):
    """A trigger that was due but must not be sent: counted, never published."""

    rule: str
    why: str


class Bound(msgspec.Struct, gc=False):
    """A bound of the state was hit: counted, never published."""

    name: str


class Superseded(msgspec.Struct, gc=False):
    """A session that was published is superseded by another one and leaves the counters; `started_at` is its own."""

    started_at: int


class Merged(msgspec.Struct, gc=False):
    """An anonymous person went into a customer and leaves the counters, with the phases (model, id, at) that their
    journeys had entered, and the times (model, at) at which those converted."""

    entries: list[tuple[str, str, int]]
    converted: list[tuple[str, int]]
    people: int = 1
    """0 where the person stays: they act for an account now, whose journeys those are."""


class Forward(msgspec.Struct, gc=False):
    """An event that belongs to somebody, or to an account, in (perhaps) another partition: back into the log under
    their id."""

    to: str
    event: Event


class AbsorbState(msgspec.Struct, gc=False):
    """A merged person's past on its way to the customer: `payload` is an encoded `identity.Legacy`."""

    to: str
    source: str
    ts: int
    payload: bytes


class Claimed(msgspec.Struct, gc=False):
    """An id that a merged visitor (`instead`) named is `person`'s: on its way to where claims of that key are kept."""

    key: str
    person: str
    ts: int
    instead: str


class Linked(msgspec.Struct, gc=False):
    """A visitor is a customer: on its way to the visitor, who joins the customer."""

    visitor: str
    customer: str
    ts: int


class EraseToo(msgspec.Struct, gc=False):
    """Somebody was erased who is linked to `to`: on its way there. With a `member`, `to` forgets them (an account, a
    device that was shared, an order's id); else `to` is erased too, and with `spread` all who are linked to it."""

    to: str
    until: int
    member: str | None = None
    spread: bool = False


class Tombstone(msgspec.Struct, gc=False):
    """Somebody was erased: on its way to every other partition, where older records may name them."""

    partition: int
    mark: bytes
    until: int


class Removed(msgspec.Struct, gc=False):
    """Somebody's state was removed because they were `erased`, or gave `no_consent`: counted, never published.
    `standing` is where (model, phase) their journeys stood."""

    why: str
    standing: list[tuple[str, str]]


class Unlinked(msgspec.Struct, gc=False):
    """A visitor was taken apart from a customer: on its way to the customer, behind everything of theirs that went
    there before."""

    visitor: str
    customer: str
    token: str


class LateEvent(msgspec.Struct, gc=False):
    """An event older than the allowed lateness: reported, with how late it was in ms."""

    person_id: str
    event: Event
    late_by: int


class Sales(msgspec.Struct, gc=False):
    """Orders and revenue changed by so much: counted for the map, never published. Money in 1/10000 of the
    currency's unit."""

    orders: int
    revenue: int
    currency: str


class Felt(msgspec.Struct, gc=False):
    """A score on a journey: counted for the map, never published. `times` is -1 where it is taken back. A wrong score
    (None) is no journey's: model, phase and touchpoint are ""."""

    event_id: str
    at: int
    model: str
    phase: str
    touchpoint: str
    kind: str
    score: int | None
    times: int = 1


Happening = Transition | SessionClosed | Fired | TriggerFired | Ordered | Felt | Bound
"""What the fold reports; `said` turns it into outputs by what was said before."""

Output = (
    Transition
    | DropOff
    | Trigger
    | SessionClosed
    | Superseded
    | Withheld
    | TriggerWithheld
    | Sales
    | Felt
    | Merged
    | Bound
    | Forward
    | AbsorbState
    | Claimed
    | Linked
    | EraseToo
    | Tombstone
    | Removed
    | Unlinked
    | LateEvent
)

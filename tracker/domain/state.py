"""What is kept about one person: facts (the sorted fold of their events) and what was said about them.

`State` holds both, and what is needed to fold recent events again when one comes late: a base (the facts before
the recent events) and the recent events themselves. At rest only facts and sayings remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tracker.domain.events import Campaign, Item
from tracker.domain.units import FAR, NEVER

MAX_CART_LINES = 100
MAX_ORDERS = 20
MAX_CONVERTED = 20
MAX_DROPOFFS = 20
MAX_PENDING = 50
MAX_SENT = 50
MAX_SAID_TRIGGERS = 50
MAX_IDS = 20
MAX_CLAIMS = 100
MAX_CHANNELS = 20
MAX_SEGMENTS = 20
MAX_SCORES = 20
"""Of one journey: combinations of phase, touchpoint and kind."""
MAX_TAIL = 512
MAX_WAITING = 1000
MAX_JOINED = 5000
"""Members' pasts that an account knows to have taken in. Only what a broker without transactions repeats comes twice,
and not after so many others."""
MAX_LINKS = 5000
"""Customers that a shared device is known to have been used by."""
MAX_SAID = 2000
"""Moves, sessions and orders, each, that were said of somebody who is never silent for as long as events may be late;
more than recent events, folded again, can repeat."""
MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Of the recent events, and of those that wait: a few hundred events as large as an event may be would be more than a
store takes at once."""


class Session(msgspec.Struct, array_like=True, gc=False):
    """The open session. Its id comes from who the first event says it is, and that event's id."""

    id: str
    start: int
    last: int
    first_event_id: str
    events: int = 0
    pages: int = 0
    entry_url: str | None = None
    exit_url: str | None = None
    channel: str | None = None
    device: str | None = None
    campaign: Campaign | None = None
    ordered: bool = False
    phase_at_start: str | None = None
    counts: dict[str, int] | None = None
    """Events in it by type, as far as conditions ask."""


class Score(msgspec.Struct, array_like=True, gc=False):
    """A score that somebody gave. Phase and touchpoint ("" for none) go by id, so that a changed model finds them."""

    phase: str
    touchpoint: str
    kind: str
    score: int
    at: int
    event_id: str


class Scores(msgspec.Struct, array_like=True, gc=False):
    """All scores of a kind at one place: their number, their sum, and the sum of their levels."""

    phase: str
    touchpoint: str
    kind: str
    number: int
    total: int
    levels: int


class Feelings(msgspec.Struct, array_like=True, gc=False):
    """What was felt on a journey; the peak lies furthest from neutral (the later of equals), the end is the last."""

    scores: list[Scores]
    peak: Score
    end: Score


class Journey(msgspec.Struct, array_like=True, gc=False):
    """One journey. `path` is the phases it stands on (last one current), by index in the model; `met` has a bit
    per event type met; dimensions are fixed at its start."""

    id: str
    number: int
    opened_at: int
    moved_at: int
    last_active: int
    path: list[int] = []
    met: int = 0
    channel: str | None = None
    device: str | None = None
    campaign: Campaign | None = None
    segments: list[str] = []
    channels: list[str] = []
    order_id: str | None = None
    entries: list[tuple[int, int]] = []
    """(phase, at) of every phase entered."""
    converted_at: int | None = None
    counts: dict[str, int] | None = None
    """Events on it by type, as far as conditions ask."""
    leads: list[tuple[int, int]] = []
    """(due, phase) where time alone leads on, the earliest first."""
    feelings: Feelings | None = None
    """None while nobody has said anything."""


class Armed(msgspec.Struct, array_like=True, gc=False):
    """The one drop-off rule that is armed. `names` are the order, cart and checkout ids of the arming event."""

    rule: int
    at: int
    due: int
    event_id: str
    session_id: str | None
    names: tuple[str | None, str | None, str | None]
    failed: bool = False
    added_at: int = NEVER
    """`Facts.added_at` at that time."""


class Pending(msgspec.Struct, array_like=True, gc=False):
    """A trigger that waits: at most one per rule and key. Rules go by id, so that a changed model finds them."""

    rule: str
    key: str
    """The cart's or order's id; "" for the person, and where there is none."""
    at: int
    due: int
    event_id: str
    day: tuple[int, int] | None = None
    """(month, day) of what comes every year."""
    data: dict[str, Any] = {}


class Sent(msgspec.Struct, array_like=True, gc=False):
    """A message that fell due lately: what caps, `again` and not saying it twice ask for."""

    at: int
    rule: str
    key: str = ""
    due: int = NEVER
    capped: bool = True
    """Whether it counts among the messages that caps allow."""
    withheld: bool = False


class Order(msgspec.Struct, array_like=True, gc=False):
    """An order; money in 1/10000 of the currency's unit. `refunded` has left the revenue."""

    id: str
    ts: int
    value: int
    currency: str
    products: list[str]
    session_id: str | None
    names: tuple[str | None, str | None, str | None]
    refunded: int = 0
    cancelled: bool = False
    kind: str = ""
    """The type of its event."""


Plain = str | int | float | bool
"""A property's value, unless it is made of others."""


class Past(msgspec.Struct, array_like=True, gc=False):
    """What conditions ask of the past, and no more than they can tell apart."""

    times: dict[str, list[int]] = {}
    """The latest times of events by type, ascending."""
    ever: dict[str, int] = {}
    """The number of events by type."""
    first_seen: int = NEVER
    active_before: int = NEVER
    """The last activity before the last event."""
    delivered_at: int = NEVER
    ordered_at: int = NEVER
    """The latest order of those no longer in `Facts.orders`."""
    known: dict[str, tuple[int, Plain]] = {}
    """By the name of a property when an event last gave it, and its value."""


class Track(msgspec.Struct, array_like=True, gc=False):
    """The journeys of one model: the one under way and those that converted."""

    journey: Journey | None = None
    journeys: int = 0
    """How many there were; their running number."""
    converted: list[Journey] = []
    ordered_last: bool = False
    """Whether the last journey ended by an order, so that only an opener begins the next."""


class Facts(msgspec.Struct, array_like=True, gc=False):
    """The fold of a person's distinct events in (ts, event_id) order: independent of the order of arrival.

    Lists that outputs carry (`anonymous_ids`, `segments`) are replaced, never changed in place."""

    person: str
    customer_id: str | None = None
    anonymous_ids: list[str] = []
    last: int = NEVER
    last_id: str = ""
    fired: int = NEVER
    """The latest deadline that has fired; an event before it is out of order, whatever came last."""
    active_at: int = NEVER
    active_id: str = ""
    active_type: str = ""
    session: Session | None = None
    sessions: int = 0
    previous_session_id: str | None = None
    tracks: list[Track] = msgspec.field(default_factory=lambda: [Track()])
    """One per model, in the order of `TRACKER_MODEL`; those that no event has reached may be missing."""
    ended: dict[str, int] = {}
    """The running numbers of journeys by models that are not tracked any more: no id is used twice."""
    cart: list[Item] = []
    cart_id: str | None = None
    cart_touched: int = 0
    currency: str | None = None
    armed: Armed | None = None
    dropped: list[tuple[str, int]] = []
    """Cart versions that had a drop-off since the last order, with its significance."""
    orders: list[Order] = []
    order_count: int = 0
    revenue: dict[str, int] = {}
    """By currency; replaced, never changed in place."""
    order_ids: bytes = b""
    """8 bytes for each order, refund and cancellation ever counted."""
    early_refunds: list[tuple[str, int | None]] = []
    """Refunds that came before their order: (order id, amount or None for all of it)."""
    order_session: str | None = None
    added_at: int = NEVER
    """When a product was last added since the last order."""
    consent_marketing: tuple[int, str, bool] | None = None
    consent_analytics: tuple[int, str, bool] | None = None
    segments: list[str] = []
    """Those that events name."""
    past: Past | None = None
    pending: list[Pending] = []
    wakes: int | None = None
    """When the first of `pending` fires, None for never."""
    sent: list[Sent] = []
    times: dict[str, int] = {}
    """How often the triggers of a rule were sent, where the rule has a limit."""


class SaidDropOff(msgspec.Struct, array_like=True, gc=False):
    """A drop-off that was published (or withheld): enough to end it later. `ended` is how it ended, or None."""

    id: str
    reason: str
    rule: int
    event_id: str
    armed_at: int
    due_at: int
    detected_at: int
    session_id: str | None
    names: tuple[str | None, str | None, str | None]
    journey_id: str | None
    phase: str | None
    value: float | None = None
    currency: str | None = None
    added_at: int = NEVER
    ended: str | None = None
    ended_by: str | None = None
    """The order that ended it."""


class SaidTrigger(msgspec.Struct, array_like=True, gc=False):
    """A trigger that was published (or withheld), as far as recent events, folded again, may repeat it."""

    rule: str
    key: str
    due: int
    detected_at: int
    gone: bool = False
    """Recent events, folded again, make no such trigger any more: one that takes its place is not sent."""


class SaidSession(msgspec.Struct, array_like=True, gc=False):
    """A session id that outputs carried; `revision` 0 while the session itself was not published."""

    id: str
    start: int
    revision: int = 0
    digest: bytes = b""
    gone: bool = False
    """Recent events, folded again, make no such session any more: the next one said supersedes it."""


class Said(msgspec.Struct, array_like=True, gc=False):
    """What was published about a person, as far as something can still correct it."""

    dropoffs: list[SaidDropOff] = []
    moves: list[tuple[int, str, str, str]] = []
    """Transitions of recent events: (at, journey id, event id or direction, phase entered or "")."""
    entered: dict[str, list[str]] = {}
    """Journey id -> phases said to have been entered by recent events."""
    phases: dict[str, str | None] = {}
    """Journey id -> the phase that it stands in by what was said, where that may differ from the facts."""
    left: dict[str, str] = {}
    """By model, the journey last said to have been left; a late event may revive it, but it leaves in words only
    once."""
    sessions: list[SaidSession] = []
    orders: bytes = b""
    """8 bytes per recent order whose effect on drop-offs was said."""
    ordered: int = NEVER
    """The time of the latest order whose effect on drop-offs was said."""
    triggers: list[SaidTrigger] = []
    felt: list[tuple[str, int, str, str, str, str, int | None]] = []
    """Scores of recent events that were counted: (event id, at, model, phase, touchpoint, kind, score)."""
    converted: list[tuple[str, str, str]] = []
    """(model, journey id, order) of the journeys said to have converted, as far as recent events, folded again, may
    convert others by the same order; without a journey for an order that found its own converted by another."""


class State(msgspec.Struct, array_like=True, gc=False):
    """Everything the store keeps under one person's id."""

    facts: Facts
    said_raw: msgspec.Raw = msgspec.Raw(b"\x90")
    """Encoded `Said`: most events have nothing said of them, and need not know what was."""
    base: bytes | None = None
    """Encoded facts before the first recent event or deadline; None while there is none."""
    base_ts: int = NEVER
    tail: bytes = b""
    """Recent folded events in fold order, each with its length in four bytes before it: one piece of memory, since
    it is written with every change and read only when an event comes late."""
    tail_count: int = 0
    mid: bytes | None = None
    """Encoded facts after the first `mid_count` events, `mid_at` bytes, of `tail`: the next base."""
    mid_count: int = 0
    mid_at: int = 0
    mid_ts: int = 0
    ids: bytes = b""
    """8 bytes for each recent event id."""
    waiting: list[tuple[int, str, bytes]] = []
    """Events at or after a pending deadline, sorted: (ts, event_id, encoded event)."""
    timer: int | None = None
    """The timer in the store: a lower bound of the next deadline, in ms."""
    merged_into: str | None = None
    links: list[str] = []
    """Customers this (anonymous) person was linked to."""
    expired: bool = False
    """Only lifetime facts are left, after a long silence."""
    absorbed_at: int = NEVER
    """The watermark when somebody was last absorbed: what was said of them is remembered as long as their recent
    events can still come."""
    lineup: bytes = b""
    """The mark of what its places stand for (see `lineup`)."""
    absorbed: list[str] = []
    """The anonymous persons whose past this one took over."""
    accounts: list[tuple[int, str]] = []
    """(since, account) that this person acts for, where a model's `buyer` is the account."""
    members: list[str] = []
    """Of an account: who hears of its orders."""
    pace: tuple[int, int, int, int] | None = None
    """Where two windows of time began (ms) and how many events were counted in them, once this person has done much in
    little time (see `pace`)."""
    claims: dict[str, int] = {}
    """The keys of the order, cart and checkout ids that they named lately (see `claims`), and when."""
    blocked: list[str] = []
    """Whom this person was taken apart from, a customer or visitors: they are never linked again."""
    shut: int = NEVER
    """Events before this time (ms) are left out, FAR while analytics consent is refused (see `consent`)."""
    erased: int = NEVER
    """The person was erased: nothing before this time (ms) may be known."""
    said_now: Said | None = None
    """`said_raw`, once somebody asked for it; stored as None, so that its place stays."""
    joined: bytes = b""
    """Of an account: 8 bytes for each member's past that it took over lately."""

    @property
    def said(self) -> Said:
        """What was published about this person."""
        said = self.said_now
        if said is None:
            said = self.said_now = _decode_said(self.said_raw)
        return said

    @said.setter
    def said(self, said: Said) -> None:
        self.said_now = said

    @property
    def shut_at(self) -> int:
        """`shut` as a time: a refusal says nothing of when."""
        return self.shut if self.shut < FAR else NEVER


def new_state(person: str) -> State:
    """The state of somebody never seen before."""
    return State(facts=Facts(person=person))


def account_at(state: State, ts: int) -> str | None:
    """The account that this person acts for at a time (ms), None if they have named none."""
    if not state.accounts:
        return None
    return next((name for since, name in reversed(state.accounts) if since <= ts), state.accounts[0][1])


_encode_into = msgspec.msgpack.Encoder().encode_into
_state_decoder = msgspec.msgpack.Decoder(State)
_facts_decoder = msgspec.msgpack.Decoder(Facts)
_decode_said = msgspec.msgpack.Decoder(Said).decode

_buffer = bytearray(65_536)
decode_state = _state_decoder.decode
decode_facts = _facts_decoder.decode


def framed(raw: bytes) -> bytes:
    """An encoded event as it lies in `State.tail`."""
    return len(raw).to_bytes(4, "big") + raw


def unframed(tail: bytes) -> Iterator[bytes]:
    """The encoded events in a tail."""
    at = 0
    while at < len(tail):
        begin = at + 4
        at = begin + int.from_bytes(tail[at:begin], "big")
        yield tail[begin:at]


def encode_state(state: State) -> bytes:
    """A state as bytes. Growing a new buffer for each would cost three times what encoding does."""
    said = state.said_now
    if said is not None:
        _encode_into(said, _buffer)
        state.said_raw = msgspec.Raw(bytes(_buffer))
        state.said_now = None
    _encode_into(state, _buffer)
    state.said_now = said
    return bytes(_buffer)


def encode_facts(facts: Facts) -> bytes:
    """Facts alone as bytes."""
    _encode_into(facts, _buffer)
    return bytes(_buffer)

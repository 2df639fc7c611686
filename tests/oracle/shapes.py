"""What the naive fold is made of: visits, journeys, orders, drop-offs, and what was said of consent."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracker.domain.events import Event

NEVER = -(1 << 62)

UNIT = 10_000
"""Money is compared in integer 1/10000 of the currency's unit."""

Line = tuple[str, str | None]
Version = tuple[str | None, frozenset[tuple[str, str | None, int]]]


def units(amount: float | None) -> int:
    """An amount of money in 1/10000."""
    return 0 if amount is None else round(amount * UNIT)


@dataclass
class Session:
    """One visit; `ended_at` is its last active event's time."""

    started_at: int
    ended_at: int
    event_ids: list[str] = field(default_factory=list)
    page_count: int = 0
    entry_url: str | None = None
    exit_url: str | None = None
    has_order: bool = False
    closed: bool = False
    channel: str | None = None

    @property
    def engaged(self) -> bool:
        return self.ended_at - self.started_at > 10_000 or self.page_count >= 2 or self.has_order

    @property
    def bounced(self) -> bool:
        return not self.engaged


@dataclass(frozen=True)
class Move:
    """A transition of a journey; `event_id` is `left` when time ended it."""

    journey: int
    from_phase: str | None
    to_phase: str | None
    direction: str
    at: int
    event_id: str


@dataclass(frozen=True)
class Scored:
    """A score with its place on the journey."""

    phase: str | None
    touchpoint: str
    kind: str
    score: int
    ts: int
    event_id: str


@dataclass
class Journey:
    """A journey: before purchase while neither `converted` nor `left`."""

    number: int
    phase: int | None = None
    came_from: list[int] = field(default_factory=list)
    converted: bool = False
    left: bool = False
    channel: str | None = None
    events: list[Event] = field(default_factory=list)
    """Those it met: before the purchase all of them, afterwards those that are about its order."""
    met: set[str] = field(default_factory=set)
    scores: list[Scored] = field(default_factory=list)


@dataclass
class Order:
    """A counted order and the ids under which later events may name it."""

    event_id: str
    ts: int
    journey: int
    order_id: str | None
    cart_id: str | None
    checkout_id: str | None
    products: set[str]
    value: int
    currency: str | None
    session: Session | None
    gone: bool = False
    refunded: int = 0


@dataclass
class Armed:
    """The one armed rule."""

    rule: str
    armed_at: int
    armed_by: str
    due: int
    payment_failed: bool = False


@dataclass
class DropOff:
    """A drop-off that was sent."""

    reason: str
    armed_at: int
    armed_by: str
    due_at: int
    detected_at: int
    cart: dict[Line, int]
    cart_id: str | None
    cart_value: int
    phase: str | None
    ended: bool = False


@dataclass(frozen=True)
class Recovery:
    """A drop-off (by its arming event) that an order made good."""

    armed_by: str
    order_event_id: str
    value: int


@dataclass(frozen=True, order=True)
class Stated:
    """A statement on marketing: the latest by (ts, event_id) counts. One that stands in an event which may not be kept
    (see `privacy`) is known from when it was read, `since` (the watermark then), and from then on to whatever fires."""

    ts: int
    event_id: str
    granted: bool
    since: int = NEVER

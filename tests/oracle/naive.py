"""The naive fold: one person's journey from the sorted list of all their events, for tests to compare with.

Slow and plain on purpose: keep every event, sort by (ts, event_id), walk once, and before each event fire the
deadlines that are due by then: session end, then the drop-off, then the journey's end. It shares no code with the
tracker but the event type.

Where the design leaves room, this is what both decided; a change of the tracker's mind must show up here:

1.  Any pending deadline makes an event at or after it wait: session end, drop-off and journey timeout alike.
2.  `page_count` counts `page_viewed`; `event_count` counts active events only.
3.  A cart event that names another cart than the present one begins anew with that cart. An order that names
    another cart takes nothing out of the present one. An empty cart has no id.
4.  An event that names a completed order but empties or fills the cart still changes the cart; it only arms nothing.
5.  "Cart emptied": `cart_emptied` always (also when the cart looked empty already), else a removal or a snapshot
    that leaves nothing of something. Expiry of an untouched cart is no event: no disarming, no way back.
6.  Emptying disarms cart and checkout rules, not the browse rule.
7.  Back leads to the phase that the last move came from; a journey that began in that phase stays.
8.  A rule whose cart condition no longer holds when it fires ends silently, as does a version that had its
    drop-off; neither is counted as withheld. An empty cart is no version. A withheld drop-off marks its version.
9.  The reason is `payment_failed` if the event that armed last was a failed payment: a later step arms anew.
10. `recovery_window` includes its end: an order exactly 30 days after `detected_at` recovers.
11. The second copy of an order (same `order_id`, any converting type) changes nothing, but gives an order what it
    lacks: its worth, its currency, its cart's and checkout's ids, its products.
12. An order's worth is its `value`, else the sum of its priced items; its currency is its own, else the cart's.
13. "Until a product is added": a `product_added` with items, since the latest order.
14. A cart is touched by every event of a cart type (a checkout only if it filled the cart), not by an order.
15. Expiry, timeouts and waits are half-open, as sessions are: at exactly the length it has happened.
16. A journey that an active event opens is at least in the first phase.
17. A refund or cancellation takes its order out of `orders` and `revenue`, also if it comes before it; what was said
    of the person before that stands. A refund of less than the order's value takes only that much of the revenue.
18. An order's items match cart lines by product, and by SKU where both have one.
19. Which drop-offs are said depends on the log in one way: one that becomes known only after an order at or after its
    detection was folded is withheld (`overtaken`), and a later order may still end the one before it.
20. A score is laid where the journey stands after its event, or at the touchpoint that the event names. A converted
    journey meets what names its order or may lead it on; once it is past the purchase also what meets touchpoints after
    the purchase only, and, while no other journey is under way, all else. A second copy of an order meets only the
    journey under way.
21. An account is the fold of what all its members do, without `carts`: adding a product opens the next journey, but
    nothing is emptied. A member is the fold of their own events and of the others' orders and refunds (`heard`), which
    count, disarm and end drop-offs, but are worth nothing to them, and leave cart, session and what may arm alone.
22. A failed payment whose `reason` is `renewal` is activity, and no checkout: it neither arms nor enters the purchase.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from tests.oracle.shapes import (
    Armed,
    DropOff,
    Journey,
    Line,
    Move,
    Order,
    Recovery,
    Scored,
    Session,
    Stated,
    Version,
    units,
)
from tests.oracle.table import ANY, CHECKOUT, DAY, MINUTE, NETTBUTIKK, Table
from tracker.domain.events import PASSIVE_TYPES, Event, Item

HEARD = "heard"
"""The flag of what somebody else of the account did."""

SCALES = {"nps": range(11), "ces": range(1, 8), "csat": range(1, 6), "rating": range(1, 6)}
BRINGS = {"survey_answered": ("nps", "ces", "csat"), "product_reviewed": ("rating",)}


def is_renewal(event: Event) -> bool:
    """Whether it is a subscription's payment that failed."""
    return event.type == "payment_failed" and (event.properties or {}).get("reason") == "renewal"


SIGNIFICANCE = {"browse_abandoned": 1, "cart_abandoned": 2, "checkout_abandoned": 3}


@dataclass
class Fold:
    """What became of one person; also the walk's state."""

    table: Table = NETTBUTIKK
    carts: bool = True
    overtaken: Collection[str] = ()
    """What armed the drop-offs that are withheld because of an order."""
    sessions: list[Session] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    drop_offs: list[DropOff] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    withheld: int = 0
    journeys: list[Journey] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    heard: list[Order] = field(default_factory=list)
    """Those of the account's other members."""
    cart: dict[Line, int] = field(default_factory=dict)
    prices: dict[Line, int | None] = field(default_factory=dict)
    cart_id: str | None = None
    cart_currency: str | None = None
    refunds: list[Event] = field(default_factory=list)
    taken_back: set[str] = field(default_factory=set)
    touched_at: int | None = None
    added_since_order: bool = False
    last_active: int | None = None
    stated: list[Stated] = field(default_factory=list)
    armed: Armed | None = None
    versions: dict[Version, int] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    wrong: list[tuple[str, int]] = field(default_factory=list)
    """(kind, time) of scores that are none."""

    # What tests ask for

    @property
    def consent(self) -> bool | None:
        """To marketing."""
        return self.consent_at(None)

    def consent_at(self, now: int | None) -> bool | None:
        known = [stated for stated in self.stated if now is None or stated.since < now]
        return max(known).granted if known else None

    @property
    def order_count(self) -> int:
        return sum(not order.gone for order in [*self.orders, *self.heard])

    @property
    def revenue(self) -> dict[str | None, int]:
        found: dict[str | None, int] = {}
        for order in self.orders:
            if not order.gone:
                found[order.currency] = found.get(order.currency, 0) + order.value - order.refunded
        return {currency: amount for currency, amount in found.items() if amount}

    @property
    def phase(self) -> str | None:
        """Of the journey before purchase."""
        journey = self.open_journey()
        return None if journey is None else self.phase_id(journey)

    def final_cart(self, watermark: int) -> dict[Line, int]:
        return {} if self.cart_expired(watermark) else self.cart

    # Time

    def next_deadline(self) -> tuple[int, int] | None:
        """(time, kind) of the earliest pending deadline; kind 0 session end, 1 drop-off, 2 journey timeout."""
        assert self.last_active is not None or self.armed is None
        found = []
        if self.sessions and not self.sessions[-1].closed:
            found.append((self.sessions[-1].ended_at + self.table.gap, 0))
        if self.armed is not None:
            assert self.last_active is not None
            found.append((self.loud(max(self.armed.due, self.last_active + self.table.gap)), 1))
        if self.open_journey() is not None:
            assert self.last_active is not None
            found.append((self.last_active + self.table.journey_timeout, 2))
        return min(found, default=None)

    def fire(self, time: int, kind: int) -> None:
        if kind == 0:
            self.sessions[-1].closed = True
        elif kind == 1:
            self.drop_off(time)
        else:
            journey = self.open_journey()
            assert journey is not None
            journey.left = True
            self.moves.append(Move(journey.number, self.phase_id(journey), None, "left", time, "left"))

    def loud(self, time: int) -> int:
        """The first time from this one on that is outside the quiet hours."""
        if self.table.quiet is None:
            return time
        start, end = self.table.quiet
        minute = time % DAY // MINUTE
        inside = start <= minute < end if start < end else minute >= start or minute < end
        if not inside:
            return time
        morning = time - time % DAY + end * MINUTE
        return morning if morning > time else morning + DAY

    # One event

    def hear(self, event: Event) -> None:
        """An order or refund of somebody else of the account."""
        if event.type in {"order_cancelled", "order_refunded"}:
            self.refunds.append(event)
            self.take_back(event)
        elif event.order_id is None or all(event.order_id != o.order_id for o in [*self.orders, *self.heard]):
            if (journey := self.open_journey()) is not None:
                journey.converted = True
            names = (event.order_id, event.cart_id, event.checkout_id)
            products = {item.product_id for item in event.items or ()}
            self.heard.append(
                Order(event.event_id, event.ts, 0, *names, products, self.worth(event), event.currency, None)
            )
            for refund in self.refunds:
                self.take_back(refund)
            self.recover(event, 0)
            self.armed = None
            if event.cart_id is not None and event.cart_id == self.cart_id:
                self.take_out(event)

    def apply(self, event: Event) -> None:
        if HEARD in (event.flags or ()):
            self.hear(event)
            return
        if self.cart_expired(event.ts):
            self.cart, self.prices, self.cart_id, self.touched_at = {}, {}, None, None
        order = event.type in self.table.conversion
        counted = [*self.orders, *self.heard]
        again = order and event.order_id is not None and any(o.order_id == event.order_id for o in counted)
        session = self.visit(event, passive=event.type in PASSIVE_TYPES or again)
        if event.consent is not None and event.consent.marketing is not None:
            self.stated.append(Stated(event.ts, event.event_id, event.consent.marketing))
        if again:
            first = next(o for o in counted if o.order_id == event.order_id)
            if first.value == 0 and not first.gone and self.worth(event):
                first.value = self.worth(event)
                first.currency = event.currency or first.currency
            first.currency = first.currency or event.currency
            first.cart_id = first.cart_id or event.cart_id
            first.checkout_id = first.checkout_id or event.checkout_id
            first.products = first.products or {item.product_id for item in event.items or ()}
            if (journey := self.open_journey()) is not None:
                journey.met.add(event.type)
            return
        if order:
            self.order(event, session)
            return
        if event.type in {"order_cancelled", "order_refunded"}:
            self.refunds.append(event)
            self.take_back(event)
        whole = dict(self.cart)
        before = self.change_cart(event)
        changed = self.cart != whole
        added = changed and any(quantity > before.get(line, 0) for line, quantity in self.cart.items())
        emptied = event.type == "cart_emptied" or bool(before and not self.cart)
        if not self.carts:
            self.cart, self.prices = {}, {}
            added, emptied = event.type == "product_added" and bool(event.items), False
        self.move(event, session, added=added, emptied=emptied)
        if (journey := self.open_journey()) is not None:
            journey.events.append(event)
        if self.orders:
            self.owner(event).events.append(event)
        self.meet(event)
        self.move_after(event)
        self.feel(event)
        if event.type == "product_added" and event.items:
            self.added_since_order = True
        if emptied and self.armed is not None and self.armed.rule != "browse_abandoned":
            self.armed = None
        self.arm(event, session, changed=changed)

    def visit(self, event: Event, *, passive: bool) -> Session | None:
        """The session of an event; active events open or extend it."""
        current = self.sessions[-1] if self.sessions and not self.sessions[-1].closed else None
        if passive:
            return current
        if current is not None and event.ts >= current.started_at + self.table.cap:
            current.closed = True
            current = None
        if current is None:
            current = Session(event.ts, event.ts)
            self.sessions.append(current)
        current.ended_at = event.ts
        current.event_ids.append(event.event_id)
        current.page_count += event.type == "page_viewed"
        current.channel = current.channel or event.channel
        if event.url is not None:
            current.entry_url = event.url if current.entry_url is None else current.entry_url
            current.exit_url = event.url
        self.last_active = event.ts
        return current

    # Cart

    def cart_expired(self, now: int) -> bool:
        return self.touched_at is not None and now >= self.touched_at + self.table.cart_ttl

    def cart_value(self) -> int:
        return sum((self.prices[line] or 0) * quantity for line, quantity in self.cart.items())

    def change_cart(self, event: Event) -> dict[Line, int]:
        """Change the cart; answers what lay in it before, nothing if it was another cart."""
        if event.type not in {"product_added", "product_removed", "cart_updated", "cart_emptied", "checkout_started"}:
            return dict(self.cart)
        if event.cart_id is not None and self.cart_id is not None and event.cart_id != self.cart_id:
            self.cart, self.prices = {}, {}
        self.cart_currency = event.currency or self.cart_currency
        before = dict(self.cart)
        items = event.items
        if event.type == "product_added":
            self.put(items or [])
        elif event.type == "product_removed":
            for item in items or ():
                line = (item.product_id, item.sku)
                if line in self.cart:
                    self.cart[line] -= item.quantity
                    if self.cart[line] <= 0:
                        del self.cart[line], self.prices[line]
        elif event.type == "cart_emptied":
            self.cart, self.prices = {}, {}
        elif event.type == "cart_updated" and items is not None:
            self.cart, self.prices = {}, {}
            self.put(items)
        elif event.type == "checkout_started" and not before:
            self.put(items or [])
        if event.type != "checkout_started" or self.cart != before:
            self.touched_at = event.ts
        if not self.cart:
            self.cart_id = None
        elif event.cart_id is not None:
            self.cart_id = event.cart_id
        return before

    def put(self, items: list[Item]) -> None:
        for item in items:
            line = (item.product_id, item.sku)
            if item.quantity > 0:
                self.cart[line] = self.cart.get(line, 0) + item.quantity
                price = None if item.price is None else units(item.price)
                self.prices[line] = self.prices.get(line) if price is None else price

    # Journeys

    def open_journey(self) -> Journey | None:
        last = self.journeys[-1] if self.journeys else None
        return last if last is not None and not last.converted and not last.left else None

    def phase_id(self, journey: Journey) -> str | None:
        return None if journey.phase is None else self.table.phases[journey.phase].id

    def open(self, event: Event) -> Journey:
        visit = self.sessions[-1] if self.sessions and not self.sessions[-1].closed else None
        journey = Journey(len(self.journeys) + 1, channel=visit.channel if visit else event.channel)
        self.journeys.append(journey)
        return journey

    def go(self, journey: Journey, to: int, event: Event, direction: str | None = None) -> None:
        came = journey.phase
        if direction is None:
            direction = "enter" if came is None else "forward" if to == came + 1 else "skip"
        here = self.phase_id(journey)
        journey.phase = to
        self.moves.append(Move(journey.number, here, self.table.phases[to].id, direction, event.ts, event.event_id))

    def satisfied(self, event: Event, stages: set[str]) -> list[int]:
        """The phases of these stages that the event may enter."""
        active = event.type not in PASSIVE_TYPES
        return [
            place
            for place, phase in enumerate(self.table.phases)
            if phase.stage in stages
            and any(
                ((event.type in types and not is_renewal(event)) or (ANY in types and active))
                and self.order_count >= least
                for types, least in phase.enter
            )
        ]

    def may_open(self, event: Event, session: Session | None, *, added: bool) -> bool:
        if event.type in PASSIVE_TYPES:
            return False
        if not self.journeys or self.journeys[-1].left or added:
            return True
        return event.type in self.table.reopen and not self.in_session_of_latest_order(session)

    def in_session_of_latest_order(self, session: Session | None) -> bool:
        return bool(self.orders) and session is not None and session is self.orders[-1].session

    def move(self, event: Event, session: Session | None, *, added: bool, emptied: bool) -> None:
        """Open or move the journey before purchase."""
        journey = self.open_journey()
        fits = max(self.satisfied(event, {"before", "purchase"}), default=None)
        if journey is None:
            if self.may_open(event, session, added=added):
                self.go(self.open(event), 0 if fits is None else fits, event)
            return
        assert journey.phase is not None
        if emptied and self.table.phases[journey.phase].back_on:
            if journey.came_from:
                self.go(journey, journey.came_from.pop(), event, "back")
        elif fits is not None and fits > journey.phase:
            journey.came_from.append(journey.phase)
            self.go(journey, fits, event)

    def move_after(self, event: Event) -> None:
        """Move the converted journey that this event is about."""
        fits = max(self.satisfied(event, {"after"}), default=None)
        if fits is None or not self.orders:
            return
        journey = self.owner(event)
        assert journey.phase is not None
        if fits > journey.phase:
            self.go(journey, fits, event)

    def owner(self, event: Event) -> Journey:
        """The converted journey that an event is about."""
        return self.named(event) or self.journeys[self.orders[-1].journey - 1]

    def named(self, event: Event) -> Journey | None:
        """The converted journey whose order the event names, or a product of it."""
        about = [order for order in self.orders if event.order_id is not None and order.order_id == event.order_id]
        if not about:
            products = {item.product_id for item in event.items or ()}
            about = [order for order in self.orders if order.products & products]
        return self.journeys[about[-1].journey - 1] if about else None

    def meet(self, event: Event) -> None:
        """What the journeys have met."""
        under_way = self.open_journey()
        if under_way is not None:
            under_way.met.add(event.type)
        if not self.orders:
            return
        journey = self.owner(event)
        assert journey.phase is not None
        by_id = event.order_id is not None and event.order_id in {order.order_id for order in self.orders}
        past = self.table.phases[journey.phase].stage == "after"
        meets = {p.stage for p in self.table.phases for _, types in p.touchpoints if event.type in types}
        if by_id or self.satisfied(event, {"after"}) or (past and (under_way is None or meets == {"after"})):
            journey.met.add(event.type)

    # Feelings

    def feel(self, event: Event) -> None:
        """Lay the event's scores where they belong."""
        given = event.properties or {}
        found = {kind: given[kind] for kind in BRINGS.get(event.type, ()) if given.get(kind) is not None}
        if event.type == "survey_answered" and given.get("score") is not None:
            if given.get("survey") in BRINGS[event.type]:
                found = {given["survey"]: given["score"], **found}
            elif not found:
                self.wrong.append(("survey", event.ts))
        journey = self.named(event) or self.open_journey()
        if journey is None and self.orders:
            journey = self.journeys[self.orders[-1].journey - 1]
        for kind, scale in SCALES.items():
            if kind not in found:
                continue
            score = found[kind]
            if score is True or score is False or score not in scale:
                self.wrong.append((kind, event.ts))
            elif journey is not None:
                phase, touchpoint = self.place(journey, event)
                journey.scores.append(Scored(phase, touchpoint, kind, int(score), event.ts, event.event_id))

    def place(self, journey: Journey, event: Event) -> tuple[str | None, str]:
        """(phase, touchpoint or "") that a score is about."""
        name = (event.properties or {}).get("touchpoint")
        for phase in self.table.phases:
            if name in [point for point, _ in phase.touchpoints]:
                return phase.id, str(name)
        assert journey.phase is not None
        here = self.table.phases[journey.phase]
        meets = [point for point, types in here.touchpoints if event.type in types]
        return here.id, meets[0] if len(meets) == 1 else ""

    # Orders

    def order(self, event: Event, session: Session | None) -> None:
        journey = self.open_journey() or self.open(event)
        journey.events.append(event)
        journey.met.add(event.type)
        items = event.items or []
        worth = self.worth(event)
        self.orders.append(
            Order(
                event_id=event.event_id,
                ts=event.ts,
                journey=journey.number,
                order_id=event.order_id,
                cart_id=event.cart_id,
                checkout_id=event.checkout_id,
                products={item.product_id for item in items},
                value=worth,
                currency=event.currency or self.cart_currency,
                session=session,
            )
        )
        for refund in self.refunds:
            self.take_back(refund)
        if session is not None:
            session.has_order = True
        journey.converted = True
        purchase = next(place for place, phase in enumerate(self.table.phases) if phase.stage == "purchase")
        self.go(journey, purchase, event, "converted")
        after = max(self.satisfied(event, {"after"}), default=None)
        if after is not None:
            self.go(journey, after, event)
        self.recover(event, worth)
        self.armed = None
        self.versions = {}
        self.added_since_order = False
        if event.cart_id is None or self.cart_id is None or event.cart_id == self.cart_id:
            self.take_out(event)

    def take_out(self, event: Event) -> None:
        """What was bought leaves the cart."""
        items = event.items or []
        for product, sku in list(self.cart):
            if not items or any(i.product_id == product and (i.sku == sku or not (i.sku and sku)) for i in items):
                del self.cart[product, sku], self.prices[product, sku]
        if not self.cart:
            self.cart_id = None

    def worth(self, event: Event) -> int:
        if event.value is not None:
            return units(event.value)
        return sum(units(item.price) * item.quantity for item in event.items or ())

    def recover(self, event: Event, worth: int) -> None:
        waiting = [drop for drop in self.drop_offs if not drop.ended]
        if waiting and event.ts - waiting[-1].detected_at <= self.table.recovery_window:
            self.recoveries.append(Recovery(waiting[-1].armed_by, event.event_id, worth))
            for drop in waiting:
                drop.ended = True

    def take_back(self, event: Event) -> None:
        """Count a refund or cancellation, once."""
        for order in [*self.orders, *self.heard]:
            if event.event_id in self.taken_back:
                return
            if event.order_id is not None and order.order_id == event.order_id and not order.gone:
                self.taken_back.add(event.event_id)
                part = units(event.value) if event.type == "order_refunded" and event.value is not None else None
                if part is None or order.refunded + part >= order.value:
                    order.gone = True
                else:
                    order.refunded += part

    # Drop-offs

    def arm(self, event: Event, session: Session | None, *, changed: bool) -> None:
        ids = (event.order_id, event.cart_id, event.checkout_id)
        for order in [*self.orders, *self.heard]:
            done = (order.order_id, order.cart_id, order.checkout_id)
            if any(named is not None and named == known for named, known in zip(ids, done, strict=True)):
                return
        near_order = self.in_session_of_latest_order(session)
        rule = None
        if event.type in CHECKOUT and not is_renewal(event):
            rule = "checkout_abandoned"
            if ids == (None, None, None) and near_order and not self.added_since_order:
                return
        elif changed and self.cart:
            rule = "cart_abandoned"
        elif event.type == "product_viewed" and not self.cart and not near_order:
            rule = "browse_abandoned"
        if rule is None or (self.armed is not None and SIGNIFICANCE[self.armed.rule] > SIGNIFICANCE[rule]):
            return
        wait = {
            "browse_abandoned": self.table.browse_wait,
            "cart_abandoned": self.table.cart_wait,
            "checkout_abandoned": self.table.checkout_wait,
        }[rule]
        self.armed = Armed(rule, event.ts, event.event_id, event.ts + wait, event.type == "payment_failed")

    def drop_off(self, now: int) -> None:
        """Fire the armed rule."""
        armed, self.armed = self.armed, None
        assert armed is not None
        if self.cart_expired(now):
            self.cart, self.prices, self.cart_id, self.touched_at = {}, {}, None, None
        if (armed.rule == "browse_abandoned" and self.cart) or (armed.rule == "cart_abandoned" and not self.cart):
            return
        version = (self.cart_id, frozenset((*line, quantity) for line, quantity in self.cart.items()))
        weight = SIGNIFICANCE[armed.rule]
        if self.cart:
            if self.versions.get(version, 0) >= weight:
                return
            self.versions[version] = weight
        consent = self.consent_at(now)
        if not (self.table.consent_default if consent is None else consent):
            self.withheld += 1
            return
        if armed.armed_by in self.overtaken:
            self.withheld += 1
            return
        self.drop_offs.append(
            DropOff(
                reason="payment_failed" if armed.payment_failed else armed.rule,
                armed_at=armed.armed_at,
                armed_by=armed.armed_by,
                due_at=armed.due,
                detected_at=now,
                cart=dict(self.cart),
                cart_id=self.cart_id,
                cart_value=self.cart_value(),
                phase=self.phase,
            )
        )


def heard(event: Event) -> Event:
    """An order or refund as the other members of the account hear of it."""
    return replace(event, flags=[HEARD])


def distinct(events: Iterable[Event]) -> list[Event]:
    """The events in log order without repeated ids: the first in the log wins."""
    found: dict[str, Event] = {}
    for event in events:
        found.setdefault(event.event_id, event)
    return list(found.values())


def overtaken(steps: Iterable[Fold]) -> set[str]:
    """What armed the drop-offs that became known too late: while the log is read, of which `steps` are the folds of
    what is known after each event and each move of time, an order at or after their detection was folded before."""
    known: set[str] = set()
    found: set[str] = set()
    latest: int | None = None
    for step in steps:
        for drop in step.drop_offs:
            if drop.armed_by not in known and latest is not None and latest >= drop.detected_at:
                found.add(drop.armed_by)
            known.add(drop.armed_by)
        for order in step.orders:
            latest = order.ts if latest is None else max(latest, order.ts)
    return found


def fold(
    events: Iterable[Event],
    watermark: int,
    table: Table = NETTBUTIKK,
    overtaken: Collection[str] = (),
    carts: bool = True,
    stated: Iterable[Stated] = (),
) -> Fold:
    """Fold one person's events, given in log order, with deadlines fired up to `watermark` (ms, inclusive);
    `overtaken` armed drop-offs that are withheld. Without `carts`: an account's events, of all its members. `stated`
    is known besides what the events say."""
    person = Fold(table, carts, overtaken, stated=list(stated))
    ordered = sorted(distinct(events), key=lambda event: (event.ts, event.event_id))
    for place, event in enumerate(ordered):
        while (deadline := person.next_deadline()) is not None and deadline[0] <= event.ts:
            if deadline[0] > watermark:
                person.waiting = [late.event_id for late in ordered[place:]]
                return person
            person.fire(*deadline)
        person.apply(event)
    while (deadline := person.next_deadline()) is not None and deadline[0] <= watermark:
        person.fire(*deadline)
    return person

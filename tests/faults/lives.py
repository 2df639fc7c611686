"""Invented people whose every event is known beforehand: who they are, what they do, when each event is written.

A life is a function of (seed, number, birth) and of nothing else, so the judge makes it again instead of keeping
millions of events. Times are ms of event time; nothing here follows the wall clock.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Any, NamedTuple

from tracker.domain.events import Consent, Event, Item
from tracker.wire.decode import encode_event
from tracker.wire.partition import partition_of

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_700_000_000_000
DISORDER = 5 * MINUTE
"""An event is written less than this after its time, but for those that are late on purpose."""
COPIED_WITHIN = 20 * MINUTE
LATENESS = HOUR
"""TRACKER_ALLOWED_LATENESS in a campaign: its default."""
CART_WAIT = 4 * HOUR
CLICKS, ORDERS = "shop.clicks", "shop.orders"
PRODUCTS = [Item(f"sku-{number}", name=f"Product {number}", price=10.0 + 7.5 * number) for number in range(40)]


class Kind(StrEnum):
    """What can be asked of a person afterwards depends on how their events come in."""

    STEADY = "steady"
    """One identity, disorder below `DISORDER`: all that is said of them is what the sorted fold says."""
    LATE = "late"
    """As steady, but some page views come hours late: what is corrected must end at the sorted fold."""
    TARDY = "tardy"
    """As steady, but orders come hours late: they count, and no drop-off stands that they disarm."""
    MERGED = "merged"
    """Anonymous first, identified later, ordering through the backend."""


class Sending(NamedTuple):
    """One raw record: written at event time `at`, in the order of these tuples."""

    at: int
    number: int
    place: int
    topic: str
    partition: int
    key: bytes
    value: bytes


class Life(NamedTuple):
    """A person's truth: `events` by their place, `sendings` say when and where each is written (copies too)."""

    number: int
    kind: Kind
    events: list[Event]
    sendings: list[Sending]

    @property
    def person(self) -> str:
        """The id that they end up with."""
        return customer_of(self.number)

    def sent_until(self, end: int) -> list[Event]:
        """The events that are written at least once by then."""
        places = {sending.place for sending in self.sendings if sending.at <= end}
        return [self.events[place] for place in sorted(places)]


def customer_of(number: int) -> str:
    """The person id of a customer."""
    return f"c:p{number}"


def visitor_of(number: int) -> str:
    """The person id of a merged person's anonymous past."""
    return f"a:v{number}"


def life(seed: int, number: int, born: int, partitions: int) -> Life:
    """Everything that person `number`, born at `born`, does; raw topics have `partitions` partitions."""
    return _Script(Random(f"{seed}/{number}"), number, born, partitions).live()


class _Script:
    def __init__(self, random: Random, number: int, born: int, partitions: int) -> None:
        self.random = random
        self.number = number
        self.clock = born
        self.partitions = partitions
        self.kind = random.choices(list(Kind), (82, 6, 6, 6))[0]
        self.known = self.kind is not Kind.MERGED
        self.scattered = random.random() < 0.3
        """Whether the shop writes this person's events to any partition, as a shop that keys by request does."""
        self.home = partition_of(f"v{number}".encode(), partitions)
        self.events: list[Event] = []
        self.sendings: list[Sending] = []
        self.cart: list[Item] = []
        self.orders = 0

    def live(self) -> Life:
        random = self.random
        for _ in range(random.choices((1, 2, 3), (4, 3, 2))[0]):
            self.visit()
            self.clock += random.randrange(40 * MINUTE, 9 * HOUR)
        return Life(self.number, self.kind, self.events, self.sendings)

    def visit(self) -> None:
        random = self.random
        self.happen("page_viewed", 0, url="https://shop.example/", channel=random.choice(("search", "email", "direct")))
        if random.random() < 0.15:
            self.happen("page_viewed", 3, url="https://shop.example/", consent=Consent(random.random() < 0.7))
        for _ in range(random.randint(1, 3)):
            item = random.choice(PRODUCTS)
            self.happen("product_viewed", 20, url=f"https://shop.example/{item.product_id}", items=[item])
            if random.random() < 0.5:
                self.cart = [line for line in self.cart if line.product_id != item.product_id] + [item]
                self.happen("product_added", 15, items=[item], **self.ids)
        if self.cart and random.random() < 0.12:
            self.happen("product_removed", 30, items=[self.cart.pop()], **self.ids)
        elif self.cart and random.random() < 0.06:
            self.cart = []
            self.happen("cart_emptied", 30, **self.ids)
        if self.cart and random.random() < 0.55:
            self.check_out()

    @property
    def ids(self) -> dict[str, Any]:
        return {"cart_id": f"cart-{self.number}-{self.orders}", "currency": "NOK"}

    def check_out(self) -> None:
        random = self.random
        if not self.known:
            self.known = True
            self.happen("identified", 30)
        self.happen("checkout_started", 20, items=list(self.cart), **self.ids)
        if random.random() < 0.3:
            return
        self.happen("checkout_step_completed", 40, **self.ids)
        if random.random() < 0.15:
            self.happen("payment_failed", 30, **self.ids)
            if random.random() < 0.4:
                return
        if random.random() < 0.25:
            # On the brink: the drop-off would be detected a moment later. Nothing shows sooner if time ran ahead.
            self.clock += CART_WAIT - random.randrange(1, 90) * SECOND
            self.order(0)
        else:
            self.order(30)

    def order(self, after: float) -> None:
        random = self.random
        items, self.cart = self.cart, []
        ids = self.ids
        self.orders += 1
        order_id = f"order-{self.number}-{self.orders}"
        value = sum(item.price or 0.0 for item in items)
        self.happen("order_completed", after, order_id=order_id, items=items, value=value, **ids)
        now = self.clock
        self.clock += random.randrange(HOUR, 6 * HOUR)
        self.happen("order_shipped", 0, order_id=order_id)
        if random.random() < 0.1:
            self.happen("order_refunded", 3600, order_id=order_id, currency="NOK")
        self.clock = now

    def happen(self, kind: str, after: float, **fields: Any) -> None:
        """An event about `after` seconds later than the last one."""
        random = self.random
        self.clock += int(after * SECOND * random.uniform(0.3, 2.0)) + 1
        backend = kind.startswith("order_")
        identity: dict[str, Any] = {}
        if self.known or backend:
            identity["customer_id"] = f"p{self.number}"
        if self.kind is Kind.MERGED and not backend:
            identity["anonymous_id"] = f"v{self.number}"
        place = len(self.events)
        event = Event(event_id=f"p{self.number}-{place:03}", type=kind, ts=self.clock, **identity, **fields)
        self.events.append(event)
        self.send(event, place, ORDERS if backend else CLICKS)

    def send(self, event: Event, place: int, topic: str) -> None:
        random = self.random
        delay = random.randrange(DISORDER) if random.random() < 0.5 else random.randrange(SECOND)
        late = (self.kind is Kind.LATE and event.type == "page_viewed" and event.consent is None) or (
            self.kind is Kind.TARDY and event.type == "order_completed"
        )
        if late and random.random() < 0.5:
            delay = random.randrange(HOUR // 2, 8 * HOUR)
        partition = random.randrange(self.partitions) if self.scattered else self.home
        sending = Sending(
            event.ts + delay, self.number, place, topic, partition, f"v{self.number}".encode(), encode_event(event)
        )
        self.sendings.append(sending)
        if random.random() < 0.03:
            self.sendings.append(sending._replace(at=sending.at + random.randrange(COPIED_WITHIN)))

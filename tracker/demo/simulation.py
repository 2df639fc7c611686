"""The simulation: invented visitors of an invented clothes shop, who browse, hesitate, buy and return things.

Nothing here is data about real people, and every event says so: it carries the segment `simulated`. The same seed
always gives the same events. Probabilities are plausible for a webshop, not fitted to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from importlib.resources import files
from random import Random
from typing import Any

import msgspec
import yaml

from tracker.demo.scenarios import at
from tracker.domain.events import Campaign, Consent, Event, Item

SIMULATED = "simulated"
DAYS = 14
"""Visits begin within so many days; orders are delivered and reviewed during the week after."""
SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


class Product(msgspec.Struct, frozen=True):
    """Something to buy; `sized` products have a size guide, which makes buying likelier."""

    id: str
    name: str
    category: str
    price: float
    weight: float
    sized: bool


class Channel(msgspec.Struct, frozen=True):
    """A way into the shop; `buys` multiplies the chance that a visitor goes on."""

    channel: str
    weight: float
    buys: float
    referrer: str | None = None
    campaign: Campaign | None = None


class Device(msgspec.Struct, frozen=True):
    """What a visitor browses with."""

    device: str
    weight: float
    buys: float


class Shop(msgspec.Struct, frozen=True):
    """The contents of `shop.yaml`."""

    site: str
    products: list[Product]
    channels: list[Channel]
    devices: list[Device]
    searches: list[str]
    reminder: Campaign
    hours: list[float]


def simulation(visitors: int = 3000, seed: int = 7) -> Iterator[Event]:
    """The events of so many visitors, in order of time; about ten events a visitor."""
    raw = yaml.safe_load((files("tracker.demo") / "shop.yaml").read_text("utf-8"))
    shop = msgspec.convert(raw, Shop)
    events: list[Event] = []
    for number in range(visitors):
        events += Visitor(shop, Random(f"{seed}/{number}"), number).live()
    return iter(sorted(events, key=lambda event: (event.ts, event.event_id)))


class Visitor:
    """One invented person: a device, perhaps an account, and what they do over the demo's weeks."""

    def __init__(self, shop: Shop, random: Random, number: int) -> None:
        self.shop = shop
        self.random = random
        self.name = f"sim-{number:05}"
        self.device = random.choices(shop.devices, [device.weight for device in shop.devices])[0]
        self.customer = f"{self.name}-c"
        self.known = random.random() < 0.15
        """Whether the shop knows who this is (logged in): from the start, or since checkout."""
        self.segments = [SIMULATED, "business" if random.random() < 0.08 else "private"]
        self.events: list[Event] = []
        self.clock = 0
        self.orders = 0
        self.cart: list[Item] = []
        self.visit_fields: dict[str, Any] = {}

    def live(self) -> list[Event]:
        """Everything this visitor does."""
        random = self.random
        day = random.randrange(DAYS)
        hour = random.choices(range(24), self.shop.hours)[0]
        self.clock = at(day, time(hour, random.randrange(60), random.randrange(60)))
        last = at(DAYS)
        for _ in range(5):
            self.visit(self.arrival())
            if random.random() > (0.5 if self.orders else 0.35):
                break
            self.clock += int(random.uniform(6, 120) * HOUR)
            if self.clock >= last:
                break
        return self.events

    def arrival(self) -> Channel:
        """How the visit begins: some whose cart was left behind are won back by a reminder."""
        if self.cart and self.known:
            self.happen("email_opened", campaign=self.shop.reminder, channel="email")
            if self.random.random() < 0.6:
                self.happen("email_clicked", 30, campaign=self.shop.reminder, channel="email")
                return Channel("email", 0, 2.2, campaign=self.shop.reminder)
        return self.random.choices(self.shop.channels, [channel.weight for channel in self.shop.channels])[0]

    def visit(self, channel: Channel) -> None:
        """One visit: look around, perhaps fill the cart, perhaps check out."""
        random, site = self.random, self.shop.site
        eager = channel.buys * self.device.buys
        self.visit_fields = {"channel": channel.channel, "campaign": channel.campaign}
        self.happen(
            "page_viewed",
            url=f"{site}/",
            referrer=channel.referrer,
            properties={"load_ms": int(random.lognormvariate(6.6, 0.5))},
        )
        if not self.cart and random.random() < 0.34:
            return
        if not any(event.consent for event in self.events) and random.random() < 0.8:
            self.happen("page_viewed", 4, url=f"{site}/", consent=Consent(random.random() < 0.78, True))
        for _ in range(random.choice((1, 1, 2, 2, 3, 4))):
            self.look_at_a_product(eager)
        if not self.cart:
            return
        if random.random() < 0.12:
            dropped = self.cart.pop(random.randrange(len(self.cart)))
            self.happen("product_removed", 30, items=[dropped], cart_id=f"{self.name}-cart-{self.orders}")
        if self.cart and random.random() < 0.75:
            self.happen("cart_viewed", 25, url=f"{site}/cart", cart_id=f"{self.name}-cart-{self.orders}")
            if random.random() < min(0.55 * eager, 0.9):
                self.check_out()

    def look_at_a_product(self, eager: float) -> None:
        """From a search or a list to a product, its reviews and size guide, and perhaps into the cart."""
        random, shop = self.random, self.shop
        product = random.choices(shop.products, [product.weight for product in shop.products])[0]
        bare = [Item(product.id, name=product.name, category=product.category, price=product.price)]
        if random.random() < 0.25:
            query = {"query": random.choice(shop.searches), "results": random.randrange(30)}
            self.happen("search_performed", 15, url=f"{shop.site}/search", properties=query)
        else:
            self.happen("product_list_viewed", 15, url=f"{shop.site}/{product.category}")
        self.happen("product_viewed", 20, url=f"{shop.site}/{product.category}/{product.id}", items=bare)
        chance = 0.2
        if random.random() < 0.3:
            self.happen("review_read", 25, items=bare)
            chance += 0.06
        if product.sized and random.random() < 0.35:
            self.happen("size_guide_viewed", 20, items=bare)
            chance += 0.14
        if random.random() < chance * eager:
            size = random.choice("SML") if product.sized else None
            item = Item(
                product.id,
                sku=f"{product.id}-{size.lower()}" if size else None,
                name=product.name,
                category=product.category,
                quantity=1 if random.random() < 0.9 else 2,
                price=product.price,
            )
            cart = f"{self.name}-cart-{self.orders}"
            self.happen("product_added", 25, items=[item], cart_id=cart, currency="NOK")
            self.cart = [line for line in self.cart if (line.product_id, line.sku) != (item.product_id, item.sku)]
            self.cart.append(item)
        elif random.random() < 0.05:
            self.happen("wishlist_added", 10, items=bare)

    def check_out(self) -> None:
        """From checkout to order: people fall away at every step, and now and then a payment fails."""
        random = self.random
        ids: dict[str, Any] = {
            "cart_id": f"{self.name}-cart-{self.orders}",
            "checkout_id": f"{self.name}-checkout-{self.orders}-{len(self.events)}",
            "currency": "NOK",
        }
        value = sum((item.price or 0) * item.quantity for item in self.cart)
        self.happen("checkout_started", 20, items=list(self.cart), value=value, **ids)
        if random.random() < 0.22:
            return
        self.known = True  # the address form asks for e-mail: from here on events carry both ids
        self.happen("checkout_step_completed", 50, properties={"step": "address"}, **ids)
        if random.random() < 0.1:
            return
        self.happen("payment_info_entered", 40, **ids)
        if random.random() < 0.06:
            self.happen("payment_failed", 15, properties={"code": "declined"}, **ids)
            if random.random() < 0.6:
                return
            self.happen("payment_info_entered", 60, **ids)
        if random.random() < 0.08:
            return
        self.order(ids, value)

    def order(self, ids: dict[str, Any], value: float) -> None:
        """The order: told by the browser, by the backend (which knows no anonymous id), or by both."""
        random = self.random
        self.orders += 1
        items, self.cart = list(self.cart), []
        order = {"order_id": f"{self.name}-order-{self.orders}"}
        told = {**ids, **order, "items": items, "value": value}
        teller = random.random()
        if teller < 0.85:
            self.happen("order_completed", 15, **told)
        if teller > 0.6:
            self.happen("order_completed", 1, backend=True, **told)
        if random.random() < 0.15:
            self.happen("newsletter_subscribed", 20)
        self.aftermath(order, items, value)

    def aftermath(self, order: dict[str, Any], items: list[Item], value: float) -> None:
        """Delivery and what comes of it, without moving the visitor's own clock."""
        random, now = self.random, self.clock
        self.clock += int(random.uniform(10, 30) * HOUR)
        self.happen("order_shipped", backend=True, **order)
        self.clock += int(random.uniform(24, 80) * HOUR)
        self.happen("order_delivered", backend=True, **order)
        delivered = self.clock
        self.visit_fields = {"channel": "email", "campaign": None}
        if random.random() < 0.07:
            self.clock = delivered + int(random.uniform(4, 60) * HOUR)
            self.happen("return_requested", items=items[:1], **order)
            self.clock += 2 * DAY
            refund = (items[0].price or 0) * items[0].quantity
            self.happen("order_refunded", backend=True, value=min(refund, value), currency="NOK", **order)
        elif random.random() < 0.16:
            self.clock = delivered + int(random.uniform(10, 90) * HOUR)
            rating = random.choices((5, 4, 3, 2), (55, 28, 12, 5))[0]
            self.happen("product_reviewed", items=items[:1], properties={"rating": rating}, **order)
            if rating == 5 and random.random() < 0.4:
                self.happen("loyalty_joined", 60)
            if rating == 5 and random.random() < 0.25:
                self.happen("product_shared", 60, items=items[:1], **order)
        self.clock = now

    def happen(self, kind: str, after: float = 0, *, backend: bool = False, **fields: Any) -> None:
        """Add an event, about `after` seconds later than the last one."""
        self.clock += int(after * SECOND * self.random.uniform(0.4, 2.2))
        identity: dict[str, Any] = {"customer_id": self.customer} if self.known or backend else {}
        if not backend:
            identity |= {"anonymous_id": f"{self.name}-a", "device": self.device.device}
            fields = {**self.visit_fields, **fields}
        self.events.append(
            Event(
                event_id=f"{self.name}-{len(self.events):03}",
                type=kind,
                ts=self.clock,
                segments=self.segments,
                **identity,
                **fields,
            )
        )

"""The naive judge of triggers: one walk over a person's sorted events, with the waiting triggers in a dictionary.

Slow and plain on purpose. Carts, orders and consent are those of the naive fold; rules are read from the model as they
are written. Zones are UTC, quiet hours minutes of the day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.oracle.naive import Fold, distinct
from tests.oracle.table import DAY, NETTBUTIKK
from tracker.domain.events import Event
from tracker.domain.model import Cap, Rule

WEEK = 7 * DAY
ORDERS = NETTBUTIKK.conversion
CART = {"product_added", "product_removed", "cart_updated", "cart_emptied", "checkout_started"}
CHECKOUT = {"checkout_started", "checkout_step_completed", "payment_info_entered", "payment_failed"}
Key = tuple[str, str]
NEVER_DUE = 1 << 62


@dataclass(frozen=True)
class Wait:
    """A trigger that waits."""

    armed_at: int
    due: int
    birthday: str | None
    data: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A trigger that was sent, or `why` it was not."""

    rule: str
    key: str
    armed_at: int
    due: int
    at: int
    why: str | None
    data: dict[str, Any]
    cart: dict[str, int]
    value: int | None


@dataclass
class Judge:
    """The walk's state."""

    rules: tuple[Rule, ...]
    caps: tuple[Cap, ...] = ()
    quiet: tuple[int, int] | None = None
    fold: Fold = field(default_factory=Fold)
    waits: dict[Key, Wait] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    identified: bool = False

    def judge(self, events: Iterable[Event], watermark: int) -> list[Said]:
        """What is sent up to the watermark (ms, inclusive); an event at or after a deadline that the watermark has not
        reached waits, with all that follow."""
        for event in sorted(distinct(events), key=lambda event: (event.ts, event.event_id)):
            self.time(min(event.ts, watermark))
            if self.deadline() <= event.ts:
                return self.said
            self.take(event)
        self.time(watermark)
        return self.said

    def deadline(self) -> int:
        """The next one of all, whatever is due at it."""
        of_fold = self.fold.next_deadline()
        return min([NEVER_DUE if of_fold is None else of_fold[0], *map(self.at, self.waits)])

    def rule(self, name: str) -> Rule:
        return next(rule for rule in self.rules if rule.id == name)

    # Events

    def take(self, event: Event) -> None:
        first = not self.identified and event.customer_id is not None
        self.identified = self.identified or event.customer_id is not None
        copy = event.type in ORDERS and event.order_id in {o.order_id for o in self.fold.orders if o.order_id}
        cart, cart_id = dict(self.fold.final_cart(event.ts)), self.fold.cart_id
        other_cart = event.cart_id is not None and cart_id is not None and event.cart_id != cart_id
        orders = list(self.fold.orders)
        self.fold.apply(event)
        changed = event.type in CART and self.fold.cart != cart
        if event.type in CART and other_cart and not changed:
            changed = False
        for rule in self.rules:
            if event.type in rule.unless and not copy:
                self.waits.pop((rule.id, self.key(rule, event, cart_id)), None)
        named = [rule for rule in self.rules if event.type in rule.when]
        named += [rule for rule in self.rules if changed and "cart_changed" in rule.when]
        named += [rule for rule in self.rules if first and "first_identified" in rule.when]
        bought = any(
            name is not None and name == known
            for order in orders
            for name, known in (
                (event.order_id, order.order_id or order.event_id),
                (event.cart_id, order.cart_id),
                (event.checkout_id, order.checkout_id),
            )
        )
        nameless = event.order_id is None and event.cart_id is None and event.checkout_id is None
        session = self.fold.sessions[-1] if self.fold.sessions and not self.fold.sessions[-1].closed else None
        in_order_session = bool(orders) and session is not None and session is orders[-1].session
        if event.type in CHECKOUT and nameless and in_order_session and not self.fold.added_since_order:
            bought = True
        for rule in named:
            if copy and not rule.at and not rule.yearly:
                continue
            if bought and event.type in CART | CHECKOUT:
                continue
            self.arm(rule, event, self.key(rule, event, cart_id))

    def key(self, rule: Rule, event: Event, cart_id: str | None) -> str:
        if rule.key == "cart":
            return event.cart_id or self.fold.cart_id or cart_id or ""
        if rule.key == "person":
            return ""
        if event.order_id:
            return event.order_id
        if event.type in ORDERS:
            return event.event_id
        products = {item.product_id for item in event.items or ()}
        about = [order for order in self.fold.orders if order.products & products] or self.fold.orders
        return (about[-1].order_id or about[-1].event_id) if about else ""

    def arm(self, rule: Rule, event: Event, key: str) -> None:
        if rule.cart != "any" and (rule.cart == "filled") != bool(self.fold.final_cart(event.ts)):
            return
        if rule.times and self.sent(rule) >= rule.times:
            return
        given = (event.properties or {}).get(rule.yearly or rule.at or "")
        due = event.ts + rule.wait
        if rule.yearly or rule.at:
            if given is None:
                return
            due = self.birthday(given, rule, event.ts) if rule.yearly else int(given) + rule.wait - rule.before
        name = (rule.id, key)
        if rule.yearly and name in self.waits and self.waits[name].birthday == given:
            return
        if any((said.rule, said.key, said.due) == (*name, due) for said in self.said):
            return
        rivals = [other for other in self.waits if rule.group and self.rule(other[0]).group == rule.group]
        if any(self.rule(other[0]).significance > rule.significance for other in rivals):
            return
        for other in rivals:
            del self.waits[other]
        data = {prop: value for prop in rule.data if (value := (event.properties or {}).get(prop)) is not None}
        self.waits[name] = Wait(event.ts, due, given if rule.yearly else None, data)

    def birthday(self, given: str, rule: Rule, after: int) -> int:
        """The first such day whose hour is still to come."""
        month, day = int(given[-5:-3]), int(given[-2:])
        for year in range(datetime.fromtimestamp(after / 1000, UTC).year - 1, 2200):
            leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
            date = datetime(year, month, day if leap or (month, day) != (2, 29) else 28, rule.hour, tzinfo=UTC)
            if round(date.timestamp() * 1000) > after:
                return round(date.timestamp() * 1000)
        raise AssertionError(given)

    # Time

    def time(self, now: int) -> None:
        """Send what is due by now, and fold what time alone does to sessions and journeys."""
        while self.waits:
            at, _, rule, key = min((self.at(name), self.waits[name].due, *name) for name in self.waits)
            if at > now:
                break
            self.fire((rule, key), at)
        while (deadline := self.fold.next_deadline()) is not None and deadline[0] <= now:
            self.fold.fire(*deadline)

    def at(self, name: Key) -> int:
        wait = self.waits[name]
        return min(self.free(name), max(self.wanted(name) + WEEK, wait.armed_at))

    def wanted(self, name: Key) -> int:
        """When it is due, and the one before it is long enough ago."""
        rule = self.rule(name[0])
        sent = [said.at for said in self.said if rule.again and said.why is None and (said.rule, said.key) == name]
        return max([self.waits[name].due, *(at + rule.again for at in sent)])

    def free(self, name: Key) -> int:
        """When nothing holds it any more."""
        wait, rule = self.waits[name], self.rule(name[0])
        at = max(self.wanted(name), wait.armed_at)
        sent = [said for said in self.said if said.why is None]
        if rule.service:
            return at
        count = [said.at for said in sent if not self.rule(said.rule).service]
        while any(sum(then > at - cap.within for then in count) >= cap.most for cap in self.caps):
            at = min(then + cap.within for cap in self.caps for then in count if then + cap.within > at)
        if self.quiet is not None:
            at = Fold(table=_quiet(self.quiet)).loud(at)
        return at

    def sent(self, rule: Rule) -> int:
        return sum(said.rule == rule.id and said.why is None for said in self.said)

    def fire(self, name: Key, at: int) -> None:
        rule, late = self.rule(name[0]), self.free(name) > self.wanted(name) + WEEK
        wait = self.waits.pop(name)
        if rule.times and self.sent(rule) >= rule.times:
            return
        if wait.birthday is not None:
            following = self.birthday(wait.birthday, rule, wait.due)
            self.waits[name] = Wait(wait.armed_at, following, wait.birthday, wait.data)
        cart = self.fold.final_cart(at)
        if rule.cart != "any" and (rule.cart == "filled") != bool(cart):
            return
        why = "deferred_too_long" if late else None
        if self.fold.consent is False and not rule.service:
            why = "consent"
        content = {product: quantity for (product, _), quantity in cart.items()}
        orders = [order for order in self.fold.orders if (order.order_id or order.event_id) == name[1]]
        value = orders[0].value if orders and rule.key == "order" else None
        self.said.append(Said(rule.id, name[1], wait.armed_at, wait.due, at, why, wait.data, content, value))


def overtaken(steps: Iterable[Judge]) -> set[tuple[str, str, int]]:
    """The triggers (rule, key, due) that became known too late: while the log is read, of which `steps` are the judges
    of what is known after each event and each move of time, a later order was folded before. Only what an order takes
    back is withheld then."""
    known: set[tuple[str, str, int]] = set()
    found: set[tuple[str, str, int]] = set()
    latest = -NEVER_DUE
    for step in steps:
        for said in step.said:
            name = (said.rule, said.key, said.due)
            rule = step.rule(said.rule)
            if name not in known and latest > said.at and rule.key == "person" and set(rule.unless) & set(ORDERS):
                found.add(name)
            known.add(name)
        latest = max([latest, *(order.ts for order in step.fold.orders)])
    return found


def _quiet(hours: tuple[int, int]) -> Any:
    return replace(NETTBUTIKK, quiet=hours)

"""A journey model turned round by event type: one look-up tells everything that a type can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from tracker.domain.events import EVENT_TYPES, PASSIVE_TYPES
from tracker.domain.model import FoldSettings, Model

ANY = "any"
"""In a phase's `events`: any active event."""
CART_CHANGED = "cart_changed"
"""In a rule's `when`: any change of the cart's content."""
CART_EMPTIED = "cart_emptied"
"""In a phase's `back_on`: the cart became empty, by whatever event but an order."""


class Cart(IntEnum):
    """What an event type does to the cart."""

    NOTHING = 0
    ADD = 1
    REMOVE = 2
    SNAPSHOT = 3
    EMPTY = 4
    FILL_IF_EMPTY = 5


CART_OPS = {
    "product_added": Cart.ADD,
    "product_removed": Cart.REMOVE,
    "cart_updated": Cart.SNAPSHOT,
    "cart_emptied": Cart.EMPTY,
    "checkout_started": Cart.FILL_IF_EMPTY,
}
CHECKOUT_TYPES = frozenset(
    "checkout_started checkout_step_viewed checkout_step_completed payment_info_entered payment_failed".split()
)
REFUND_TYPES = frozenset({"order_refunded", "order_cancelled"})


@dataclass(slots=True)
class TypeRule:
    """What one event type can do under a model; phases and rules by index."""

    bit: int
    """The type's bit among touchpoints met; 0 for types outside the table."""
    active: bool
    converts: bool = False
    cart: Cart = Cart.NOTHING
    page: bool = False
    checkout: bool = False
    refund: bool = False
    payment_failed: bool = False
    before: int = -1
    """The furthest phase up to the purchase that the type enters without further conditions, -1 for none."""
    conditional: tuple[tuple[int, int], ...] = ()
    """(phase, orders at least), for entries up to the purchase that ask for orders, furthest first."""
    after: tuple[tuple[int, int], ...] = ()
    """(phase, orders at least) of the phases after the purchase, furthest first."""
    back_from: int = 0
    """Bits of the phases that the type itself leads back from."""
    arms: tuple[int, ...] = ()
    reopens: bool = False
    plain: bool = True
    """Nothing but session, journey and `before` to look at: the short way through the fold."""


@dataclass(slots=True)
class Table:
    """A model and the fold's settings, compiled. Times in ms."""

    model: Model
    settings: FoldSettings
    types: dict[str, TypeRule]
    other: TypeRule
    purchase: int
    phase_ids: list[str]
    back_on_emptied: int
    cart_rules: tuple[int, ...]
    gap: int = field(init=False)
    cap: int = field(init=False)
    lateness: int = field(init=False)
    shortest: int = field(init=False)
    """No event makes a deadline earlier than its own time plus this."""

    def __post_init__(self) -> None:
        self.gap = self.settings.session_gap
        self.cap = self.settings.session_cap
        self.lateness = self.settings.allowed_lateness
        waits = [self.model.journey_timeout, self.settings.state_ttl]
        self.shortest = min(self.gap, self.lateness, *waits)

    def rule_of(self, event_type: str) -> TypeRule:
        """The rule of a type; every type that the model does not name shares one."""
        return self.types.get(event_type, self.other)


def compile_table(model: Model, settings: FoldSettings) -> Table:
    """The table of a (validated) model."""
    purchase = next(i for i, phase in enumerate(model.phases) if phase.stage == "purchase")
    named = {t for phase in model.phases for entry in phase.enter for t in entry.events}
    named |= {t for phase in model.phases for t in phase.back_on} | {t for rule in model.rules for t in rule.when}
    named |= set(model.conversion) | set(model.reopen)
    names = list(EVENT_TYPES) + sorted(named - set(EVENT_TYPES) - {ANY, CART_CHANGED})
    return Table(
        model=model,
        settings=settings,
        types={name: _type_rule(model, name) for name in names},
        other=_type_rule(model, ""),
        purchase=purchase,
        phase_ids=[phase.id for phase in model.phases],
        back_on_emptied=sum(1 << i for i, p in enumerate(model.phases) if CART_EMPTIED in p.back_on),
        cart_rules=tuple(i for i, r in enumerate(model.rules) if CART_CHANGED in r.when and r.emit == "drop_off"),
    )


def _type_rule(model: Model, name: str) -> TypeRule:
    active = name not in PASSIVE_TYPES
    before, conditional, after = -1, [], []
    for index, phase in enumerate(model.phases):
        for entry in phase.enter:
            if name not in entry.events and not (active and ANY in entry.events):
                continue
            if phase.stage == "after":
                after.append((index, entry.orders))
            elif entry.orders:
                conditional.append((index, entry.orders))
            else:
                before = max(before, index)
    rule = TypeRule(
        bit=1 << EVENT_TYPES.index(name) if name in EVENT_TYPES else 0,
        active=active,
        converts=name in model.conversion,
        cart=CART_OPS.get(name, Cart.NOTHING),
        page=name == "page_viewed",
        checkout=name in CHECKOUT_TYPES,
        refund=name in REFUND_TYPES,
        payment_failed=name == "payment_failed",
        before=before,
        conditional=tuple(sorted(conditional, reverse=True)),
        after=tuple(sorted(after, reverse=True)),
        back_from=sum(1 << i for i, p in enumerate(model.phases) if name in p.back_on and name != CART_EMPTIED),
        arms=tuple(i for i, r in enumerate(model.rules) if name in r.when and r.emit == "drop_off"),
        reopens=name in model.reopen,
    )
    rule.plain = not (
        rule.converts or rule.cart or rule.refund or rule.conditional or rule.after or rule.back_from or rule.arms
    )
    return rule

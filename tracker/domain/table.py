"""A journey model turned round by event type: one look-up tells everything that a type can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from tracker.domain.compiling import Compiled, properties_of
from tracker.domain.events import EVENT_TYPES, PASSIVE_TYPES, Event
from tracker.domain.model import DAY, FoldSettings, Model, Rule
from tracker.domain.predicates import Predicate
from tracker.domain.remembered import Memory, Tally

ANY = "any"
"""In a phase's `events`: any active event."""
CART_CHANGED = "cart_changed"
"""In a rule's `when`: any change of the cart's content."""
FIRST_IDENTIFIED = "first_identified"
"""In a trigger's `when`: the first event of a person that names the customer."""
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
class Way:
    """A way into a phase that asks for something: orders at least, and a condition."""

    phase: int
    orders: int = 0
    where: Predicate | None = None


@dataclass(slots=True)
class TriggerRule:
    """A rule that emits triggers, with what the fold asks of it."""

    spec: Rule
    where: Predicate | None
    only_if: Predicate | None
    ends_with_order: bool
    """Whether an order of the person takes it back."""


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
    conditional: tuple[Way, ...] = ()
    """The ways up to the purchase that ask for something, furthest first."""
    after: tuple[Way, ...] = ()
    """The ways into phases after the purchase, furthest first."""
    leads: tuple[tuple[int, int], ...] = ()
    """(phase, wait in ms) where time alone leads on from an event of this type before the purchase."""
    leads_after: tuple[tuple[int, int], ...] = ()
    """The same on converted journeys."""
    follows: bool = False
    """Whether it matters to the converted journey that it belongs to."""
    tally: Tally | None = None
    """What conditions want to have remembered of it."""
    back_from: int = 0
    """Bits of the phases that the type itself leads back from."""
    arms: tuple[int, ...] = ()
    disarms: tuple[int, ...] = ()
    """The drop-off rules that it takes back."""
    triggers: tuple[TriggerRule, ...] = ()
    """Those that the type arms."""
    takes_back: tuple[TriggerRule, ...] = ()
    """Those that the type takes back."""
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
    memory: Memory
    """What conditions want to have remembered."""
    segments: list[tuple[str, Predicate]]
    where: list[Predicate | None]
    """Of each rule, what must hold when it is armed."""
    only_if: list[Predicate | None]
    """Of each rule, what must hold when it fires."""
    timed: dict[int, tuple[Way, ...]]
    """The phases that time alone leads into, and what each way asks for at that time."""
    kept_properties: dict[str, frozenset[str]]
    """By event type ("" for those that the model does not name), the properties that something asks for; all others
    are dropped when an event is taken in."""
    triggers: dict[str, TriggerRule]
    """By the rule's id."""
    cart_triggers: tuple[TriggerRule, ...]
    first_triggers: tuple[TriggerRule, ...]
    """Those that the first event which names the customer arms."""
    gap: int = field(init=False)
    cap: int = field(init=False)
    lateness: int = field(init=False)
    shortest: int = field(init=False)
    """But for triggers (`Facts.wakes`), no event makes a deadline earlier than its own time plus this."""
    looks_back: int = field(init=False)
    """For how long messages that were sent have to be remembered."""

    def __post_init__(self) -> None:
        self.gap = self.settings.session_gap
        self.cap = self.settings.session_cap
        self.lateness = self.settings.allowed_lateness
        rules = self.model.rules
        waits = [self.model.journey_timeout, self.settings.state_ttl]
        waits += [rule.wait for rule in rules if rule.emit == "drop_off"]
        waits += [wait for rule in self.types.values() for _, wait in (*rule.leads, *rule.leads_after)]
        self.shortest = min(self.gap, self.lateness, *waits)
        # A trigger that is overdue for longer than it may be deferred is never sent, so also not twice.
        self.looks_back = max(8 * DAY, *(rule.again for rule in rules), *(cap.within for cap in self.model.caps))

    def rule_of(self, event_type: str) -> TypeRule:
        """The rule of a type; every type that the model does not name shares one."""
        return self.types.get(event_type, self.other)

    def kept(self, event: Event) -> dict[str, Any] | None:
        """The properties of an event that something asks for."""
        names = self.kept_properties.get(event.type if event.type in self.types else "")
        if names is None or event.properties is None:
            return None
        return {name: value for name, value in event.properties.items() if name in names} or None


def compile_table(model: Model, settings: FoldSettings) -> Table:
    """The table of a (validated) model."""
    purchase = next(i for i, phase in enumerate(model.phases) if phase.stage == "purchase")
    memory = Memory()
    compiled = Compiled(model, memory)
    entries = [entry for phase in model.phases for entry in phase.enter]
    named = {t for entry in entries for t in entry.events} | {entry.after.event for entry in entries if entry.after}
    named |= {t for phase in model.phases for t in phase.back_on}
    named |= {t for rule in model.rules for t in (*rule.when, *rule.unless)}
    named |= set(model.conversion) | set(model.reopen) | set(memory.tallies)
    names = list(EVENT_TYPES) + sorted(named - set(EVENT_TYPES) - {ANY, CART_CHANGED, FIRST_IDENTIFIED})
    triggers = {
        rule.id: TriggerRule(rule, where, only_if, rule.key == "person" and bool({*rule.unless} & {*model.conversion}))
        for rule, where, only_if in zip(model.rules, compiled.where, compiled.only_if, strict=True)
        if rule.emit == "trigger"
    }
    timed: dict[int, tuple[Way, ...]] = {}
    for index, phase in enumerate(model.phases):
        ways = zip(phase.enter, compiled.entries[index], strict=True)
        waits = tuple(Way(index, entry.orders, where) for entry, where in ways if entry.after is not None)
        if waits:
            timed[index] = waits
    return Table(
        model=model,
        settings=settings,
        types={name: _type_rule(model, name, compiled, memory, triggers) for name in names},
        other=_type_rule(model, "", compiled, memory, triggers),
        purchase=purchase,
        phase_ids=[phase.id for phase in model.phases],
        back_on_emptied=sum(1 << i for i, p in enumerate(model.phases) if CART_EMPTIED in p.back_on),
        cart_rules=tuple(i for i, r in enumerate(model.rules) if CART_CHANGED in r.when and r.emit == "drop_off"),
        memory=memory,
        segments=compiled.segments,
        where=compiled.where,
        only_if=compiled.only_if,
        timed=timed,
        kept_properties=_kept_properties(model, names),
        triggers=triggers,
        cart_triggers=tuple(t for t in triggers.values() if CART_CHANGED in t.spec.when),
        first_triggers=tuple(t for t in triggers.values() if FIRST_IDENTIFIED in t.spec.when),
    )


def _kept_properties(model: Model, names: list[str]) -> dict[str, frozenset[str]]:
    kept: dict[str, frozenset[str]] = {}
    for phase in model.phases:
        for entry in phase.enter:
            asked = properties_of(entry.where)
            types = ["", *names] if ANY in entry.events else entry.events
            for name in types if asked else ():
                kept[name] = kept.get(name, frozenset()) | asked
    for rule in model.rules:
        asked = properties_of(rule.where) | {name for name in (rule.at, rule.yearly, *rule.data) if name is not None}
        types = [*rule.when, *CART_OPS] if CART_CHANGED in rule.when else list(rule.when)
        if FIRST_IDENTIFIED in rule.when:
            types = ["", *names]  # any event may be a person's first
        for name in types if asked else ():
            kept[name] = kept.get(name, frozenset()) | asked
    return kept


def _type_rule(
    model: Model, name: str, compiled: Compiled, memory: Memory, triggers: dict[str, TriggerRule]
) -> TypeRule:
    active = name not in PASSIVE_TYPES
    before = -1
    conditional: list[Way] = []
    after: list[Way] = []
    leads: list[tuple[int, int]] = []
    leads_after: list[tuple[int, int]] = []
    for index, phase in enumerate(model.phases):
        for entry, where in zip(phase.enter, compiled.entries[index], strict=True):
            if entry.after is not None and entry.after.event == name:
                (leads_after if phase.stage == "after" else leads).append((index, entry.after.wait))
            if name not in entry.events and not (active and ANY in entry.events):
                continue
            if phase.stage == "after":
                after.append(Way(index, entry.orders, where))
            elif entry.orders or where is not None:
                conditional.append(Way(index, entry.orders, where))
            else:
                before = max(before, index)
    tally = memory.of(name)
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
        conditional=tuple(way for way in reversed(conditional) if way.phase > before),
        after=tuple(reversed(after)),
        leads=tuple(leads),
        leads_after=tuple(leads_after),
        follows=bool(after or leads_after or name in memory.met or (tally is not None and tally.journey)),
        tally=tally,
        back_from=sum(1 << i for i, p in enumerate(model.phases) if name in p.back_on and name != CART_EMPTIED),
        arms=tuple(i for i, r in enumerate(model.rules) if name in r.when and r.emit == "drop_off"),
        disarms=tuple(i for i, r in enumerate(model.rules) if name in r.unless and r.emit == "drop_off"),
        triggers=tuple(t for t in triggers.values() if name in t.spec.when),
        takes_back=tuple(t for t in triggers.values() if name in t.spec.unless),
        reopens=name in model.reopen,
    )
    rule.plain = not (
        rule.converts
        or rule.cart
        or rule.refund
        or rule.conditional
        or rule.leads
        or rule.follows
        or rule.tally
        or rule.back_from
        or rule.arms
        or rule.disarms
        or rule.triggers
        or rule.takes_back
    )
    return rule

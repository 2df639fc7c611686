"""A journey model turned round by event type: one look-up tells everything that a type can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from msgspec.structs import replace

from tracker.domain.compiling import Compiled, properties_of
from tracker.domain.events import EVENT_TYPES, PASSIVE_TYPES, Event
from tracker.domain.lineup import Lineup, lineup_of, mark_of
from tracker.domain.model import DAY, FoldSettings, Model, Rule
from tracker.domain.predicates import Predicate
from tracker.domain.remembered import Memory, Tally
from tracker.domain.scores import PROPERTIES

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
    ELSEWHERE = 6
    """It changes the cart of an account's member: the account has none of its own."""


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
AFTER_PURCHASE = frozenset(
    """
    order_updated order_cancelled order_refunded order_shipped order_delivered return_requested product_used
    onboarding_step_completed subscription_renewed subscription_cancelled support_requested support_resolved
    complaint_made survey_answered product_reviewed
    """.split()
)
"""Types that speak of something bought: that they name a completed order is no sign that all is well."""
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
class Steps:
    """Where one event type can lead the journeys of one model; phases by index."""

    bit: int
    """`TypeRule.bit`."""
    converts: bool = False
    opens: bool = True
    """Whether it may begin a journey: a part is begun only by what its phases name."""
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
    counted: bool = False
    """Whether conditions count it on the journey."""
    follows: bool = False
    """Whether it matters to the converted journey that it belongs to."""
    back_from: int = 0
    """Bits of the phases that the type itself leads back from."""
    reopens: bool = False
    touches: bool = False
    """Whether it meets touchpoints after the purchase, and none before."""
    touchpoints: dict[int, str] = field(default_factory=dict)
    """By phase, its touchpoint that the type meets, where it is the only one."""


@dataclass(slots=True)
class Course:
    """The phases of one model, and what ends its journeys."""

    model: Model
    part: bool
    phase_ids: list[str]
    purchase: int
    back_on_emptied: int
    """Bits of the phases that an emptied cart leads back from."""
    timed: dict[int, tuple[Way, ...]]
    """The phases that time alone leads into, and what each way asks for at that time."""
    timeout: int
    """ms without activity after which a journey ends."""
    touchpoints: dict[str, int]
    """The phase of each touchpoint."""


@dataclass(slots=True)
class TypeRule:
    """What one event type can do; rules by index."""

    bit: int
    """The type's bit among touchpoints met; 0 for types outside the table."""
    active: bool
    steps: tuple[Steps, ...]
    """For each of `Table.courses`."""
    orders: bool = False
    """Whether it converts journeys of any model but a part."""
    travels: bool = False
    """Whether it converts journeys, starts a clock on them, or matters after the purchase, in any model."""
    scores: bool = False
    """Whether it brings scores."""
    cart: Cart = Cart.NOTHING
    page: bool = False
    checkout: bool = False
    refund: bool = False
    after_purchase: bool = False
    """Whether it speaks of something bought."""
    payment_failed: bool = False
    tally: Tally | None = None
    """What conditions want to have remembered of it."""
    arms: tuple[int, ...] = ()
    disarms: tuple[int, ...] = ()
    """The drop-off rules that it takes back."""
    triggers: tuple[TriggerRule, ...] = ()
    """Those that the type arms."""
    takes_back: tuple[TriggerRule, ...] = ()
    """Those that the type takes back."""
    plain: bool = True
    """Nothing but session, journey and `before` to look at: the short way through the fold."""


@dataclass(slots=True)
class Table:
    """Models and the fold's settings, compiled. Times in ms."""

    model: Model
    """The first: its rules and segments are everybody's."""
    settings: FoldSettings
    courses: tuple[Course, ...]
    """Of every model, in the order of `TRACKER_MODEL`."""
    types: dict[str, TypeRule]
    other: TypeRule
    cart_rules: tuple[int, ...]
    memory: Memory
    """What conditions want to have remembered."""
    segments: list[tuple[str, Predicate]]
    where: list[Predicate | None]
    """Of each rule, what must hold when it is armed."""
    only_if: list[Predicate | None]
    """Of each rule, what must hold when it fires."""
    kept_properties: dict[str, frozenset[str]]
    """By event type ("" for those that the model does not name), the properties that something asks for; all others
    are dropped when an event is taken in."""
    triggers: dict[str, TriggerRule]
    """By the rule's id."""
    cart_triggers: tuple[TriggerRule, ...]
    first_triggers: tuple[TriggerRule, ...]
    """Those that the first event which names the customer arms."""
    of_accounts: bool = False
    """Whether it is for accounts: no carts, no rules."""
    account: Table | None = None
    """The table for accounts, where the first model's `buyer` is one."""
    lineup: Lineup = field(init=False)
    mark: bytes = field(init=False)
    """Of the lineup."""
    shares: bool = field(init=False)
    """Whether people share journeys and orders with an account."""
    asks_consent: bool = field(init=False)
    """Whether nothing is kept of a person before they allow analytics."""
    timed: bool = field(init=False)
    """Whether time alone leads anywhere."""
    bots_out: bool = field(init=False)
    gap: int = field(init=False)
    cap: int = field(init=False)
    timeout: int = field(init=False)
    """The first model's."""
    lateness: int = field(init=False)
    shortest: int = field(init=False)
    """But for triggers (`Facts.wakes`), no event makes a deadline earlier than its own time plus this."""
    looks_back: int = field(init=False)
    """For how long messages that were sent have to be remembered."""

    def __post_init__(self) -> None:
        self.lineup = lineup_of([self.model, *(course.model for course in self.courses[1:])])
        self.mark = mark_of(self.lineup)
        self.shares = self.of_accounts or self.account is not None
        self.asks_consent = not self.settings.analytics_default
        self.timed = any(course.timed for course in self.courses)
        self.bots_out = self.settings.bots_out
        self.gap = self.settings.session_gap
        self.timeout = self.model.journey_timeout
        self.cap = self.settings.session_cap
        self.lateness = self.settings.allowed_lateness
        rules = self.model.rules
        waits = [self.settings.state_ttl, *(course.timeout for course in self.courses)]
        waits += [rule.wait for rule in rules if rule.emit == "drop_off"]
        steps = [each for rule in self.types.values() for each in rule.steps]
        waits += [wait for each in steps for _, wait in (*each.leads, *each.leads_after)]
        self.shortest = min(self.gap, self.lateness, *waits)
        # A trigger that is overdue for longer than it may be deferred is never sent, so also not twice.
        self.looks_back = max([8 * DAY, *(rule.again for rule in rules), *(cap.within for cap in self.model.caps)])

    def rule_of(self, event_type: str) -> TypeRule:
        """The rule of a type; every type that the model does not name shares one."""
        return self.types.get(event_type, self.other)

    def phase_ids(self, model: str) -> list[str]:
        """The phases of a model that is tracked, by its id."""
        return next(course.phase_ids for course in self.courses if course.model.id == model)

    def kept(self, event: Event) -> dict[str, Any] | None:
        """The properties of an event that something asks for."""
        names = self.kept_properties.get(event.type if event.type in self.types else "")
        if names is None or event.properties is None:
            return None
        return {name: value for name, value in event.properties.items() if name in names} or None


def compile_table(model: Model, settings: FoldSettings, *others: Model) -> Table:
    """The table of (validated) models; rules, segments and `buyer` are those of the first."""
    account = None
    if model.buyer == "account":
        account = _compile(replace(model, rules=(), caps=(), quiet_hours=None), settings, others, of_accounts=True)
    return _compile(model, settings, others, account=account)


def _compile(
    model: Model,
    settings: FoldSettings,
    others: Sequence[Model],
    *,
    of_accounts: bool = False,
    account: Table | None = None,
) -> Table:
    models = (model, *(replace(other, rules=()) for other in others))
    memory = Memory()
    compiled: list[Compiled] = []
    for each in models:
        compiled.append(Compiled(each))
        memory.add(compiled[-1].memory)
    entries = [entry for each in models for phase in each.phases for entry in phase.enter]
    named = {t for entry in entries for t in entry.events} | {entry.after.event for entry in entries if entry.after}
    named |= {t for each in models for phase in each.phases for t in phase.back_on}
    named |= {t for rule in model.rules for t in (*rule.when, *rule.unless)}
    named |= {t for each in models for t in (*each.conversion, *each.reopen)} | set(memory.tallies)
    named |= PASSIVE_TYPES
    names = list(EVENT_TYPES) + sorted(named - set(EVENT_TYPES) - {ANY, CART_CHANGED, FIRST_IDENTIFIED})
    orders = {t for each in models if not each.part for t in each.conversion}
    first = compiled[0]
    triggers = {
        rule.id: TriggerRule(rule, where, only_if, rule.key == "person" and not orders.isdisjoint(rule.unless))
        for rule, where, only_if in zip(model.rules, first.where, first.only_if, strict=True)
        if rule.emit == "trigger"
    }
    types = {name: _type_rule(models, name, compiled, memory, triggers) for name in names}
    if of_accounts:
        for name in CART_OPS:
            types[name].cart = Cart.ELSEWHERE
    return Table(
        model=model,
        settings=settings,
        courses=tuple(map(_course, models, compiled)),
        types=types,
        other=_type_rule(models, "", compiled, memory, triggers),
        cart_rules=tuple(i for i, r in enumerate(model.rules) if CART_CHANGED in r.when and r.emit == "drop_off"),
        memory=memory,
        segments=first.segments,
        where=first.where,
        only_if=first.only_if,
        kept_properties=_kept_properties(models, names, memory.known),
        triggers=triggers,
        cart_triggers=tuple(t for t in triggers.values() if CART_CHANGED in t.spec.when),
        first_triggers=tuple(t for t in triggers.values() if FIRST_IDENTIFIED in t.spec.when),
        of_accounts=of_accounts,
        account=account,
    )


def _course(model: Model, compiled: Compiled) -> Course:
    timed: dict[int, tuple[Way, ...]] = {}
    for index, phase in enumerate(model.phases):
        ways = zip(phase.enter, compiled.entries[index], strict=True)
        waits = tuple(Way(index, entry.orders, where) for entry, where in ways if entry.after is not None)
        if waits:
            timed[index] = waits
    return Course(
        model=model,
        part=model.part,
        phase_ids=[phase.id for phase in model.phases],
        purchase=next(i for i, phase in enumerate(model.phases) if phase.stage == "purchase"),
        back_on_emptied=sum(1 << i for i, p in enumerate(model.phases) if CART_EMPTIED in p.back_on),
        timed=timed,
        timeout=model.journey_timeout,
        touchpoints={touchpoint.id: i for i, p in enumerate(model.phases) for touchpoint in p.touchpoints},
    )


def _kept_properties(models: Sequence[Model], names: list[str], known: list[str]) -> dict[str, frozenset[str]]:
    kept = dict(PROPERTIES)
    for name in ("", *names) if known else ():
        kept[name] = kept.get(name, frozenset()).union(known)
    for phase in (phase for model in models for phase in model.phases):
        for entry in phase.enter:
            asked = properties_of(entry.where)
            types = ["", *names] if ANY in entry.events else entry.events
            for name in types if asked else ():
                kept[name] = kept.get(name, frozenset()) | asked
    for rule in models[0].rules:
        asked = properties_of(rule.where) | {name for name in (rule.at, rule.yearly, *rule.data) if name is not None}
        types = [*rule.when, *CART_OPS] if CART_CHANGED in rule.when else list(rule.when)
        if FIRST_IDENTIFIED in rule.when:
            types = ["", *names]  # any event may be a person's first
        for name in types if asked else ():
            kept[name] = kept.get(name, frozenset()) | asked
    return kept


def _type_rule(
    models: Sequence[Model], name: str, compiled: Sequence[Compiled], memory: Memory, triggers: dict[str, TriggerRule]
) -> TypeRule:
    rules = models[0].rules
    rule = TypeRule(
        bit=_bit(name),
        active=name not in PASSIVE_TYPES,
        steps=tuple(_steps(model, name, each) for model, each in zip(models, compiled, strict=True)),
        orders=any(name in model.conversion for model in models if not model.part),
        cart=CART_OPS.get(name, Cart.NOTHING),
        page=name == "page_viewed",
        checkout=name in CHECKOUT_TYPES,
        refund=name in REFUND_TYPES,
        after_purchase=name in AFTER_PURCHASE,
        payment_failed=name == "payment_failed",
        scores=name in PROPERTIES,
        tally=memory.of(name),
        arms=tuple(i for i, r in enumerate(rules) if name in r.when and r.emit == "drop_off"),
        disarms=tuple(i for i, r in enumerate(rules) if name in r.unless and r.emit == "drop_off"),
        triggers=tuple(t for t in triggers.values() if name in t.spec.when),
        takes_back=tuple(t for t in triggers.values() if name in t.spec.unless),
    )
    rule.travels = any(each.converts or each.leads or each.follows or each.touches for each in rule.steps)
    rule.plain = not (
        rule.orders
        or rule.travels
        or rule.scores
        or rule.cart
        or rule.refund
        or any(each.conditional or each.back_from for each in rule.steps)
        or rule.tally
        or rule.arms
        or rule.disarms
        or rule.triggers
        or rule.takes_back
    )
    return rule


def _bit(name: str) -> int:
    return 1 << EVENT_TYPES.index(name) if name in EVENT_TYPES else 0


def _steps(model: Model, name: str, compiled: Compiled) -> Steps:
    active = name not in PASSIVE_TYPES
    before = -1
    named = False
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
                continue
            named = named or name in entry.events
            if entry.orders or where is not None:
                conditional.append(Way(index, entry.orders, where))
            else:
                before = max(before, index)
    stages = {p.stage for p in model.phases for touchpoint in p.touchpoints if name in touchpoint.events}
    met = {i: [t.id for t in p.touchpoints if name in t.events] for i, p in enumerate(model.phases)}
    tally = compiled.memory.of(name)
    counted = tally is not None and tally.journey
    return Steps(
        bit=_bit(name),
        converts=name in model.conversion,
        opens=named or not model.part,
        before=before,
        conditional=tuple(way for way in reversed(conditional) if way.phase > before),
        after=tuple(reversed(after)),
        leads=tuple(leads),
        leads_after=tuple(leads_after),
        counted=counted,
        follows=bool(after or leads_after or counted or name in compiled.memory.met),
        back_from=sum(1 << i for i, p in enumerate(model.phases) if name in p.back_on and name != CART_EMPTIED),
        reopens=name in model.reopen,
        touches=stages == {"after"},
        touchpoints={phase: ids[0] for phase, ids in met.items() if len(ids) == 1},
    )

"""Turns the conditions of a model into predicates, and says what has to be remembered so that they can be answered."""

from __future__ import annotations

from tracker.domain.conditions import Condition, Count, Property, Since
from tracker.domain.events import EVENT_TYPES
from tracker.domain.model import Model
from tracker.domain.predicates import (
    AllOf,
    AnyOf,
    CartIs,
    CountEver,
    CountInJourney,
    CountInSession,
    CountWithin,
    FromChannel,
    InSegment,
    IsCustomer,
    IsKnown,
    Met,
    Not,
    OnDevice,
    Orders,
    Predicate,
    PropertyIs,
    SinceDelivery,
    SinceFirstSeen,
    SinceLastActive,
    SinceLastOrder,
)
from tracker.domain.remembered import DELIVERY, Memory
from tracker.domain.units import FAR, NEVER


class Compiled:
    """Every condition of a model, as predicates: of entries by phase and place, of rules by place."""

    def __init__(self, model: Model) -> None:
        memory = self.memory = Memory()
        known: dict[str, Predicate] = {}
        ttl = model.cart_ttl
        for segment in model.segments:  # each may name those before it
            known[segment.id] = compile_condition(segment.where, known, ttl, memory) or AllOf([])
        self.segments = list(known.items())
        self.entries = [
            [compile_condition(entry.where, known, ttl, memory) for entry in phase.enter] for phase in model.phases
        ]
        self.where = [compile_condition(rule.where, known, ttl, memory) for rule in model.rules]
        asked = memory.last_active
        self.only_if = [compile_condition(rule.only_if, known, ttl, memory) for rule in model.rules]
        memory.last_active = asked  # no event is at hand when a rule fires: nothing to leave out


def compile_condition(
    condition: Condition | None, segments: dict[str, Predicate], cart_ttl: int, memory: Memory
) -> Predicate | None:
    """A condition as a predicate, None for none; notes in `memory` what has to be remembered for it. `segments` are
    those of the model that stand before it, `cart_ttl` (ms) is the model's."""
    if condition is None:
        return None
    parts = [_compiled(part, segments, cart_ttl, memory) for part in condition.all]
    if condition.any:
        parts.append(AnyOf([_compiled(part, segments, cart_ttl, memory) for part in condition.any]))
    if condition.not_ is not None:
        parts.append(Not(_compiled(condition.not_, segments, cart_ttl, memory)))
    if condition.count is not None:
        parts.append(_count(condition.count, memory))
    if condition.orders is not None:
        parts.append(Orders(_least(condition.orders.at_least), _most(condition.orders.at_most)))
    if condition.since is not None:
        parts.append(_since(condition.since, memory))
    if condition.property is not None:
        parts.append(_property(condition.property, PropertyIs))
    if condition.known is not None:
        if condition.known.name not in memory.known:
            memory.known.append(condition.known.name)
        parts.append(_property(condition.known, IsKnown))
    if condition.segment:
        parts.append(InSegment(condition.segment, [segments[name] for name in condition.segment if name in segments]))
    if condition.channel:
        parts.append(FromChannel(condition.channel))
    if condition.device:
        parts.append(OnDevice(condition.device))
    if condition.met:
        parts.append(_met(condition.met, memory))
    if condition.cart is not None:
        parts.append(CartIs(condition.cart == "filled", cart_ttl))
    if condition.customer is not None:
        parts.append(IsCustomer(condition.customer))
    return parts[0] if len(parts) == 1 else AllOf(parts)


def properties_of(condition: Condition | None) -> frozenset[str]:
    """The names of the properties that a condition asks for."""
    if condition is None:
        return frozenset()
    names = set() if condition.property is None else {condition.property.name}
    for part in (*condition.all, *condition.any, condition.not_):
        names |= properties_of(part)
    return frozenset(names)


def _compiled(condition: Condition, segments: dict[str, Predicate], cart_ttl: int, memory: Memory) -> Predicate:
    return compile_condition(condition, segments, cart_ttl, memory) or AllOf([])


def _least(bound: float | None) -> float:
    return NEVER if bound is None else bound


def _most(bound: float | None) -> float:
    return FAR if bound is None else bound


def _count(count: Count, memory: Memory) -> Predicate:
    least = 0 if count.at_least is None else count.at_least
    most = FAR if count.at_most is None else count.at_most
    for name in count.events:
        tally = memory.tally(name)
        if count.during == "session":
            tally.session = True
        elif count.during == "journey":
            tally.journey = True
        elif count.within is not None:
            tally.limit = max(tally.limit, least, 0 if count.at_most is None else most + 1)
            tally.longest = max(tally.longest, count.within)
        else:
            tally.ever = True
    if count.during == "session":
        return CountInSession(count.events, least, most)
    if count.during == "journey":
        return CountInJourney(count.events, least, most)
    if count.within is not None:
        return CountWithin(count.events, least, most, count.within)
    return CountEver(count.events, least, most)


def _since(since: Since, memory: Memory) -> Predicate:
    least = NEVER if since.at_least is None else since.at_least
    most = FAR if since.at_most is None else since.at_most
    if since.what == "last_order":
        return SinceLastOrder(least, most)
    if since.what == "delivery":
        memory.tally(DELIVERY).delivery = True
        return SinceDelivery(least, most)
    if since.what == "last_active":
        memory.last_active = True
        return SinceLastActive(least, most)
    memory.first_seen = True
    return SinceFirstSeen(least, most)


def _met(types: tuple[str, ...], memory: Memory) -> Predicate:
    memory.met.update(types)
    bits = 0
    others = tuple(name for name in types if name not in EVENT_TYPES)
    for name in types:
        if name in EVENT_TYPES:
            bits |= 1 << EVENT_TYPES.index(name)
    for name in others:
        memory.tally(name).journey = True
    return Met(bits, others)


def _property(asked: Property, kind: type[PropertyIs]) -> Predicate:
    bounded = asked.at_least is not None or asked.at_most is not None
    return kind(asked.name, asked.one_of, bounded, _least(asked.at_least), _most(asked.at_most))

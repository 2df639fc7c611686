"""What types alone cannot say about rules, segments and conditions: that they can hold, and that what they say acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

import msgspec

from tracker.domain.conditions import Condition, Count, Property, Range
from tracker.domain.model import DAY, MINUTE, Model, Rule
from tracker.domain.table import CART_CHANGED, FIRST_IDENTIFIED
from tracker.journeys.checks import ID, ID_ALLOWED, LONGEST, Check
from tracker.journeys.contradictions import contradiction
from tracker.journeys.reader import Key

SHORTEST_WAIT, LONGEST_WAIT = 5 * MINUTE, 182 * DAY
"""Bounds of a drop-off's wait, ms."""
TRIGGERS_ONLY = ("at", "before", "yearly", "hour", "group", "again", "times", "service", "data")
"""What a drop-off cannot say: it waits from its event, at most one is armed per person, and it is about what was not
bought."""
LISTS = ("all", "any", "segment", "channel", "device", "met")
NOT_OF_ACCOUNTS = (
    "is asked of the account (`buyer: account`), which has neither cart nor customer id; allowed: any other condition"
)
DEPTH = 10
"""Conditions nest at most so deep."""
MOST_IN_A_WINDOW = 100
"""What is counted within a window: so many times (and one more) are kept of each person."""


class Asked(NamedTuple):
    """Of what a condition is asked: the segments of the model that stand before it, and whether an event is at hand."""

    segments: tuple[str, ...]
    event: bool


def check_rules(check: Check) -> None:
    """The rules, each by itself."""
    segments = tuple(segment.id for segment in check.model.segments)
    for i, rule in enumerate(check.model.rules):
        key: Key = ("rules", i)
        check.text((*key, "id"), rule.id, r"[a-z][a-z0-9_]{0,63}", "small letters, digits and _")
        check.unique((*key, "id"), rule.id, [other.id for other in check.model.rules[:i]])
        if rule.emit == "drop_off":
            _drop_off(check, key, rule)
        else:
            _trigger(check, key, rule)
        check.types((*key, "unless"), rule.unless, empty=True)
        check.number((*key, "significance"), rule.significance, 1, 100)
        _condition(check, (*key, "where"), rule.where, Asked(segments, event=True))
        _condition(check, (*key, "only_if"), rule.only_if, Asked(segments, event=False))
        for name in ("where", "only_if"):
            condition = getattr(rule, name)
            if condition is not None and rule.cart != "any":
                _can_hold(check, (*key, name), Condition(cart=rule.cart), condition)


def _drop_off(check: Check, key: Key, rule: Rule) -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(Rule)}
    for name in TRIGGERS_ONLY:
        if getattr(rule, name) != defaults[name]:
            check.fail((*key, name), " is allowed only with `emit: trigger`")
    if rule.key != "person" and not rule.unless:
        check.fail((*key, "key"), f" is {rule.key!r}; with `emit: drop_off` it is allowed only beside `unless`")
    check.types((*key, "when"), rule.when, also=(CART_CHANGED,))
    check.duration((*key, "wait"), rule.wait, SHORTEST_WAIT, LONGEST_WAIT)


def _trigger(check: Check, key: Key, rule: Rule) -> None:
    check.types((*key, "when"), rule.when, also=(CART_CHANGED, FIRST_IDENTIFIED))
    check.duration((*key, "wait"), rule.wait, 0, LONGEST)
    check.duration((*key, "before"), rule.before, 0, LONGEST)
    check.duration((*key, "again"), rule.again, 0, LONGEST)
    check.number((*key, "hour"), rule.hour, 0, 23)
    check.number((*key, "times"), rule.times, 0, 1000)
    if rule.at is not None and rule.yearly is not None:
        check.fail((*key, "yearly"), " stands beside `at`; allowed: one of them")
    if rule.before and rule.at is None and rule.yearly is None:
        check.fail((*key, "before"), " needs `at` or `yearly`: the moment that it counts back from")
    if (*key, "hour") in check.reader.places and rule.yearly is None:
        check.fail((*key, "hour"), " needs `yearly`: the day whose hour it is")
    if rule.significance != 1 and rule.group is None:
        check.fail((*key, "significance"), " needs `group`: the triggers of which the most significant stays")
    if rule.group is not None:
        check.text((*key, "group"), rule.group, ID, ID_ALLOWED)
    for i, name in enumerate(rule.data):
        check.unique((*key, "data", i), name, rule.data[:i])


def check_conditions(check: Check) -> None:
    """The conditions of phases' entries and of segments."""
    segments = tuple(segment.id for segment in check.model.segments)
    for i, segment in enumerate(check.model.segments):
        check.text(("segments", i, "id"), segment.id, ID, ID_ALLOWED)
        check.unique(("segments", i, "id"), segment.id, segments[:i])
        _condition(check, ("segments", i, "where"), segment.where, Asked(segments[:i], event=False))
    for i, phase in enumerate(check.model.phases):
        for j, entry in enumerate(phase.enter):
            where: Key = ("phases", i, "enter", j, "where")
            _condition(check, where, entry.where, Asked(segments, event=bool(entry.events)))
            if entry.where is not None and entry.orders:
                _can_hold(check, where, Condition(orders=Range(at_least=entry.orders)), entry.where)
    if check.model.buyer == "account":
        for key in asked_of_accounts(check.model):
            check.fail(key, f" {NOT_OF_ACCOUNTS}")


def asked_of_accounts(model: Model) -> Iterator[Key]:
    """Where the entries of phases ask for what only an account's members have."""
    segments = {segment.id: segment.where for segment in model.segments}
    for i, phase in enumerate(model.phases):
        for j, entry in enumerate(phase.enter):
            yield from _asked_of_members(entry.where, ("phases", i, "enter", j, "where"), segments)


def _asked_of_members(condition: Condition | None, key: Key, segments: Mapping[str, Condition]) -> Iterator[Key]:
    if condition is None:
        return
    if condition.cart is not None:
        yield (*key, "cart")
    if condition.customer is not None:
        yield (*key, "customer")
    for i, name in enumerate(condition.segment):
        if any(_asked_of_members(segments.get(name), key, segments)):
            yield (*key, "segment", i)
    for name, parts in (("all", condition.all), ("any", condition.any)):
        for i, part in enumerate(parts):
            yield from _asked_of_members(part, (*key, name, i), segments)
    yield from _asked_of_members(condition.not_, (*key, "not"), segments)


def _condition(check: Check, key: Key, condition: Condition | None, asked: Asked, depth: int = 0) -> None:
    if condition is None:
        return
    if condition == Condition():
        check.fail(key, f" says nothing; allowed: {', '.join(Condition.__struct_encode_fields__)}")
    if depth == DEPTH:
        check.fail(key, f" is nested deeper than {DEPTH} times")
    for name in LISTS:
        if (*key, name) in check.reader.places and not getattr(condition, name):
            check.fail((*key, name), " is empty; allowed: at least one, or no such key")
    for name, parts in (("all", condition.all), ("any", condition.any)):
        for i, part in enumerate(parts):
            _condition(check, (*key, name, i), part, asked, depth + 1)
    _condition(check, (*key, "not"), condition.not_, asked, depth + 1)
    if condition.count is not None:
        _count(check, (*key, "count"), condition.count)
    if condition.orders is not None:
        _orders(check, (*key, "orders"), condition.orders)
    if condition.since is not None:
        since = condition.since
        _bounds(check, (*key, "since"), since.at_least, since.at_most, least=0)
    if condition.property is not None:
        if not asked.event:
            problem = " asks for an event, and none is at hand here; allowed where an event enters or arms, or `known`"
            check.fail((*key, "property"), problem)
        _property(check, (*key, "property"), condition.property)
    if condition.known is not None:
        _property(check, (*key, "known"), condition.known)
    if condition.met:
        check.types((*key, "met"), condition.met)
    for i, name in enumerate(condition.segment):
        _segment(check, (*key, "segment", i), name, asked)
    _can_hold(check, key, condition)


def _can_hold(check: Check, key: Key, *conditions: Condition) -> None:
    what = contradiction(conditions)
    if what is not None:
        check.fail(key, f" can never hold, by what it asks of {what}")


def _orders(check: Check, key: Key, orders: Range) -> None:
    _bounds(check, key, orders.at_least, orders.at_most, least=0)
    for name, bound in (("at_least", orders.at_least), ("at_most", orders.at_most)):
        if bound is not None and not bound.is_integer():
            check.fail((*key, name), f" is {bound:g}; allowed: a whole number")
    if orders.at_least == 0 and orders.at_most is None:
        check.fail((*key, "at_least"), " is 0, which always holds; allowed: 1 or more")


def _count(check: Check, key: Key, count: Count) -> None:
    check.types((*key, "events"), count.events)
    _bounds(check, key, count.at_least, count.at_most, least=0)
    if count.at_most is None and count.at_least == 0:
        check.fail((*key, "at_least"), " is 0, which always holds; allowed: 1 or more")
    if count.within is not None:
        for name, bound in (("at_least", count.at_least), ("at_most", count.at_most)):
            check.number((*key, name), bound or 0, 0, MOST_IN_A_WINDOW)
        check.duration((*key, "within"), count.within, 1000, LONGEST)
        if count.during is not None:
            check.fail((*key, "during"), " stands beside `within`; allowed: one of them")


def _bounds(check: Check, key: Key, lower: float | None, upper: float | None, least: float | None) -> None:
    if lower is None and upper is None:
        check.fail(key, " has no bound; allowed: at_least, at_most or both")
    for name, bound in (("at_least", lower), ("at_most", upper)):
        if bound is not None and least is not None and bound < least:
            check.fail((*key, name), f" is {bound:g}; allowed: {least:g} or more")
    if lower is not None and upper is not None and lower > upper:
        check.fail((*key, "at_least"), " is more than at_most: nothing lies between")


def _property(check: Check, key: Key, prop: Property) -> None:
    if not prop.one_of:
        _bounds(check, key, prop.at_least, prop.at_most, least=None)
    elif prop.at_least is not None or prop.at_most is not None:
        check.fail((*key, "one_of"), " stands beside at_least or at_most; allowed: texts, or bounds of a number")


def _segment(check: Check, key: Key, name: str, asked: Asked) -> None:
    every = [segment.id for segment in check.model.segments]
    if name in asked.segments:
        return
    if name in every:
        check.fail(key, f" is {name!r}; allowed: a segment that stands before this one, or one that events name")
    for close in get_close_matches(name, every, n=1, cutoff=0.85):  # events may name any; a slip looks like this
        place = check.reader.at(key)
        check.warn(f"{place}: {name} is not a segment of the model, events must name it. Did you mean {close}?")

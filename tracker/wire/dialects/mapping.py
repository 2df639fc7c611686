"""A dialect that a shop describes itself: which values of its records are which fields of an event.

Compiled from what a YAML file says (docs/mapping.md has its keys); reading files is others' work. Whatever can be known
to be wrong with a mapping is said when it is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from tracker.domain.events import KNOWN_TYPES, Campaign, Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.consent import gcs_consent, tcf_consent, together
from tracker.wire.dialects import DIALECTS
from tracker.wire.dialects.common import content_id, json_object, snake
from tracker.wire.dialects.dialect import Fields
from tracker.wire.dialects.paths import Path, holds
from tracker.wire.dialects.rules import (
    KINDS,
    Key,
    Rule,
    Scope,
    Wrong,
    choice,
    compile_rule,
    keys_of,
    known,
    path_of,
    table_of,
    word,
)
from tracker.wire.reading import AUTO, CANONICAL
from tracker.wire.times import TS_MISSING

FIELDS: Mapping[str, str] = {
    "customer_id": "id",
    "anonymous_id": "id",
    "account_id": "id",
    "channel": "text",
    "device": "text",
    "url": "text",
    "referrer": "text",
    "cart_id": "id",
    "checkout_id": "id",
    "order_id": "id",
    "value": "number",
    "currency": "text",
    "user_agent": "text",
    "segments": "list",
}
"""The fields of an event that are one value each, with its kind."""
CAMPAIGN = {"source": "text", "medium": "text", "name": "text"}
CONSENT = {"marketing": "flag", "analytics": "flag", "tcf": "text", "gcs": "text"}
ITEM = {"product_id": "id", "sku": "id", "name": "text", "category": "text", "quantity": "whole", "price": "number"}
SHAPE = ("type", "event_id", "ts", *FIELDS, "campaign", "consent", "items", "properties")
TOP = ("name", "recognise", "take", "each", *SHAPE, "cases")
_TAKEN = frozenset({AUTO, CANONICAL, *(dialect.name for dialect in DIALECTS)})
ELSE = ("snake", "refuse", "skip")
"""What `else` of the type may say besides a type."""

Rules = Sequence[tuple[str, Rule]]
Specs = Mapping[str, tuple[Any, Key]]
"""What a mapping says of an event, by key, and where it says so."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="deterministic").encode


class TypeRule(NamedTuple):
    """What an event is called."""

    rule: Rule
    values: Mapping[str, str]
    otherwise: str

    def found(self, scope: Scope) -> str | None:
        """The event's type, None where the mapping leaves such events out. Raises `BadEvent`."""
        given = self.rule.found(scope)
        if given is None:
            raise BadEvent("missing_type", f"{self.rule.label} is missing")
        if self.rule.path is None:
            return str(given)
        named = self.values.get(given)
        if named is not None:
            return named
        if self.otherwise == "refuse":
            raise BadEvent("wrong_type", f"{self.rule.label} is {given!r:.60}; allowed: {', '.join(self.values)}")
        if self.otherwise == "skip":
            return None
        return snake(given) if self.otherwise == "snake" else self.otherwise


class Lines(NamedTuple):
    """A cart's lines; without `each` the event itself is the only one."""

    each: Rule | None
    rules: Rules

    def found(self, scope: Scope) -> list[Item] | None:
        """The items, None where there are none. Raises `BadEvent`."""
        if self.each is None:
            values = _values(self.rules, scope)
            return [Item(**values)] if "product_id" in values else None
        lines = self.each.found(scope)
        if lines is None:
            return None
        items = []
        for index, line in enumerate(lines if isinstance(lines, list) else [lines]):
            values = _values(self.rules, Scope(line, scope.event, scope.record))
            if "product_id" not in values:
                label = dict(self.rules)["product_id"].label
                raise BadEvent("missing_id", f"{label} is missing in line {index + 1} of {self.each.label}")
            items.append(Item(**values))
        return items


class Shape(NamedTuple):
    """What an event is made of."""

    type: TypeRule
    event_id: Rule | None
    content: bool
    """`event_id` is found in the content that makes it."""
    ts: Rule | None
    fields: Rules
    campaign: Rules
    consent: Rules
    items: Lines | None
    properties: Rule | Rules


@dataclass(frozen=True, kw_only=True)
class MappedDialect:
    """A shop's own dialect."""

    name: str
    reads = "What a shop's own mapping says."
    marks: Mapping[str, frozenset[str] | None] | None
    """Top-level fields by which its records are known, and what may stand there."""
    take: Path | None
    each: Rule | None
    cases: Sequence[tuple[Path | None, Shape]]
    unknown: Sequence[tuple[Key, str]]
    """Types that it names and the tracker does not know, with their places: allowed, and perhaps a slip."""

    def recognises(self, fields: Fields) -> bool:
        """See `Dialect`; a mapping without `recognise` recognises nothing."""
        if self.marks is None:
            return False
        for name, allowed in self.marks.items():
            raw = fields.get(name)
            if raw is None or (allowed is not None and word(_decode(raw)) not in allowed):
                return False
        return True

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """See `Dialect`."""
        record = self._record(value)
        if self.take is not None and not holds(self.take(record)):
            return []
        if self.each is None:
            event = self._event(Scope(record, record, record), 0, stamp)
            return [] if event is None else [event]
        several = self.each.found(Scope(record, record, record))
        if not isinstance(several, list):
            raise BadEvent("wrong_type", f"{self.each.label} is {several!r:.60}; allowed: a list")
        made = (self._event(Scope(one, one, record), index, stamp) for index, one in enumerate(several))
        return [event for event in made if event is not None]

    def _record(self, value: bytes) -> Any:
        if self.each is None:
            return json_object(value)
        try:
            record = _decode(value)
        except (ValueError, RecursionError):
            record = None
        return record if isinstance(record, list) else json_object(value)

    def _event(self, scope: Scope, index: int, stamp: int) -> Event | None:
        shape = next((shape for when, shape in self.cases if when is None or holds(when(scope.here))), None)
        kind = None if shape is None else shape.type.found(scope)
        if shape is None or kind is None:
            return None
        ts = None if shape.ts is None else shape.ts.found(scope)
        event = Event(_event_id(shape, scope, index), kind, stamp if ts is None else ts)
        if ts is None:
            event.flags = [TS_MISSING]
        for name, rule in shape.fields:
            found = rule.found(scope)
            if found is not None:
                setattr(event, name, found)
        if event.currency is not None:
            event.currency = event.currency.strip().upper()
        if shape.campaign and (values := _values(shape.campaign, scope)):
            event.campaign = Campaign(**values)
        if shape.consent and (values := _values(shape.consent, scope)):
            event.consent = _consent(**values)
        if shape.items is not None:
            event.items = shape.items.found(scope)
        event.properties = _properties(shape.properties, scope) or None
        return event


def _consent(
    marketing: bool | None = None, analytics: bool | None = None, tcf: str | None = None, gcs: str | None = None
) -> Consent | None:
    said = None if marketing is None and analytics is None else Consent(marketing, analytics)
    return together(said, None if tcf is None else tcf_consent(tcf), None if gcs is None else gcs_consent(gcs))


def _values(rules: Rules, scope: Scope) -> dict[str, Any]:
    return {name: found for name, rule in rules if (found := rule.found(scope)) is not None}


def _event_id(shape: Shape, scope: Scope, index: int) -> str:
    if shape.event_id is None:
        return content_id(_encode(scope.record), str(index).encode())
    found = shape.event_id.found(scope)
    if found is None:
        raise BadEvent("missing_id", f"{shape.event_id.label} is missing")
    return content_id(_encode(found)) if shape.content else str(found)


def _properties(rules: Rule | Rules, scope: Scope) -> dict[str, Any] | None:
    if not isinstance(rules, Rule):
        return _values(rules, scope)
    found = rules.found(scope)
    if found is None or isinstance(found, dict):
        return found
    raise BadEvent("wrong_type", f"{rules.label} is {found!r:.60}; allowed: an object")


def compile_mapping(spec: object) -> MappedDialect:
    """The dialect that a mapping's plain keys and values describe. Raises `Wrong`."""
    if not isinstance(spec, dict):
        raise Wrong((), f"the mapping is {spec!r:.60}; allowed: keys and values")
    keys: dict[str, Any] = spec
    known(keys, (), TOP)
    name = keys.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Wrong(("name",), f" is {name!r}; required: small letters, digits, _ and -")
    if name in _TAKEN:
        raise Wrong(("name",), f" is {name!r}, which is another dialect's; allowed: a name of its own")
    base = {key: (keys[key], (key,)) for key in SHAPE if key in keys}
    unknown: list[tuple[Key, str]] = []
    cases: list[tuple[Path | None, Shape]] = []
    for index, case in enumerate(_list(keys.get("cases", []), ("cases",))):
        at: Key = ("cases", index)
        own = table_of(case, at)
        known(own, at, ("when", *SHAPE))
        if "when" not in own:
            raise Wrong(at, ": when is missing: the condition of the case, for example kind == 'order'")
        specs = base | {key: (own[key], (*at, key)) for key in SHAPE if key in own}
        cases.append((path_of(own["when"], (*at, "when")), _shape(specs, at, unknown)))
    if "type" in base or not cases:
        cases.append((None, _shape(base, (), unknown)))
    return MappedDialect(
        name=name,
        marks=_marks(keys["recognise"]) if "recognise" in keys else None,
        take=path_of(keys["take"], ("take",)) if "take" in keys else None,
        each=compile_rule(keys["each"], ("each",), "any", ()) if "each" in keys else None,
        cases=cases,
        unknown=unknown,
    )


def _list(spec: object, at: Key) -> list[Any]:
    if not isinstance(spec, list):
        raise Wrong(at, f" is {spec!r:.60}; allowed: a list")
    return spec


def _marks(spec: object) -> dict[str, frozenset[str] | None]:
    marks: dict[str, frozenset[str] | None] = {}
    for name, given in table_of(spec, ("recognise",)).items():
        allowed = given if isinstance(given, list) else [given]
        if any(isinstance(one, dict | list) for one in allowed):
            raise Wrong(("recognise", name), f" is {given!r:.60}; allowed: a value, a list of values, or nothing")
        marks[name] = None if given is None else frozenset(map(word, allowed))
    if not marks:
        raise Wrong(("recognise",), " is empty; allowed: top-level fields, with the values that may stand there")
    return marks


def _shape(specs: Specs, at: Key, unknown: list[tuple[Key, str]]) -> Shape:
    if "type" not in specs:
        raise Wrong(at, f"{': ' if at else ''}type is missing")
    if "customer_id" not in specs and "anonymous_id" not in specs:
        raise Wrong(at, f"{': ' if at else ''}customer_id or anonymous_id is missing: whose the event is")
    event_id, content = _id_rule(specs)
    return Shape(
        type=_type_rule(*specs["type"], unknown),
        event_id=event_id,
        content=content,
        ts=compile_rule(*specs["ts"], "time") if "ts" in specs else None,
        fields=tuple((name, compile_rule(*specs[name], kind)) for name, kind in FIELDS.items() if name in specs),
        campaign=_rules(specs, "campaign", CAMPAIGN),
        consent=_rules(specs, "consent", CONSENT),
        items=_lines(*specs["items"]) if "items" in specs else None,
        properties=_property_rules(*specs["properties"]) if "properties" in specs else (),
    )


def _type_rule(spec: object, at: Key, unknown: list[tuple[Key, str]]) -> TypeRule:
    keys = keys_of(spec, at)
    values = table_of(keys.pop("values", {}), (*at, "values"))
    otherwise = keys.pop("else", "snake")
    rule = compile_rule(keys, at, "text")
    named = [((*at, "values", name), given) for name, given in values.items()]
    if otherwise not in ELSE:
        named.append(((*at, "else"), otherwise))
    if "constant" in keys:
        named.append(((*at, "constant"), keys["constant"]))
    for place, given in named:
        if not isinstance(given, str) or not _TYPE.fullmatch(given):
            more = f", {', '.join(ELSE)}" if place[-1] == "else" else ""
            raise Wrong(place, f" is {given!r}; allowed: an event type (small letters, digits and _){more}")
        if given not in KNOWN_TYPES and (place, given) not in unknown:
            unknown.append((place, given))
    return TypeRule(rule, values, otherwise)


def _id_rule(specs: Specs) -> tuple[Rule | None, bool]:
    if "event_id" not in specs:
        return None, False
    spec, at = specs["event_id"]
    if isinstance(spec, dict) and "content" in spec:
        known(spec, at, ("content", "from"))
        keys = {"path" if key == "content" else key: given for key, given in spec.items()}
        return compile_rule(keys, at, "any"), True
    return compile_rule(spec, at, "id"), False


def _rules(specs: Specs, key: str, kinds: Mapping[str, str]) -> Rules:
    if key not in specs:
        return ()
    spec, at = specs[key]
    keys = table_of(spec, at)
    known(keys, at, kinds)
    return tuple((name, compile_rule(keys[name], (*at, name), kinds[name])) for name in keys)


def _lines(spec: object, at: Key) -> Lines:
    keys = table_of(spec, at)
    known(keys, at, ("each", *ITEM))
    if "product_id" not in keys:
        raise Wrong(at, ": product_id is missing")
    each = compile_rule(keys["each"], (*at, "each"), "any") if "each" in keys else None
    sources = ("record",) if each is None else ("event", "record")
    rules = ((name, compile_rule(keys[name], (*at, name), ITEM[name], sources)) for name in keys if name != "each")
    return Lines(each, tuple(rules))


def _property_rules(spec: object, at: Key) -> Rule | Rules:
    if isinstance(spec, str):
        return compile_rule(spec, at, "any")
    return tuple(_property_rule(name, given, (*at, name)) for name, given in table_of(spec, at).items())


def _property_rule(name: str, spec: object, at: Key) -> tuple[str, Rule]:
    if not isinstance(spec, dict):
        return name, compile_rule(spec, at, "any")
    kind = choice(spec, "type", at, KINDS, "any")
    return name, compile_rule({key: given for key, given in spec.items() if key != "type"}, at, kind)

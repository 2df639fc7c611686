"""Self-describing JSON in an enriched event: the one that the event is, and the entities that it comes with."""

from __future__ import annotations

import re
from typing import Any

from tracker.errors import BadEvent

_SCHEMA = re.compile(r"iglu:([\w.-]+)/([\w-]+)/[\w-]+/(\d+)-\d+-\d+")
_WORD_BORDER = re.compile(r"(?<=[^A-Z_])(?=[A-Z])")
_EVENT = "unstruct_event_"
_ENTITIES = "contexts_"
_WRAPPER = "com_snowplowanalytics_snowplow_unstruct_event_1"

Described = dict[str, list[dict[str, Any]]]
"""Data by what describes it, the schema's vendor, name and model in one word: `com_acme_user_1`."""


def event_of(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What describes a self-describing event, and its data; empty for any other. Raises `BadEvent`."""
    given = fields.get("unstruct_event")
    if given:
        word, data = _opened(given, "unstruct_event")
        return _opened(data, "unstruct_event.data") if word == _WRAPPER else (word, data)
    for name, own in fields.items():
        if name.startswith(_EVENT) and own is not None:
            if not isinstance(own, dict):
                raise BadEvent("wrong_type", f"{name} is {own!r:.60}; allowed: an object")
            return name.removeprefix(_EVENT), own
    return "", {}


def entities_of(fields: dict[str, Any]) -> Described:
    """The entities: `contexts_…` fields as the analytics SDKs write them, or `contexts` and `derived_contexts` with
    their schemas. Raises `BadEvent`."""
    found: Described = {}
    for name, given in fields.items():
        if not given:
            continue
        if name.startswith(_ENTITIES):
            if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
                raise BadEvent("wrong_type", f"{name} is {given!r:.60}; allowed: an array of objects")
            found.setdefault(name.removeprefix(_ENTITIES), []).extend(given)
        elif name in ("contexts", "derived_contexts"):
            several = given.get("data") if isinstance(given, dict) else given
            if not isinstance(several, list):
                raise BadEvent("wrong_type", f"{name} is {given!r:.60}; allowed: an object whose data is an array")
            for place, one in enumerate(several):
                word, data = _opened(one, f"{name}.data[{place}]")
                found.setdefault(word, []).append(data)
    return found


def _opened(given: Any, field: str) -> tuple[str, dict[str, Any]]:
    """A self-describing JSON's word and data."""
    if isinstance(given, dict):
        schema, data = given.get("schema"), given.get("data")
        if isinstance(schema, str) and isinstance(data, dict) and (match := _SCHEMA.fullmatch(schema)):
            vendor, name, model = match.groups()
            return f"{vendor.replace('.', '_')}_{_WORD_BORDER.sub('_', name)}_{model}".lower().replace("-", "_"), data
    raise BadEvent("wrong_type", f"{field} is {given!r:.80}; allowed: an object with its Iglu schema and data")

"""The outside contract as documents: an AsyncAPI 3.0 description, and a JSON Schema (2020-12) of each payload.

Made from the types that are encoded and decoded, so that neither can say what the other does not. Objects are open:
consumers must ignore fields that they do not know, because later releases may add some.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tracker.domain.events import Event
from tracker.domain.outputs import DropOff, SessionClosed, Transition, Trigger
from tracker.wire.encode import DROPOFF_KINDS
from tracker.wire.topics import Topics

DIALECT = "https://json-schema.org/draft/2020-12/schema"
LETTER_HEADERS = {
    "reason": "Why the record was refused.",
    "detail": "What was wrong, and what is allowed.",
    "source-topic": "Where it was read.",
    "source-partition": "A whole number.",
    "source-offset": "A whole number.",
    "source-timestamp": "The record's time, ms since 1970 UTC.",
    "source-size": "Bytes of its value, -1 for none.",
    "pointer": "`1` where the value is only its first bytes.",
}
_OPTIONAL_LETTER_HEADERS = {"pointer"}


class Message(NamedTuple):
    """One kind of message: the topic's property of `Topics`, its payload's type and its CloudEvents types."""

    name: str
    topic: str
    shape: type[msgspec.Struct]
    summary: str
    kinds: tuple[str, ...]


MESSAGES: tuple[Message, ...] = (
    Message("transition", "transitions", Transition, "A journey moved from phase to phase.", ("journey.transition",)),
    Message(
        "dropoff",
        "dropoffs",
        DropOff,
        "Somebody fell away, came back and bought, or had not fallen away after all.",
        tuple(f"journey.{kind}" for kind in DROPOFF_KINDS),
    ),
    Message(
        "trigger", "triggers", Trigger, "The moment to send something, by a rule of the model.", ("journey.trigger",)
    ),
    Message("session", "sessions", SessionClosed, "A session that is over.", ("journey.session",)),
    Message("late", "late", Event, "An event older than the allowed lateness.", ("journey.late",)),
)


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each payload, by the message's name; `event` is what a shop sends."""
    return {message.name: _schema(message.shape) for message in MESSAGES} | {"event": _received()}


def asyncapi(topics: Topics, version: str) -> dict[str, Any]:
    """The AsyncAPI document of a tracker whose topics have these names; `version` is the tracker's."""
    messages = {message.name: _message(message) for message in MESSAGES}
    messages["deadLetter"] = _dead_letter()
    messages["event"] = {
        "name": "event",
        "title": "A canonical event",
        "summary": "What a shop sends, in the tracker's own form; other dialects are read as well.",
        "contentType": "application/json",
        "payload": _ref("schemas", "event"),
    }
    addresses = {message.name: getattr(topics, message.topic) for message in MESSAGES}
    addresses |= {"deadLetter": topics.dead_letters}
    raw = {f"raw{number}": topic for number, topic in enumerate(topics.raw_topics)}
    channels = {
        channel: {
            "address": address,
            "messages": {name: _ref("messages", name)},
            "bindings": {"kafka": {"topic": address, "bindingVersion": "0.5.0"}},
        }
        for channel, address, name in (
            *((name, address, name) for name, address in addresses.items()),
            *((channel, topic, "event") for channel, topic in raw.items()),
        )
    }
    operations = {
        **{f"send{name[0].upper()}{name[1:]}": _operation("send", name) for name in addresses},
        **{f"receive{channel[0].upper()}{channel[1:]}": _operation("receive", channel) for channel in raw},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Journey tracker",
            "version": version,
            "description": "Where every customer of a webshop is on their journey: events in, transitions, drop-offs, "
            "triggers and sessions out. Read the outputs with `isolation.level=read_committed`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {
                name: {k: v for k, v in schema.items() if k != "$schema"} for name, schema in schemas().items()
            },
        },
    }


def _operation(action: str, channel: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def _message(message: Message) -> dict[str, Any]:
    headers: dict[str, Any] = {
        "ce_id": {"type": "string", "description": "The payload's id; a repeated message has the same."},
        "ce_source": {"type": "string"},
        "ce_specversion": {"const": "1.0"},
        "ce_type": {"enum": list(message.kinds)},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "The person id, as the key."},
        "content-type": {"const": "application/json"},
    }
    required = list(headers)
    if message.shape is Event:
        headers["tracker-late-by-ms"] = {"type": "string", "pattern": "^[0-9]+$"}
        required.append("tracker-late-by-ms")
    else:
        headers["tracker-truncated"] = {"type": "string", "description": "There where texts were cut to fit a record."}
    return {
        "name": message.name,
        "title": message.summary.rstrip("."),
        "summary": message.summary,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": headers, "required": required},
        "payload": _ref("schemas", message.name),
        "bindings": {"kafka": {"key": {"type": "string", "description": "The person id."}, "bindingVersion": "0.5.0"}},
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "deadLetter",
        "title": "A record that was refused",
        "summary": "The record's own key, value and headers (these with `original-` in front), and why it was refused.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {
                name: {"type": "string", "description": meaning} for name, meaning in LETTER_HEADERS.items()
            },
            "required": [name for name in LETTER_HEADERS if name not in _OPTIONAL_LETTER_HEADERS],
        },
        "payload": {"description": "The record's own bytes."},
    }


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _received() -> dict[str, Any]:
    """What a shop may send: more than what is written again."""
    schema = _schema(Event)
    properties = schema["properties"]
    del properties["flags"]  # ingest's own
    properties["ts"] = {"anyOf": [{"type": "integer"}, {"type": "string", "format": "date-time"}]}
    schema["required"] = ["event_id", "type"]
    return schema


def _schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """A schema that stands alone. What is left out where it has nothing to say is never null in an output."""
    (top,), parts = msgspec.json.schema_components([shape], ref_template="{name}")
    written = shape is not Event
    name = top["$ref"]

    def built(node: Any) -> Any:
        if isinstance(node, list):
            return [built(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return part(node["$ref"])
        node = {key: built(value) for key, value in node.items() if key != "title"}
        if isinstance(node.get("description"), str):
            node["description"] = " ".join(node["description"].split())
        if "default" in node:
            default = node.pop("default")
            if written and default is None:
                kinds = [kind for kind in node["anyOf"] if kind != {"type": "null"}]
                node = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        return node

    def part(inner: str) -> Any:
        return built(parts[inner])

    return {"$schema": DIALECT, "title": name, **part(name)}

"""The shape of Segment's calls, and the mending of those that nearly have it."""

from __future__ import annotations

from typing import Any

import msgspec

from tracker.domain.events import Campaign
from tracker.wire.dialects.common import converted, json_object

CALLS = ("track", "identify", "page", "screen", "alias", "group")


class Page(msgspec.Struct, gc=False):
    """`context.page`."""

    url: str | None = None
    referrer: str | None = None


class Device(msgspec.Struct, gc=False):
    """`context.device`."""

    type: str | None = None


class AgentData(msgspec.Struct, gc=False):
    """`context.userAgentData`, the browser's client hints."""

    mobile: bool | None = None


class Context(msgspec.Struct, rename="camel", gc=False):
    """What of `context` is read."""

    page: Page | None = None
    campaign: Campaign | None = None
    user_agent: str | None = None
    user_agent_data: AgentData | None = None
    device: Device | None = None
    group_id: str | int | None = None
    traits: dict[str, Any] | None = None
    consent: dict[str, Any] | None = None
    consent_management: dict[str, Any] | None = None
    """RudderStack's."""


class Call(msgspec.Struct, rename="camel"):
    """A call, or a `batch` of them; times are as they were sent."""

    type: str | None = None
    event: str | None = None
    message_id: str | int | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    name: str | None = None
    category: str | None = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    received_at: Any = None
    context: Context | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    batch: list[Call] | None = None


_decode = msgspec.json.Decoder(Call).decode

_OBJECTS = ("context", "properties", "traits")
_OF_CONTEXT = ("page", "campaign", "userAgentData", "device", "traits", "consent", "consentManagement")
_TEXTS = ("event", "name", "category")
_OTHER_NAMES = {
    "action": "type",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "message_id": "messageId",
    "previous_id": "previousId",
    "group_id": "groupId",
    "sent_at": "sentAt",
    "received_at": "receivedAt",
    "original_timestamp": "originalTimestamp",
    "user_agent": "userAgent",
}
"""As the specification's own older examples have them."""


def decoded(value: bytes) -> Call:
    """The call, or the batch, in a record. Raises `BadEvent`."""
    try:
        call = _decode(value)
    except (ValueError, RecursionError):
        return _mended(value)
    if call.batch is None:
        return call if _is_plain(call) else _mended(value)
    return call if all(map(_is_plain, call.batch)) else _mended(value)


def _is_plain(call: Call) -> bool:
    """Whether nothing of it may stand under an older name."""
    return call.type in CALLS and (call.user_id is not None or call.anonymous_id is not None)


def _mended(value: bytes) -> Call:
    raw = json_object(value)
    _mend(raw)
    batch = raw.get("batch")
    if isinstance(batch, list):
        for call in batch:
            if isinstance(call, dict):
                _mend(call)
    return converted(raw, Call, value)


def _mend(raw: dict[str, Any]) -> None:
    """What producers mean by older names, numbers for texts, and PHP's empty lists for empty objects."""
    _rename(raw)
    kind = raw.get("type")
    if isinstance(kind, str):
        raw["type"] = kind.lower()
    _clean(raw, _OBJECTS, _TEXTS)
    context = raw.get("context")
    if isinstance(context, dict):
        _rename(context)
        _clean(context, _OF_CONTEXT, ("userAgent",))
        for name, texts in (
            ("page", ("url", "referrer")),
            ("campaign", ("source", "medium", "name")),
            ("device", ("type",)),
        ):
            inner = context.get(name)
            if isinstance(inner, dict):
                _clean(inner, (), texts)


def _rename(raw: dict[str, Any]) -> None:
    for other, name in _OTHER_NAMES.items():
        if other in raw and raw.get(name) is None:
            raw[name] = raw.pop(other)


def _clean(raw: dict[str, Any], objects: tuple[str, ...], texts: tuple[str, ...]) -> None:
    for name in objects:
        if raw.get(name) in ("", []):
            del raw[name]
    for name in texts:
        given = raw.get(name)
        if isinstance(given, int | float) and not isinstance(given, bool):
            raw[name] = str(given)
        elif given in ([], {}):
            del raw[name]

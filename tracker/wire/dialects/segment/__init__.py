"""Segment's calls, specification version 2 with the names of version 1, and RudderStack's, which has the same: track,
identify, page, screen, alias and group, each by itself or many in a `batch`.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec

from tracker.domain.events import Campaign, Consent, Event
from tracker.errors import BadEvent
from tracker.wire.consent import category_consent
from tracker.wire.dialects.common import content_id, text_id
from tracker.wire.dialects.dialect import Fields
from tracker.wire.dialects.segment.calls import CALLS, Call, Context, Page, decoded
from tracker.wire.dialects.segment.names import NOT_THEIRS, type_of
from tracker.wire.dialects.segment.track import read_properties
from tracker.wire.times import TS_MISSING, milliseconds

_NAMES = frozenset(f'"{call}"'.encode() for call in CALLS)
_OWN_FIELDS = frozenset(
    """
    messageId anonymousId userId rudderId originalTimestamp sentAt receivedAt context message_id anonymous_id user_id
    """.split()
)
_RUDDER = "rudderId"
_NO_CONTEXT = Context()
_NO_PAGE = Page()
_NOT_KEPT = frozenset(
    """
    consent segments address avatar description email firstName first_name lastName last_name name phone username
    website
    """.split()
)
"""Traits that have a place of their own, or that no journey needs and that say who somebody is."""
_encode = msgspec.json.Encoder(order="deterministic").encode


class Segment:
    """The adapter; RudderStack's is told apart by the id that it adds to each call."""

    def __init__(self, name: str, *, rudder: bool) -> None:
        self.name = name
        self.reads = f"{'RudderStack' if rudder else 'Segment'}'s calls, each by itself or many in a batch."
        self._rudder = rudder

    def recognises(self, fields: Fields) -> bool:
        """See `Dialect`."""
        call = fields.get("type", fields.get("action"))
        if call is not None and bytes(call).lower() in _NAMES:
            return (_RUDDER in fields) == self._rudder and not _OWN_FIELDS.isdisjoint(fields)
        batch = bytes(fields.get("batch", b""))
        return batch.startswith(b"[") and (b'"rudderId"' in batch) == self._rudder

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """See `Dialect`."""
        call = decoded(value)
        batch = call.batch
        if batch is None:
            return _told([_event(call, stamp)])
        if not batch:
            raise BadEvent("wrong_type", "batch is empty; allowed: at least one call")
        return _told([_event(_within(one, call), stamp) for one in batch])


SEGMENT = Segment("segment", rudder=False)
RUDDERSTACK = Segment("rudderstack", rudder=True)


def _told(events: list[Event]) -> list[Event]:
    """Those that somebody did."""
    return [event for event in events if event.type not in NOT_THEIRS]


def _within(call: Call, batch: Call) -> Call:
    """A call with what its batch says about all of them."""
    if call.batch is not None:
        raise BadEvent("wrong_type", "batch holds another batch; allowed: calls")
    if call.sent_at is None:
        call.sent_at = batch.sent_at
    if call.received_at is None:
        call.received_at = batch.received_at
    if batch.context is not None:
        if call.context is None:
            call.context = batch.context
        else:
            for field in Context.__struct_fields__:
                if getattr(call.context, field) is None:
                    setattr(call.context, field, getattr(batch.context, field))
    return call


def _event(call: Call, stamp: int) -> Event:
    context = call.context or _NO_CONTEXT
    page = context.page or _NO_PAGE
    time = _time(call)
    ts = stamp if time is None else time
    customer, anonymous, message = call.user_id, call.anonymous_id, call.message_id
    event = Event(
        (message if type(message) is str else text_id(message, "messageId")) or _derived_id(call, ts),
        "",
        ts,
        customer if type(customer) is str else text_id(customer, "userId"),
        anonymous if type(anonymous) is str else text_id(anonymous, "anonymousId"),
        device=_device(context),
        url=page.url or None,
        referrer=page.referrer or None,
        user_agent=context.user_agent or None,
    )
    if time is None:
        event.flags = [TS_MISSING]
    if context.group_id is not None:
        event.account_id = text_id(context.group_id, "context.groupId")
    if context.campaign is not None:
        event.campaign = _campaign(context.campaign)
    if context.traits is not None:
        event.segments = _segments(context.traits, "context.traits")
    if context.consent is not None or context.consent_management is not None:
        event.consent = _consent(context)
    kind = call.type
    if kind == "track":
        _track(call, event)
    elif kind in {"page", "screen"}:
        _page(call, event)
    elif kind == "identify":
        event.type = "identified" if event.customer_id else "customer_updated"
        _traits(call, event)
    elif kind == "alias":
        event.type = "identified"
        if call.previous_id is None or not event.customer_id:
            raise BadEvent("missing_id", "previousId or userId is missing; an alias call says which id becomes which")
        event.anonymous_id = text_id(call.previous_id, "previousId")
    elif kind == "group":
        event.type = "customer_updated"
        if call.group_id is None:
            raise BadEvent("missing_id", "groupId is missing; a group call says whose account it is")
        event.account_id = text_id(call.group_id, "groupId")
        _traits(call, event)
    elif kind:
        raise BadEvent("wrong_type", f"type is {kind!r:.60}; allowed: {', '.join(CALLS)}")
    else:
        raise BadEvent("missing_type", f"type is missing; allowed: {', '.join(CALLS)}")
    return event


def _time(call: Call) -> int | None:
    """When it happened, ms. Segment says it in `timestamp`; where that is missing, a device's clock is set right as
    Segment does: by how far it was off at sending."""
    given = call.timestamp
    if given is not None and given != "":
        return milliseconds(given, "timestamp", UTC)
    names = ("originalTimestamp", "sentAt", "receivedAt")
    times = (call.original_timestamp, call.sent_at, call.received_at)
    original, sent, received = (
        None if time is None or time == "" else milliseconds(time, name, UTC)
        for name, time in zip(names, times, strict=True)
    )
    if original is None:
        return sent if received is None else received
    return original if sent is None or received is None else received - (sent - original)


def _derived_id(call: Call, ts: int) -> str:
    """The id of what has no `messageId`: of what the shop said, without the times that transport adds; of its record's
    time where the shop said none, for then two equal calls are two."""
    given = call.timestamp if call.original_timestamp is None else call.original_timestamp
    said = msgspec.structs.replace(call, timestamp=given or ts, original_timestamp=None, sent_at=None, received_at=None)
    return content_id(_encode(said))


def _device(context: Context) -> str | None:
    device = context.device
    if device is not None and device.type:
        kind = device.type.lower()
        return "mobile" if kind in {"ios", "android"} else kind
    hints = context.user_agent_data
    if hints is None or hints.mobile is None:
        return None
    return "mobile" if hints.mobile else "desktop"


def _campaign(given: Campaign) -> Campaign | None:
    given.source, given.medium, given.name = given.source or None, given.medium or None, given.name or None
    return given if given.source or given.medium or given.name else None


def _consent(context: Context) -> Consent | None:
    preferences = (context.consent or {}).get("categoryPreferences")
    if isinstance(preferences, dict):
        return category_consent(preferences.items())
    said: list[tuple[Any, Any]] = []
    for field, allowed in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        if isinstance(names := (context.consent_management or {}).get(field), list):
            said += [(name, allowed) for name in names]
    return category_consent(said)


def _segments(traits: dict[str, object], where: str) -> list[str] | None:
    given = traits.get("segments")
    if not given:
        return None
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise BadEvent("wrong_type", f"{where}.segments is {given!r:.60}; allowed: an array of texts")
    return given


def _track(call: Call, event: Event) -> None:
    if not call.event:
        raise BadEvent("missing_type", "event is missing; a track call says what happened")
    event.type = type_of(call.event)
    if not event.type:
        raise BadEvent("missing_type", f"event is {call.event!r:.60}; allowed: a name with letters or digits")
    if event.type == "unsubscribed":
        event.consent = Consent(marketing=False, analytics=event.consent.analytics if event.consent else None)
    if call.properties:
        read_properties(event, call.properties)


def _page(call: Call, event: Event) -> None:
    event.type = "page_viewed"
    properties = call.properties or {}
    for name in ("url", "referrer"):
        given = properties.pop(name, None)
        if given:
            if type(given) is not str:
                raise BadEvent("wrong_type", f"properties.{name} is {given!r:.60}; allowed: text")
            setattr(event, name, given)
    if call.name:
        properties.setdefault("name", call.name)
    if call.category:
        properties.setdefault("category", call.category)
    if properties:
        read_properties(event, properties)


def _traits(call: Call, event: Event) -> None:
    traits = call.traits
    if not traits:
        return
    event.segments = _segments(traits, "traits") or event.segments
    if isinstance(said := traits.get("consent"), dict):
        event.consent = category_consent(said.items()) or event.consent
    event.properties = {name: given for name, given in traits.items() if name not in _NOT_KEPT} or None

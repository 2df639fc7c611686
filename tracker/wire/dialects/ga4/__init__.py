"""Google Analytics 4: the requests of its Measurement Protocol, and the rows of its BigQuery export."""

from __future__ import annotations

from typing import Any

import msgspec

from tracker.domain.events import Event
from tracker.errors import BadEvent
from tracker.wire.dialects.common import content_id, text_id, whole
from tracker.wire.dialects.dialect import Fields
from tracker.wire.dialects.ga4.names import NOT_THE_PERSONS, type_of
from tracker.wire.dialects.ga4.params import (
    channel,
    collected,
    consent,
    known,
    of_session,
    plain,
    read_items,
    read_params,
    segments,
)
from tracker.wire.dialects.ga4.shape import GivenEvent, Param, Record, decoded
from tracker.wire.times import TS_MISSING, milliseconds

_canonical = msgspec.json.Encoder(order="sorted").encode

_LAST_TURN = 999
_OF_ECOMMERCE = {"order_completed": "purchase_revenue", "order_refunded": "refund_value"}
"""Where a row has an order's sum when no parameter says it."""


class Ga4:
    """The adapter."""

    name = "ga4"
    reads = "Google Analytics 4: requests of its Measurement Protocol, and rows of its BigQuery export."

    def recognises(self, fields: Fields) -> bool:
        """A request has events and the visitor's id; a row has its event's name and time, and parameters or the
        visitor's pseudonym."""
        if "events" in fields:
            return "client_id" in fields or "app_instance_id" in fields
        return (
            "event_name" in fields
            and "event_timestamp" in fields
            and ("event_params" in fields or "user_pseudo_id" in fields)
        )

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """The events of a request, or a row's; none of what nobody did, and of those who refused to be measured."""
        record = decoded(value)
        if record.events is not None:
            return _of_request(record, record.events, stamp)
        if _is_nobodys(record.event_name):
            return []
        event = _of_row(record, stamp)
        refused = event.consent is not None and event.consent.analytics is False
        return [] if refused and event.customer_id is None and event.anonymous_id is None else [event]


GA4 = Ga4()


def _of_request(request: Record, events: list[GivenEvent], stamp: int) -> list[Event]:
    if not events:
        raise BadEvent("wrong_type", "events is empty; allowed: at least one event")
    customer = text_id(request.user_id, "user_id")
    anonymous = text_id(request.client_id, "client_id") or text_id(request.app_instance_id, "app_instance_id")
    seen: dict[str, int] = {}
    found = []
    for place, given in enumerate(events):
        if _is_nobodys(given.name):
            continue
        field = f"events[{place}]"
        params = given.params or {}
        at = given.timestamp_micros if given.timestamp_micros is not None else request.timestamp_micros
        ts = stamp if at is None else milliseconds(at, "timestamp_micros")
        if given.timestamp_micros is None:
            ts += place  # events that share a time are in the order in which they stand
        # Without a time of its own the record's keeps two equal events apart.
        content = _canonical((given.name, customer, anonymous, stamp if at is None else at, params))
        event_id = content_id(content)
        copy = seen[event_id] = seen.get(event_id, 0) + 1
        event = Event(
            event_id=event_id if copy == 1 else content_id(content, b"%d" % copy),
            type=_type(given.name, f"{field}.name"),
            ts=ts,
            customer_id=customer,
            anonymous_id=anonymous,
            device=None if request.device is None else known(request.device.category),
            consent=consent(request.consent, personalised=request.non_personalized_ads is not True),
            user_agent=request.user_agent or None,
            segments=segments(request.user_properties),
            flags=[TS_MISSING] if at is None else None,
        )
        read_items(event, params.pop("items", None), f"{field}.params.items")
        read_params(event, params, f"{field}.params")
        found.append(event)
    return found


def _of_row(row: Record, stamp: int) -> Event:
    params = {param.key: found for param in row.event_params or () if (found := _value(param)) is not None}
    customer, anonymous = text_id(row.user_id, "user_id"), text_id(row.user_pseudo_id, "user_pseudo_id")
    at = row.event_timestamp
    event = Event(
        event_id="",
        type=_type(row.event_name, "event_name"),
        ts=stamp if at is None else milliseconds(at, "event_timestamp"),
        customer_id=customer,
        anonymous_id=anonymous,
        channel=channel(row.session_traffic_source_last_click),
        device=None if row.device is None else known(row.device.category),
        campaign=collected(row.collected_traffic_source) or of_session(row.session_traffic_source_last_click),
        consent=consent(row.privacy_info),
        segments=segments(row.user_properties),
        flags=[TS_MISSING] if at is None else None,
    )
    read_items(event, row.items, "items")
    place = row.event_bundle_sequence_id, row.batch_page_id, row.batch_ordering_id, row.batch_event_index
    # Only what the day's table repeats of the day's stream: Google fills in the rest later.
    content = row.event_name, customer, anonymous, event.ts if at is None else at, place, params, event.items
    event.event_id = _turn(row.batch_event_index) + content_id(_canonical(content))
    ecommerce = row.ecommerce or {}
    for name, other in (("transaction_id", "transaction_id"), ("value", _OF_ECOMMERCE.get(event.type, ""))):
        if params.get(name) is None and (given := known(ecommerce.get(other))) is not None:
            params[name] = given
    read_params(event, params, "event_params")
    return event


def _turn(index: Any) -> str:
    """What puts the ids of a batch's events, which share a time, in the order in which they happened."""
    turn = whole(index, "batch_event_index")
    return "" if turn is None or not 0 <= turn <= _LAST_TURN else f"{turn:03}-"


def _is_nobodys(name: object) -> bool:
    return isinstance(name, str) and name in NOT_THE_PERSONS


def _type(name: object, field: str) -> str:
    if name is None or name == "":
        raise BadEvent("missing_type", f"{field} is missing; required: the event's name")
    if not isinstance(name, str):
        raise BadEvent("wrong_type", f"{field} is {name!r:.60}; allowed: text")
    return type_of(name)


def _value(param: Param) -> str | int | float | None:
    """The one value that a parameter has."""
    given = param.value
    if given is None:
        return None
    if given.string_value is not None:
        return given.string_value
    return plain(given.int_value, given.double_value, given.float_value, field=param.key)

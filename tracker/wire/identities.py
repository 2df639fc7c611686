"""The ids in an event, made to agree: customer ids written in one way, and ids that name nobody left out.

What names nobody are placeholders such as `null` or `guest`, and what the shop says never does (`TRACKER_BLOCKED_IDS`):
the customer that a till in a shop is logged in as, the visitor id of a kiosk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tracker.domain.events import NOT_AN_IDENTITY, Event, person_id
from tracker.errors import BadEvent
from tracker.wire.decode import encode_event
from tracker.wire.reading import Read

AS_IS = "as-is"
STEPS = ("trim", "uuid", "number", "lower")
"""Ways to write customer ids alike, in the order in which they are applied; with none of them they stay as they are."""

_PERSONS = ("customer_id", "anonymous_id", "account_id")
_NAMES = ("order_id", "cart_id", "checkout_id")
_UUID = re.compile(
    r"\s*(?:urn:uuid:)?\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\s*\+?0*([0-9]+)(?:\.0+)?\s*")


class Identities:
    """How a shop's ids are read: `customer_ids` are some of `STEPS`, or `AS_IS`; `blocked` are never identities, in
    whatever case and with whatever space around them."""

    def __init__(self, customer_ids: Iterable[str] = (), blocked: Iterable[str] = ()) -> None:
        self._steps = frozenset(customer_ids) - {AS_IS}
        self._blocked = frozenset(given.strip().lower() for given in blocked)
        self._placeholders = NOT_AN_IDENTITY | self._blocked
        self._plain = not self._steps and not self._blocked

    def read(self, one: Read) -> Read:
        """The event with its ids made to agree. Raises `BadEvent` where nobody is left whose it could be."""
        event = one.event
        changed = False
        for field in _NAMES:
            given = getattr(event, field)
            if given is not None and given.strip().lower() in self._placeholders:
                setattr(event, field, None)
                changed = True
        if not self._plain:
            changed = self._persons(event) or changed
        if not changed:
            return one
        person = person_id(event)
        if person is None:
            raise BadEvent(
                "no_identity",
                "every id in it that could name somebody is in TRACKER_BLOCKED_IDS, or is a placeholder; allowed: at "
                "least one customer_id or anonymous_id that is neither",
            )
        return Read(event, person, encode_event(event))

    def needed(self, event: Event) -> bool:
        """Whether `read` has anything to look at."""
        return (
            not self._plain or event.order_id is not None or event.cart_id is not None or event.checkout_id is not None
        )

    def customer(self, given: str) -> str:
        """A customer id as the tracker writes it."""
        steps = self._steps
        if "trim" in steps:
            given = given.strip()
        if "uuid" in steps and (uuid := _UUID.fullmatch(given)) is not None:
            given = "-".join(uuid.groups()).lower()
        if "number" in steps and (number := _NUMBER.fullmatch(given)) is not None:
            given = number[1]
        return given.lower() if "lower" in steps else given

    def _persons(self, event: Event) -> bool:
        changed = False
        for field in _PERSONS:
            given = getattr(event, field)
            if given is not None and given.strip().lower() in self._blocked:
                setattr(event, field, None)
                changed = True
        if event.customer_id is not None and (customer := self.customer(event.customer_id)) != event.customer_id:
            event.customer_id = customer
            changed = True
        return changed

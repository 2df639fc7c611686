"""A log in which a customer and a visitor are told of by one letter."""

from __future__ import annotations

from typing import Any

from tests.properties.log import TOPICS, Log, Worker
from tracker.domain.events import Consent, Event, Item
from tracker.wire.control import Absorb, Erase, Merge, decode_control

HOUR = 3_600_000


START = 1_767_225_600_000


def event(name: str, type_: str, hours: float, **fields: Any) -> Event:
    if type_.startswith("product_"):
        fields |= {"items": [Item("dress", price=100.0)], "currency": "NOK"}
    return Event(name, type_, START + round(hours * HOUR), **fields)


class Told(Log):
    """A log in which a person is told of by one letter."""

    def kari(self, name: str, type_: str, hours: float, **fields: Any) -> None:
        self.event(event(name, type_, hours, customer_id="kari", **fields), "c:kari")

    def visitor(self, name: str, type_: str, hours: float, **fields: Any) -> None:
        self.event(event(name, type_, hours, anonymous_id="phone", **fields), "a:phone")

    def time(self, hours: float) -> None:
        self.watermark(START + round(hours * HOUR))

    def erase(self, hours: float, key: str = "c:kari", spread: bool = True) -> None:
        self.control(Erase(START + round(hours * HOUR), spread), key)


def read(log: Log, worker: Worker | None = None) -> Worker:
    return (worker or Worker()).read(log)


def refuse(log: Told, hours: float, name: str = "no") -> None:
    log.kari(name, "page_viewed", hours, consent=Consent(analytics=False))


def grant(log: Told, hours: float, name: str = "yes") -> None:
    log.kari(name, "page_viewed", hours, consent=Consent(analytics=True))


def past_of(visitor: str) -> bytes:
    """The payload of an absorbed past."""
    log = Log()
    log.event(event(f"{visitor}1", "product_added", 9, anonymous_id=visitor), f"a:{visitor}")
    log.control(Merge("c:kari", START + 10 * HOUR), f"a:{visitor}")
    ((_, _, value),) = [one for one in Worker().read(log).said if one[0] == TOPICS.events]
    absorb = decode_control("absorb", value)
    assert isinstance(absorb, Absorb)
    return absorb.payload


def erased_too(worker: Worker) -> dict[str, bool]:
    found = {}
    for topic, key, value in worker.said:
        if topic == TOPICS.events and value.startswith(b'{"ts"'):
            control = decode_control("erase", value)
            assert isinstance(control, Erase)
            if control.member is not None:
                continue
            found[key.decode()] = control.spread
    return found

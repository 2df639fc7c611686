"""What an order, cart or checkout id says about who is who: whoever names the same one is the same person.

A claim is a person naming such an id. The claims of an id lie under its key (`order:…`, `cart:…`, `checkout:…`), which
no person id looks like, beside the states of persons.
"""

from __future__ import annotations

import msgspec

from tracker.domain.events import Event, is_identity
from tracker.domain.notices import NOTICE
from tracker.domain.outputs import Bound, Claimed, Linked, Output
from tracker.domain.state import MAX_CLAIMS, MAX_IDS, State

DAY = 86_400_000
CLAIM_TTL = 30 * DAY
"""How long an id binds after it was last claimed, ms."""
CLAIM_AGAIN = DAY
"""An id that goes on being named is claimed again after so long, ms."""
PREFIXES = (b"order:", b"cart:", b"checkout:")


class Claims(msgspec.Struct, array_like=True):
    """Who claimed an id. `customers` has at most two: from the second on the id is burned and binds nobody."""

    until: int
    visitors: list[str] = []
    customers: list[str] = []
    timer: int | None = None
    """As in `State`."""


encode_claims = msgspec.msgpack.Encoder().encode
decode_claims = msgspec.msgpack.Decoder(Claims).decode


def is_claim(key: bytes) -> bool:
    """Whether this is the key of an id that can be claimed."""
    return key.startswith(PREFIXES)


def claim_keys(event: Event) -> list[str]:
    """The keys of what an event names: its order, cart and checkout, but for placeholders such as `null`."""
    keys = []
    if is_identity(event.order_id):
        keys.append(f"order:{event.order_id}")
    if is_identity(event.cart_id):
        keys.append(f"cart:{event.cart_id}")
    if is_identity(event.checkout_id):
        keys.append(f"checkout:{event.checkout_id}")
    return keys


def claim(claims: Claims, person: str, ts: int, instead: str | None, out: list[Output]) -> None:
    """`person` names the id at `ts`. A visitor and a customer who both do are linked, in whichever order they came;
    `instead` is a visitor who has turned out to be this person and was linked already."""
    claims.until = max(claims.until, ts + CLAIM_TTL)
    visitors, customers = claims.visitors, claims.customers
    if instead is not None and instead in visitors:
        claims.visitors = visitors = [visitor for visitor in visitors if visitor != instead]
    if len(customers) > 1:
        return
    if person.startswith("c:"):
        if person in customers:
            return
        claims.customers = [*customers, person]
        if customers:
            claims.visitors = []
            return
        out.extend(Linked(visitor, person, ts) for visitor in visitors)
    elif person not in visitors:
        if len(visitors) < MAX_IDS:
            claims.visitors = [*visitors, person]
        else:
            out.append(Bound("claimants"))
        if customers:
            out.append(Linked(person, customers[0], ts))


def note(state: State, event: Event, out: list[Output]) -> None:
    """Remember what this person claims. What a merged visitor claims, the customer claims as well: so that whoever
    else named the same joins them, over as many links as it takes."""
    if state.facts.person.startswith("b:") or (event.flags is not None and NOTICE in event.flags):
        return  # an account, or a member who hears of what somebody else ordered
    known = state.claims
    for key in claim_keys(event):
        last = known.get(key)
        if last is not None and event.ts - last < CLAIM_AGAIN:
            continue
        known = {old: at for old, at in known.items() if at > event.ts - CLAIM_TTL and old != key}
        if len(known) >= MAX_CLAIMS:
            del known[min(known, key=lambda old: (known[old], old))]
            out.append(Bound("claims"))
        state.claims = known = {**known, key: event.ts}
        if state.merged_into is not None:
            out.append(Claimed(key, state.merged_into, event.ts, state.facts.person))


def pass_on(state: State, customer: str, out: list[Output]) -> None:
    """This visitor is `customer` from now on: so is whoever claims what they claimed."""
    out.extend(Claimed(key, customer, ts, state.facts.person) for key, ts in state.claims.items())

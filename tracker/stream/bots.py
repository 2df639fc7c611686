"""Bots that say what they are: browser traffic whose user agent is a crawler's.

Only what a browser sends is looked at: an event on a page, by a visitor with an anonymous id, that is no order. Servers
that report orders send them with the same HTTP libraries as crawlers.
"""

from __future__ import annotations

from functools import lru_cache

from crawleruseragents import is_crawler

from tracker.domain.events import PASSIVE_TYPES, Event

AGENTS_REMEMBERED = 20_000
LONGEST = 1000
"""Characters of a user agent that are looked at."""
_SERVERS = PASSIVE_TYPES | {"order_completed", "trial_started", "subscription_started"}


def is_bot(event: Event) -> bool:
    """Whether an event is a crawler's."""
    agent = event.user_agent
    return (
        agent is not None
        and event.anonymous_id is not None
        and event.url is not None
        and event.type not in _SERVERS
        and _is_crawler(agent[:LONGEST])
    )


@lru_cache(maxsize=AGENTS_REMEMBERED)
def _is_crawler(agent: str) -> bool:
    return bool(is_crawler(agent))

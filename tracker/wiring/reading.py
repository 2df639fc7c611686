"""`tracker journey` and `tracker dead-letters`: what is in the store and in the dead-letter topic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tracker.broker.kafka import connected, make_consumer, partitions_of
from tracker.broker.offsets import Offsets
from tracker.broker.sender import Sender
from tracker.domain.accounts import PREFIX
from tracker.domain.claims import decode_claims
from tracker.domain.lineup import decode_lineups, mark_of
from tracker.domain.migration import migrate
from tracker.domain.model import FoldSettings, Model
from tracker.domain.state import State, decode_state
from tracker.domain.table import compile_table
from tracker.errors import SettingError
from tracker.journeys.loader import from_text, load
from tracker.settings import Settings
from tracker.stream.deadletters import DeadLetters, SentAgain
from tracker.stream.track import LINEUPS_KEY
from tracker.wire.deadletters import DeadLetter
from tracker.wire.sealing import Seal
from tracker.wiring.parts import delivery_of, run, store_of, stored_config, table_of, topics_of


def show_journey(settings: Settings, person: str) -> tuple[State, list[Model]] | None:
    """`tracker journey`: a person's state and the models that it was folded by, None for somebody never seen."""

    async def find() -> tuple[State, list[Model]] | None:
        topics = topics_of(settings)
        partitions = (await partitions_of(settings.brokers_text, topics.events))[topics.events]
        if not partitions:
            raise SettingError(
                f"topic {topics.events} is missing on {settings.brokers_text}; `tracker topics` makes it, and "
                "TRACKER_NAMESPACE goes in front of its name"
            )
        store = store_of(settings)
        try:
            found = await store.find(person, partitions)
            if found is None:
                return None
            config = await stored_config(store, found.partition)
            (stored,) = await store.states(found.partition, [LINEUPS_KEY])
        finally:
            await store.close()
        # A state names phases and rules by their place in the model: only the one in force there can tell.
        models = [from_text(text) for text in config.models] if config is not None else list(map(load, settings.model))
        state = decode_state(found.state)
        table = table_of(config) if config is not None else compile_table(models[0], FoldSettings(), *models[1:])
        if person.startswith(PREFIX) and table.account is not None:
            table = table.account
        if state.lineup != table.mark:
            lineups = {mark_of(lineup): lineup for lineup in (decode_lineups(stored) if stored is not None else ())}
            migrate(state, lineups.get(state.lineup), table, [])
        return state, models

    return run(find())


def find_claimants(settings: Settings, key: str) -> list[str]:
    """Who named an order, cart or checkout lately (`order:…`), customers before visitors."""

    async def find() -> list[str]:
        topics = topics_of(settings)
        partitions = (await partitions_of(settings.brokers_text, topics.events))[topics.events]
        store = store_of(settings)
        try:
            found = await store.find(key, partitions) if partitions else None
        finally:
            await store.close()
        claims = None if found is None else decode_claims(found.state)
        return [] if claims is None else [*claims.customers, *claims.visitors]

    return run(find())


@asynccontextmanager
async def dead_letters_of(settings: Settings) -> AsyncIterator[DeadLetters]:
    """The dead-letter topic, to list or to send again."""
    topics, brokers = topics_of(settings), settings.brokers_text
    exactly_once = await delivery_of(settings)
    sender = Sender(brokers, idempotent=exactly_once)

    async def partitions(topic: str) -> int:
        return (await partitions_of(brokers, topic))[topic]

    async with connected(brokers) as client:
        try:
            yield DeadLetters(
                topics,
                lambda: make_consumer(brokers, topics.track_group, group_id=None),
                sender.append,
                lambda partition: Offsets(client, topics.dead_letters_group, topics.dead_letters, partition),
                partitions,
                Seal(settings.dead_letters, settings.dead_letters_key),
            )
        finally:
            await sender.close()


def list_dead_letters(settings: Settings, reason: str | None, limit: int) -> list[DeadLetter]:
    """`tracker dead-letters list`: the newest `limit` letters, oldest first."""

    async def newest() -> list[DeadLetter]:
        async with dead_letters_of(settings) as letters:
            return await letters.newest(limit, reason)

    return run(newest())


def replay_dead_letters(
    settings: Settings, reason: str | None, told: Callable[[int], None] = lambda _: None
) -> SentAgain:
    """`tracker dead-letters replay`: send them to where they came from, each once; `told` hears how many so far."""

    async def again() -> SentAgain:
        async with dead_letters_of(settings) as letters:
            return await letters.replay(reason, told)

    return run(again())

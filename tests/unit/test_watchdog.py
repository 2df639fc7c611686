from __future__ import annotations

import asyncio

import pytest

from tracker.errors import Unavailable
from tracker.stream.watchdog import LONG_PATIENCE, PATIENCE, Sign, Watchdog


class Consumer:
    """Something that moves, or does not, and a broker that answers, or does not."""

    def __init__(self) -> None:
        self.shows = {"journey.events/0": Sign(1), "journey.events/1": Sign(1)}
        self.broker = True
        self.asked = 0
        self.rounds = 0
        self.watchdog = Watchdog("the stage track", lambda: self.shows, self.ask, self.alive, pause=5.0)

    def alive(self) -> None:
        self.rounds += 1

    async def ask(self) -> None:
        self.asked += 1
        if not self.broker:
            raise Unavailable("no broker answers")

    async def look(self, rounds: int) -> None:
        for _ in range(rounds):
            await self.watchdog.look()


async def test_a_consumer_that_stands_still_while_the_broker_answers_is_reported_by_name() -> None:
    consumer = Consumer()
    for moment in range(PATIENCE + 1):
        consumer.shows["journey.events/0"] = Sign(moment)
        await consumer.look(1)
    with pytest.raises(Unavailable, match=r"stage track hangs: journey\.events/1 got no further for 65 s"):
        await consumer.look(1)


async def test_it_is_not_reported_a_round_too_early() -> None:
    consumer = Consumer()
    await consumer.look(PATIENCE + 1)
    with pytest.raises(Unavailable):
        await consumer.look(1)


async def test_a_broker_that_is_away_is_no_hang_and_leaves_time_to_come_back() -> None:
    consumer = Consumer()
    consumer.broker = False
    await consumer.look(10 * PATIENCE)
    consumer.broker = True
    await consumer.look(PATIENCE - 1)
    consumer.shows |= {"journey.events/0": Sign(2), "journey.events/1": Sign(2)}
    await consumer.look(PATIENCE)


async def test_what_moves_costs_no_question() -> None:
    consumer = Consumer()
    for moment in range(3 * PATIENCE):
        consumer.shows = {"journey.events/0": Sign(moment)}
        await consumer.look(1)
    assert consumer.asked == 0


async def test_what_need_not_move_meanwhile_starts_from_the_beginning() -> None:
    consumer = Consumer()
    before = dict(consumer.shows)
    for _ in range(5):
        await consumer.look(PATIENCE)
        consumer.shows = {}
        await consumer.look(1)
        consumer.shows = before


async def test_the_watch_ends_with_what_it_found() -> None:
    consumer = Consumer()
    watchdog = Watchdog("the stage track", lambda: consumer.shows, consumer.ask, pause=0.001)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(watchdog.run(), 5)


async def test_what_has_time_outs_of_its_own_is_given_longer() -> None:
    consumer = Consumer()
    consumer.shows = {"taking over journey.events/0": Sign((0, 3), LONG_PATIENCE)}
    await consumer.look(LONG_PATIENCE + 1)
    with pytest.raises(Unavailable, match=r"taking over journey\.events/0 got no further"):
        await consumer.look(1)


async def test_it_tells_of_every_round_but_the_one_that_finds_a_hang() -> None:
    consumer = Consumer()
    watchdog = Watchdog("the stage track", lambda: consumer.shows, consumer.ask, consumer.alive, pause=0.001)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(watchdog.run(), 5)
    assert consumer.rounds == 1 + PATIENCE + 1

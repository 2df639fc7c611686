"""Members of one account: its journeys are the fold of what all of them do, its orders disarm each of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import naive
from tests.oracle.naive import Fold
from tests.oracle.table import NETTBUTIKK
from tests.properties.log import TOPICS, Log, Worker, send_on
from tests.properties.runner import (
    END_OF_TIME,
    Person,
    drop_offs_of,
    drop_offs_said,
    moves_of,
    moves_said,
    recoveries_of,
    recoveries_said,
    sessions_of,
    sessions_said,
    table,
)
from tests.properties.strategies import (
    HOUR,
    LATE_DELAYS,
    MINUTE,
    SHORT_STEPS,
    SMALL_DELAYS,
    START,
    STEPS,
    as_person,
    delayed,
    event,
)
from tracker.domain.events import Event
from tracker.domain.merging import absorb
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import AbsorbState, Bound, DropOff, Forward, Output, SessionClosed, Transition
from tracker.domain.state import MAX_JOINED, State, new_state
from tracker.domain.step import accept, next_due
from tracker.domain.table import Table, compile_table
from tracker.domain.units import FAR, NEVER

MEMBERS = ("c:p", "c:q", "a:v")
FIRM = "b:firm"
KINDS: dict[str, type[Any]] = {
    TOPICS.transitions: Transition,
    TOPICS.dropoffs: DropOff,
    TOPICS.sessions: SessionClosed,
}


def of_firms() -> Table:
    """The naive fold's model for business buyers."""
    return compile_table(msgspec.structs.replace(table().model, buyer="account"), FoldSettings())


FIRMS = of_firms()


@dataclass(frozen=True)
class Story:
    """What members do, in the order of the log, which holds what the tracker sends on, too."""

    log: Log
    events: list[Event]
    end: int

    def of(self, person: str) -> list[Event]:
        """A member's own events, and the orders and refunds of the others."""
        return [made if whose(made) == person else naive.heard(made) for made in self.events if concerns(made, person)]


def whose(made: Event) -> str:
    return f"c:{made.customer_id}" if made.customer_id else f"a:{made.anonymous_id}"


def concerns(made: Event, person: str) -> bool:
    return whose(made) == person or made.type in {*NETTBUTIKK.conversion, "order_refunded", "order_cancelled"}


@st.composite
def stories(
    draw: st.DrawFn, delays: tuple[int, ...], steps: tuple[int, ...] = STEPS, named: bool = True, shared: bool = True
) -> Story:
    """Members act in turn; events come in by `delays`, the watermark stays behind all that is to come or, where
    delays are longer than a few seconds, follows at once. `named`: each event names the account, else one of each
    member at least; `shared`: members name each other's orders."""
    script: list[Event] = []
    ts = START
    for number in range(draw(st.integers(1, 10))):
        ts += max(
            draw(st.sampled_from(steps)), 1
        )  # who of two members is first in one instant goes by their events' ids
        made = as_person(draw(event(number, ts)), draw(st.sampled_from(MEMBERS)))
        if named or draw(st.booleans()):
            made.account_id = "firm"
        if not shared and made.order_id is not None:
            made.order_id += whose(made)
        script.append(made)
    for last in {whose(made): made for made in script}.values():
        last.account_id = "firm"
    log, worker = Log(), Worker(compile=lambda _: FIRMS)
    log.watermark(START - HOUR)
    arrivals = delayed(draw, script, delays)
    honest = max(delays) < MINUTE
    for place, (at, made) in enumerate(arrivals):
        log.event(made, whose(made))
        send_on(log, worker)
        reached = min(later.ts for _, later in arrivals[place + 1 :]) if honest and place + 1 < len(arrivals) else at
        log.watermark(max(reached, START))
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return Story(log, [made for _, made in arrivals], ts + END_OF_TIME)


def test_a_member_without_a_past_brings_nothing_but_their_name() -> None:
    member, firm, sent = new_state("c:p"), new_state(FIRM), list[Output]()
    assert FIRMS.account is not None
    accept(member, Event("a", "page_viewed", START, customer_id="p", account_id="firm"), FIRMS, NEVER, sent)
    (past,) = [output for output in sent if isinstance(output, AbsorbState)]
    absorb(firm, past.source, past.ts, past.payload, FIRMS.account, NEVER, [])
    assert firm.members == ["c:p"]
    assert next_due(firm, FIRMS.account, NEVER) == FAR


def joined(firm: State, member: State, made: Event) -> list[Output]:
    """The member names the firm for the first time, which takes in what they send it. Answers what it says to that."""
    assert FIRMS.account is not None
    sent, said = list[Output](), list[Output]()
    accept(member, made, FIRMS, NEVER, sent)
    for output in sent:
        if isinstance(output, AbsorbState):
            assert absorb(firm, output.source, output.ts, output.payload, FIRMS.account, NEVER, said)
            assert not absorb(firm, output.source, output.ts, output.payload, FIRMS.account, NEVER, said)
        elif isinstance(output, Forward):
            accept(firm, output.event, FIRMS.account, NEVER, said)
    return said


def test_who_joins_anew_after_all_else_of_them_was_forgotten_brings_what_they_have_done_since() -> None:
    firm = new_state(FIRM)
    for order in ("O1", "O2"):
        member = new_state("c:p")
        bought = Event(order, "order_completed", START, customer_id="p", order_id=order, value=100.0)
        accept(member, bought, FIRMS, NEVER, [])
        ts = START + (order == "O2")
        joined(firm, member, Event(f"{order}-names", "page_viewed", ts, customer_id="p", account_id="firm"))
    assert firm.facts.order_count == 2
    assert firm.members == ["c:p"]


def test_an_account_of_any_number_of_members_stays_bounded() -> None:
    firm, said = new_state(FIRM), list[Output]()
    firm.joined = bytes(8 * MAX_JOINED)
    for number in range(2):
        made = Event(f"e{number}", "page_viewed", START, customer_id=f"p{number}", account_id="firm")
        said += joined(firm, new_state(f"c:p{number}"), made)
    assert said.count(Bound("joined")) == 2
    assert len(firm.joined) == 8 * MAX_JOINED
    assert not firm.absorbed


def told(worker: Worker, name: str) -> Person:
    """What the worker said of somebody, as a runner's person."""
    person = Person(table=FIRMS, name=name)
    for topic, key, value in worker.said:
        if topic in KINDS and key == name.encode():
            person.out.append(msgspec.json.decode(value, type=KINDS[topic]))
    if name in worker.states:
        person.state = worker.people()[name]
    return person


def of_the_firm(story: Story) -> Fold:
    """The naive fold of what all members did, without carts: those are each member's."""
    return naive.fold(story.events, story.end, carts=False)


@given(story=stories((0,)))
def test_an_accounts_journeys_are_those_of_all_its_members_together(story: Story) -> None:
    worker = Worker(compile=lambda _: FIRMS).read(story.log)
    firm = told(worker, FIRM)
    expected = of_the_firm(story)
    facts = firm.state.facts
    assert facts.order_count == expected.order_count
    assert {name: worth for name, worth in facts.revenue.items() if worth} == {
        name or "": worth for name, worth in expected.revenue.items()
    }
    assert facts.tracks[0].journeys == len(expected.journeys)
    assert sorted(moves_said(firm), key=str) == sorted(moves_of(expected), key=str)
    assert not firm.said(DropOff)
    assert not firm.said(SessionClosed)
    assert not [key for topic, key, _ in worker.said if topic == TOPICS.transitions and key != FIRM.encode()]


@given(story=stories(SMALL_DELAYS, shared=False))
def test_a_member_falls_away_as_if_they_had_placed_every_order_of_the_account(story: Story) -> None:
    worker = Worker(compile=lambda _: FIRMS).read(story.log)
    for name in {whose(made) for made in story.events}:
        member, expected = told(worker, name), naive.fold(story.of(name), story.end)
        assert sessions_said(member) == sessions_of(expected)
        assert [d[:4] for d in drop_offs_said(member)] == [d[:4] for d in drop_offs_of(expected)]
        # Which of two orders recovers goes by which is known first.
        assert [armed_at for armed_at, _ in recoveries_said(member)] == [at for at, _ in recoveries_of(expected)]


@given(story=stories((0,), shared=False))
def test_a_recovery_is_worth_the_order_to_whoever_placed_it_only(story: Story) -> None:
    worker = Worker(compile=lambda _: FIRMS).read(story.log)
    for name in {whose(made) for made in story.events}:
        assert recoveries_said(told(worker, name)) == recoveries_of(naive.fold(story.of(name), story.end))


@given(story=stories(LATE_DELAYS, steps=(*SHORT_STEPS, 30 * MINUTE, HOUR, 4 * HOUR)))
def test_an_account_stands_where_it_would_stand_however_late_its_members_events_come_in(story: Story) -> None:
    worker = Worker(compile=lambda _: FIRMS).read(story.log)
    facts, expected = told(worker, FIRM).state.facts, of_the_firm(story)
    assert facts.order_count == expected.order_count
    assert facts.tracks[0].journeys == len(expected.journeys)
    phases = FIRMS.courses[0].phase_ids
    converted = [(journey.number, phases[journey.path[-1]]) for journey in facts.tracks[0].converted]
    assert converted == [(j.number, expected.phase_id(j)) for j in expected.journeys if j.converted]
    assert worker.counted().get("orders", 0) == expected.order_count


@given(story=stories(LATE_DELAYS, steps=(*SHORT_STEPS, 30 * MINUTE, HOUR, 4 * HOUR), named=False))
def test_no_order_is_lost_or_counted_twice_by_who_names_the_account_late(story: Story) -> None:
    worker = Worker(compile=lambda _: FIRMS).read(story.log)
    facts, expected = told(worker, FIRM).state.facts, of_the_firm(story)
    assert facts.order_count == expected.order_count
    counted = worker.counted()
    assert counted.get("orders", 0) == expected.order_count
    assert sum(n for name, n in counted.items() if name.startswith("revenue:")) == sum(expected.revenue.values())
    assert min([n for name, n in counted.items() if name.startswith(("in:", "entered:"))], default=0) >= 0


@given(
    story=stories(LATE_DELAYS, named=False),
    cuts=st.lists(st.integers(1, 6), max_size=20),
    crashes=st.lists(st.booleans(), max_size=20),
)
def test_any_split_into_batches_gives_the_same_outputs(story: Story, cuts: list[int], crashes: list[bool]) -> None:
    one_by_one = Worker(compile=lambda _: FIRMS).read(story.log)
    split = Worker(compile=lambda _: FIRMS, cache=1, deadlines=2)
    split.read(story.log, cuts=chain(cuts, repeat(3)), crashes=chain(crashes, repeat(True)))
    assert split.said == one_by_one.said
    assert split.people() == one_by_one.people()
    assert split.counted() == one_by_one.counted()


@given(story=stories(LATE_DELAYS, named=False))
def test_copies_of_everything_change_nothing(story: Story) -> None:
    """What comes twice, forwards and notices included, is folded once."""
    once = Worker(compile=lambda _: FIRMS).read(story.log)
    twice = Log()
    for record in story.log.records:
        twice.add(record.key, record.value, record.headers)
        twice.add(record.key, record.value, record.headers)
    worker = Worker(compile=lambda _: FIRMS).read(twice)
    for topic in KINDS:
        assert [said for said in worker.said if said[0] == topic] == [said for said in once.said if said[0] == topic]
    assert worker.counted() == once.counted()


@given(story=stories(LATE_DELAYS, named=False))
def test_nothing_is_said_twice(story: Story) -> None:
    worker = Worker(compile=lambda _: FIRMS).read(story.log)
    for topic, kind in KINDS.items():
        said = [msgspec.json.decode(value, type=kind) for name, _, value in worker.said if name == topic]
        ids = [(one.session_id, one.revision) if isinstance(one, SessionClosed) else one.id for one in said]
        assert sorted(ids) == sorted(set(ids))

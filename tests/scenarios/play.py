"""Plays scenarios: each person's events and the watermark through the pure fold, or all scenarios in one log."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from tests.oracle.links import joined
from tests.properties.log import TOPICS, Log, LogRecord, Worker, send_on
from tests.properties.runner import Person
from tracker.demo.scenarios import Expected, Overrides, Scenario, load_scenarios, moment_of, same_way, text_of
from tracker.domain.erasure import erase, erased_state
from tracker.domain.events import Event, is_identity
from tracker.domain.merging import absorb
from tracker.domain.model import Cap, FoldSettings, QuietHours
from tracker.domain.outputs import AbsorbState, Forward
from tracker.domain.state import Facts, State
from tracker.domain.table import Table, compile_table
from tracker.domain.units import MONEY
from tracker.journeys.loader import load
from tracker.metrics import Tally
from tracker.stream.canonical import Canonical
from tracker.stream.sources import EventSource
from tracker.wire.control import Erase
from tracker.wire.decode import encode_event
from tracker.wire.reading import AUTO, Spoken, reader_of

SECTIONS = {
    "Transition": "transitions", TOPICS.transitions: "transitions",
    "SessionClosed": "sessions", TOPICS.sessions: "sessions",
    "DropOff": "dropoffs", TOPICS.dropoffs: "dropoffs",
    "Trigger": "triggers", "journey.triggers": "triggers",
}  # fmt: skip
"""By the kind of an output and by its topic."""
WITHHELD = {"Withheld", "TriggerWithheld"}
REACHING = {"enter", "forward", "skip", "backfilled", "converted"}
NAMED = ("customer_id", "anonymous_id", "account_id", "cart_id", "checkout_id", "order_id", "event_id")


@dataclass(frozen=True)
class Play:
    """A scenario under one model, with what is expected of it there."""

    scenario: Scenario
    model: str
    expected: Expected

    def __str__(self) -> str:
        return f"{self.scenario.id}-{self.model}"

    @property
    def conditions(self) -> tuple[str, Overrides, QuietHours | None, tuple[Cap, ...]]:
        """What scenarios must share to be played in one log."""
        return self.model, self.scenario.settings, self.scenario.quiet_hours, self.scenario.caps

    @property
    def plain(self) -> bool:
        """Whether it asks for no other settings than the defaults."""
        return self.conditions[1:] == (Overrides(), None, ())

    @property
    def table(self) -> Table:
        return table_of(*self.conditions)

    @property
    def in_order(self) -> bool:
        """Whether every event comes in at its own time."""
        return all(event.ts == mark for event, mark in zip(self.scenario.events, self.scenario.marks, strict=True))

    @property
    def merges(self) -> bool:
        """Whether somebody acts under more than one id."""
        events = self.scenario.events
        return any(own_id(event) != person for event, person in zip(events, whose(self.scenario), strict=True))

    @property
    def forgets(self) -> bool:
        """Whether somebody refuses analytics or is erased, which works at the place in the log where it stands."""
        said = [event.consent.analytics for event in self.scenario.events if event.consent is not None]
        return bool(self.scenario.erased) or False in said or self.scenario.settings.analytics_default is False

    @property
    def shared(self) -> bool:
        """Whether several people act for one account."""
        return self.table.account is not None and len({own_id(event) for event in self.scenario.events}) > 1


@cache
def table_of(model: str, settings: Overrides, quiet: QuietHours | None, caps: tuple[Cap, ...]) -> Table:
    """A model with what a scenario changes about it."""
    told = load(model)
    if quiet is not None:
        told = msgspec.structs.replace(told, quiet_hours=quiet)
    if caps:
        told = msgspec.structs.replace(told, caps=caps)
    given = {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}
    return compile_table(told, FoldSettings(**given))


def plays() -> list[Play]:
    """Every scenario of this folder under each of its models."""
    files = sorted(Path(__file__).parent.glob("*.yaml"))
    return [play for file in files for scenario in load_scenarios(str(file)) for play in plays_of(scenario)]


def plays_of(scenario: Scenario) -> list[Play]:
    """A scenario under each of its models."""
    return [Play(scenario, model, expected) for expected in scenario.expect for model in expected.models]


def own_id(event: Event) -> str:
    """The id that an event itself names."""
    return f"c:{event.customer_id}" if is_identity(event.customer_id) else f"a:{event.anonymous_id}"


def people(events: Sequence[Event]) -> list[str]:
    """Who each event turns out to be of: a visitor is the first customer who identifies on the device, until a second
    one does; from then on the device stands alone. Where only one customer acts, the ids of orders, carts and checkouts
    link as well."""
    links: dict[str, dict[str, int]] = defaultdict(dict)
    for event in sorted(events, key=lambda event: event.ts):
        if event.anonymous_id is not None and is_identity(event.customer_id):
            links[event.anonymous_id].setdefault(f"c:{event.customer_id}", event.ts)
    customers = {event.customer_id for event in events if is_identity(event.customer_id)}
    if len(customers) == 1:  # by whatever order, cart or checkout both name, too
        (customer,) = customers
        for visitor in joined(event for event in events if event.customer_id is None or event.customer_id == customer):
            links[visitor].setdefault(f"c:{customer}", 0)
    return [_whose(event, links) for event in events]


def whose(scenario: Scenario) -> list[str]:
    """Who each event of a scenario turns out to be of: whoever was erased is linked anew."""
    found: list[str] = []
    events, marks = scenario.events, scenario.marks
    for until in (*(at for at, _ in scenario.erased), scenario.until):
        upto = sum(mark <= until for mark in marks)
        found += people(events[len(found) : upto])
    return found


def timeline(scenario: Scenario) -> Iterator[tuple[int, int | str]]:
    """(watermark, place of an event or somebody who is erased), in the order in which they come in."""
    erased = [(at, 1, place, person) for place, (at, person) in enumerate(scenario.erased)]
    told = [(mark, 0, place, "") for place, mark in enumerate(scenario.marks)]
    for mark, kind, place, person in sorted([*told, *erased]):
        yield mark, person if kind else place


def id_of(scenario: Scenario, person: str) -> str:
    """The person id of a customer or visitor."""
    return f"c:{person}" if any(event.customer_id == person for event in scenario.events) else f"a:{person}"


def _whose(event: Event, links: dict[str, dict[str, int]]) -> str:
    if is_identity(event.customer_id) or event.anonymous_id not in links:
        return own_id(event)
    customers = links[event.anonymous_id]
    shared = sum(at <= event.ts for at in customers.values()) > 1
    return own_id(event) if shared else next(iter(customers))


@dataclass
class Found:
    """What came of a play, in the words of `Expected`."""

    sections: dict[str, list[str]]
    orders: int | None = None
    revenue: float | None = None
    withheld: int | None = None


def alone(play: Play) -> Found:
    """Each person as somebody who was known all along, with the watermark following as the scenario says."""
    scenario = play.scenario
    who = whose(scenario)
    acting = {name: Person(table=play.table, name=name) for name in who}
    for mark, what in timeline(scenario):
        for person in acting.values():
            person.time(mark)
        if isinstance(what, int):
            acting[who[what]].take(scenario.events[what])
            deliver(acting)
        else:
            own = id_of(scenario, what)
            erase_alone(
                {who[place] for place, event in enumerate(scenario.events) if own_id(event) == own}, acting, mark
            )
    for person in acting.values():
        person.time(scenario.until)
    outputs = [(type(output).__name__, output) for person in acting.values() for output in person.out]
    said = [(SECTIONS[kind], msgspec.to_builtins(output)) for kind, output in outputs if kind in SECTIONS]
    facts = counted(person.state for person in acting.values())
    return Found(
        lines(play, said),
        sum(one.order_count for one in facts),
        sum(amount for one in facts for amount in one.revenue.values()) / MONEY,
        sum(kind in WITHHELD for kind, _ in outputs),
    )


def erase_alone(names: Iterable[str], acting: dict[str, Person], at: int) -> None:
    """Whoever somebody is, was or will be."""
    for person in [acting[name] for name in names]:
        until = erase(person.state, at + 1, person.table, person.out, spread=False)
        person.state = erased_state(person.name, until, person.table)


def deliver(acting: dict[str, Person]) -> None:
    """What people send to accounts, and accounts to their members, is taken in, until there is no more of it."""
    while sent := [
        person.out.pop(place)
        for person in acting.values()
        for place in reversed(range(len(person.out)))
        if isinstance(person.out[place], Forward | AbsorbState)
    ][::-1]:
        for output in sent:
            assert isinstance(output, Forward | AbsorbState)
            if output.to not in acting:
                told = next(iter(acting.values()))
                account = told.table.account
                assert account is not None
                acting[output.to] = Person(table=account, name=output.to, watermark=told.watermark)
            to = acting[output.to]
            if isinstance(output, Forward):
                to.take(output.event)
            else:
                absorb(to.state, output.source, output.ts, output.payload, to.table, to.watermark, to.out)


def counted(states: Iterable[State]) -> list[Facts]:
    """Whose orders are counted: an account's members' are the account's."""
    return [state.facts for state in states if not state.accounts]


def at_once(together: Sequence[Play], table: Table) -> dict[str, Found]:
    """By play: all of them in one log, through ingest and the fold of a partition, the watermark following."""
    log, canonical = Log(), canonical_stage()
    worker = Worker(compile=lambda _: table)
    scenarios = scenarios_of(together)
    events = [apart(scenario) for scenario in scenarios]
    arrivals = [
        (mark, place, number, what)
        for place, scenario in enumerate(scenarios)
        for number, (mark, what) in enumerate(timeline(scenario))
    ]
    for mark, place, number, what in sorted(arrivals, key=lambda arrival: arrival[:3]):
        log.watermark(mark)
        if isinstance(what, int):
            raw = LogRecord(number, None, encode_event(events[place][what]))
            for out in canonical.take([raw], EventSource(), mark)[0]:
                log.add(out.key or b"", out.value or b"", list(out.headers))
        else:
            kind, name = id_of(scenarios[place], what).split(":", 1)
            log.control(Erase(mark, spread=True), f"{kind}:{scenarios[place].id}.{name}")
        send_on(log, worker)
    log.watermark(max(play.scenario.until for play in together))
    send_on(log, worker)
    said = [(SECTIONS[topic], msgspec.json.decode(value)) for topic, _, value in worker.said if topic in SECTIONS]
    found = told_apart(together, said)
    states = [(person[2:].partition(".")[0], state) for person, state in worker.people().items()]
    for play in together:
        own = counted(state for scenario, state in states if scenario == play.scenario.id)
        found[str(play)].orders = sum(one.order_count for one in own)
        found[str(play)].revenue = sum(sum(one.revenue.values()) for one in own) / MONEY
    return found


def scenarios_of(together: Iterable[Play]) -> list[Scenario]:
    """Each scenario once."""
    return list({play.scenario.id: play.scenario for play in together}.values())


def canonical_stage(spoken: Spoken = AUTO) -> Canonical:
    return Canonical(
        TOPICS, {TOPICS.events: 1, TOPICS.dead_letters: 1}, reader_of(spoken), Tally(), 1_000_000, wall=False
    )


def told_apart(together: Sequence[Play], said: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Found]:
    """What was said in (section, payload), by play."""
    by_scenario: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for section, payload in said:
        kind, rest = payload["person_id"][:2], payload["person_id"][2:]
        scenario, _, name = rest.partition(".")
        by_scenario[scenario].append((section, {**payload, "person_id": kind + name}))
    return {str(play): Found(lines(play, by_scenario[play.scenario.id])) for play in together}


def apart(scenario: Scenario) -> list[Event]:
    """A scenario's events with ids that no other scenario has."""
    return [
        msgspec.structs.replace(
            event,
            **{
                name: f"{scenario.id}.{given}"
                for name in NAMED
                if (given := getattr(event, name)) is not None and is_identity(given)
            },
        )
        for event in scenario.events
    ]


def lines(play: Play, said: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, list[str]]:
    """What was said up to the scenario's end, as lines of an expectation: sessions as they stand in the end."""
    who = dict(zip(map(own_id, play.scenario.events), whose(play.scenario), strict=True))
    several = len(set(who.values())) > 1
    found: dict[str, list[tuple[int, str]]] = {section: [] for section in SECTIONS.values()}
    revisions: dict[str, tuple[int, int, str]] = {}
    superseded: set[tuple[str, str]] = set()
    """By whom: what a person's session supersedes stands if they have it later after all."""
    for section, payload in said:
        if payload.get("model", play.model) != play.model:
            continue
        person = payload["person_id"]
        of = f" of {who.get(person, person)[2:]}" if several else ""
        if section == "sessions":
            revision = payload["revision"], payload["ended_at"], _session(payload) + of
            revisions[payload["session_id"]] = max(revision, revisions.get(payload["session_id"], revision))
            superseded.discard((person, payload["session_id"]))
            superseded |= {(person, gone) for gone in payload["supersedes"]}
            continue
        at, line = {"transitions": _move, "dropoffs": _dropoff, "triggers": _trigger}[section](payload)
        found[section].append((at, f"{text_of(at)} {line}{of}"))
    gap = play.table.settings.session_gap
    gone = {session for _, session in superseded}
    found["sessions"] = [(ended + gap, line) for name, (_, ended, line) in revisions.items() if name not in gone]
    reached = {
        f"{payload['to_phase']} of {payload['person_id'][2:]}"
        for section, payload in said
        if section == "transitions" and payload["direction"] in REACHING and payload["at"] <= play.scenario.until
        if payload["model"] == play.model
        and (payload["person_id"][:2] == "b:" or who.get(payload["person_id"]) == payload["person_id"])
    }
    return {"reached": sorted(reached)} | {
        section: in_time(same_way(line) for at, line in rows if at <= play.scenario.until)
        for section, rows in found.items()
    }


def in_time(given: Iterable[str]) -> list[str]:
    """Lines in order of their times, those of one time by their text."""
    return sorted(given, key=lambda line: (moment_of(" ".join(line.split()[:2])), line))


def _move(payload: dict[str, Any]) -> tuple[int, str]:
    to = payload["to_phase"]
    return payload["at"], payload["direction"] + (f" {to}" if to is not None else "")


def _session(payload: dict[str, Any]) -> str:
    return f"{text_of(payload['started_at'])} to {text_of(payload['ended_at'])}"


def _dropoff(payload: dict[str, Any]) -> tuple[int, str]:
    armed = f"{payload['reason']} armed {text_of(payload['armed_at'])}"
    if payload["kind"] == "dropped_off":
        return payload["detected_at"], f"{armed} due {text_of(payload['due_at'])}"
    worth = f" worth {payload.get('value') or 0:g}" if payload["kind"] == "recovered" else ""
    return payload["last_event"]["ts"], f"{payload['kind']} {armed}{worth}"


def _trigger(payload: dict[str, Any]) -> tuple[int, str]:
    armed, due = text_of(payload["armed_at"]), text_of(payload["due_at"])
    return payload["detected_at"], f"{payload['rule']} armed {armed} due {due}"


def differences(play: Play, found: Found, *, only: Iterable[str] = ()) -> str:
    """Where what was found is not what was expected: a table for people, empty if there is no difference."""
    return "\n\n".join(_differences(play, found, frozenset(only)))


def reached(play: Play) -> list[str]:
    """The phases that each person reaches, by the transitions that are expected."""
    first = play.scenario.events[0]
    only = whose(play.scenario)[0][2:] if play.table.account is None else first.account_id
    found = (re.fullmatch(r"\S+ \S+ (\w+) (\S+)( of \S+)?", line) for line in play.expected.transitions or ())
    moves = [move for move in found if move is not None and move[1] in REACHING]
    return sorted({f"{move[2]}{move[3] or f' of {only}'}" for move in moves})


def _differences(play: Play, found: Found, only: frozenset[str]) -> Iterator[str]:
    head = f"{play.scenario.where}: {play.scenario.id} ({play.scenario.title}), {play.model}"
    if "reached" in only and play.expected.transitions is not None:
        wanted, got = reached(play), found.sections["reached"]
        if not set(wanted) <= set(got):  # what was said before the merge stays said
            yield f"{head}: phases reached\n{beside(wanted, got)}"
    for section in dict.fromkeys(SECTIONS.values()):
        expected = getattr(play.expected, section)
        if expected is None or (only and section not in only):
            continue
        wanted = in_time(map(same_way, expected))
        if wanted != found.sections[section]:
            yield f"{head}: {section}\n{beside(wanted, found.sections[section])}"
    for name in ("orders", "revenue", "withheld"):
        wanted, got = getattr(play.expected, name), getattr(found, name)
        if wanted is not None and got is not None and wanted != got and (not only or name in only):
            yield f"{head}: {name}\n{beside([f'{wanted:g}'], [f'{got:g}'])}"


def beside(expected: Sequence[str], found: Sequence[str]) -> str:
    """Two sorted lists as a table; `!` marks the lines that only one of them has."""
    rows = []
    left, right = list(expected), list(found)
    while left or right:
        if left and right and left[0] == right[0]:
            rows.append((" ", left.pop(0), right.pop(0)))
        elif left and (not right or left[0] not in right):
            rows.append(("!", left.pop(0), "-"))
        elif right and (not left or right[0] not in left):
            rows.append(("!", "-", right.pop(0)))
        else:
            rows.append(("!", left.pop(0), right.pop(0)))
    width = max(len(row[1]) for row in [*rows, ("", "expected", "")])
    return "\n".join(f"{mark} {one:{width}}  {other}" for mark, one, other in [(" ", "expected", "found"), *rows])

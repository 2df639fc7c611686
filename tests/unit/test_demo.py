"""The demo's data and summary: stories as told, a simulation that is labelled and repeatable, figures that add up."""

from __future__ import annotations

import subprocess
from io import StringIO
from pathlib import Path

from rich.console import Console

from tracker.demo.scenarios import scenarios
from tracker.demo.simulation import SIMULATED, simulation
from tracker.demo.summary import Run, as_dict, show, summarize
from tracker.domain.events import KNOWN_TYPES
from tracker.journeys.loader import load
from tracker.wire.decode import decode_event, encode_event

COUNTERS = {
    "people": 10,
    "orders": 2,
    "revenue:NOK": 12_345_600,
    "in:nettbutikk-5:bevissthet": 4,
    "in:nettbutikk-5:kjop": 4,
    "in:other:kjop": 9,
    "left:nettbutikk-5:vurdering:2026-03-04": 2,
    "entered:nettbutikk-5:bevissthet:2026-03-02": 5,
    "entered:nettbutikk-5:bevissthet:2026-03-03": 5,
    "entered:nettbutikk-5:kjop:2026-03-03": 5,
    "converted:nettbutikk-5:2026-03-03": 2,
    "back:nettbutikk-5:kjop:2026-03-03": 1,
    "dropped_off:cart_abandoned:2026-03-02": 2,
    "dropped_off:cart_abandoned:2026-03-03": 1,
    "dropped_off:browse_abandoned:2026-03-03": 7,
    "dropped_value:NOK": 20_000_000,
    "recovered:cart_abandoned:2026-03-04": 1,
    "recovered_value:NOK": 8_990_000,
    "withheld:consent": 3,
    "sessions:2026-03-02": 12,
}


def run(stays: bool = True) -> Run:
    return Run(
        events=100,
        simulated=90,
        stories=["Nina", "Oliver"],
        seconds=2.0,
        exactly_once=True,
        environment={"TRACKER_BROKERS": "127.0.0.1:1", "TRACKER_REDIS_URL": "redis://127.0.0.1:2/0"},
        stays=stays,
    )


def printed(stays: bool = True, width: int = 90) -> str:
    text = StringIO()
    show(Console(file=text, width=width), summarize(COUNTERS, load("nettbutikk-5")), run(stays))
    return text.getvalue()


def test_every_story_is_in_order_of_time_with_known_types_and_ids_of_its_own() -> None:
    told = scenarios()
    assert {story.id for story in told} >= {"nina", "oliver"}
    ids = [event.event_id for story in told for event in story.events]
    assert len(ids) == len(set(ids))
    for story in told:
        times = [event.ts for event in story.events]
        assert times == sorted(times), story.id
        assert {event.type for event in story.events} <= KNOWN_TYPES, story.id
        for event in story.events:
            decode_event(encode_event(event))


def test_the_simulation_is_labelled_repeatable_and_in_order() -> None:
    events = list(simulation(visitors=200, seed=3))
    assert [encode_event(event) for event in events] == [encode_event(e) for e in simulation(200, 3)]
    assert events != list(simulation(visitors=200, seed=4))
    assert all(event.segments and SIMULATED in event.segments for event in events)
    assert [event.ts for event in events] == sorted(event.ts for event in events)
    assert len({event.event_id for event in events}) == len(events)
    assert {event.type for event in events} <= KNOWN_TYPES
    for event in events:
        decode_event(encode_event(event))


def test_the_simulation_has_what_makes_tracking_hard() -> None:
    events = list(simulation(visitors=600))
    kinds = {(event.customer_id is not None, event.anonymous_id is not None) for event in events}
    assert kinds == {(False, True), (True, True), (True, False)}
    copies = [event.order_id for event in events if event.type == "order_completed"]
    assert len(copies) > len(set(copies))
    assert {"payment_failed", "order_refunded", "product_removed", "email_clicked"} <= {e.type for e in events}


def test_the_summary_adds_up_days_and_leaves_other_models_out() -> None:
    summary = summarize(COUNTERS, load("nettbutikk-5"))
    phases = {phase.id: phase for phase in summary.phases}
    assert (summary.people, summary.orders, summary.revenue) == (10, 2, {"NOK": 1234.56})
    assert (phases["bevissthet"].entered, phases["kjop"].now, phases["kjop"].back) == (10, 4, 1)
    assert phases["vurdering"].left == 2
    assert (summary.begun, summary.converted, summary.conversion) == (10, 2, 0.2)
    assert summary.dropped_off == {"browse_abandoned": 7, "cart_abandoned": 3}
    assert (summary.carts_left, summary.dropped_value, summary.recovered_value) == (
        3,
        {"NOK": 2000},
        {"NOK": 899},
    )


def test_the_page_tells_figures_promise_simulation_and_commands_on_lines_of_their_own() -> None:
    lines = [line.strip() for line in printed().splitlines()]
    text = "\n".join(lines)
    for words in ("simulated", "exactly once", "1,234.56 NOK", "cart abandoned", "Not sent: 3 for consent"):
        assert words in text
    for command in ("tracker journey c:nina", "tracker replay events.jsonl --rebase"):
        assert command in lines
    assert "export TRACKER_BROKERS=127.0.0.1:1" in lines
    assert "export" not in printed(stays=False)


def test_the_example_command_can_be_copied_from_a_narrow_terminal(tmp_path: Path) -> None:
    lines = printed(width=80).splitlines()
    assert max(map(len, [*lines, *printed(stays=False, width=80).splitlines()])) <= 80
    first = next(number for number, line in enumerate(lines) if line.startswith("  echo"))
    last = next(number for number, line in enumerate(lines) if line.endswith("events.jsonl"))
    subprocess.run(["sh", "-c", "\n".join(lines[first : last + 1])], cwd=tmp_path, check=True)
    (event,) = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert decode_event(event).customer_id == "me"


def test_the_summary_is_plain_data() -> None:
    data = as_dict(summarize(COUNTERS, load("nettbutikk-5")), run())
    assert data["summary"]["phases"][0]["id"] == "bevissthet"
    assert data["run"]["exactly_once"] is True


def test_a_summary_of_nothing_can_be_shown() -> None:
    console = Console(file=StringIO(), width=90)
    show(console, summarize({}, load("nettbutikk-5")), run())

from __future__ import annotations

import json

from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from fake_useragent.utils import load

from tests.unit.raw import NOW, TOPICS, Raw, taken
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import Output
from tracker.domain.pace import HALF_DAY, MINUTES, MOST_IN_HALF_DAY, MOST_IN_MINUTES
from tracker.domain.state import new_state
from tracker.domain.step import accept
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load as load_model
from tracker.metrics import Tally
from tracker.stream.bots import is_bot
from tracker.stream.canonical import Canonical
from tracker.stream.sources import WallSource
from tracker.wire.control import control_kind
from tracker.wire.decode import decode_canonical
from tracker.wire.reading import AUTO, reader_of

GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
START = 1_772_409_600_000
assert START % HALF_DAY == 0


def visit(agent: str | None, kind: str = "page_viewed") -> Event:
    return Event("e", kind, NOW, anonymous_id="v", url="https://shop.example/", user_agent=agent)


def test_every_crawler_that_the_list_knows_is_a_bot() -> None:
    agents = [agent for crawler in CRAWLER_USER_AGENTS_DATA for agent in crawler["instances"]]
    assert len(agents) > 2000
    assert [agent for agent in agents if not is_bot(visit(agent))] == []


def test_no_browser_is() -> None:
    agents = [browser["useragent"] for browser in load()]
    assert len(agents) > 5000
    assert [agent for agent in agents if is_bot(visit(agent))] == []


def test_what_servers_and_apps_send_with_the_same_libraries_is_not() -> None:
    library = "python-requests/2.32.0"
    assert is_bot(visit(library))
    assert not is_bot(visit(library, "order_completed"))
    assert not is_bot(visit(library, "order_shipped"))
    assert not is_bot(Event("e", "product_added", NOW, anonymous_id="v", user_agent=library)), "no page"
    assert not is_bot(
        Event("e", "product_added", NOW, customer_id="c", url="https://shop.example/", user_agent=library)
    )
    assert not is_bot(visit(None))


def test_a_bots_event_is_flagged_in_the_log_and_links_nobody_where_it_is_left_out() -> None:
    value = json.dumps(
        {"event_id": "e", "type": "page_viewed", "ts": NOW, "anonymous_id": "v", "customer_id": "c"}
        | {"url": "https://shop.example/", "user_agent": GOOGLEBOT}
    ).encode()
    (record,), _ = taken(Raw(value))
    assert decode_canonical(record.value).flags == ["bot"]
    counts = {TOPICS.events: 4, TOPICS.dead_letters: 1}
    for bots, flags in (("flag", ["bot"]), ("off", None)):
        kept = Canonical(TOPICS, counts, reader_of(AUTO), Tally(), 1_000_000, wall=True, bots=bots)
        (record, merge), _ = kept.take([Raw(value)], WallSource(0), NOW)
        assert decode_canonical(record.value).flags == flags
        assert control_kind(merge.headers) == "merge", "who is folded as everybody else is linked as everybody else"


def table(*, bots_out: bool = True) -> Table:
    return compile_table(load_model("nettbutikk-5"), FoldSettings(bots_out=bots_out))


def outcomes(table: Table, times: list[int], kind: str = "page_viewed") -> list[str]:
    """What becomes of one person's events at these times."""
    state, out = new_state("a:v"), list[Output]()
    return [
        accept(state, Event(f"e{number}", kind, ts, anonymous_id="v"), table, START - 1, out)
        for number, ts in enumerate(times)
    ]


def test_a_flagged_event_is_left_out_unless_bots_are_only_flagged() -> None:
    for bots_out, outcome in ((True, "bot"), (False, "applied")):
        state, out = new_state("a:v"), list[Output]()
        event = Event("e", "page_viewed", START, anonymous_id="v", flags=["bot"])
        assert accept(state, event, table(bots_out=bots_out), START - 1, out) == outcome
        assert bool(out) == (not bots_out)
        assert (state == new_state("a:v")) == bots_out


def test_more_than_a_hundred_events_in_a_hundred_seconds_are_not_a_person() -> None:
    rush = [START + number for number in range(MOST_IN_MINUTES + 20)]
    assert outcomes(table(), rush) == ["applied"] * MOST_IN_MINUTES + ["runaway"] * 20
    assert outcomes(table(), [*rush, START + MINUTES])[-1] == "applied", "the next window begins anew"
    assert set(outcomes(table(bots_out=False), rush)) == {"applied"}
    walk = [START + 1000 * number for number in range(300)]
    assert set(outcomes(table(), walk)) == {"applied"}, "one a second is a quick person"


def test_nor_are_more_than_so_many_in_half_a_day() -> None:
    times = [START + number * 10_000 for number in range(MOST_IN_HALF_DAY + 5)]
    assert times[-1] < START + HALF_DAY
    found = outcomes(table(), [*times, START + HALF_DAY])
    assert found[:MOST_IN_HALF_DAY] == ["applied"] * MOST_IN_HALF_DAY
    assert found[MOST_IN_HALF_DAY:] == ["runaway"] * 5 + ["waiting"], "the session's end is due first"


def test_what_servers_tell_is_never_left_out() -> None:
    times = [START + number for number in range(MOST_IN_MINUTES + 20)]
    for kind in ("order_completed", "order_shipped"):
        assert set(outcomes(table(), times, kind)) == {"applied"}
    state, out = new_state("a:v"), list[Output]()
    for number, ts in enumerate(times):
        accept(state, Event(f"e{number}", "page_viewed", ts, anonymous_id="v"), table(), START - 1, out)
    order = Event("o", "order_completed", times[-1] + 1, anonymous_id="v", order_id="o")
    assert accept(state, order, table(), START - 1, out) == "applied"


def test_what_lies_in_other_windows_is_not_counted_when_counting_begins() -> None:
    later = START + HALF_DAY + 7
    state, out = new_state("a:v"), list[Output]()
    accept(state, Event("later", "page_viewed", later, anonymous_id="v"), table(), START - 1, out)
    found = [
        accept(state, Event(f"e{number}", "page_viewed", START + number, anonymous_id="v"), table(), START - 1, out)
        for number in range(MOST_IN_MINUTES + 1)
    ]
    assert found[-2:] == ["applied", "runaway"]

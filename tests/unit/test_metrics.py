from __future__ import annotations

import re
import urllib.request

import pytest
from prometheus_client import generate_latest

from tracker.child import free_port
from tracker.errors import SettingError
from tracker.health import Health
from tracker.metrics import CATALOGUE, Metrics, Tally, serve


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({"page_viewed"})


def test_a_batch_is_booked_once_and_leaves_the_tally_empty(metrics: Metrics) -> None:
    tally = Tally()
    tally.events["page_viewed", "applied"] += 3
    tally.outputs["journey.transitions"] += 2
    tally.dropoffs["cart_abandoned", "dropped_off"] += 1
    tally.withheld["cart_abandoned", "consent"] += 1
    tally.dead_letters["not_json"] += 1
    tally.bounds["recent_events"] += 1
    tally.cache_hits += 5
    tally.cache_misses += 1
    metrics.flush("track", tally, 0.2, commit=0.01, publish=0.03)
    metrics.flush("track", tally, 0.1)
    assert metrics.value("tracker_events_total", stage="track", type="page_viewed", outcome="applied") == 3
    assert metrics.value("tracker_outputs_total", topic="journey.transitions") == 2
    assert metrics.value("tracker_dropoffs_total", reason="cart_abandoned", kind="dropped_off") == 1
    assert metrics.value("tracker_dropoffs_withheld_total", reason="cart_abandoned", why="consent") == 1
    assert metrics.value("tracker_dead_letters_total", stage="track", reason="not_json") == 1
    assert metrics.value("tracker_bounds_hit_total", bound="recent_events") == 1
    assert metrics.value("tracker_state_cache_hits_total") == 5
    assert metrics.value("tracker_state_cache_misses_total") == 1
    assert metrics.value("tracker_batches_total", stage="track") == 2
    assert metrics.value("tracker_batch_duration_seconds_sum", stage="track") == pytest.approx(0.3)
    assert metrics.value("tracker_commit_duration_seconds_count", stage="track") == 1
    assert metrics.value("tracker_publish_duration_seconds_count", stage="track") == 1


def test_unknown_event_types_share_one_label(metrics: Metrics) -> None:
    tally = Tally()
    for number in range(1000):
        tally.events[f"type_{number}", "applied"] += 1
    metrics.flush("track", tally, 0.1)
    assert metrics.value("tracker_events_total", stage="track", type="other", outcome="applied") == 1000
    assert len(re.findall(rb"^tracker_events_total\{", generate_latest(metrics.registry), re.MULTILINE)) == 1


def test_two_registries_in_one_process_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.transaction("committed")
    assert first.total("tracker_transactions_total") == 1
    assert second.total("tracker_transactions_total") == 0


def test_the_source_that_holds_time_replaces_the_one_before(metrics: Metrics) -> None:
    metrics.watermark(0, None, "shop.orders/1")
    assert metrics.value("tracker_time_held_by", partition="0", source="shop.orders/1") == 1
    metrics.watermark(0, 1_700_000_000_000, "shop.clicks/0")
    metrics.watermark(0, 1_700_000_001_500, "shop.clicks/0")
    assert metrics.value("tracker_watermark_timestamp_seconds", partition="0") == 1_700_000_001.5
    assert b"shop.orders/1" not in generate_latest(metrics.registry)
    assert metrics.total("tracker_time_held_by") == 1


def test_the_gauges_of_a_partition_that_went_elsewhere_are_forgotten(metrics: Metrics) -> None:
    metrics.lag("track", "journey.events", 0, 7, 2.5)
    metrics.lag("track", "journey.events", 1, 3, None)
    metrics.watermark(0, 1000, "shop.clicks/0")
    metrics.forget("track", "journey.events", 0)
    metrics.forget("track", "journey.events", 0)
    metrics.forget("ingest", "shop.clicks", 5)
    exposed = generate_latest(metrics.registry).decode()
    assert 'partition="0"' not in exposed
    assert metrics.value("tracker_lag_records", stage="track", topic="journey.events", partition="1") == 3


def test_partitions_are_counted_by_state(metrics: Metrics) -> None:
    metrics.partitions("track", {"running": 3, "paused": 1})
    metrics.partitions("track", {"running": 4})
    assert metrics.value("tracker_partitions", stage="track", state="running") == 4
    assert metrics.value("tracker_partitions", stage="track", state="paused") == 0


def test_names_follow_the_conventions_of_prometheus() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    for name, kind, labels, meaning in CATALOGUE:
        assert re.fullmatch(r"tracker_[a-z_]+", name), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert kind != "histogram" or name.endswith("_seconds"), name
        assert meaning.endswith("."), name
        assert len(labels) <= 3, name


def test_each_process_serves_its_own_port_and_releases_it(metrics: Metrics) -> None:
    port = free_port()
    metrics.transaction("committed")
    server = serve(metrics, Health(), "127.0.0.1", port - 2, process=2)
    assert server is not None
    assert server.port == port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b'tracker_transactions_total{outcome="committed"} 1.0' in answer.read()
    with pytest.raises(SettingError, match=rf"process 1 cannot listen on 127.0.0.1:{port}"):
        serve(metrics, Health(), "127.0.0.1", port - 1, process=1)
    server.close()
    again = serve(metrics, Health(), "127.0.0.1", port)
    assert again is not None
    again.close()


def test_port_0_serves_nothing(metrics: Metrics) -> None:
    assert serve(metrics, Health(), "127.0.0.1", 0, process=3) is None

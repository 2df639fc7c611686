"""All scenarios at once through the real commands: what is on the topics is what their authors wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.pipeline import Pipeline, write_events
from tests.scenarios.play import SECTIONS, apart, differences, plays, scenarios_of, told_apart
from tests.services import KafkaServer, RedisServer


async def said_by(pipeline: Pipeline) -> list[tuple[str, dict[str, Any]]]:
    """All outputs that scenarios tell of, in (section, payload)."""
    topics = [topic for topic in SECTIONS if topic.startswith("journey.")]
    return [(SECTIONS[topic], payload) for topic in topics for payload in await pipeline.read(topic)]


async def test_a_built_in_scenario_and_one_in_a_file_are_replayed_by_name_and_path(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(
        "- id: own\n  title: x\n  until: 4 0:00\n  events:\n"
        "    - {at: 0 10:00, type: product_added, customer_id: kari, items: [{product_id: dress, price: 100}]}\n"
    )
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    with pipeline.worker():
        told = pipeline.run("replay", "nina", str(tmp_path / "own.yaml"))
        assert told.startswith("23 events from ")
        shifted = pipeline.run("replay", "nadia", "--rebase")
        assert "shifted by +" in shifted
    said = await said_by(pipeline)
    converted = {payload["person_id"] for _, payload in said if payload.get("direction") == "converted"}
    assert converted == {"c:nina", "c:nadia"}
    dropped = [(payload["person_id"], payload["kind"]) for section, payload in said if section == "dropoffs"]
    assert sorted(dropped) == [("c:kari", "dropped_off"), ("c:nadia", "dropped_off"), ("c:nadia", "recovered")]


FIRMS = "nettbutikk-5-bedrift"
FIVE = "nettbutikk-5,kundereise-5,kundereise-7,kundresa-5,kunderejse-6"


OUTRUN = {"identified-long-after", "shared-device", "account-named-late"}
"""A replay is ahead of time. It tells of an order before the drop-off is due, which then is not sent; and who was first
on a shared device, or at an account, goes by the order in which ingest happens to read what is minutes apart."""


@pytest.mark.parametrize("models", [FIVE, "kundereise-5", "kundereise-7", "kundresa-5", "kunderejse-6", "klage", FIRMS])
async def test_every_scenario_comes_out_of_the_running_tracker_as_written(
    models: str, kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    first, *others = models.split(",")
    together = [
        play
        for play in plays()
        if play.model in (first, *others) and play.plain and play.in_order and not play.expected.known_wrong
        if not play.forgets  # a replay reads ahead of time: what is due before may be forgotten before
    ]
    assert together
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_MODEL=models)
    pipeline.run("topics")
    until = max(play.scenario.until for play in together)
    events = write_events(
        tmp_path / "scenarios.jsonl", [event for scenario in scenarios_of(together) for event in apart(scenario)]
    )
    with pipeline.worker():
        pipeline.run("replay", str(events), "--until", str(until))
    found = told_apart(together, await said_by(pipeline))
    wrong = []
    for play in together:
        # Who of several is first at their account goes by the partitions that they come from.
        only = ["reached" if play.merges or play.shared else "transitions", "sessions"]
        if play.model == first:
            only += ["dropoffs", "triggers"]
        if play.scenario.id not in OUTRUN:
            wrong.append(differences(play, found[str(play)], only=only))
    if any(wrong):
        pytest.fail("\n" + "\n\n".join(filter(None, wrong)), pytrace=False)

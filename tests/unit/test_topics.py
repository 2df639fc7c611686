from __future__ import annotations

import pytest

from tracker.errors import SettingError
from tracker.wire.topics import Topics


def test_a_namespace_goes_in_front_of_every_name_as_it_is() -> None:
    topics = Topics("acme.", ("shop.clicks",))
    assert topics.prefix == "acme."
    assert topics.events == "acme.journey.events"
    assert topics.raw_topics == ("acme.shop.clicks",)
    assert (topics.ingest_group, topics.track_group) == ("acme.tracker-ingest", "acme.tracker-track")
    assert topics.transactional_id(3) == "acme.tracker-track-3"


def test_without_a_namespace_names_stand_alone() -> None:
    topics = Topics()
    assert topics.prefix == ""
    assert topics.outputs == ("journey.transitions", "journey.dropoffs", "journey.triggers", "journey.sessions")
    assert topics.produced == ("journey.events", *topics.outputs, "journey.dead-letters", "journey.late")


@pytest.mark.parametrize(("namespace", "raw"), [("a b", ()), ("", ("shop/clicks",)), ("", ("",)), ("", ("x" * 250,))])
def test_a_name_that_kafka_does_not_allow_is_refused(namespace: str, raw: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="allowed are 1 to 249 letters"):
        Topics(namespace, raw)

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.durations import format_duration, parse_duration
from tracker.errors import SettingError
from tracker.settings import Settings, catalogue, load, names, variable

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TRACKER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "tracker.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def refused(**flags: str) -> str:
    with pytest.raises(SettingError) as caught:
        load(flags)
    return str(caught.value)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load()
    assert settings == Settings()
    assert settings.model == ("nettbutikk-5",)
    assert settings.raw_topics == ("shop.clicks", "shop.orders")
    assert settings.clock == "wall"
    assert settings.session_gap == 30 * MINUTE
    assert settings.out_of_orderness == 30_000
    assert settings.allowed_lateness == HOUR
    assert settings.state_ttl == 400 * DAY
    assert settings.namespace == ""


def test_flags_win_over_the_environment_that_over_the_file_that_over_the_defaults(
    toml: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml('session_gap = "1m"\nstate_cache = 1\nbatch_records = 1')
    monkeypatch.setenv("TRACKER_SETTINGS_FILE", str(file))
    monkeypatch.setenv("TRACKER_SESSION_GAP", "2m")
    monkeypatch.setenv("TRACKER_STATE_CACHE", "2")
    settings = load({"session_gap": "3m", "namespace": None})
    assert (settings.session_gap, settings.state_cache, settings.batch_records) == (3 * MINUTE, 2, 1)
    assert settings.clock == "wall"


def test_a_file_may_use_toml_types_and_dashes(toml: Callable[[str], Path]) -> None:
    settings = load(file=toml('raw-topics = ["a", "b"]\ndirect = true\npartitions = 8'))
    assert (settings.raw_topics, settings.direct, settings.partitions) == (("a", "b"), True, 8)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("session_gap", "30", "--session-gap is '30' (not a duration); allowed: 1s to 1d"),
        ("session_gap", "2d", "(out of bounds)"),
        ("brokers", "kafka-1", "'kafka-1' does not fit); allowed: host:port"),
        ("brokers", "kafka-1:65536", "'kafka-1:65536' does not fit); allowed: host:port"),
        ("brokers", "", "(empty)"),
        ("raw_topics", "a,a", "'a' comes twice"),
        ("raw_topics", "shop clicks", "does not fit"),
        ("clock", "sundial", "--clock is 'sundial'; allowed: wall or event"),
        ("partitions", "0", "(out of bounds); allowed: a whole number from 1 to 10000"),
        ("partitions", "four", "(not a whole number)"),
        ("direct", "perhaps", "allowed: on or off"),
        ("namespace", "a b", "allowed: letters, digits"),
        ("redis_url", "localhost", "(another scheme); allowed: redis://"),
        ("redis_url", "redis://host:port", "(not a URL)"),
        ("redis_url", "redis://host/shop", "(the database is not a number)"),
    ],
)
def test_a_wrong_value_is_named_with_its_setting_and_what_is_allowed(name: str, value: str, complaint: str) -> None:
    assert complaint in refused(**{name: value})


def test_an_error_says_where_the_value_came_from(toml: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = toml("session_gap = 1800000")
    with pytest.raises(SettingError, match=r"^session_gap in .*tracker.toml is 1800000 \(a number needs its unit\)"):
        load(file=file)
    monkeypatch.setenv("TRACKER_CLOCK", "sundial")
    with pytest.raises(SettingError, match=r"^TRACKER_CLOCK is 'sundial'"):
        load()


def test_an_unknown_key_in_the_file_is_an_error_that_names_the_nearest(toml: Callable[[str], Path]) -> None:
    with pytest.raises(SettingError, match=r"sesion_gap is not a setting. Did you mean session_gap\?"):
        load(file=toml('sesion_gap = "1m"'))


def test_an_unknown_variable_is_a_warning_that_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_SESION_GAP", "1m")
    warnings: list[str] = []
    assert load(warn=warnings.append) == Settings()
    assert warnings == ["TRACKER_SESION_GAP is not a setting and is ignored. Did you mean TRACKER_SESSION_GAP?"]


@pytest.mark.parametrize("text", ["session_gap =", "\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingError, match=r"bad.toml cannot be read"):
        load(file=file)
    with pytest.raises(SettingError, match="there is no such file"):
        load(file=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"session_gap": "1d"}, "TRACKER_SESSION_GAP is 1d: it must be shorter than TRACKER_SESSION_CAP"),
        ({"state_ttl": "1d"}, "TRACKER_STATE_TTL is 1d: it must be longer"),
        ({"raw_topics": "journey.events"}, "TRACKER_RAW_TOPICS is journey.events: journey.events is the tracker's"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(flags: dict[str, str], complaint: str) -> None:
    assert complaint in refused(**flags)


@pytest.mark.parametrize(
    "url",
    ["redis://:s3cret@redis:6379/0", "redis://user:s3cret@redis", "rediss://redis?password=s3cret&db=1"],
)
def test_a_password_is_never_shown(url: str) -> None:
    settings = load({"redis_url": url})
    assert settings.redis_url == url
    shown = repr(settings) + str(settings) + repr(catalogue(settings))
    assert "s3cret" not in shown
    assert "***" in shown


def test_a_password_is_not_shown_in_an_error_either() -> None:
    assert "s3cret" not in refused(redis_url="http://:s3cret@redis")
    assert "s3cret" not in refused(redis_url=":s3cret@redis")


def test_the_namespace_is_a_literal_prefix() -> None:
    assert load({"namespace": "acme."}).namespace == "acme."


def test_no_raw_topics_means_that_producers_write_to_the_log() -> None:
    assert load({"raw_topics": ""}).reads_direct_events
    assert not load().reads_direct_events


def test_the_catalogue_reads_back_as_the_settings_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"session_gap": "90m", "raw_topics": "a,b", "direct": "on"})
    for described in catalogue(settings):
        monkeypatch.setenv(described.name, described.value)
    assert load() == settings
    assert [described.name for described in catalogue()] == [variable(name) for name in names()]


@given(st.integers(0, 4000 * DAY))
def test_a_duration_reads_back_as_it_was_written(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500ms", 500), ("30s", 30_000), ("30m", 30 * MINUTE), ("1h30m", 90 * MINUTE), ("7d", 7 * DAY), ("0", 0)],
)
def test_durations_are_numbers_with_units(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "30", "-5m", "1.5h", "m", "5 minutes", "1h30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|not a duration"):
        parse_duration(text)

"""Redis by one server, by Sentinels or by a cluster: what the URL says."""

from __future__ import annotations

import pytest

from tracker.redisurl import RedisUrl, parse_redis_url


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        (
            " redis+sentinel://:s3cret@one,two:5000/journeys/3?sentinel_password=other ",
            RedisUrl(
                "sentinel",
                (("one", 26379), ("two", 5000)),
                "journeys",
                "redis://:s3cret@one:26379/3?sentinel_password=other",
            ),
        ),
        (
            "rediss+cluster://user:p%40ss@[::1]:7000,b",
            RedisUrl("cluster", (("::1", 7000), ("b", 6379)), "", "rediss://user:p%40ss@[::1]:7000/"),
        ),
        ("redis://:s3cret@redis/2", RedisUrl("one", (), "", "redis://:s3cret@redis/2")),
        ("unix:///run/redis.sock", RedisUrl("one", (), "", "unix:///run/redis.sock")),
    ],
)
def test_a_url_names_servers_and_how_they_belong_together(url: str, parsed: RedisUrl) -> None:
    assert parse_redis_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://redis", "another scheme"),
        ("redis+proxy://redis", "another scheme"),
        ("unix+cluster:///run/redis.sock", "another scheme"),
        ("redis+sentinel://one,two", "no name of the master"),
        ("redis+sentinel://one/journeys/shop", "the database is not a number"),
        ("redis+cluster://one/1", "a cluster has only database 0"),
        ("redis+cluster://one,,two", "no host"),
        ("redis+cluster://one:port", "not a URL"),
        ("redis://", "no host"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_redis_url(url)

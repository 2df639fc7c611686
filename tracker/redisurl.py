"""The URL of Redis: one server, the Sentinels that name its master, or nodes of a Redis Cluster."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ALLOWED = (
    "redis://host:port/database, unix://path, redis+sentinel://host:port,…/master-name/database or "
    "redis+cluster://host:port,…, with rediss for TLS, for example redis://:password@redis:6379/0"
)
_PORTS = {"sentinel": 26379, "cluster": 6379}


class RedisUrl(NamedTuple):
    """`kind` is "one", "sentinel" or "cluster"; `servers` are the Sentinels, or the cluster's nodes to ask first;
    `service` is the master's name among the Sentinels; `plain` is the same URL as redis-py reads it: one server."""

    kind: str
    servers: tuple[tuple[str, int], ...]
    service: str
    plain: str


def parse_redis_url(url: str) -> RedisUrl:
    """Take the URL apart. Raises `ValueError` that says what is wrong, without quoting the URL."""
    scheme, _, rest = url.strip().partition("://")
    base, _, kind = scheme.partition("+")
    if base not in {"redis", "rediss", "unix"} or kind not in {"", *_PORTS} or (kind and base == "unix"):
        raise ValueError("another scheme")
    if not kind:
        return _one(url.strip(), base)
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    user, at, hosts = authority.rpartition("@")
    servers = tuple(_host(host, _PORTS[kind]) for host in hosts.split(","))
    service, _, database = path.strip("/").partition("/") if kind == "sentinel" else ("", "", path.strip("/"))
    if kind == "sentinel" and not service:
        raise ValueError("no name of the master: redis+sentinel://host:port/NAME")
    if database and not database.isdecimal():
        raise ValueError("the database is not a number")
    if kind == "cluster" and int(database or 0):
        raise ValueError("a cluster has only database 0")
    host, port = servers[0]
    host = f"[{host}]" if ":" in host else host
    plain = f"{base}://{user}{at}{host}:{port}/{database}" + (f"?{query}" if query else "")
    return RedisUrl(kind, servers, unquote(service), plain)


def _one(url: str, base: str) -> RedisUrl:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  reading it checks it
    except ValueError:
        raise ValueError("not a URL") from None
    if not (parts.path if base == "unix" else parts.hostname):
        raise ValueError("no host")
    if base != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise ValueError("the database is not a number")
    return RedisUrl("one", (), "", url)


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        found = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if not found[0]:
        raise ValueError("no host")
    return found[0], found[1] or port

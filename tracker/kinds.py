"""Kinds of setting: what is allowed, how text becomes a value, and how a value is shown."""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import urlsplit

from tracker import durations, redisurl


class Unfit(ValueError):
    """A value is not of its kind."""


class Kind(Protocol):
    """`parse` takes text, or what TOML has for it, and raises `Unfit` with the reason (or without one where
    `allowed` says it all)."""

    @property
    def allowed(self) -> str:
        """What is allowed, with an example."""

    def parse(self, raw: object) -> object:
        """The value."""

    def show(self, value: object) -> str:
        """The value as text; without secrets."""

    def quote(self, raw: object) -> str:
        """What somebody gave, for an error message; without secrets."""


class _Plain:
    """How most kinds show themselves."""

    def show(self, value: object) -> str:
        return str(value)

    def quote(self, raw: object) -> str:
        return repr(raw)


class Text(_Plain):
    """A text that matches a pattern as a whole."""

    def __init__(self, pattern: str, allowed: str) -> None:
        self.pattern, self.allowed = re.compile(pattern), allowed

    def parse(self, raw: object) -> str:
        if not isinstance(raw, str) or not self.pattern.fullmatch(raw):
            raise Unfit
        return raw


class Names(_Plain):
    """A list: split on commas, or a TOML array; each part matches the pattern, none comes twice."""

    def __init__(self, pattern: str, allowed: str, *, empty: bool = False) -> None:
        self.pattern, self.allowed, self.empty = re.compile(pattern), allowed, empty

    def parse(self, raw: object) -> tuple[str, ...]:
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise Unfit
        found = tuple(part.strip() for part in parts if part.strip())
        if not found and not self.empty:
            raise Unfit("empty")
        for part in found:
            if not self.pattern.fullmatch(part):
                raise Unfit(f"{part!r} does not fit")
            if found.count(part) > 1:
                raise Unfit(f"{part!r} comes twice")
        return found

    def show(self, value: object) -> str:
        return ",".join(value) if isinstance(value, tuple) else str(value)


class Choice(_Plain):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words, self.allowed = words, f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(self, raw: object) -> str:
        if isinstance(raw, str) and raw.strip().lower() in self.words:
            return raw.strip().lower()
        raise Unfit


class Switch(_Plain):
    """On or off."""

    allowed = "on or off (also 1, 0, true, false, yes, no)"

    def parse(self, raw: object) -> bool:
        word = str(raw).strip().lower()
        if word in {"on", "1", "true", "yes"}:
            return True
        if word in {"off", "0", "false", "no"}:
            return False
        raise Unfit

    def show(self, value: object) -> str:
        return "on" if value else "off"


class Whole(_Plain):
    """A whole number within bounds; `_` may group digits."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.allowed = f"a whole number from {least} to {most}"

    def parse(self, raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise Unfit
        try:
            number = int(raw)
        except ValueError:
            raise Unfit("not a whole number") from None
        if not self.least <= number <= self.most:
            raise Unfit("out of bounds")
        return number


class Duration(_Plain):
    """A duration with its unit, in milliseconds; bounds are written like the value."""

    def __init__(self, least: str, most: str) -> None:
        self.least, self.most = durations.parse_duration(least), durations.parse_duration(most)
        self.allowed = f"{least} to {most}, as {durations.ALLOWED}"

    def parse(self, raw: object) -> int:
        if not isinstance(raw, str):
            raise Unfit("a number needs its unit")
        try:
            ms = durations.parse_duration(raw)
        except ValueError:
            raise Unfit("not a duration") from None
        if not self.least <= ms <= self.most:
            raise Unfit("out of bounds")
        return ms

    def show(self, value: object) -> str:
        return durations.format_duration(value) if isinstance(value, int) else str(value)


class SecretUrl(str):
    """A URL whose password no repr shows. Give it only to the client that needs it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(mask(self))


def mask(url: str) -> str:
    """The URL without its user information and without the password among its parameters."""
    url = re.sub(r"(?s)://.*@", "://***@", url) if "://" in url else re.sub(r"(?s).*@", "***@", url)
    return re.sub(r"(?i)(password=)[^&#]*", r"\1***", url)


class FernetKeys:
    """Keys of Fernet, separated by commas; never shown."""

    allowed = "Fernet's keys (32 bytes in URL-safe base64), the newest first, separated by commas"

    def parse(self, raw: object) -> Secrets:
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list):
            raise Unfit
        keys = Secrets(part.strip() for part in parts if isinstance(part, str) and part.strip())
        if not all(re.fullmatch(r"[A-Za-z0-9_-]{43}=", key) for key in keys):
            raise Unfit("not a key")
        return keys

    def show(self, value: object) -> str:
        return "***" if value else ""

    def quote(self, raw: object) -> str:  # noqa: ARG002
        return "***"


class Secrets(tuple[str, ...]):
    """Texts that no repr shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***" if self else "()"


class HttpUrl:
    """The URL of an HTTP service; its user information is a secret."""

    allowed = "http://host:port or https://user:password@host, or nothing"

    def parse(self, raw: object) -> SecretUrl:
        if not isinstance(raw, str):
            raise Unfit
        try:
            parts = urlsplit(raw.strip())
            port = parts.port
        except ValueError:
            raise Unfit from None
        if raw.strip() and (parts.scheme not in {"http", "https"} or not parts.hostname or port == 0):
            raise Unfit
        return SecretUrl(raw.strip())

    def show(self, value: object) -> str:
        return mask(str(value))

    def quote(self, raw: object) -> str:
        return repr(mask(str(raw)))


class Redis:
    """The URL of Redis or Valkey: a server, Sentinels or a cluster (`tracker.redisurl`)."""

    allowed = redisurl.ALLOWED

    def parse(self, raw: object) -> SecretUrl:
        if not isinstance(raw, str):
            raise Unfit
        try:
            redisurl.parse_redis_url(raw)
        except ValueError as error:
            raise Unfit(str(error)) from None
        return SecretUrl(raw.strip())

    def show(self, value: object) -> str:
        return mask(str(value))

    def quote(self, raw: object) -> str:
        return repr(mask(str(raw)))

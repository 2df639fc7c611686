"""Dead letters without anybody's data in clear: redacted to where the original lies, or encrypted with a shop's key.

Reason, origin and size stay readable. Key, value, headers and detail, which may quote a value, do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

Headers = Sequence[tuple[str, bytes]]

SEALED = "sealed"
"""Header: `redacted`, or `encrypted`."""
POINTER = "pointer"
ORIGINAL = "original-"
_HIDDEN = "detail"


class Content(msgspec.Struct, array_like=True):
    """What is encrypted of a letter."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Content).decode


class Seal:
    """How the letters of one tracker are sealed: `plain`, `redacted` or `encrypted`. The first of `keys` (Fernet's)
    encrypts, each of them decrypts. Raises `ValueError` for a key that is none, or none where one is needed."""

    def __init__(self, mode: str = "plain", keys: Sequence[str] = ()) -> None:
        self._mode = mode
        self._keys = MultiFernet([Fernet(key) for key in keys]) if keys else None
        if mode == "encrypted" and self._keys is None:
            raise ValueError("a key is needed")

    def close(
        self, key: bytes | None, value: bytes | None, headers: Headers, largest: int
    ) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
        """A letter's key, value and headers as they are written. One that gets larger than `largest` bytes by being
        encrypted is redacted."""
        if self._mode == "plain":
            return key, value, list(headers)
        seen = [header for header in headers if not _is_hidden(header[0])]
        if self._mode == "encrypted" and self._keys is not None:
            hidden = [header for header in headers if _is_hidden(header[0])]
            token = self._keys.encrypt(_encode(Content(key, value, hidden)))
            if len(token) <= largest:
                return None, token, [*seen, (SEALED, b"encrypted")]
        pointer = [] if any(name == POINTER for name, _ in seen) else [(POINTER, b"1")]
        return None, None, [*seen, *pointer, (SEALED, b"redacted")]

    def open(
        self, key: bytes | None, value: bytes | None, headers: Headers
    ) -> tuple[bytes | None, bytes | None, Headers] | None:
        """A letter as it was before it was encrypted, others as they are; None where no key of these opens it."""
        if (SEALED, b"encrypted") not in list(headers):
            return key, value, headers
        try:
            found = _decode(self._keys.decrypt(value or b"")) if self._keys is not None else None
        except (InvalidToken, ValueError):
            return None
        if found is None:
            return None
        return found.key, found.value, [*(header for header in headers if header[0] != SEALED), *found.headers]


PLAIN = Seal()


def _is_hidden(name: str) -> bool:
    return name == _HIDDEN or name.startswith(ORIGINAL)

"""Ids derived from data: the same facts always give the same id, on any worker, in any replay."""

from __future__ import annotations

from hashlib import blake2b

from xxhash import xxh3_64_digest

SHORT_HASH_BYTES = 8


def short_hash(text: str) -> bytes:
    """The 8 bytes by which a state remembers an id (event ids, order ids)."""
    return xxh3_64_digest(text.encode())


def derive(*parts: object) -> str:
    """A 128-bit id in hex from the parts' text; the unit separator keeps ("ab", "c") and ("a", "bc") apart."""
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()

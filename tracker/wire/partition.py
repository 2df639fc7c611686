"""Which partition a key belongs to: murmur2, as Java's default partitioner has it, so that all producers agree."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_WORDS = [Struct(f"<{count}I") for count in range(64)]


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of `key` in a topic of `partitions`."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _hash(key: bytes) -> int:
    """The 32 bits of `org.apache.kafka.common.utils.Utils.murmur2`, unsigned."""
    size = len(key)
    count = size >> 2
    words = _WORDS[count] if count < len(_WORDS) else Struct(f"<{count}I")
    h = _SEED ^ size
    for k in words.unpack_from(key):
        k = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ (((k ^ (k >> 24)) * _M) & _MASK)
    if tail := key[count << 2 :]:
        h = ((h ^ int.from_bytes(tail, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


# A person comes back: remembering 100,000 of them (about 20 MB) makes a hash ten times cheaper than computing it.
_murmur2 = lru_cache(maxsize=100_000)(_hash)

"""What adapters share: names in snake case, ids that content gives."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from tracker.wire.bounds import MAX_TYPE

_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORD = re.compile(r"[^0-9a-zA-Z]+")


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """A producer's event name as a type: `Quiz Started`, `quizStarted` and `quiz-started` are `quiz_started`."""
    return _NOT_WORD.sub("_", _WORD_BORDER.sub("_", name)).strip("_").lower()[:MAX_TYPE]


def content_id(*parts: bytes) -> str:
    """The id of an event that has none: 32 hexadecimal digits, the same for the same content."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()

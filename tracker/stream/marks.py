"""What a partition's log has said about time: the marks of the sources, and how far the other partitions are.

`w0` of a partition is the least mark of all raw sources in its log; `w1` the least `w0` of all partitions, as they
announced it in `passed` records; the watermark the least `w1` of all. Each is a time in ms: everything before it is
in the log and, for `w1` and the watermark, everything that another partition had to forward because of it.
"""

from __future__ import annotations

import msgspec

from tracker.domain.units import NEVER
from tracker.wire.position import Position


class Marks(msgspec.Struct):
    """The highest mark of each source and the highest (w0, w1) of each track partition."""

    sources: dict[str, int] = {}
    passed: dict[int, tuple[int, int]] = {}

    def mark(self, sources: dict[str, int]) -> None:
        """A watermark record; marks never fall."""
        for source, ts in sources.items():
            if ts > self.sources.get(source, NEVER):
                self.sources[source] = ts

    def announce(self, partitions: dict[int, tuple[int, int]]) -> None:
        """A passed record."""
        for partition, (w0, w1) in partitions.items():
            old0, old1 = self.passed.get(partition, (NEVER, NEVER))
            self.passed[partition] = (max(w0, old0), max(w1, old1))

    def own(self, required: tuple[str, ...], partitions: int) -> tuple[int, int]:
        """This partition's (w0, w1). A source or partition not heard of yet holds time at NEVER."""
        known, passed = self.sources, self.passed
        w0 = min((known.get(source, NEVER) for source in required), default=NEVER)
        w1 = min(passed.get(partition, (NEVER, NEVER))[0] for partition in range(partitions))
        return w0, w1

    def watermark(self, partitions: int) -> int:
        """The watermark: deadlines up to it fire, events before it minus the allowed lateness are late."""
        passed = self.passed
        return min(passed.get(partition, (NEVER, NEVER))[1] for partition in range(partitions))

    def held_by(self, required: tuple[str, ...]) -> str | None:
        """The source that holds time."""
        return min(required, key=lambda source: self.sources.get(source, NEVER), default=None)

    def copy(self) -> Marks:
        """Marks to look ahead with."""
        return Marks(dict(self.sources), dict(self.passed))


class Meta(Marks):
    """What the store keeps beside a partition's position: the marks, and what the broker had confirmed by then."""

    told: Position | None = None
    """The broker has said that it holds this position; None where it has held none."""


encode_marks = msgspec.msgpack.Encoder().encode
decode_marks = msgspec.msgpack.Decoder(Marks).decode
decode_meta = msgspec.msgpack.Decoder(Meta).decode


def encode_meta(marks: Marks, told: Position | None) -> bytes:
    """`Meta` with these marks, as bytes."""
    return encode_marks(Meta(marks.sources, marks.passed, told))


def without_told(meta: bytes) -> bytes:
    """An encoded `Meta` (empty: none) after which the broker may hold any position."""
    return encode_meta(decode_meta(meta), None) if meta else meta

"""A partition's position: how far its log has been folded, down to the single deadline."""

from __future__ import annotations

import msgspec

from tracker.domain.units import NEVER


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """`offset` is the next record to fold. Where that record is a watermark that was cut, `due` and `person`
    name the last deadline done for it. `watermark` is the one in force, in ms."""

    offset: int
    watermark: int = NEVER
    due: int | None = None
    person: str | None = None

    def order(self) -> tuple[int, int, bytes]:
        """A key that sorts positions of one partition in the order in which its log is folded."""
        return (self.offset, NEVER if self.due is None else self.due, (self.person or "").encode())

    def encode(self) -> str:
        """JSON text: stored in Redis and as the metadata of the committed offset."""
        return _encoder.encode(self).decode()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Position)


def decode_position(text: str | bytes) -> Position:
    """The position that `encode` wrote; raises msgspec.DecodeError on anything else."""
    return _decoder.decode(text)

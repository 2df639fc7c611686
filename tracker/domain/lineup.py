"""What the places in a state stand for. States name phases and rules by their place in the models that folded them;
each says by a mark which lineup that was, so that a changed model can take it over (see `migration`)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tracker.domain.ids import short_hash
from tracker.domain.model import Model


class Lineup(msgspec.Struct, array_like=True, frozen=True):
    """The ids of each model's phases, and of the first one's rules."""

    models: tuple[tuple[str, tuple[str, ...]], ...]
    rules: tuple[str, ...]


def lineup_of(models: Sequence[Model]) -> Lineup:
    """The lineup of models in the order of `TRACKER_MODEL`."""
    phases = tuple((model.id, tuple(phase.id for phase in model.phases)) for model in models)
    return Lineup(phases, tuple(rule.id for rule in models[0].rules))


def mark_of(lineup: Lineup) -> bytes:
    """8 bytes that tell one lineup from another."""
    return short_hash(repr((lineup.models, lineup.rules)))


encode_lineups = msgspec.msgpack.Encoder().encode
decode_lineups = msgspec.msgpack.Decoder(list[Lineup]).decode

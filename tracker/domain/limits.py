"""When a person may be written to: quiet hours, caps, and what was sent lately, drop-offs and triggers alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tracker.domain.model import QuietHours
from tracker.domain.outputs import Bound, Happening
from tracker.domain.state import MAX_SENT, Facts, Sent
from tracker.domain.table import Table
from tracker.domain.units import NEVER

LONGEST_DEFERRAL = 7 * 86_400_000
"""A message deferred for longer than this (ms) is withheld."""


def capped_until(facts: Facts, table: Table) -> int:
    """Until when (ms UTC) the caps let nothing more through: the earliest of a cap's last `most` messages has to be as
    old as its window. NEVER where there is room."""
    until = NEVER
    if facts.sent:
        times = sorted([sent.at for sent in facts.sent if sent.capped])
        for cap in table.model.caps:
            if len(times) >= cap.most:
                until = max(until, times[-cap.most] + cap.within)
    return until


def note_sent(facts: Facts, sent: Sent, table: Table, out: list[Happening]) -> None:
    """Remember a message for as long as a limit of the model looks back."""
    kept = [known for known in facts.sent if sent.at - known.at < table.looks_back]
    if len(kept) >= MAX_SENT:
        out.append(Bound("sent_messages"))
        del kept[: len(kept) - MAX_SENT + 1]
    facts.sent = [*kept, sent]


def after_quiet(at: int, quiet: QuietHours) -> int:
    """`at` itself, or the end of the quiet hours it falls into (ms UTC)."""
    local = datetime.fromtimestamp(at / 1000, ZoneInfo(quiet.zone))
    minute = local.hour * 60 + local.minute
    inside = (
        quiet.start <= minute < quiet.end if quiet.start <= quiet.end else minute >= quiet.start or minute < quiet.end
    )
    if not inside:
        return at
    end = local.replace(hour=quiet.end // 60, minute=quiet.end % 60, second=0, microsecond=0)
    if minute >= quiet.end:
        end += timedelta(days=1)
    return round(end.timestamp() * 1000)

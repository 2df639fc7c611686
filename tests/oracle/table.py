"""The rules' numbers as the oracle takes them from the design; phases, which only the model names, from its YAML."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import yaml

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CHECKOUT = (
    "checkout_started",
    "checkout_step_viewed",
    "checkout_step_completed",
    "payment_info_entered",
    "payment_failed",
)
ANY = "any"
"""As an event type of an entry: any active event."""


@dataclass(frozen=True)
class PhaseRow:
    """A phase: its entries are (event types, least number of orders), its touchpoints (id, event types)."""

    id: str
    stage: str
    enter: tuple[tuple[tuple[str, ...], int], ...]
    back_on: tuple[str, ...] = ()
    touchpoints: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Table:
    """All that a fold of one person depends on; durations in ms, quiet hours in minutes of the day in UTC."""

    phases: tuple[PhaseRow, ...]
    reopen: tuple[str, ...]
    conversion: tuple[str, ...]
    gap: int = 30 * MINUTE
    cap: int = 24 * HOUR
    browse_wait: int = HOUR
    cart_wait: int = 4 * HOUR
    checkout_wait: int = 4 * HOUR
    journey_timeout: int = 30 * DAY
    cart_ttl: int = 30 * DAY
    recovery_window: int = 30 * DAY
    quiet: tuple[int, int] | None = None
    consent_default: bool = True


def _read(name: str) -> Table:
    """A built-in model's phases and reopening types, straight from its YAML; rules and durations stay as above."""
    text = resources.files("tracker.journeys").joinpath(f"{name}.yaml").read_text("utf-8")
    model = yaml.safe_load(text)
    return Table(
        phases=tuple(
            PhaseRow(
                phase["id"],
                phase["stage"],
                tuple((tuple(entry["events"]), entry.get("orders", 0)) for entry in phase["enter"]),
                tuple(phase.get("back_on", ())),
                tuple((point["id"], tuple(point["events"])) for point in phase.get("touchpoints", ())),
            )
            for phase in model["phases"]
        ),
        reopen=tuple(model["reopen"]),
        conversion=tuple(model["conversion"]),
    )


NETTBUTIKK = _read("nettbutikk-5")
"""The default model."""

"""The composition root: the only place that builds things. Commands call the `run_…` functions."""

from tracker.wiring.demonstration import map_counters, run_demo
from tracker.wiring.erasing import run_erase
from tracker.wiring.parts import table_of
from tracker.wiring.reading import find_claimants, list_dead_letters, replay_dead_letters, show_journey
from tracker.wiring.recovering import run_recover
from tracker.wiring.replaying import run_replay
from tracker.wiring.unmerging import run_unmerge
from tracker.wiring.worker import run_worker

__all__ = [
    "find_claimants",
    "list_dead_letters",
    "map_counters",
    "replay_dead_letters",
    "run_demo",
    "run_erase",
    "run_recover",
    "run_replay",
    "run_unmerge",
    "run_worker",
    "show_journey",
    "table_of",
]

"""Runs `tracker …` under cProfile by CPU time: python -m loadtests.profiled FILE worker --only track

CPU time and not the wall's, so that what else runs on the machine does not show up as somebody's own time.
"""

from __future__ import annotations

import cProfile
import sys
import time

from tracker.cli import main

if __name__ == "__main__":
    path = sys.argv.pop(1)
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    try:
        main(prog_name="tracker")
    finally:
        profile.disable()
        profile.dump_stats(path)

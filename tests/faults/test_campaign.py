"""A short campaign: every kind of fault, and nothing lost, doubled, out of order or false."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.faults.campaign import campaign
from tests.faults.nemesis import KINDS
from tests.faults.plan import Plan
from tests.faults.verdict import WITHHELD

MINUTES = 4.0
"""Of writing; what follows takes another one or two. A long campaign: python -m tests.faults --minutes 60"""


async def test_whatever_breaks_every_input_is_accounted_for_and_every_output_comes_once(tmp_path: Path) -> None:
    happened: list[str] = []
    report = await campaign(Plan(seed=4, minutes=MINUTES, rate=600), 3, list(KINDS), tmp_path, happened.append)
    assert report.clean, "\n".join((*happened, report.as_text(), f"logs and differences: {tmp_path}"))
    assert Counter(fault.kind for fault, _ in report.faults).keys() == KINDS.keys()
    assert report.verdict.counts["drop-offs by the oracle"] > 1000
    assert report.verdict.counts["dead letters"] > 0
    withheld = report.verdict.counts[WITHHELD]
    assert withheld <= 0.01 * report.verdict.counts["drop-offs by the oracle"]
    assert f"{WITHHELD}: {withheld:,}" in report.as_text()

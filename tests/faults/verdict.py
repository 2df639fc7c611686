"""What a campaign found: counts, and every difference between what should be there and what is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

WITHHELD = "drop-offs withheld because of an order"
"""The count of a difference from the oracle that comes of the order in which raw partitions are read: no violation."""
SHOWN = 50
"""Differences kept of each kind; the rest is only counted."""


@dataclass
class Verdict:
    """Filled by the judge. `counts` are by name; a violation is a name of `violations` with its differences."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.violations

    def differs(self, what: str, number: int = 1, **details: Any) -> None:
        """Something is wrong, so many times; `details` say where."""
        self.violations[what] += number
        if self.violations[what] - number < SHOWN:
            self.differences.append({"what": what, **details})


def compare_sequences(
    verdict: Verdict,
    where: str,
    expected: Sequence[tuple[bytes, bytes]],
    found: Sequence[tuple[bytes, bytes]],
) -> None:
    """Outputs of one topic and partition as (person, digest): each once, and each person's in order."""
    verdict.counts[f"{where.partition('/')[0]} expected"] += len(expected)
    verdict.counts[f"{where.partition('/')[0]} found"] += len(found)
    if expected == found:
        return
    wanted, there = Counter(expected), Counter(found)
    for output, times in (wanted - there).items():
        verdict.differs("outputs missing", times, where=where, person=output[0].decode(), digest=output[1].hex())
    for output, times in (there - wanted).items():
        what = "outputs duplicated" if output in wanted else "outputs nobody expects"
        verdict.differs(what, times, where=where, person=output[0].decode(), digest=output[1].hex())
    theirs, both = _by_person(found), wanted & there
    for person, outputs in _by_person(expected).items():
        said = theirs.get(person, [])
        if said != outputs and _common(said, person, both) != _common(outputs, person, both):
            verdict.differs("outputs out of order", where=where, person=person.decode())


def _by_person(outputs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    people: dict[bytes, list[bytes]] = {}
    for person, output in outputs:
        people.setdefault(person, []).append(output)
    return people


def _common(outputs: Sequence[bytes], person: bytes, both: Counter[tuple[bytes, bytes]]) -> list[bytes]:
    """What is on either side, once each."""
    return list(dict.fromkeys(output for output in outputs if (person, output) in both))

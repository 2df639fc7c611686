"""Scores that people give in surveys and reviews, and where they lie on the scale of feelings.

Only whole numbers on their kind's scale are scores; a level is -2 (bad) to 2 (delighted), as models expect feelings.

| kind | question | scale | -2 | -1 | 0 | 1 | 2 |
|---|---|---|---|---|---|---|---|
| `nps` | would you recommend us? | 0 to 10 | 0-3 | 4-6 | 7-8 | 9 | 10 |
| `ces` | was it easy? | 1 to 7, easiest | 1 | 2-3 | 4 | 5-6 | 7 |
| `csat` | are you satisfied? | 1 to 5 | 1 | 2 | 3 | 4 | 5 |
| `rating` | how good is the product? | 1 to 5 | 1 | 2 | 3 | 4 | 5 |

The net promoter score's own groups are kept apart by it: detractors (0-6) lie below 0, promoters (9-10) above.
"""

from __future__ import annotations

from typing import Any

from tracker.domain.events import Event

_FIVE = (-2, -1, 0, 1, 2)
_SCALES: dict[str, tuple[int, tuple[int, ...]]] = {
    "nps": (0, (-2, -2, -2, -2, -1, -1, -1, 0, 0, 1, 2)),
    "ces": (1, (-2, -1, -1, 0, 1, 1, 2)),
    "csat": (1, _FIVE),
    "rating": (1, _FIVE),
}
"""By kind, the lowest score and the levels from there on."""

KINDS = tuple(_SCALES)
SURVEYS = ("nps", "ces", "csat")
"""The kinds that a survey asks for."""
UNNAMED = "survey"
"""In place of a kind: a `score` in a survey that names none."""
TOUCHPOINT = "touchpoint"
PROPERTIES: dict[str, frozenset[str]] = {
    "survey_answered": frozenset({*SURVEYS, "survey", "score", TOUCHPOINT}),
    "product_reviewed": frozenset({"rating", TOUCHPOINT}),
}
"""The event types that bring scores, and the properties in which they do."""


def level(kind: str, score: int) -> int:
    """Where a score of a kind lies on the scale of feelings, -2 to 2."""
    lowest, levels = _SCALES[kind]
    return levels[score - lowest]


def scores_in(event: Event) -> list[tuple[str, int | None]]:
    """(kind, score) of all that an event brings, each kind once; None for a score that is none on its scale."""
    properties = event.properties
    if properties is None:
        return []
    kinds = SURVEYS if event.type == "survey_answered" else ("rating",)
    given = {kind: value for kind in kinds if (value := properties.get(kind)) is not None}
    if event.type == "survey_answered" and (score := properties.get("score")) is not None:
        survey = properties.get("survey")
        if isinstance(survey, str) and survey in SURVEYS:
            given.setdefault(survey, score)
        elif not given:
            return [(UNNAMED, None)]
    return [(kind, _score(kind, given[kind])) for kind in kinds if kind in given]


def _score(kind: str, value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    lowest, levels = _SCALES[kind]
    if not lowest <= value < lowest + len(levels) or value != int(value):
        return None
    return int(value)

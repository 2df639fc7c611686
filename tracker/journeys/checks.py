"""What types alone cannot say about a model: ids, references, bounds, and that phases, texts and figures make sense."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tracker.domain.events import KNOWN_TYPES
from tracker.domain.model import DAY, MINUTE, Model, Phase
from tracker.domain.state import MAX_SENT
from tracker.domain.table import ANY, CART_CHANGED, CART_EMPTIED, FIRST_IDENTIFIED
from tracker.domain.texts import SHARES, Feeling, Kpi, Measure, Threshold, Touchpoint
from tracker.durations import format_duration
from tracker.journeys.reader import Key, Reader, nearest

CONVERTING = ("order_completed", "trial_started", "subscription_started", "contract_signed")
MOST_PHASES = 60
LONGEST = 400 * DAY
"""No wait or window is longer than this (ms): state is kept that long by default."""
ID, ID_ALLOWED = r"[a-z0-9][a-z0-9_-]{0,39}", "small letters a-z, digits, _ and -"

Warn = Callable[[str], object]


class Check:
    """Checks of single values, each of which raises ModelError with file, line, key, value and what is allowed."""

    def __init__(self, reader: Reader, model: Model, warn: Warn) -> None:
        self.reader, self.model, self.warn = reader, model, warn
        self.fail = reader.fail
        self._unknown: set[str] = set()

    def types(
        self,
        key: Key,
        types: Sequence[str],
        also: Sequence[str] = (),
        only: Sequence[str] = (),
        *,
        empty: bool = False,
    ) -> None:
        """Event types, each named once; those outside the table are warned about, once each. `also` are words that
        mean more than one type, `only` are all that is allowed."""
        if not types and not empty:
            self.fail(key, " is empty; allowed: at least one event type")
        for i, name in enumerate(types):
            self.unique((*key, i), name, types[:i])
            if only and name not in only:
                self.fail((*key, i), f" is {name!r}; allowed: {', '.join(only)}")
            if name in (ANY, CART_CHANGED, FIRST_IDENTIFIED) and name not in also:
                places = "the entries of phases up to the purchase" if name == ANY else "a rule's `when`"
                places = "a trigger's `when`" if name == FIRST_IDENTIFIED else places
                self.fail((*key, i), f" is {name!r}, which is allowed only in {places}")
            self.text((*key, i), name, r"[a-z][a-z0-9_]{0,127}", "small letters, digits and _")
            if name not in KNOWN_TYPES and name not in also and name not in self._unknown:
                self._unknown.add(name)
                hint = nearest(name, (*sorted(KNOWN_TYPES), *also))
                self.warn(f"{self.reader.at((*key, i))}: {name} is not a canonical event type.{hint}")

    def text(self, key: Key, value: str, pattern: str, allowed: str) -> None:
        """A text that matches a pattern as a whole."""
        if not re.fullmatch(pattern, value):
            self.fail(key, f" is {value!r}; allowed: {allowed}")

    def unique(self, key: Key, value: str, earlier: Iterable[str]) -> None:
        """A text that has not been there before."""
        if value in earlier:
            self.fail(key, f" is {value!r}, which is there twice")

    def named(self, key: Key, value: str, known: Sequence[str], what: str) -> None:
        """One of the known ids."""
        if value not in known:
            self.fail(key, f" is {value!r}; allowed: {what} ({', '.join(known) or 'none'}).{nearest(value, known)}")

    def number(self, key: Key, value: float, least: float, most: float) -> None:
        """A number between two bounds, both included."""
        if not least <= value <= most:
            self.fail(key, f" is {value:g}; allowed: {least:g} to {most:g}")

    def duration(self, key: Key, value: int, least: int, most: int) -> None:
        """A duration (ms) between two bounds, both included."""
        if not least <= value <= most:
            allowed = f"{format_duration(least)} to {format_duration(most)}"
            self.fail(key, f" is {format_duration(value)!r}; allowed: {allowed}")

    def zone(self, key: Key, value: str) -> None:
        """A time zone that every machine knows."""
        if not _is_zone(value):
            self.fail(key, f" is {value!r}; allowed: an IANA time zone, for example Europe/Oslo")

    def figure(self, key: Key, measure: Measure, value: float) -> None:
        """A target or threshold on its measure's scale."""
        if measure in SHARES:
            if not 0 <= value <= 1:
                self.fail(key, f" is {value:g}; allowed: 0 to 1, as {measure} is a share")
        elif measure == "nps":
            self.number(key, value, -100, 100)
        elif value < 0:
            self.fail(key, f" is {value:g}; allowed: 0 or more")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return name[0].isupper()  # `localtime` and the like are not the same on every machine


def check_model(check: Check) -> None:
    """Everything outside rules and conditions."""
    model, fail = check.model, check.fail
    check.text(("id",), model.id, r"[a-z0-9][a-z0-9-]{0,63}", "small letters, digits and dashes")
    check.text(("language",), model.language, r"[a-z]{2,3}(-[A-Z]{2})?", "a language tag, for example nb")
    if model.version < 1:
        fail(("version",), f" is {model.version}; allowed: 1 or more")
    check.zone(("zone",), model.zone)
    _phases(check)
    check.types(("conversion",), model.conversion, only=() if model.part else CONVERTING)
    check.types(("reopen",), model.reopen, empty=True)
    for name in ("journey_timeout", "cart_ttl", "recovery_window"):
        if getattr(model, name) < MINUTE:
            value = format_duration(getattr(model, name))
            fail((name,), f" is {value!r}; allowed: 1m or longer")
    if model.review is not None:
        check.duration(("review",), model.review, DAY, LONGEST)
    if model.quiet_hours:
        check.zone(("quiet_hours", "zone"), model.quiet_hours.zone)
        if model.quiet_hours.start == model.quiet_hours.end:
            fail(("quiet_hours",), ": start and end are the same; leave it out for none")
    for i, cap in enumerate(model.caps):
        check.number(("caps", i, "most"), cap.most, 1, MAX_SENT // 2)
        check.duration(("caps", i, "within"), cap.within, MINUTE, LONGEST)
    for i, goal in enumerate(model.channels):
        check.unique(("channels", i, "channel"), goal.channel, [other.channel for other in model.channels[:i]])
        check.figure(("channels", i, "target"), goal.measure, goal.target)
    for colour in ("red", "green"):
        for i, threshold in enumerate(getattr(model.zones, colour)):
            _threshold(check, ("zones", colour, i), threshold)


def _threshold(check: Check, key: Key, threshold: Threshold) -> None:
    if (threshold.below is None) == (threshold.above is None):
        check.fail(key, " says both or neither; allowed: one of below, above")
    side = "below" if threshold.above is None else "above"
    check.figure((*key, side), threshold.measure, getattr(threshold, side))


def _phases(check: Check) -> None:
    phases = check.model.phases
    stages = [phase.stage for phase in phases]
    if stages.count("purchase") != 1 or stages != sorted(stages, key=("before", "purchase", "after").index):
        check.fail(
            ("phases",),
            f" have the stages {', '.join(stages) or 'none'}; allowed: any number of before, one purchase, "
            "any number of after, in this order",
        )
    if len(phases) > MOST_PHASES:
        check.fail(("phases",), f" are {len(phases)}; allowed: at most {MOST_PHASES}")
    touchpoints: list[str] = []
    improvements: list[str] = []
    for i, phase in enumerate(phases):
        key: Key = ("phases", i)
        check.text((*key, "id"), phase.id, ID, ID_ALLOWED)
        check.unique((*key, "id"), phase.id, [other.id for other in phases[:i]])
        _entries(check, key, phase, first=i == 0)
        later = [other.id for other in phases[i + 1 :]]
        for j, name in enumerate(phase.success):
            check.named((*key, "success", j), name, later, "a later phase")
            check.unique((*key, "success", j), name, phase.success[:j])
        _kpis(check, (*key, "kpis"), phase.kpis)
        _feeling(check, (*key, "feeling"), phase.feeling)
        for j, channel in enumerate(phase.channels):
            check.unique((*key, "channels", j), channel, phase.channels[:j])
        for j, touchpoint in enumerate(phase.touchpoints):
            _touchpoint(check, (*key, "touchpoints", j), touchpoint, touchpoints)
            touchpoints.append(touchpoint.id)
        for j, improvement in enumerate(phase.improvements):
            check.text((*key, "improvements", j, "id"), improvement.id, ID, ID_ALLOWED)
            check.unique((*key, "improvements", j, "id"), improvement.id, improvements)
            improvements.append(improvement.id)
    for i, phase in enumerate(phases):  # those of later phases are known by now
        for j, improvement in enumerate(phase.improvements):
            if improvement.touchpoint is not None:
                where = ("phases", i, "improvements", j, "touchpoint")
                check.named(where, improvement.touchpoint, touchpoints, "a touchpoint of the model")


def _entries(check: Check, key: Key, phase: Phase, *, first: bool) -> None:
    if not phase.enter:
        check.fail((*key, "enter"), " is empty; allowed: at least one entry with events")
    for j, entry in enumerate(phase.enter):
        also = () if phase.stage == "after" else (ANY,)
        check.types((*key, "enter", j, "events"), entry.events, also=also, empty=entry.after is not None)
        check.number((*key, "enter", j, "orders"), entry.orders, 0, 10_000)
        if entry.after is not None:
            check.types((*key, "enter", j, "after", "event"), (entry.after.event,))
            check.duration((*key, "enter", j, "after", "wait"), entry.after.wait, MINUTE, LONGEST)
    check.types((*key, "back_on"), phase.back_on, empty=True)
    if phase.back_on and phase.stage == "after":
        check.fail((*key, "back_on"), ": nothing leads back once the purchase is made")
    if phase.back_on and first:
        check.fail((*key, "back_on"), ": no phase stands before the first one")
    if CART_EMPTIED in phase.back_on and check.model.buyer == "account":
        check.warn(
            f"{check.reader.at((*key, 'back_on'))}: {CART_EMPTIED} leads no account back, it has no cart of its own"
        )


def _touchpoint(check: Check, key: Key, touchpoint: Touchpoint, earlier: list[str]) -> None:
    check.text((*key, "id"), touchpoint.id, ID, ID_ALLOWED)
    check.unique((*key, "id"), touchpoint.id, earlier)
    check.types((*key, "events"), touchpoint.events)
    link = r"https?://[^\s/]\S*|(?![/\\.])[^\s:]+"
    check.text((*key, "material"), touchpoint.material, link, "an http(s) link or a relative path")
    _feeling(check, (*key, "feeling"), touchpoint.feeling)
    check.figure((*key, "kpi", "target"), touchpoint.kpi.measure, touchpoint.kpi.target)


def _kpis(check: Check, key: Key, kpis: Sequence[Kpi]) -> None:
    for i, kpi in enumerate(kpis):
        check.figure((*key, i, "target"), kpi.measure, kpi.target)


def _feeling(check: Check, key: Key, feeling: Feeling | None) -> None:
    if feeling is not None:
        check.number((*key, "level"), feeling.level, -2, 2)

"""What changed between two models, in words that an analyst understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from tracker.domain.conditions import Condition
from tracker.domain.model import After, Cap, Entry, Model, Phase, QuietHours, Rule, Segment
from tracker.domain.texts import ChannelGoal, Feeling, Improvement, Kpi, Text, Threshold, Touchpoint, Zones
from tracker.durations import format_duration
from tracker.journeys import words

DURATIONS = frozenset({"wait", "before", "again", "journey_timeout", "cart_ttl", "recovery_window", "review"})
"""Fields in ms of models and rules."""
APART = frozenset({"phases", "rules", "segments", "channels", "method"})
"""Fields of a model that are compared item by item."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: `where` it lies (`model`, `phase kjop`, `rule cart_abandoned`, …), `what` it is about, and the
    values in words, None where there is none."""

    where: str
    what: str
    old: str | None = None
    new: str | None = None


Item = TypeVar("Item", Rule, Segment, Touchpoint, Improvement)


def changes(old: Model, new: Model) -> list[Change]:
    """Every difference between two models; none if they say the same."""
    return [
        *_fields("model", old, new, APART),
        *_texts("model", {"method": old.method}, {"method": new.method}),
        *_phases(old, new),
        *_items("rule", old.rules, new.rules),
        *_items("segment", old.segments, new.segments),
        *_channels(old.channels, new.channels),
    ]


def sentence(change: Change) -> str:
    """A change as one line, without where it lies."""
    if change.old is None and change.new is None:
        return change.what
    if change.old is None:
        return f"{change.what}: {change.new}"
    return f"{change.what}: {change.old}" if change.new is None else f"{change.what}: {change.old} → {change.new}"


def _phases(old: Model, new: Model) -> Iterator[Change]:
    before = {phase.id: phase for phase in old.phases}
    after = {phase.id: phase for phase in new.phases}
    renamed = _renamed(before, after)
    for was, now in renamed.items():
        yield Change(where=f"phase {now}", what="id", old=was, new=now)
    after_ids = set(after) - set(renamed.values())
    for name in before:
        if name not in after and name not in renamed:
            yield Change(where=f"phase {name}", what="removed")
    places = {name: i for i, name in enumerate(after)}
    for name in after:
        if name in after_ids and name not in before:
            previous = next((other for other, i in places.items() if i == places[name] - 1), None)
            yield Change(where=f"phase {name}", what=f"added after {previous}" if previous else "added as the first")
    yield from _order("phase", [renamed.get(name, name) for name in before], list(after))
    for name, phase in before.items():
        now_id = renamed.get(name, name)
        if now_id in after:
            yield from _phase(phase, after[now_id])


def _renamed(before: dict[str, Phase], after: dict[str, Phase]) -> dict[str, str]:
    """Phases that have another id now: what enters them, or their name, is the same."""
    gone = [phase for name, phase in before.items() if name not in after]
    come = [phase for name, phase in after.items() if name not in before]
    renamed: dict[str, str] = {}
    for phase in gone:
        for other in come:
            if other.id not in renamed.values() and (phase.name == other.name or phase.enter == other.enter):
                renamed[phase.id] = other.id
                break
    return renamed


def _phase(old: Phase, new: Phase) -> Iterator[Change]:
    where = f"phase {new.id}"
    apart = {"id", "enter", "touchpoints", "improvements", "kpis", "gloss", "feeling", *_text_lists(old)}
    yield from _fields(where, old, new, apart)
    yield from _lists(where, "entry", old.enter, new.enter)
    yield from _lists(where, "KPI", old.kpis, new.kpis)
    if (old.feeling and old.feeling.level) != (new.feeling and new.feeling.level):
        yield Change(where=where, what="feeling's level", old=_level(old.feeling), new=_level(new.feeling))
    yield from _texts(where, _said(old), _said(new))
    yield from _items("touchpoint", old.touchpoints, new.touchpoints)
    yield from _items("improvement", old.improvements, new.improvements)


def _level(feeling: Feeling | None) -> str:
    return "none" if feeling is None else words.level(feeling)


def _text_lists(phase: Phase) -> list[str]:
    return [
        field.name for field in msgspec.structs.fields(phase) if field.type == tuple[Text, ...] and field.name != "also"
    ]


def _said(phase: Phase) -> dict[str, tuple[Text, ...]]:
    """What a phase says, by field."""
    said: dict[str, tuple[Text, ...]] = {name: getattr(phase, name) for name in _text_lists(phase)}
    said["gloss"] = (Text(phase.gloss),)
    said["feeling"] = () if phase.feeling is None else (Text(phase.feeling.text, phase.feeling.gloss),)
    return said


def _texts(where: str, old: dict[str, tuple[Text, ...]], new: dict[str, tuple[Text, ...]]) -> Iterator[Change]:
    """Texts are counted: which words changed is for the reader of the file."""
    come = gone = 0
    places = []
    for name, now in new.items():
        added, removed = Counter(now) - Counter(old[name]), Counter(old[name]) - Counter(now)
        come, gone = come + added.total(), gone + removed.total()
        if now != old[name]:
            places.append(name)
    if places:
        counted = f"{come} new, {gone} gone" if come or gone else "in another order"
        yield Change(where=where, what=f"texts: {counted} ({', '.join(places)})")


def _items(kind: str, old: Sequence[Item], new: Sequence[Item]) -> Iterator[Change]:
    """Rules, segments, touchpoints, improvements: by id."""
    before, after = {item.id: item for item in old}, {item.id: item for item in new}
    for name, item in before.items():
        if name not in after:
            yield Change(where=f"{kind} {name}", what="removed", old=_value("", item))
    for name, item in after.items():
        if name not in before:
            yield Change(where=f"{kind} {name}", what="added", new=_value("", item))
        else:
            yield from _fields(f"{kind} {name}", before[name], item, set())
    yield from _order(kind, list(before), list(after))


def _channels(old: Sequence[ChannelGoal], new: Sequence[ChannelGoal]) -> Iterator[Change]:
    before, after = {goal.channel: goal for goal in old}, {goal.channel: goal for goal in new}
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield Change(where=f"channel {name}", what="removed", old=_value("", before[name]))
        elif name not in before:
            yield Change(where=f"channel {name}", what="added", new=_value("", after[name]))
        else:
            yield from _fields(f"channel {name}", before[name], after[name], set())
    yield from _order("channel", list(before), list(after))


def _order(kind: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    was, now = [name for name in before if name in after], [name for name in after if name in before]
    if was != now:
        yield Change(where=f"{kind}s", what="order", old=", ".join(was), new=", ".join(now))


def _lists(where: str, what: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Change]:
    for item in old:
        if item not in new:
            yield Change(where=where, what=f"{what} removed", old=_value("", item))
    for item in new:
        if item not in old:
            yield Change(where=where, what=f"{what} added", new=_value("", item))
    was, now = [item for item in old if item in new], [item for item in new if item in old]
    if was != now:
        yield Change(where=where, what=f"{what}s in another order")


def _fields(where: str, old: msgspec.Struct, new: msgspec.Struct, apart: set[str] | frozenset[str]) -> Iterator[Change]:
    for name in old.__struct_fields__:
        was, now = getattr(old, name), getattr(new, name)
        if name not in apart and was != now:
            yield Change(where=where, what=name, old=_value(name, was), new=_value(name, now))


def _value(name: str, value: Any) -> str:
    """A value in words; `name` is its field's."""
    if name in DURATIONS and isinstance(value, int):
        return format_duration(value)
    match value:
        case None | () | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(_value("", item) for item in value)
        case Text() | Feeling():
            level = f" ({words.level(value)})" if isinstance(value, Feeling) else ""
            return f"{value.text} [{value.gloss}]{level}" if value.gloss else value.text + level
        case Condition():
            return words.condition(value)
        case Entry():
            return words.entry(value)
        case After():
            return f"{format_duration(value.wait)} after {value.event}"
        case Rule():
            return words.rule(value, value.when)
        case Kpi():
            return f"{_value('', value.name)}: {value.measure} {words.figure(value.measure, value.target)}"
        case QuietHours():
            return words.quiet(value)
        case Cap():
            return words.cap(value)
        case Threshold():
            return words.threshold(value)
        case Zones():
            return f"red {_value('', value.red)}; green {_value('', value.green)}"
        case Touchpoint() | Improvement() | ChannelGoal() | msgspec.Struct():
            first = getattr(value, "name", None) or getattr(value, "text", None) or getattr(value, "goal", None)
            return _value("", first)
    return f"{value:g}" if isinstance(value, float) else str(value)

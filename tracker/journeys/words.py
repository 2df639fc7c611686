"""Parts of a model in words: conditions, entries, rules and figures as drawings, descriptions and diffs say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracker.domain.conditions import Condition, Count, Property, Since
from tracker.domain.model import Cap, Entry, QuietHours, Rule
from tracker.domain.texts import SHARES, Feeling, Kpi, Measure, Text, Threshold
from tracker.durations import format_duration

SINCE = {
    "first_seen": "the first visit",
    "last_active": "the last activity",
    "last_order": "the last order",
    "delivery": "the delivery",
}
UNITS: dict[str, str] = {"dwell": " hours", "load": " ms"}


def listed(names: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def condition(what: Condition) -> str:
    """What must hold, ready to stand after `if`."""
    return _joined(_parts(what), "and")


def _parts(what: Condition) -> list[str]:
    parts = [_nested(part) for part in what.all]
    if what.any:
        parts.append(_grouped([_nested(part) for part in what.any], "or", alone=len(what.any) == 1))
    if what.not_ is not None:
        parts.append(f"not ({condition(what.not_)})")
    if what.count is not None:
        parts.append(f"{_range(what.count.at_least, what.count.at_most)} {counted(what.count)}")
    if what.orders is not None:
        number = _range(what.orders.at_least, what.orders.at_most)
        parts.append(f"{number} order{'' if number.split()[-1] == '1' else 's'}")
    if what.since is not None:
        parts.append(_since(what.since))
    if what.property is not None:
        parts.append(_property(what.property))
    if what.known is not None:
        parts.append(f"last known {_property(what.known)}")
    if what.segment:
        parts.append(f"in segment {listed(what.segment)}")
    if what.channel:
        parts.append(f"channel {listed(what.channel)}")
    if what.device:
        parts.append(f"device {listed(what.device)}")
    if what.met:
        parts.append(f"the journey met {listed(what.met)}")
    if what.cart is not None:
        parts.append(f"the cart is {what.cart}")
    if what.customer is not None:
        parts.append("known by a customer id" if what.customer else "not known by a customer id")
    return parts


def _nested(what: Condition) -> str:
    return _grouped(_parts(what), "and", alone=False)


def _grouped(parts: list[str], word: str, *, alone: bool) -> str:
    text = _joined(parts, word)
    return text if alone or len(parts) == 1 else f"({text})"


def _joined(parts: list[str], word: str) -> str:
    return f" {word} ".join(parts)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"{least:g}" if least == most else f"{least:g} to {most:g}"
    return f"{least:g} or more" if least is not None else f"at most {most:g}"


def counted(what: Count) -> str:
    """What is counted, and where."""
    where = ""
    if what.during is not None:
        where = f" in the {what.during}"
    elif what.within is not None:
        where = f" within {format_duration(what.within)}"
    return f"{listed(what.events)}{where}"


def _since(what: Since) -> str:
    least, most = (None if bound is None else format_duration(bound) for bound in (what.at_least, what.at_most))
    if least is not None and most is not None:
        return f"{least} to {most} since {SINCE[what.what]}"
    if least is None:
        return f"at most {most} since {SINCE[what.what]}"
    return f"{least} or longer since {SINCE[what.what]}"


def _property(what: Property) -> str:
    if what.one_of:
        return f"{what.name} is {listed(what.one_of)}"
    return f"{what.name} is {_range(what.at_least, what.at_most)}"


def entry(what: Entry) -> str:
    """A way into a phase: types or time, then what else it asks."""
    ways = list(what.events)
    if what.after is not None:
        ways.append(f"{format_duration(what.after.wait)} after {what.after.event}")
    return f"{', '.join(ways)}{asked(what)}"


def asked(what: Entry) -> str:
    """What an entry asks besides its event, with the space before it; nothing if it asks nothing."""
    asks = [f"from order {what.orders} on"] if what.orders > 1 else ["from the first order on"] if what.orders else []
    if what.where is not None:
        asks.append(f"if {condition(what.where)}")
    return f" ({', '.join(asks)})" if asks else ""


def due(rule: Rule) -> str:
    """When a rule fires, up to the types that arm it."""
    shift = rule.wait - rule.before
    moment = f"{format_duration(abs(shift))} {'after' if shift > 0 else 'before'}" if shift else "at"
    if rule.yearly:
        return f"every year {moment} {rule.hour}:00 on the {rule.yearly} of"
    if rule.at is None:
        return f"{format_duration(rule.wait)} after" if rule.wait else "at once on"
    return f"{moment} the {rule.at} of"


def rule(what: Rule, armed_by: Sequence[str]) -> str:
    """A rule as one sentence, with what arms it by the engine's table."""
    text = f"{what.id}: {due(what)} {', '.join(armed_by)}"
    if what.cart != "any":
        text += f" while the cart is {what.cart}"
    if what.where is not None:
        text += f" if {condition(what.where)}"
    if what.unless:
        same = "" if what.key == "person" else f" of the same {what.key}"
        text += f"; not after {listed(what.unless)}{same}"
    elif what.key != "person":
        text += f"; one for each {what.key}"
    if what.only_if is not None:
        text += f"; only if then {condition(what.only_if)}"
    limits = []
    if what.emit == "drop_off":
        limits.append(f"significance {what.significance}")
    if what.again:
        limits.append(f"not again for {format_duration(what.again)}")
    if what.times:
        limits.append("once for one person" if what.times == 1 else f"at most {what.times} times for one person")
    if what.group is not None:
        limits.append(f"of group {what.group} with significance {what.significance}")
    if what.service:
        limits.append("a service message")
    if what.data:
        limits.append(f"carries {', '.join(what.data)}")
    return "; ".join([text, *limits])


def figure(measure: Measure, value: float) -> str:
    """A target or threshold with its unit: 45 %, 24 hours, 4000 ms, 4.5."""
    return f"{value * 100:g} %" if measure in SHARES else f"{value:,.10g}{UNITS.get(measure, '')}"


def threshold(what: Threshold) -> str:
    """`conversion below 20 %`."""
    if what.below is not None:
        return f"{what.measure} below {figure(what.measure, what.below)}"
    return f"{what.measure} above {figure(what.measure, what.above or 0)}"


def quiet(what: QuietHours) -> str:
    """`22:00 to 8:00 in Europe/Oslo`."""
    start, end = (f"{minutes // 60}:{minutes % 60:02}" for minutes in (what.start, what.end))
    return f"{start} to {end} in {what.zone}"


def cap(what: Cap) -> str:
    """`at most 2 within 7d`."""
    return f"at most {what.most} within {format_duration(what.within)}"


def level(what: Feeling) -> str:
    """-2 to +2, with its sign."""
    return f"{what.level:+d}" if what.level else "0"


def both(what: Text | Feeling, english: bool) -> tuple[str, str]:
    """The text that stands first and the one that explains it, which may be empty."""
    return (what.gloss, what.text) if english and what.gloss else (what.text, what.gloss)


def kpi(what: Kpi) -> str:
    """`share of visitors: reach 45 %`."""
    return f"{what.name.text}: {what.measure} {figure(what.measure, what.target)}"

"""Describes a model as Markdown: everything that it says to people and to the engine, for reading and for printing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from tracker.domain.model import FoldSettings, Model, Phase
from tracker.domain.table import compile_table
from tracker.domain.texts import Feeling, Kpi, Text, Touchpoint
from tracker.durations import format_duration
from tracker.journeys import words
from tracker.journeys.draw import Box, armed, diagram

WIDTH = 100
"""Characters of a line; rows of tables cannot be broken."""
LISTS = ("actions", "goals", "questions", "thoughts", "barriers", "possibilities")
"""A phase's lists of texts, in the order in which they are described."""
STAGES = {"before": "before the purchase", "purchase": "the purchase", "after": "after the purchase"}
COLUMNS = (
    "touchpoint", "met by", "job", "feeling", "channel", "kind", "controlled", "process", "material", "owner", "goal",
    "KPI", "target",
)  # fmt: skip


def markdown(model: Model, english: bool = False) -> str:
    """The whole model; `english` puts the glosses first and the model's own words after them."""
    return "\n".join(_Page(model, english).lines()) + "\n"


def plain(text: str) -> str:
    """A text of the model, so that nothing in it acts as Markdown."""
    escaped = re.sub(r"([\\`*\[\]|#~]|(?<!\w)_|_(?!\w))", r"\\\1", text).replace("<", "&lt;")
    return re.sub(r"^(\d*)([-+>]|(?<=\d)[.)])(?=\s)", r"\1\\\2", escaped)


def code(names: Sequence[str]) -> str:
    """Names as code."""
    return ", ".join(f"`{name}`" for name in names) or "none"


class _Page:
    def __init__(self, model: Model, english: bool) -> None:
        self.model, self.english = model, english

    def lines(self) -> Iterator[str]:
        model = self.model
        drawn = diagram(model)
        yield f"# {self._said(Text(model.name, model.gloss))}"
        yield ""
        yield from _bullets(self._facts())
        if model.method:
            yield from ["", "## Method", ""]
            for number, step in enumerate(model.method, 1):
                yield from _wrapped(self._said(step), f"{number}. ")
        yield from ["", "## Phases"]
        for number, (phase, box) in enumerate(zip(model.phases, drawn.boxes, strict=True), 1):
            yield from ["", f"### {number}. {self._said(Text(phase.name, phase.gloss))}", ""]
            yield from self._phase(phase, box)
        table = compile_table(model, FoldSettings())
        for heading, emit in (("Drop-offs", "drop_off"), ("Triggers", "trigger")):
            rules = [(i, rule) for i, rule in enumerate(model.rules) if rule.emit == emit]
            if rules:
                yield from ["", f"## {heading}", ""]
                yield from _bullets(plain(words.rule(rule, armed(table, i))) for i, rule in rules)
        if model.segments:
            yield from ["", "## Segments", ""]
            for segment in model.segments:
                where = plain(words.condition(segment.where))
                yield from _wrapped(f"`{segment.id}` {self._said(segment.name)}: {where}", "- ")
        if model.channels:
            yield from ["", "## Channels", ""]
            yield from _table(
                ("channel", "goal", "measure", "target"),
                [
                    (plain(goal.channel), self._said(goal.goal), goal.measure, words.figure(goal.measure, goal.target))
                    for goal in model.channels
                ],
            )
        if model.zones.red or model.zones.green:
            yield from ["", "## Zones", ""]
            for colour, thresholds in (("Red", model.zones.red), ("Green", model.zones.green)):
                if thresholds:
                    yield from _wrapped(f"{colour}: {plain(', '.join(map(words.threshold, thresholds)))}", "- ")

    def _facts(self) -> Iterator[str]:
        model = self.model
        yield f"Model `{model.id}`, version {model.version}, language {model.language}, time zone {plain(model.zone)}"
        if model.part:
            yield "A part of the journey: only what enters a phase opens it, and what converts it is no order"
        if model.buyer == "account":
            yield "The journey is the account's: of all people who act for one business"
        yield f"Converted by {code(model.conversion)}"
        yield (
            f"The next journey opens with {code(model.reopen)}" if model.reopen else "Only the cart opens the next one"
        )
        yield f"A journey has left after {format_duration(model.journey_timeout)} without activity"
        yield f"A cart counts as empty after {format_duration(model.cart_ttl)}"
        yield f"An order recovers a drop-off within {format_duration(model.recovery_window)}"
        if model.quiet_hours:
            yield f"Quiet hours: {plain(words.quiet(model.quiet_hours))}"
        if model.caps:
            yield f"Drop-offs and triggers for one person: {', '.join(map(words.cap, model.caps))}"
        if model.review is not None:
            yield f"The figures are looked at together every {format_duration(model.review)}"

    def _phase(self, phase: Phase, box: Box) -> Iterator[str]:
        facts = [f"Phase `{phase.id}`, {STAGES[phase.stage]}"]
        if phase.also:
            facts.append(f"Also called {', '.join(map(self._said, phase.also))}")
        facts.append(f"Entered by {plain(', '.join(box.enter))}")
        if box.back:
            facts.append(f"Back on {code(box.back)}")
        if phase.success:
            facts.append(f"Success: {code(phase.success)}")
        if phase.feeling is not None:
            facts.append(f"Feeling: {self._felt(phase.feeling)}")
        if phase.channels:
            facts.append(f"Channels that fit: {plain(', '.join(phase.channels))}")
        yield from _bullets(facts)
        for name in LISTS:
            if texts := getattr(phase, name):
                yield from ["", f"{name.capitalize()}:", ""]
                yield from _bullets(map(self._said, texts))
        if phase.improvements:
            yield from ["", "Improvements:", ""]
            for item in phase.improvements:
                touchpoint = f" at `{item.touchpoint}`" if item.touchpoint else ""
                yield from _wrapped(f"{item.state}: {self._said(item.text)} (`{item.id}`{touchpoint})", "- ")
        if phase.kpis:
            yield ""
            yield from _table(("KPI", "measure", "target"), [self._kpi(kpi) for kpi in phase.kpis])
        if phase.touchpoints:
            yield ""
            yield from _table(COLUMNS, [self._touchpoint(touchpoint) for touchpoint in phase.touchpoints])

    def _touchpoint(self, what: Touchpoint) -> tuple[str, ...]:
        name, measure, target = self._kpi(what.kpi)
        return (
            f"`{what.id}` {self._said(what.name)}",
            code(what.events),
            self._said(what.job),
            self._felt(what.feeling),
            plain(what.channel),
            what.kind,
            "yes" if what.controlled else "no",
            self._said(what.process),
            f"<{what.material}>" if "://" in what.material else f"[{plain(what.material)}](<{what.material}>)",
            plain(what.owner),
            self._said(what.goal),
            f"{name}: {measure}",
            target,
        )

    def _kpi(self, kpi: Kpi) -> tuple[str, str, str]:
        return self._said(kpi.name), plain(kpi.measure), words.figure(kpi.measure, kpi.target)

    def _felt(self, feeling: Feeling) -> str:
        return f"{self._said(feeling)} ({words.level(feeling)})"

    def _said(self, text: Text | Feeling) -> str:
        first, then = words.both(text, self.english)
        return f"{plain(first)} · *{plain(then)}*" if then and then != first else plain(first)


def _bullets(texts: Iterator[str] | Sequence[str] | map[str]) -> Iterator[str]:
    for text in texts:
        yield from _wrapped(text, "- ")


def _wrapped(text: str, mark: str) -> Iterator[str]:
    """A list item over several lines; no line begins with what would be another item."""
    held = re.sub(r" (?=(?:[-+>·]|\d+[.)]) )", "\0", text)
    indent = " " * len(mark)
    for line in wrap(mark + held, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        yield line.replace("\0", " ")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

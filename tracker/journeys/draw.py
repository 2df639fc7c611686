"""Draws a model as a state diagram, in text or SVG, from the table that the engine folds with."""

from __future__ import annotations

import re
from collections import defaultdict
from html import escape
from textwrap import wrap
from typing import NamedTuple

import msgspec

from tracker.domain.model import FoldSettings, Model
from tracker.domain.table import ANY, CART_CHANGED, CART_EMPTIED, FIRST_IDENTIFIED, Steps, Table, Way, compile_table
from tracker.durations import format_duration
from tracker.journeys import words

LONGEST_NAME = 40
"""Characters of a name or gloss."""


class Box(NamedTuple):
    """A phase: what leads into it, what leads back from it, which rules can be armed by what."""

    name: str
    gloss: str
    stage: str
    enter: list[str]
    back: list[str]


class Diagram(NamedTuple):
    """A model ready to draw. `conversion` types complete the purchase phase; rules are one sentence each."""

    title: str
    boxes: list[Box]
    conversion: list[str]
    drop_offs: list[str]
    triggers: list[str]
    ends: list[str]


def diagram(model: Model) -> Diagram:
    """What the engine's table says, in words."""
    table = compile_table(model, FoldSettings())
    course = table.courses[0]
    steps = {name: rule.steps[0] for name, rule in table.types.items()}
    boxes = []
    for index, phase in enumerate(model.phases):
        back = [name for name, step in steps.items() if step.back_from >> index & 1]
        if course.back_on_emptied >> index & 1 and table.account is None:
            back.append(CART_EMPTIED)
        boxes.append(Box(_cut(phase.name), _cut(phase.gloss), phase.stage, _entries(table, index), back))
    sentences: dict[str, list[str]] = {"drop_off": [], "trigger": []}
    for index, rule in enumerate(model.rules):
        armed_by = armed(table, index)
        sentences[rule.emit].append(words.rule(rule, armed_by))
    return Diagram(
        title=f"{_cut(model.name, 60)} ({model.id}, version {model.version})",
        boxes=boxes,
        conversion=[name for name, step in steps.items() if step.converts],
        drop_offs=sentences["drop_off"],
        triggers=sentences["trigger"],
        ends=[
            f"left after {format_duration(model.journey_timeout)} without activity, before the purchase",
            f"next journey by {_next_journey(model, steps)}",
        ],
    )


def _cut(name: str, room: int = LONGEST_NAME) -> str:
    """On one line, and no longer than there is room for."""
    line = " ".join(name.split())
    return line if len(line) <= room else f"{line[: room - 1]}…"


def _next_journey(model: Model, steps: dict[str, Steps]) -> str:
    if model.part:
        return "what enters a phase"
    reopening = ", ".join(name for name, step in steps.items() if step.reopens)
    return f"{reopening}, or an addition to the cart" if reopening else "an addition to the cart"


def armed(table: Table, index: int) -> list[str]:
    """What arms a rule, by the table: event types, then what stands for more than one."""
    rule = table.model.rules[index]
    if rule.emit == "drop_off":
        types = [name for name, by_type in table.types.items() if index in by_type.arms]
        return [*types, CART_CHANGED] if index in table.cart_rules else types
    types = [name for name, by_type in table.types.items() if any(t.spec is rule for t in by_type.triggers)]
    types += [CART_CHANGED] if any(t.spec is rule for t in table.cart_triggers) else []
    return [*types, FIRST_IDENTIFIED] if any(t.spec is rule for t in table.first_triggers) else types


def _entries(table: Table, index: int) -> list[str]:
    """The ways into a phase: types where they lead furthest, with what else is asked; `any other activity` where that
    is so; time alone."""
    by_orders: defaultdict[int, list[str]] = defaultdict(list)
    asking: set[str] = set()
    other = table.other.steps[0]
    anything = other.before == index
    for name, rule in table.types.items():
        step = rule.steps[0]
        others = anything and step.before == index
        for way in (*step.after, *step.conditional, Way(step.before)):
            if way.phase != index or others:
                continue
            if way.where is None:
                by_orders[way.orders].append(name)
            else:
                asking.add(name)
    found = by_orders.pop(0, []) + by_orders.pop(1, [])
    for orders, names in sorted(by_orders.items()):
        if set(names) == set(table.model.conversion):
            found.append(f"order number {orders} or later")
        else:
            found += [f"{name} (from order {orders} on)" for name in names]
    for entry in table.model.phases[index].enter:
        if entry.where is not None and entry.events:
            asked = ["any activity"] if ANY in entry.events else [name for name in entry.events if name in asking]
            found += [f"{words.listed(asked)}{words.asked(entry)}"] if asked else []
        if entry.after is not None:
            found.append(words.entry(msgspec.structs.replace(entry, events=())))
    return [*found, "any other activity"] if anything else found


def text(drawn: Diagram, width: int = 100) -> str:
    """The diagram as lines of text."""
    lines = [drawn.title, ""]
    inner = max(len(f"{box.name} · {box.gloss}") for box in drawn.boxes) + 2
    for box in drawn.boxes:
        lines += [f"    │ {line}" for line in wrap(", ".join(box.enter), width - 6, break_on_hyphens=False)]
        lines += ["    ▼", f"┌{'─' * inner}┐"]
        back = f" ──▶ back to the phase before, on {', '.join(box.back)}" if box.back else ""
        lines += [f"│ {f'{box.name} · {box.gloss}':<{inner - 1}}│{back}", f"└{'─' * inner}┘"]
        if box.stage == "purchase":
            lines.append(f"    │ converted by {', '.join(drawn.conversion)}")
    for heading, sentences in _sections(drawn):
        lines += ["", f"{heading}:"]
        for sentence in sentences:
            lines += wrap(sentence, width - 2, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)


def _sections(drawn: Diagram) -> list[tuple[str, list[str]]]:
    """What stands below the phases, with headings; sections without a sentence are left out."""
    sections = [
        ("Drop-offs (one at a time, the more significant first)", drawn.drop_offs),
        ("Triggers", drawn.triggers),
        ("Ends", drawn.ends),
    ]
    return [section for section in sections if section[1]]


PAGE, LEFT, TOP, BOX_WIDTH, BOX_HEIGHT, LINE = 760, 40, 56, 220, 52, 18
WORDS, TITLE = 74, 62
"""Characters of a line beside the arrows, and of the title."""


def svg(drawn: Diagram) -> str:
    """The diagram as an SVG document that needs nothing else: no fonts, no scripts, no links."""
    titles = wrap(drawn.title, TITLE, break_on_hyphens=False)
    parts = [
        f'<text class="title" x="{LEFT}" y="{TOP - 24 + place * 24}">{escape(line)}</text>'
        for place, line in enumerate(titles)
    ]
    y = before = TOP + 24 * (len(titles) - 1)
    centre = LEFT + BOX_WIDTH // 2
    widest = max(28 + max(len(box.name) * 9, len(box.gloss) * 7) for box in drawn.boxes)
    width = max(BOX_WIDTH, widest)
    for box in drawn.boxes:
        lines = wrap(", ".join(box.enter), WORDS, break_on_hyphens=False)
        height = max(len(lines) * LINE + 16, 40)
        parts.append(f'<path class="way" d="M{centre} {y}V{y + height - 2}" marker-end="url(#tip)"/>')
        parts += _words(lines, centre + 14, y + 20, "type")
        y += height
        parts.append(f'<rect class="{box.stage}" x="{LEFT}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="8"/>')
        parts += _words([box.name], LEFT + 14, y + 22, "name")
        parts += _words([box.gloss], LEFT + 14, y + 41, "gloss")
        if box.back:
            parts.append(f'<path class="way" d="M{LEFT} {y + 14}h-20V{before + 38}h18" marker-end="url(#tip)"/>')
            beside = LEFT + width + 14
            lines = wrap(f"back on {', '.join(box.back)}", (PAGE - beside) // 8, break_on_hyphens=False)
            parts += _words(lines, beside, y + 30, "type")
        before = y
        y += BOX_HEIGHT
        if box.stage == "purchase":
            lines = wrap(f"converted by {', '.join(drawn.conversion)}", WORDS, break_on_hyphens=False)
            parts += _words(lines, centre + 14, y + 20, "order")
            extra = len(lines) * LINE + 6
            parts.append(f'<path class="way" d="M{centre} {y}V{y + extra}"/>')
            y += extra
    y += 36
    for heading, sentences in _sections(drawn):
        parts += _words([heading], LEFT, y, "name")
        y += LINE + 2
        for sentence in sentences:
            lines = wrap(sentence, WORDS + 26, break_on_hyphens=False)
            parts += _words(lines, LEFT, y, "type")
            y += len(lines) * LINE + 5
        y += LINE
    return _DOCUMENT.format(width=PAGE, height=y + 12, title=escape(drawn.title), body="\n".join(parts))


def _words(lines: list[str], x: int, y: int, kind: str) -> list[str]:
    return [
        f'<text class="{kind}" x="{x}" y="{y + number * LINE}">{_RULE.sub(_STRONG, escape(line))}</text>'
        for number, line in enumerate(lines)
    ]


_RULE, _STRONG = re.compile(r"^(\w+):(?= )"), r"<tspan class='rule'>\1</tspan>:"
"""A rule's id at the beginning of its sentence stands out."""
_DOCUMENT = """<svg xmlns="http://www.w3.org/2000/svg"
 width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">
<style>
text {{ font-family: system-ui, sans-serif; font-size: 13px; fill: #1c2733; }}
.title {{ font-size: 18px; font-weight: 600; }} .name {{ font-size: 15px; font-weight: 600; }}
.gloss, .type {{ fill: #44525f; }} .rule {{ font-weight: 600; fill: #1c2733; }} .order {{ fill: #0b6b3a; }}
rect {{ stroke: #44525f; stroke-width: 1.5; }}
.before {{ fill: #eaf1fb; }} .purchase {{ fill: #e3f4e8; }} .after {{ fill: #fbf3e2; }}
.way {{ stroke: #44525f; stroke-width: 1.5; fill: none; }}
</style>
<defs><marker id="tip" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">
<path d="M0 0L8 4L0 8z" fill="#44525f"/></marker></defs>
<rect x="0" y="0" width="{width}" height="{height}" style="fill:#fff;stroke:none"/>
{body}
</svg>
"""

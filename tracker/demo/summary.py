"""The demo's summary: what the map counters say, as data for scripts and as a page for people."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tracker.domain.model import Model
from tracker.domain.units import MONEY

BAR = 16
EIGHTHS = " ▏▎▍▌▋▊▉"


class PhaseFigures(msgspec.Struct, frozen=True):
    """One phase: journeys that entered it, stand in it now, left from it, went back from it; `share` is entered /
    all journeys begun (one that begins further on never enters the first phase)."""

    id: str
    name: str
    gloss: str
    entered: int
    now: int
    left: int
    back: int
    share: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracker made of the events, money by currency as plain numbers."""

    model: str
    people: int
    sessions: int
    orders: int
    revenue: dict[str, float]
    phases: list[PhaseFigures]
    begun: int
    """Journeys: each stands in a phase now or has left; one that was merged went on as its customer's."""
    converted: int
    conversion: float
    """Converted journeys / journeys begun."""
    dropped_off: dict[str, int]
    carts_left: int
    """Drop-offs that left something in a cart: those of rules that do not ask for an empty one."""
    dropped_value: dict[str, float]
    recovered: dict[str, int]
    recovered_value: dict[str, float]
    cancelled: dict[str, int]
    withheld: dict[str, int]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How the demo went, and how a second terminal reaches it: `environment` holds the settings that it needs,
    `command` is how the tracker is called there (`tracker`, or `.venv/bin/tracker`)."""

    events: int
    simulated: int
    stories: Sequence[str]
    """What each of the built-in stories tells, in a few words."""
    seconds: float
    exactly_once: bool
    environment: Mapping[str, str]
    stays: bool
    """Whether the demo stays up, so that a second terminal can use it."""
    command: str = "tracker"


def summarize(counters: Mapping[str, int], model: Model) -> Summary:
    """The summary of one model from the map counters (see `tracker/domain/counters.py` for their names)."""
    plain, named, moves = _sorted(counters, model.id)
    converted = sum(moves["converted"].values())
    begun = sum(moves["in"].values()) + sum(moves["left"].values())
    empty = {rule.id for rule in model.rules if rule.cart == "empty"}
    return Summary(
        model=model.id,
        people=plain["people"],
        sessions=sum(named["sessions"].values()),
        orders=plain["orders"],
        revenue=_money(named["revenue"]),
        phases=[
            PhaseFigures(
                id=phase.id,
                name=phase.name,
                gloss=phase.gloss,
                entered=moves["entered"][phase.id],
                now=moves["in"][phase.id],
                left=moves["left"][phase.id],
                back=moves["back"][phase.id],
                share=moves["entered"][phase.id] / begun if begun else 0.0,
            )
            for phase in model.phases
        ],
        begun=begun,
        converted=converted,
        conversion=converted / begun if begun else 0.0,
        dropped_off=dict(named["dropped_off"].most_common()),
        carts_left=sum(count for reason, count in named["dropped_off"].items() if reason not in empty),
        dropped_value=_money(named["dropped_value"]),
        recovered=dict(named["recovered"].most_common()),
        recovered_value=_money(named["recovered_value"]),
        cancelled=dict(named["cancelled"].most_common()),
        withheld=dict(named["withheld"].most_common()),
    )


def as_dict(summary: Summary, run: Run) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {"summary": msgspec.to_builtins(summary), "run": msgspec.to_builtins(run)}


def show(console: Console, summary: Summary, run: Run) -> None:
    """Print everything, for people. Commands stand alone on their lines and are not folded: they can be copied."""
    for part in (_head(summary, run), _phases(summary), _dropoffs(summary), _money_table(summary)):
        console.print(part)
        console.print()
    for line in _next(run):
        console.print(line, soft_wrap=True)
    console.file.flush()  # a demo that stays up has more to say to a file only when it ends


def _sorted(
    counters: Mapping[str, int], model: str
) -> tuple[Counter[str], dict[str, Counter[str]], dict[str, Counter[str]]]:
    """Counters without a name, those by reason, currency or day, and this model's by phase (`converted`: by day)."""
    plain: Counter[str] = Counter()
    named: dict[str, Counter[str]] = defaultdict(Counter)
    moves: dict[str, Counter[str]] = defaultdict(Counter)
    for field, value in counters.items():
        kind, *rest = field.split(":")
        if not rest:
            plain[kind] += value
        elif kind in ("entered", "left", "back", "in", "converted"):
            if rest[0] == model:
                moves[kind][rest[1] if len(rest) > 1 else ""] += value
        else:
            named[kind][rest[0]] += value
    return plain, named, moves


def _money(amounts: Mapping[str, int]) -> dict[str, float]:
    return {currency: amount / MONEY for currency, amount in sorted(amounts.items()) if amount}


def _head(summary: Summary, run: Run) -> RenderableType:
    promise = (
        "exactly once: outputs and position in one Kafka transaction per batch"
        if run.exactly_once
        else "at least once with stable ids: the embedded broker has no transactions; on Kafka it is exactly once"
    )
    text = Text.assemble(
        (f"{run.events:,} events", "bold"),
        f" of {summary.people:,} people, {summary.sessions:,} visits, in ",
        (f"{run.seconds:.1f} s", "bold"),
        f" ({run.events / max(run.seconds, 0.001):,.0f} a second)\n",
        f"{run.simulated:,} of the events are simulated visitors (segment `simulated`). Among them, these stories:\n",
        *(f"  · {story}\n" for story in run.stories),
        ("Delivery in force: ", "dim"),
        promise,
    )
    return Panel(text, title=f"The customer journey, {summary.model}", title_align="left", border_style="cyan")


def _phases(summary: Summary) -> RenderableType:
    table = Table(title="Where the journeys went", title_justify="left", box=None, pad_edge=False)
    table.add_column("phase")
    table.add_column("entered", justify="right")
    table.add_column("", min_width=BAR)
    table.add_column("of all", justify="right")
    table.add_column("now", justify="right")
    table.add_column("back", justify="right")
    most = max((phase.entered for phase in summary.phases), default=0)
    for phase in summary.phases:
        name = Text.assemble(
            (phase.name, "bold"),
            ("  " + phase.gloss.partition(",")[0] if phase.gloss != phase.name else "", "dim"),
        )
        bar = Text(_bar(phase.entered, most), style="cyan")
        now, back = f"{phase.now:,}", f"{phase.back:,}" if phase.back else "-"
        table.add_row(name, f"{phase.entered:,}", bar, f"{phase.share:.1%}", now, back)
    converted = Text.assemble(
        (f"{summary.converted:,} journeys converted", "bold green"),
        f", {summary.conversion:.1%} of {summary.begun:,} begun",
    )
    return Group(table, converted)


def _dropoffs(summary: Summary) -> RenderableType:
    table = Table(title="Who fell away, and why", title_justify="left", box=None, pad_edge=False)
    table.add_column("reason")
    table.add_column("drop-offs", justify="right")
    table.add_column("", min_width=BAR)
    table.add_column("bought later", justify="right")
    table.add_column("taken back", justify="right")
    most = max(summary.dropped_off.values(), default=0)
    for reason, count in summary.dropped_off.items():
        recovered = summary.recovered.get(reason, 0)
        back = f"{recovered:,} ({recovered / count:.0%})" if recovered and count else "-"
        taken = f"{summary.cancelled[reason]:,}" if summary.cancelled.get(reason) else "-"
        bar = Text(_bar(count, most), style="magenta")
        table.add_row(Text(reason.replace("_", " "), style="bold"), f"{count:,}", bar, back, taken)
    if not summary.withheld:
        return table
    why = _listed([f"{count:,} for {reason.replace('_', ' ')}" for reason, count in summary.withheld.items()])
    return Group(table, Text(f"Not sent: {why}.", style="dim"))


def _money_table(summary: Summary) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row("bought", _amounts(summary.revenue), f"{summary.orders:,} orders")
    table.add_row("left in carts", _amounts(summary.dropped_value), f"{summary.carts_left:,} carts")
    table.add_row("won back", _amounts(summary.recovered_value), f"{sum(summary.recovered.values()):,} orders")
    return table


def _next(run: Run) -> Iterator[RenderableType]:
    yield Rule("Send it your own events", align="left", style="green")
    if run.stays:
        yield "The demo stays up until Ctrl-C. In a second terminal, in the same directory:\n"
        for name, value in run.environment.items():
            yield _code(f"export {name}={shlex.quote(value)}")
        yield _code(f"{run.command} journey c:nina")
        yield _code("echo " + " \\\n    ".join(map(shlex.quote, EXAMPLE)) + " > events.jsonl")
        yield _code(f"{run.command} replay events.jsonl --rebase")
        yield _code(f"{run.command} journey c:me")
    else:
        yield "Without a terminal the demo ends here. In one it stays up, for your events too:\n"
        yield _code(f"{run.command} demo")
    yield "\nAn event is a JSON object on its own line: id, type, time and person at least."


EXAMPLE = (
    '{"event_id":"1","type":"product_added","customer_id":"me",',
    '"ts":"2026-04-01T10:00:00Z","currency":"NOK",',
    '"items":[{"product_id":"dress","price":899}]}',
)
"""An event in pieces that fit a terminal of 80 columns."""


def _code(command: str) -> Text:
    return Text(f"  {command}", style="bold")


def _bar(value: int, most: int) -> str:
    """A bar of at most `BAR` characters, to an eighth of one; anything above zero shows."""
    if most <= 0 or value <= 0:
        return ""
    eighths = max(round(value / most * BAR * 8), 1)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _amounts(amounts: Mapping[str, float]) -> str:
    return " + ".join(f"{amount:,.2f} {currency}".strip() for currency, amount in amounts.items()) or "0"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)

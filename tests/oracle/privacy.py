"""What may be known of people, who refuse analytics, come back, are erased and are linked: for tests to compare with.

Written from docs/privacy.md. A person has lives, each a naive fold of its own: one ends with a refusal or an erasure,
the next one begins with a grant or with what is read after the erasure. All of it goes by what was read so far.

Where the document leaves room:

1.  Which statement is the latest goes by (ts, event_id). Statements of events that are left out count as well, but for
    those from before an erasure, and those of a device that joined a customer after it had refused.
2.  An erasure reaches as far as the latest that is known of the person, statements included.
3.  Two who turn out to be one have the later statement. If it is a refusal both lives end. If one of them refused and
    the other granted it later, the life begins with the first such grant, and takes in what either did from there on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle.naive import Fold, fold, overtaken
from tests.oracle.shapes import NEVER, Stated
from tests.oracle.table import NETTBUTIKK, Table
from tracker.domain.events import Event

Stamp = tuple[int, str]
"""(ts, event_id)."""


@dataclass
class Life:
    """What is known of somebody from one beginning on, in the order in which it was read."""

    events: list[Event] = field(default_factory=list)
    stated: list[Stated] = field(default_factory=list)
    """On marketing, in what is not among the events."""
    steps: list[Fold] = field(default_factory=list)
    """The folds of what was known after each event and each move of time."""
    ended: int | None = None
    """The watermark when it did."""

    def folded(self, watermark: int, table: Table = NETTBUTIKK) -> Fold:
        """As of when it ended, or of `watermark`."""
        until = watermark if self.ended is None else self.ended
        last = fold(self.events, until, table, stated=self.stated)
        return fold(self.events, until, table, overtaken([*self.steps, last]), stated=self.stated)

    def step(self, watermark: int, table: Table = NETTBUTIKK) -> None:
        self.steps.append(fold(self.events, watermark, table, stated=self.stated))


@dataclass
class Known:
    """What may be known of one person. `asks`: analytics has to be consented to before anything is known."""

    asks: bool = False
    refused: bool = field(init=False)
    since: int = NEVER
    """When (ms) this life begins."""
    erased: int = NEVER
    """Nothing from before this (ms) may be known, whatever it is."""
    refusal: Stamp | None = None
    grants: list[Stamp] = field(default_factory=list)
    lives: list[Life] = field(default_factory=lambda: [Life()])

    def __post_init__(self) -> None:
        self.refused = self.asks

    @property
    def now(self) -> Life:
        return self.lives[-1]

    @property
    def latest(self) -> Stamp | None:
        """Of the statements on analytics."""
        return max([*self.grants, *([] if self.refusal is None else [self.refusal])], default=None)

    def hear(self, event: Event, watermark: int) -> None:
        """An event that was read when time had come to `watermark`."""
        if event.ts < self.erased:
            return
        said = None if event.consent is None else event.consent.analytics
        stamp = event.ts, event.event_id
        news = said is not None and (self.latest is None or stamp > self.latest)
        if event.ts < self.since:
            pass
        elif said is False and news:
            self.refuse(stamp, watermark)
        elif said and (news or not self.refused):
            if self.refused:
                self.begin(event.ts)
            self.grants.append(stamp)
        if self.refused or said is False or event.ts < self.since:
            self.leave_out(event, watermark)
        else:
            self.now.events.append(event)

    def leave_out(self, event: Event, watermark: int) -> None:
        """Only what it says of marketing is known."""
        if event.consent is not None and event.consent.marketing is not None:
            self.now.stated.append(Stated(event.ts, event.event_id, event.consent.marketing, watermark))

    def refuse(self, stamp: Stamp, watermark: int) -> None:
        self.end(watermark)
        self.refused, self.refusal, self.grants = True, stamp, []

    def end(self, watermark: int) -> None:
        """The next life knows nothing but what this one said of marketing."""
        self.now.ended = watermark
        self.lives.append(Life(stated=stated_in(self.now)))

    def begin(self, ts: int) -> None:
        self.refused, self.since = False, ts

    def join(self, visitor: Known, watermark: int) -> None:
        """The visitor turned out to be this person."""
        mine = self.refusal
        theirs = visitor.refusal
        if visitor.refused and theirs is not None and (self.latest is None or theirs > self.latest):
            self.refuse(theirs, watermark)
        elif self.refused and not visitor.refused:
            later = [grant for grant in visitor.grants if mine is None or grant > mine]
            if later:
                self.begin(min(later)[0])
                self.grants = later
        elif not self.refused and not visitor.refused:
            self.grants += visitor.grants
        for event in visitor.now.events:
            if self.refused or event.ts < self.since:
                self.leave_out(event, watermark)
            else:
                self.now.events.append(event)
        self.now.stated += visitor.now.stated
        visitor.lives = [Life()]

    def erase(self, until: int, watermark: int) -> int:
        """Nothing from before `until` may be known, nor anything that is known now. Answers from when on."""
        known = [event.ts for event in self.now.events] + [stated.ts for stated in self.now.stated]
        known += [] if self.latest is None else [self.latest[0]]
        until = max(until, self.since, *(ts + 1 for ts in known))
        self.now.ended = watermark
        self.lives.append(Life())
        self.refused, self.refusal, self.grants = self.asks, None, []
        self.since = self.erased = until
        return until


def stated_in(life: Life) -> list[Stated]:
    """All that a life knows of consent to marketing."""
    told = [(event, event.consent.marketing) for event in life.events if event.consent is not None]
    own = [Stated(event.ts, event.event_id, said) for event, said in told if said is not None]
    return [*life.stated, *own]


@dataclass
class People:
    """Several people; whoever is linked is one from then on."""

    asks: bool = False
    known: dict[str, Known] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)

    def of(self, person: str) -> Known:
        return self.known.setdefault(person, Known(self.asks))

    def hear(self, person: str, event: Event, watermark: int) -> None:
        owner = self.owner.get(person)
        if owner is None:
            self.of(person).hear(event, watermark)
        elif event.ts >= self.of(person).since:
            self.of(owner).hear(event, watermark)

    def merge(self, visitor: str, customer: str, ts: int, watermark: int) -> None:
        if visitor in self.owner or ts < max(self.of(visitor).erased, self.of(customer).erased):
            return
        self.owner[visitor] = customer
        theirs = self.of(visitor)
        self.of(customer).join(theirs, watermark)
        if theirs.refused and theirs.refusal is not None:
            theirs.since = max(theirs.since, theirs.refusal[0])
        theirs.refused = False

    def erase(self, person: str, ts: int, watermark: int) -> set[str]:
        """Answers who was erased: the person and everybody linked."""
        customer = self.owner.get(person, person)
        everybody = {customer, *(one for one, owner in self.owner.items() if owner == customer)}
        until = max(self.of(one).erase(ts + 1, watermark) for one in everybody)
        for one in everybody:
            self.of(one).since = self.of(one).erased = until
            self.owner.pop(one, None)
        return everybody

    def step(self, watermark: int) -> None:
        """Remember what is known of everybody now."""
        for known in self.known.values():
            known.now.step(watermark)

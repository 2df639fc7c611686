"""Sessions: runs of a person's active events with less than the gap between them, at most a day long."""

from __future__ import annotations

from tracker.domain.events import Event, is_identity
from tracker.domain.ids import derive
from tracker.domain.outputs import Happening, SessionClosed
from tracker.domain.state import Facts, Session
from tracker.domain.table import Table

ENGAGED_AFTER = 10_000
"""A session longer than this (ms) is engaged, as is one with two page views or an order."""


def session_id(event: Event) -> str:
    """From who the event itself says it is, so that a session keeps its id when its person is merged."""
    who = event.customer_id if is_identity(event.customer_id) else event.anonymous_id
    return derive("session", who, event.event_id)


def open_session(event: Event) -> Session:
    """The session that begins with this event."""
    return Session(id=session_id(event), start=event.ts, last=event.ts, first_event_id=event.event_id)


def describe(session: Session, event: Event) -> None:
    """Take over what the event tells of the visit: entry from the first event that says it, exit from the last."""
    url = event.url
    if url is not None:
        if session.entry_url is None:
            session.entry_url = url
        session.exit_url = url
    if session.channel is None and event.channel is not None:
        session.channel = event.channel
    if session.device is None and event.device is not None:
        session.device = event.device
    if session.campaign is None and event.campaign is not None:
        session.campaign = event.campaign


def close(facts: Facts, table: Table, out: list[Happening]) -> None:
    """End the open session and say so."""
    session = facts.session
    if session is None:
        return
    if facts.person.startswith("b:"):  # an account's visits are its members'
        facts.session = None
        return
    engaged = session.last - session.start > ENGAGED_AFTER or session.pages >= 2 or session.ordered
    facts.sessions += 1
    out.append(
        SessionClosed(
            session_id=session.id,
            revision=1,
            person_id=facts.person,
            index=facts.sessions,
            started_at=session.start,
            ended_at=session.last,
            event_count=session.events,
            page_count=session.pages,
            entry_url=session.entry_url,
            exit_url=session.exit_url,
            channel=session.channel,
            campaign=session.campaign,
            device=session.device,
            engaged=engaged,
            bounced=not engaged,
            first_event_id=session.first_event_id,
            previous_session_id=facts.previous_session_id,
            phase_at_start=session.phase_at_start,
            phase_at_end=phase(facts, table),
            supersedes=[],
        )
    )
    facts.previous_session_id = session.id
    facts.session = None


def phase(facts: Facts, table: Table) -> str | None:
    """Where the person stands in the first model: on the journey under way, else on the latest that converted."""
    track = facts.tracks[0]
    journey = track.journey or (track.converted[-1] if track.converted else None)
    return table.courses[0].phase_ids[journey.path[-1]] if journey is not None and journey.path else None

"""What Snowplow's consent events say, of the enhanced plug-in and of the basic interface before it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tracker.domain.events import Consent
from tracker.wire.dialects.snowplow.described import Described
from tracker.wire.dialects.snowplow.ecommerce import STEP, first

_DOCUMENT = "com_snowplowanalytics_snowplow_consent_document_1"
_ALL = Consent(marketing=True, analytics=True)
_NONE = Consent(marketing=False, analytics=False)
_MARKETING = frozenset(
    {"marketing", "advertising", "advertisement", "ads", "targeting", "retargeting", "personalization"}
)
_ANALYTICS = frozenset({"analytics", "analytical", "statistics", "statistical", "performance", "measurement"})


def consent_of(name: str, data: dict[str, Any], entities: Described) -> Consent | None:
    """What an event of this name says about consent; scopes that are neither marketing's nor analytics' say nothing."""
    if name == "consent_preferences":
        chosen = data.get("eventType")
        if chosen == "allow_all":
            return _ALL
        if chosen in ("deny_all", "withdrawn", "expired"):
            return _NONE
        scopes = data.get("consentScopes")
        if chosen in ("allow_selected", "implicit_consent") and isinstance(scopes, list):
            words = _words(scopes)
            return Consent(not words.isdisjoint(_MARKETING), not words.isdisjoint(_ANALYTICS))
        return None
    if name in ("consent_granted", "consent_withdrawn"):
        granted = name == "consent_granted"
        if not granted and data.get("all") in (True, "true"):
            return _NONE
        documents = entities.get(_DOCUMENT, ())
        words = _words(document.get(field) for document in documents for field in ("id", "name"))
        return _said(*(granted if not words.isdisjoint(scope) else None for scope in (_MARKETING, _ANALYTICS)))
    opted = first(entities, STEP).get("marketing_opt_in")
    return _said(opted if isinstance(opted, bool) else None, None)


def _said(marketing: bool | None, analytics: bool | None) -> Consent | None:
    return None if marketing is None and analytics is None else Consent(marketing, analytics)


def _words(texts: Iterable[Any]) -> set[str]:
    return {word for text in texts if isinstance(text, str) for word in re.findall(r"[a-z]+", text.lower())}

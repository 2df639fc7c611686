"""What the common languages of consent say about marketing and analytics: functions for the dialects.

Each answers None for a purpose that was not spoken of, and None altogether where nothing was said of either. A purpose
that covers several of a language's own is allowed where none of them is denied.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tracker.domain.events import Consent

Purpose = Literal["marketing", "analytics"]

GOOGLE: Mapping[str, Purpose] = {
    "ad_storage": "marketing",
    "ads_storage": "marketing",  # as the BigQuery export calls it
    "ad_user_data": "marketing",
    "ad_personalization": "marketing",
    "analytics_storage": "analytics",
}
"""Google's consent mode."""

CATEGORIES: Mapping[str, Purpose] = {
    "analytics": "analytics",
    "performance": "analytics",
    "statistics": "analytics",
    "c0002": "analytics",
    "marketing": "marketing",
    "advertising": "marketing",
    "targeting": "marketing",
    "c0004": "marketing",
}
"""What consent managers call their categories by default (in lower case); the codes are OneTrust's."""

TCF_MARKETING = (2, 3, 4)
"""Limited advertisements, profiles for personal ones, personal ones (IAB TCF v2)."""
TCF_ANALYTICS = (1, 7, 8, 9, 10)
"""Storing on the device, the performance of advertisements and of content, audiences, better products."""
_TCF_PURPOSES = 152
"""The bit at which the purposes' consents begin: behind version (6), created and updated (36 each), the consent
manager's id and version (12 each), screen (6), language and vendor list (12 each), policy (6), two flags and the
special features (12)."""
_TCF_BITS = _TCF_PURPOSES + 24
_BASE64 = re.compile(r"[A-Za-z0-9_-]{32,}")
_GCS = re.compile(r"G1([01-])([01-])[01-]?")

_GRANTED = {
    **dict.fromkeys(("granted", "yes", "true", "1"), True),
    **dict.fromkeys(("denied", "no", "false", "0"), False),
}
"""What is written for a yes or a no, in small letters."""


def google_consent(given: Mapping[str, Any]) -> Consent | None:
    """Consent mode's kinds (`ad_storage` and so on): granted or denied, in the export also Yes and No."""
    return _strictest((purpose, _GRANTED.get(str(given.get(kind)).lower())) for kind, purpose in GOOGLE.items())


def gcs_consent(text: str) -> Consent | None:
    """Consent mode's short text: G1, then a digit for `ad_storage` and one for `analytics_storage`, 1 for granted, 0
    for denied, - for not asked."""
    found = _GCS.fullmatch(text.strip())
    if found is None:
        return None
    said = {"1": True, "0": False}
    return _strictest([("marketing", said.get(found[1])), ("analytics", said.get(found[2]))])


def category_consent(
    preferences: Iterable[tuple[Any, Any]], purposes: Mapping[str, Purpose] = CATEGORIES
) -> Consent | None:
    """(category, allowed) as consent managers keep them, Segment's `categoryPreferences` among them. `purposes` says by
    lower-case name what a category is for; others, and what is neither yes nor no, say nothing."""
    return _strictest(
        (purpose, _GRANTED.get(str(allowed).lower()))
        for name, allowed in preferences
        if isinstance(name, str) and (purpose := purposes.get(name.lower())) is not None
    )


def tcf_consent(text: str) -> Consent | None:
    """A TC string of IAB's framework, version 2: marketing where all of `TCF_MARKETING` are consented to, analytics
    likewise; None for anything else. Legitimate interest is no consent."""
    core = text.strip().partition(".")[0]
    if _BASE64.fullmatch(core) is None:
        return None
    raw = urlsafe_b64decode(core[: len(core) // 4 * 4])  # what is left over lies far behind the purposes
    if len(raw) * 8 < _TCF_BITS or raw[0] >> 2 != 2:
        return None
    bits = int.from_bytes(raw[: _TCF_BITS // 8])
    consented = {purpose for purpose in range(1, 25) if bits >> (24 - purpose) & 1}
    return Consent(consented.issuperset(TCF_MARKETING), consented.issuperset(TCF_ANALYTICS))


def together(*said: Consent | None) -> Consent | None:
    """Several statements of one moment: what any of them denies is denied."""
    found = [one for one in said if one is not None]
    pairs: list[tuple[Purpose, bool | None]] = [("marketing", one.marketing) for one in found]
    return _strictest([*pairs, *(("analytics", one.analytics) for one in found)])


def _strictest(said: Iterable[tuple[Purpose, bool | None]]) -> Consent | None:
    found: dict[str, bool] = {}
    for purpose, allowed in said:
        if allowed is not None:
            found[purpose] = allowed and found.get(purpose, True)
    return Consent(**found) if found else None

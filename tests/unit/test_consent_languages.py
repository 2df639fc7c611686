"""The languages of consent: Google's consent mode, consent managers' categories, IAB's TC strings."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import pytest

from tracker.domain.events import Consent
from tracker.wire.consent import (
    TCF_ANALYTICS,
    TCF_MARKETING,
    category_consent,
    gcs_consent,
    google_consent,
    tcf_consent,
    together,
)


@pytest.mark.parametrize(
    ("given", "consent"),
    [
        ({"ad_storage": "granted", "analytics_storage": "granted"}, Consent(True, True)),
        ({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied"}, Consent(False, None)),
        ({"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"}, Consent(True, None)),
        ({"ads_storage": "Yes", "analytics_storage": "No", "uses_transient_token": "No"}, Consent(True, False)),
        ({"analytics_storage": "denied"}, Consent(None, False)),
        ({"security_storage": "granted", "ad_storage": None}, None),
        ({}, None),
    ],
)
def test_google_allows_marketing_where_none_of_its_kinds_is_denied(
    given: dict[str, object], consent: Consent | None
) -> None:
    assert google_consent(given) == consent


@pytest.mark.parametrize(
    ("text", "consent"),
    [
        ("G111", Consent(True, True)),
        ("G100", Consent(False, False)),
        ("G110", Consent(True, False)),
        ("G101", Consent(False, True)),
        ("G1-1", Consent(None, True)),
        ("G1--", None),
        ("G2x", None),
        ("", None),
    ],
)
def test_googles_short_text_has_a_digit_for_ads_and_one_for_analytics(text: str, consent: Consent | None) -> None:
    assert gcs_consent(text) == consent


def test_categories_are_what_the_shop_says_they_are() -> None:
    given = {"Advertising": True, "Analytics": False, "Functional": True}
    assert category_consent(given.items()) == Consent(True, False)
    assert category_consent({"C0002": True, "C0004": False}.items()) == Consent(False, True)
    assert category_consent({"marketing": True, "targeting": False}.items()) == Consent(False, None), "the strictest"
    assert category_consent({"ads": True}.items()) is None
    assert category_consent({"ads": True}.items(), {"ads": "marketing"}) == Consent(True, None)
    assert category_consent({"Analytics": "no", "Marketing": "Yes"}.items()) == Consent(True, False), "texts count"
    assert category_consent({"Analytics": 0, "Marketing": "granted"}.items()) == Consent(True, False)
    assert category_consent([(1, True), ("analytics", "perhaps"), ("marketing", None)]) is None


@pytest.mark.parametrize(
    ("text", "purposes"),
    [
        # the specification's own example: purposes 1, 2 and 3
        ("COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA", Consent(False, False)),
        ("COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIA", Consent(False, False)),
    ],
)
def test_purposes_that_are_consented_to_in_part_are_refused(text: str, purposes: Consent) -> None:
    assert tcf_consent(text) == purposes


def tc_string(*purposes: int) -> str:
    """The specification's example with consent to other purposes: they are the 24 bits from bit 152 on."""
    raw = bytearray(urlsafe_b64decode("COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA="))
    raw[19:22] = sum(1 << (24 - purpose) for purpose in purposes).to_bytes(3, "big")
    return urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


def test_the_examples_purposes_lie_where_the_layout_says() -> None:
    assert tc_string(1, 2, 3) == "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA"


@pytest.mark.parametrize(
    ("purposes", "consent"),
    [
        (range(1, 12), Consent(True, True)),
        ((2, 3, 4), Consent(True, False)),
        ((1, 7, 8, 9, 10), Consent(False, True)),
        ((), Consent(False, False)),
    ],
)
def test_each_purpose_asks_for_all_of_the_standards_that_it_covers(purposes: range, consent: Consent) -> None:
    assert tcf_consent(tc_string(*purposes)) == consent


def test_what_the_frameworks_own_library_writes_is_read() -> None:
    lines = (Path(__file__).parent / "tc_strings.txt").read_text().splitlines()[1:]
    for text, listed in (line.split() for line in lines):
        given = {int(purpose) for purpose in listed.split(",")}
        assert tcf_consent(text) == Consent(given.issuperset(TCF_MARKETING), given.issuperset(TCF_ANALYTICS)), text
    assert len(lines) == 40


@pytest.mark.parametrize(
    "text", ["", "no string at all", "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", "COvFyGB", "Ä" * 60, "CO%%" * 20]
)
def test_what_is_no_string_of_version_2_says_nothing(text: str) -> None:
    assert tcf_consent(text) is None


def test_of_several_statements_the_strictest_holds() -> None:
    assert together(Consent(True, None), None, Consent(False, True)) == Consent(False, True)
    assert together(None, None) is None

from __future__ import annotations

import pytest

from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_EVENT_BYTES
from tracker.wire.deadletters import Origin, is_hopeless, read_letter, write_letter

LARGE = b"x" * (MAX_EVENT_BYTES + 1)


@pytest.mark.parametrize(
    ("reason", "value", "hopeless"),
    [
        ("empty", None, True),
        ("empty", b"", True),
        ("empty", b"\x00\x00\x00\x00\x01", False),
        ("too_large", LARGE, True),
        ("too_large", LARGE[:-1], False),
        ("not_json", b"webhook_id=12", False),
        ("too_deep", b"[", False),
        ("no_schema", LARGE, False),
    ],
    ids=lambda given: f"{given!r:.20}",
)
def test_only_what_no_setting_lets_pass_is_hopeless(reason: str, value: bytes | None, hopeless: bool) -> None:
    letter = write_letter(Origin("shop.clicks", 0, 7, 1), b"k", value, [], BadEvent(reason, "why"))
    assert is_hopeless(read_letter(*letter)) is hopeless

"""Dead letters that hide whose record was refused, and give it back all the same."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from tracker.errors import BadEvent, SettingError
from tracker.settings import load
from tracker.wire.deadletters import MAX_LETTER_BYTES, Letter, Origin, read_letter, write_letter
from tracker.wire.sealing import PLAIN, Seal

ORIGIN = Origin("shop.clicks", 3, 17, 1_700_000_000_000)
ERROR = BadEvent("no_identity", "customer_id is 'kari@example.com'")
SECRETS = (b"kari@example.com", b"c:kari", b"trace-of-kari")
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def written(seal: Seal, value: bytes = b'{"customer_id": "kari@example.com"}') -> Letter:
    return write_letter(ORIGIN, b"c:kari", value, [("trace", b"trace-of-kari")], ERROR, seal=seal)


def in_clear(letter: Letter) -> list[bytes]:
    headers = b"".join(name.encode() + given for name, given in letter.headers)
    whole = (letter.key or b"") + (letter.value or b"") + headers
    return [secret for secret in SECRETS if secret in whole]


def test_a_plain_letter_holds_all_of_it() -> None:
    assert in_clear(written(PLAIN)) == list(SECRETS)


def test_a_redacted_letter_says_why_and_where_and_nothing_of_what() -> None:
    letter = written(Seal("redacted"))
    assert in_clear(letter) == []
    back = read_letter(*letter)
    assert (back.reason, back.origin, back.size) == ("no_identity", ORIGIN, 35)
    assert (back.key, back.value, back.detail, back.pointer, back.sealed) == (None, None, "", True, "redacted")


def test_an_encrypted_letter_is_read_with_the_key_and_only_with_it() -> None:
    letter = written(Seal("encrypted", [OLD]))
    assert in_clear(letter) == []
    for keys in ([OLD], [NEW, OLD]):
        assert read_letter(*letter, Seal("plain", keys)) == read_letter(*written(PLAIN))
    for keys in ([], [NEW]):
        back = read_letter(*letter, Seal("plain", keys))
        assert (back.reason, back.sealed, back.value, back.detail) == ("no_identity", "encrypted", None, "")


def test_the_first_key_encrypts() -> None:
    letter = written(Seal("encrypted", [NEW, OLD]))
    assert read_letter(*letter, Seal("plain", [NEW])).sealed == ""


def test_a_letter_that_encryption_makes_too_large_is_redacted() -> None:
    letter = written(Seal("encrypted", [NEW]), b"x" * (MAX_LETTER_BYTES - 1000))
    back = read_letter(*letter, Seal("encrypted", [NEW]))
    assert (back.sealed, back.pointer) == ("redacted", True)


def test_the_beginning_of_a_record_that_is_too_large_is_hidden_too() -> None:
    value = b"kari@example.com" * 100_000
    assert in_clear(written(Seal("redacted"), value)) == []
    letter = written(Seal("encrypted", [NEW]), value)
    assert in_clear(letter) == []
    assert read_letter(*letter, Seal("plain", [NEW])) == read_letter(*written(PLAIN, value))


def test_a_record_without_key_and_value_comes_back() -> None:
    seal = Seal("encrypted", [NEW])
    letter = write_letter(ORIGIN, None, None, [], ERROR, seal=seal)
    assert read_letter(*letter, seal) == read_letter(*write_letter(ORIGIN, None, None, [], ERROR))


def test_a_key_is_never_shown_and_needed_where_letters_are_encrypted() -> None:
    settings = load({"dead_letters": "encrypted", "dead_letters_key": NEW})
    assert NEW not in repr(settings)
    with pytest.raises(SettingError, match="TRACKER_DEAD_LETTERS_KEY must have a key"):
        load({"dead_letters": "encrypted"})
    with pytest.raises(SettingError) as refused:
        load({"dead_letters_key": "secret-but-wrong"})
    assert "secret-but-wrong" not in str(refused.value)

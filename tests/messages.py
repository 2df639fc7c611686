"""Holds what is on the topics to the published schemas: headers, key and payload of every record that a test reads."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from tracker.wire.contract import MESSAGES, asyncapi, schemas
from tracker.wire.topics import Topics


@cache
def _validators(topic: str) -> tuple[Draft202012Validator, Draft202012Validator] | None:
    """Of headers and payload; None for a topic without a schema of its own."""
    for message in MESSAGES:
        if getattr(Topics(), message.topic) == topic:
            headers = asyncapi(Topics(), "0")["components"]["messages"][message.name]["headers"]
            return Draft202012Validator(headers), Draft202012Validator(schemas()[message.name])
    return None


def check_message(topic: str, record: Any, payload: Any) -> None:
    """Raises `AssertionError` with what is wrong. `topic` is without the namespace."""
    validators = _validators(topic)
    if validators is None:
        return
    headers = {name: value.decode() for name, value in record.headers}
    for validator, given in zip(validators, (headers, payload), strict=True):
        for error in validator.iter_errors(given):
            raise AssertionError(f"{topic}: {error.message} at {error.instance_path} of {given}")
    assert record.key is not None
    if "person_id" in payload:
        assert record.key.decode() == headers["ce_subject"] == payload["person_id"]
    if "id" in payload:
        assert headers["ce_id"] == payload["id"]

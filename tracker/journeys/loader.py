"""Loads journey models: built-in ones by id, others by path."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib import resources
from os.path import normpath
from pathlib import Path

import msgspec

from tracker.domain.conditions import Condition
from tracker.domain.model import Model
from tracker.durations import format_duration
from tracker.errors import ModelError
from tracker.journeys.checks import Check, Warn, check_model
from tracker.journeys.reader import Reader, dotted, nearest
from tracker.journeys.rulechecks import NOT_OF_ACCOUNTS, asked_of_accounts, check_conditions, check_rules

log = logging.getLogger("tracker.journeys")

MOST_BYTES = 800_000
"""Of the models in force together, written as the log's `config` record carries them: it has to fit a record."""


def builtin() -> tuple[str, ...]:
    """The ids of the models that ship with the tracker."""
    files = resources.files("tracker.journeys").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def load(model: str, warn: Warn = log.warning) -> Model:
    """A model by the id of a built-in one or by the path of a YAML file. An event type that is not in the list of
    canonical types is allowed (shops have their own) but warned about, since it may be a slip. Raises ModelError
    with file, line, key, value and what is allowed."""
    try:
        source, text = _found(model, Path())
    except ValueError as error:
        raise ModelError(f"TRACKER_MODEL: {model!r} is {error}") from None
    return parse(text, source, warn)


def _found(model: str, folder: Path) -> tuple[str, str]:
    """Source and text of a model by its id or by its path from `folder`; raises ValueError with what is allowed."""
    if model in builtin():
        return f"{model}.yaml", resources.files("tracker.journeys").joinpath(f"{model}.yaml").read_text("utf-8")
    path = Path(normpath(folder / model))
    if not path.is_file():
        raise ValueError(
            f"neither a built-in model nor a file.{nearest(model, builtin())} "
            f"Allowed: {', '.join(builtin())} or the path of a YAML file"
        )
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None


def load_all(models: Sequence[str], state_ttl: int, warn: Warn = log.warning) -> tuple[Model, ...]:
    """The models of `TRACKER_MODEL`, in order; refuses one that waits as long as state is kept (`state_ttl`, ms), has
    the id of another, or asks of accounts what they have not, and models that say too much."""
    loaded = tuple(load(model, warn) for model in models)
    for index, model in enumerate(loaded):
        if model.id in [other.id for other in loaded[:index]]:
            raise ModelError(f"TRACKER_MODEL is {','.join(models)}: two models have the id {model.id}")
        for name, wait in _waits(model):
            if wait >= state_ttl:
                raise ModelError(
                    f"model {model.id}: {name} is {format_duration(wait)}; it must be shorter than "
                    f"TRACKER_STATE_TTL, which is {format_duration(state_ttl)}"
                )
        if loaded[0].buyer == "account":
            for key in asked_of_accounts(model):
                raise ModelError(f"model {model.id}: {dotted(key)} {NOT_OF_ACCOUNTS} beside {loaded[0].id}")
    size = sum(len(to_text(model).encode()) for model in loaded)
    if size > MOST_BYTES:
        raise ModelError(
            f"TRACKER_MODEL is {','.join(models)}: they say {size:,} bytes; allowed: {MOST_BYTES:,}, since each worker "
            "writes them into the log as one record"
        )
    return loaded


def _waits(model: Model) -> Iterator[tuple[str, int]]:
    """Every duration of a model (ms) for which state must be kept, with its name."""
    for name in ("journey_timeout", "cart_ttl", "recovery_window"):
        yield name, getattr(model, name)
    for rule in model.rules:
        yield f"the wait of {rule.id}", rule.wait
        yield f"before of {rule.id}", rule.before
        yield f"again of {rule.id}", rule.again
        yield from _windows(f"rule {rule.id}", rule.where)
        yield from _windows(f"rule {rule.id}", rule.only_if)
    for phase in model.phases:
        for entry in phase.enter:
            if entry.after is not None:
                yield f"the wait into {phase.id}", entry.after.wait
            yield from _windows(f"phase {phase.id}", entry.where)
    for segment in model.segments:
        yield from _windows(f"segment {segment.id}", segment.where)
    for cap in model.caps:
        yield "within of a cap", cap.within


def _windows(where: str, condition: Condition | None) -> Iterator[tuple[str, int]]:
    if condition is None:
        return
    if condition.count is not None and condition.count.within is not None:
        yield f"a count's window in {where}", condition.count.within
    for part in (*condition.all, *condition.any, condition.not_):
        yield from _windows(where, part)


def parse(text: str, source: str, warn: Warn = log.warning) -> Model:
    """A model from YAML text; `source` names the file in errors, and what it extends may lie beside that."""
    reader = Reader(source, lambda name, within: _found(name, Path(within).parent))
    model: Model = reader.read(text, Model)
    if model.quiet_hours is not None and ("quiet_hours", "zone") not in reader.places:
        quiet = msgspec.structs.replace(model.quiet_hours, zone=model.zone)
        model = msgspec.structs.replace(model, quiet_hours=quiet)
    check = Check(reader, model, warn)
    check_model(check)
    check_rules(check)
    check_conditions(check)
    return model


def to_text(model: Model) -> str:
    """The model in full, as the log's `config` records carry it: the same model always gives the same text."""
    return msgspec.json.encode(model).decode()


def from_text(text: str | bytes) -> Model:
    """The model that `to_text` wrote; raises msgspec.ValidationError on anything else."""
    return msgspec.json.decode(text, type=Model)

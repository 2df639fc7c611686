"""Loads journey models: built-in ones by id, others by path; checks that what they say can be meant."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from importlib import resources
from os.path import normpath
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tracker.domain.events import EVENT_TYPES
from tracker.domain.model import DAY, MINUTE, Model
from tracker.domain.table import ANY, CART_CHANGED, FIRST_IDENTIFIED
from tracker.durations import format_duration
from tracker.errors import ModelError
from tracker.journeys.reader import Key, Reader, nearest

CONVERTING = ("order_completed", "trial_started", "subscription_started", "contract_signed")
SHORTEST_WAIT, LONGEST_WAIT = 5 * MINUTE, 182 * DAY
MOST_PHASES = 60

Warn = Callable[[str], object]
log = logging.getLogger("tracker.journeys")


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
    """The models of `TRACKER_MODEL`, in order; refuses one that waits as long as state is kept (`state_ttl`, ms)
    or has the id of another."""
    loaded = tuple(load(model, warn) for model in models)
    for index, model in enumerate(loaded):
        if model.id in [other.id for other in loaded[:index]]:
            raise ModelError(f"TRACKER_MODEL is {','.join(models)}: two models have the id {model.id}")
        waits = {f"the wait of {rule.id}": rule.wait for rule in model.rules}
        for name in ("journey_timeout", "cart_ttl", "recovery_window"):
            waits[name] = getattr(model, name)
        for name, wait in waits.items():
            if wait >= state_ttl:
                raise ModelError(
                    f"model {model.id}: {name} is {format_duration(wait)}; it must be shorter than "
                    f"TRACKER_STATE_TTL, which is {format_duration(state_ttl)}"
                )
    return loaded


def parse(text: str, source: str, warn: Warn = log.warning) -> Model:
    """A model from YAML text; `source` names the file in errors, and what it extends may lie beside that."""
    reader = Reader(source, lambda name, within: _found(name, Path(within).parent))
    model: Model = reader.read(text, Model)
    _Check(reader, model, warn).all()
    return model


def to_text(model: Model) -> str:
    """The model in full, as the log's `config` records carry it: the same model always gives the same text."""
    return msgspec.json.encode(model).decode()


def from_text(text: str | bytes) -> Model:
    """The model that `to_text` wrote; raises msgspec.ValidationError on anything else."""
    return msgspec.json.decode(text, type=Model)


class _Check:
    """What types alone cannot say about a model."""

    def __init__(self, reader: Reader, model: Model, warn: Warn) -> None:
        self.reader, self.model, self.warn = reader, model, warn

    def all(self) -> None:
        model = self.model
        self.text(("id",), model.id, r"[a-z0-9][a-z0-9-]{0,63}", "small letters, digits and dashes")
        self.text(("language",), model.language, r"[a-z]{2,3}(-[A-Z]{2})?", "a language tag, for example nb")
        if model.version < 1:
            self.reader.fail(("version",), f" is {model.version}; allowed: 1 or more")
        self.zone(("zone",), model.zone)
        self.phases()
        self.types(("conversion",), model.conversion, only=() if model.part else CONVERTING)
        self.types(("reopen",), model.reopen, empty=True)
        self.rules()
        for name in ("journey_timeout", "cart_ttl", "recovery_window"):
            if getattr(model, name) < MINUTE:
                value = format_duration(getattr(model, name))
                self.reader.fail((name,), f" is {value!r}; allowed: 1m or longer")
        if model.quiet_hours:
            self.zone(("quiet_hours", "zone"), model.quiet_hours.zone)
            if model.quiet_hours.start == model.quiet_hours.end:
                self.reader.fail(("quiet_hours",), ": start and end are the same; leave it out for none")

    def phases(self) -> None:
        phases = self.model.phases
        stages = [phase.stage for phase in phases]
        if stages.count("purchase") != 1 or stages != sorted(stages, key=("before", "purchase", "after").index):
            self.reader.fail(
                ("phases",),
                f" have the stages {', '.join(stages) or 'none'}; allowed: any number of before, one purchase, "
                "any number of after, in this order",
            )
        if len(phases) > MOST_PHASES:
            self.reader.fail(("phases",), f" are {len(phases)}; allowed: at most {MOST_PHASES}")
        for i, phase in enumerate(phases):
            key: Key = ("phases", i)
            self.text((*key, "id"), phase.id, r"[a-z0-9][a-z0-9_-]{0,39}", "small letters a-z, digits, _ and -")
            self.unique((*key, "id"), phase.id, [other.id for other in phases[:i]])
            if not phase.enter:
                self.reader.fail((*key, "enter"), " is empty; allowed: at least one entry with events")
            for j, entry in enumerate(phase.enter):
                also = () if phase.stage == "after" else (ANY,)
                self.types((*key, "enter", j, "events"), entry.events, also=also, empty=entry.after is not None)
            self.types((*key, "back_on"), phase.back_on, empty=True)
            if phase.back_on and phase.stage == "after":
                self.reader.fail((*key, "back_on"), ": nothing leads back once the purchase is made")

    def rules(self) -> None:
        for i, rule in enumerate(self.model.rules):
            key: Key = ("rules", i)
            self.text((*key, "id"), rule.id, r"[a-z][a-z0-9_]{0,63}", "small letters, digits and _")
            self.unique((*key, "id"), rule.id, [other.id for other in self.model.rules[:i]])
            self.types((*key, "when"), rule.when, also=(CART_CHANGED, FIRST_IDENTIFIED))
            least = 0 if rule.at or rule.yearly else SHORTEST_WAIT  # the moment itself may be named
            if not least <= rule.wait <= LONGEST_WAIT:
                allowed = f"{format_duration(least)} to {format_duration(LONGEST_WAIT)}"
                self.reader.fail((*key, "wait"), f" is {format_duration(rule.wait)!r}; allowed: {allowed}")
            if not 1 <= rule.significance <= 100:
                self.reader.fail((*key, "significance"), f" is {rule.significance}; allowed: 1 to 100")

    def types(
        self,
        key: Key,
        types: Sequence[str],
        also: Sequence[str] = (),
        only: Sequence[str] = (),
        *,
        empty: bool = False,
    ) -> None:
        if not types and not empty:
            self.reader.fail(key, " is empty; allowed: at least one event type")
        for i, name in enumerate(types):
            self.unique((*key, i), name, types[:i])
            if only and name not in only:
                self.reader.fail((*key, i), f" is {name!r}; allowed: {', '.join(only)}")
            if name in (ANY, CART_CHANGED, FIRST_IDENTIFIED) and name not in also:
                places = "the entries of phases up to the purchase" if name == ANY else "a rule's `when`"
                self.reader.fail((*key, i), f" is {name!r}, which is allowed only in {places}")
            self.text((*key, i), name, r"[a-z][a-z0-9_]{0,127}", "small letters, digits and _")
            if name not in EVENT_TYPES and name not in also:
                hint = nearest(name, (*EVENT_TYPES, *also))
                self.warn(f"{self.reader.source}: {name} is not a canonical event type.{hint}")

    def text(self, key: Key, value: str, pattern: str, allowed: str) -> None:
        if not re.fullmatch(pattern, value):
            self.reader.fail(key, f" is {value!r}; allowed: {allowed}")

    def unique(self, key: Key, value: str, earlier: Sequence[str]) -> None:
        if value in earlier:
            self.reader.fail(key, f" is {value!r}, which is there twice")

    def zone(self, key: Key, value: str) -> None:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.reader.fail(key, f" is {value!r}; allowed: an IANA time zone, for example Europe/Oslo")

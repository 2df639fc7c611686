"""Settings: one frozen object, read from flags, the environment (`TRACKER_*`), a TOML file and defaults.

Every setting is one field of `Settings`: its kind says what is allowed and turns text into a value. `tracker
settings`, the documentation and the flags are made from the same fields.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import typed_settings as ts
from typed_settings.exceptions import InvalidOptionsError, TsError
from typed_settings.types import LoadedSettings, OptionList, SettingsClass, SettingsDict

from tracker.durations import UNITS
from tracker.errors import SettingError
from tracker.kinds import Choice, Duration, FernetKeys, HttpUrl, Kind, Names, Redis, Switch, Text, Unfit, Whole

PREFIX = "TRACKER_"
FILE_VARIABLE = "TRACKER_SETTINGS_FILE"
PROCESS_VARIABLE = "TRACKER_PROCESS"
"""Tells a process its number; set by the worker for the processes it starts, never by a user."""
DAY = UNITS["d"]

log = logging.getLogger("tracker.settings")


def setting(kind: Kind, default: str, meaning: str) -> Any:
    """A field of `Settings`: the default is text, as a user would write it."""
    return dataclasses.field(default=kind.parse(default), metadata={"kind": kind, "meaning": meaning})


PORT = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
BROKER = rf"[^\s,:/]+:{PORT}|\[[0-9a-fA-F:]+\]:{PORT}"
TOPIC = r"[A-Za-z0-9._-]{1,200}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Durations are in milliseconds; names of topics are without the namespace."""

    brokers: tuple[str, ...] = setting(
        Names(BROKER, "host:port, several separated by commas, for example kafka-1:9092,kafka-2:9092"),
        "localhost:9092",
        "The Kafka brokers to ask first.",
    )
    redis_url: str = setting(
        Redis(), "redis://localhost:6379/0", "Where journey state is kept. A password is never shown."
    )
    redis_wait_replicas: int = setting(
        Whole(0, 10),
        "0",
        "Replicas of Redis that must have a commit before it counts (WAIT); 0: none, for what a fail-over loses "
        "is folded again.",
    )
    redis_wait_timeout: int = setting(
        Duration("10ms", "1m"), "1s", "How long a commit waits for those replicas; then the partition pauses."
    )
    namespace: str = setting(
        Text(r"[A-Za-z0-9._-]{0,100}", "letters, digits, '.', '_' and '-', for example acme."),
        "",
        "Put as it is in front of topics, consumer groups, transactional ids and Redis keys: acme. with its dot.",
    )
    model: tuple[str, ...] = setting(
        Names(r".+", "ids of built-in models or paths of YAML files, separated by commas"),
        "nettbutikk-5",
        "Journey models: phases, conversions, rules. Of several, the first one's rules and segments hold.",
    )
    raw_topics: tuple[str, ...] = setting(
        Names(TOPIC, "topic names separated by commas; a worker needs at least one", empty=True),
        "shop.clicks,shop.orders",
        "The topics that the shop writes and `ingest` reads.",
    )
    dialects: tuple[str, ...] = setting(
        Names(
            rf"{TOPIC}=.+",
            "topic=dialect pairs separated by commas, for example shop.clicks=segment,shop.till=./till.yaml",
            empty=True,
        ),
        "",
        "The dialect of a raw topic, or a mapping's path; a topic with several dialects stands here several times. Of "
        "one that is not named here it is detected record by record.",
    )
    schema_registry_url: str = setting(
        HttpUrl(), "", "The registry of the schemas with which Avro and Protobuf records were written."
    )
    customer_ids: tuple[str, ...] = setting(
        Names(
            "as-is|trim|lower|number|uuid",
            "as-is, or some of trim, lower, number and uuid separated by commas, for example trim,lower",
        ),
        "as-is",
        "How customer ids that are written in different ways are made to agree; see docs/identity.md.",
    )
    blocked_ids: tuple[str, ...] = setting(
        Names(r".{1,128}", "ids separated by commas, for example kiosk-1,kiosk-2", empty=True),
        "",
        "Ids that name nobody, besides null, guest and the like: of a till, a kiosk, a test user.",
    )
    direct: bool = setting(
        Switch(),
        "off",
        "Producers write events straight to journey.events, too; a worker of this release refuses that.",
    )
    clock: str = setting(
        Choice("wall", "event"),
        "wall",
        "What moves time: the wall clock, or only the progress markers in the raw topics (replays, tests).",
    )
    session_gap: int = setting(Duration("1s", "1d"), "30m", "Silence after which a session is over.")
    session_cap: int = setting(Duration("1m", "7d"), "1d", "The longest a session can be.")
    out_of_orderness: int = setting(
        Duration("0", "1d"), "30s", "How far behind the clock events may come without being out of order."
    )
    allowed_lateness: int = setting(
        Duration("0", "7d"), "1h", "How far behind the watermark an event may be and still count in full."
    )
    state_ttl: int = setting(
        Duration("1d", "3650d"),
        "400d",
        "Silence after which a person's state is dropped; orders and consent stay until erasure.",
    )
    consent_default: str = setting(
        Choice("allow", "deny"), "allow", "Whether a drop-off is sent when the marketing consent is unknown."
    )
    analytics_default: str = setting(
        Choice("allow", "deny"), "allow", "Whether anything is kept of a person whose analytics consent is unknown."
    )
    partitions: int = setting(Whole(1, 10_000), "4", "Partitions of the topics that `tracker topics` makes.")
    replication: int = setting(
        Whole(1, 15), "1", "Copies of each partition that `tracker topics` makes; use 3 in production."
    )
    events_retention: int = setting(
        Duration("1h", "3650d"),
        "30d",
        "How long journey.events is kept; it must cover the time since the last Redis backup.",
    )
    outputs_retention: int = setting(
        Duration("1h", "3650d"), "30d", "How long outputs are kept; raw topics keep the broker's own setting."
    )
    delivery: str = setting(
        Choice("auto", "exactly_once", "at_least_once"),
        "auto",
        "How outputs are published; auto: exactly once where the broker has transactions.",
    )
    dead_letters: str = setting(
        Choice("plain", "redacted", "encrypted"),
        "plain",
        "What a dead letter holds of its record: all, only where it lies, or all of it encrypted.",
    )
    dead_letters_key: tuple[str, ...] = setting(
        FernetKeys(), "", "The keys of encrypted dead letters: the first encrypts, all decrypt. Never shown."
    )
    bots: str = setting(
        Choice("exclude", "flag", "off"),
        "exclude",
        "Crawlers, by their user agents, and who does more than people can: kept out of journeys, crawlers only "
        "flagged, or not looked for.",
    )
    batch_records: int = setting(Whole(1, 1_000_000), "20000", "The most records that one commit covers.")
    batch_deadlines: int = setting(Whole(1, 1_000_000), "10000", "The most deadlines that one commit covers.")
    state_cache: int = setting(
        Whole(0, 100_000_000), "20000", "Persons per partition whose state a worker keeps in memory; 0: none."
    )
    http_port: int = setting(
        Whole(0, 65_535), "8080", "Port kept for the HTTP API and the journey map; nothing listens on it yet."
    )
    metrics_host: str = setting(
        Text(r"[A-Za-z0-9.:_-]+", "an address of this machine, for example 127.0.0.1"),
        "0.0.0.0",
        "Address on which the Prometheus metrics are served.",
    )
    metrics_port: int = setting(
        Whole(0, 65_535), "9464", "Port of the Prometheus metrics; process i uses port + i; 0: off."
    )
    log_level: str = setting(Choice("debug", "info", "warning", "error"), "info", "What is logged.")

    def __post_init__(self) -> None:
        check(self)

    @property
    def brokers_text(self) -> str:
        """The brokers as clients want them."""
        return ",".join(self.brokers)

    @property
    def reads_direct_events(self) -> bool:
        """Whether somebody besides ingest writes events to journey.events."""
        return self.direct or not self.raw_topics


class Described(NamedTuple):
    """One line of the catalogue; all of it text, as a user would write or read it."""

    name: str
    value: str
    default: str
    meaning: str
    allowed: str


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def flag(field: str) -> str:
    """The command line flag of a field."""
    return "--" + field.replace("_", "-")


def names() -> list[str]:
    """The fields, in the order in which they are shown."""
    return [field.name for field in dataclasses.fields(Settings)]


def kind_of(name: str) -> Kind:
    """What a field may be."""
    kind: Kind = Settings.__dataclass_fields__[name].metadata["kind"]
    return kind


def catalogue(settings: Settings | None = None) -> list[Described]:
    """Every setting with its value (secrets masked), default, meaning and what is allowed."""
    return [
        Described(
            variable(field.name),
            kind_of(field.name).show(getattr(settings or field, field.name if settings else "default")),
            kind_of(field.name).show(field.default),
            field.metadata["meaning"],
            kind_of(field.name).allowed,
        )
        for field in dataclasses.fields(Settings)
    ]


def check(settings: Settings) -> None:
    """What must hold between settings; raises SettingError."""

    def refuse(name: str, why: str) -> None:
        raise SettingError(f"{variable(name)} is {kind_of(name).show(getattr(settings, name))}: {why}")

    if settings.session_gap >= settings.session_cap:
        shown = kind_of("session_cap").show(settings.session_cap)
        refuse("session_gap", f"it must be shorter than TRACKER_SESSION_CAP, which is {shown}")
    if settings.allowed_lateness + settings.session_cap >= settings.state_ttl:
        refuse("state_ttl", "it must be longer than TRACKER_SESSION_CAP + TRACKER_ALLOWED_LATENESS")
    if "as-is" in settings.customer_ids and len(settings.customer_ids) > 1:
        refuse("customer_ids", "as-is stands alone")
    if settings.dead_letters == "encrypted" and not settings.dead_letters_key:
        refuse("dead_letters", "TRACKER_DEAD_LETTERS_KEY must have a key")
    own = [topic for topic in settings.raw_topics if topic.startswith("journey.")]
    if own:
        refuse("raw_topics", f"{own[0]} is the tracker's own; see TRACKER_DIRECT for events written there")


def load(
    flags: Mapping[str, object] | None = None,
    file: str | Path | None = None,
    warn: Callable[[str], object] = log.warning,
) -> Settings:
    """The settings in force. `flags` (field -> text) win over the environment, that over the file, that over
    the defaults. An unknown key in the file is an error, an unknown `TRACKER_*` variable only a warning: a
    container's environment holds what its neighbours need. Raises SettingError."""
    file = file or os.environ.get(FILE_VARIABLE) or None
    origins: dict[str, str] = {}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    loaders: list[ts.loaders.Loader] = [
        _Noted(ts.EnvLoader(prefix=PREFIX), origins, variable),
        _Noted(ts.loaders.DictLoader(given), origins, flag),
    ]
    if file is not None:
        if not Path(file).is_file():
            raise SettingError(f"{FILE_VARIABLE} is {str(file)!r}: there is no such file")
        toml = ts.FileLoader(formats={"*": ts.TomlFormat(section=None)}, files=[f"!{file}"])
        loaders.insert(0, _Noted(toml, origins, lambda name: f"{name} in {file}"))

    def parse(settings_dict: SettingsDict, settings_cls: SettingsClass, options: OptionList) -> SettingsDict:
        del settings_cls, options
        return {
            name: _parse(origins[name], kind_of(name), raw) if name in origins else raw
            for name, raw in settings_dict.items()
        }

    for unknown in sorted(set(os.environ) - {FILE_VARIABLE, PROCESS_VARIABLE} - set(map(variable, names()))):
        if unknown.startswith(PREFIX):
            warn(f"{unknown} is not a setting and is ignored.{_nearest(unknown, map(variable, names()))}")
    converter = _Parsed()
    try:
        return ts.load_settings(Settings, loaders, processors=[parse], converter=converter)
    except InvalidOptionsError as error:
        wrong = str(error).rpartition(":")[2].strip().split(", ")
        raise SettingError(
            f"{file}: {wrong[0]} is not a setting.{_nearest(wrong[0], names())} Allowed: {', '.join(names())}"
        ) from None
    except (TsError, OSError, UnicodeDecodeError) as error:
        raise converter.refused or SettingError(f"{file} cannot be read: {error}") from None


def _parse(origin: str, kind: Kind, raw: object) -> object:
    try:
        return kind.parse(raw)
    except Unfit as error:
        why = f" ({error})" if str(error) else ""
        raise SettingError(f"{origin} is {kind.quote(raw)}{why}; allowed: {kind.allowed}") from None


def _nearest(wrong: str, known: Iterable[str]) -> str:
    close = get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


class _Noted:
    """A loader that notes where each value came from, so that an error can say so."""

    def __init__(self, loader: Any, origins: dict[str, str], name: Callable[[str], str]) -> None:
        self.loader, self.origins, self.name = loader, origins, name

    def __call__(self, settings_cls: SettingsClass, options: OptionList) -> Any:
        loaded = self.loader(settings_cls, options)
        for part in [loaded] if isinstance(loaded, LoadedSettings) else (loaded := list(loaded)):
            self.origins.update({name: self.name(name) for name in part.settings})
        return loaded


class _Parsed:
    """A converter for values that `parse` has converted already; keeps the error that says which do not go
    together, of which typed-settings would only keep a description."""

    refused: SettingError | None = None

    def structure(self, obj: Any, cl: Any) -> Any:
        if cl is not Settings:
            return obj
        try:
            return cl(**obj)
        except SettingError as error:
            self.refused = error
            raise

    def get_structure_hook(self, cl: Any) -> Any:
        del cl
        return self.structure

"""Metrics: one catalogue, one registry per process, plain integers on the hot path; and the HTTP port that serves them
beside the worker's health.

A stage adds to a `Tally` while it folds a batch and hands it to `Metrics.flush` once per batch. A registry is
an object that is passed around: two workers, or two tests, in one process share nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    make_wsgi_app,
    start_http_server,
)

from tracker.errors import SettingError
from tracker.health import Checks, Health

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Described(NamedTuple):
    """One metric as it is exposed. Counters are listed with their `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


CATALOGUE: tuple[Described, ...] = (
    Described(
        "tracker_events_total",
        "counter",
        ("stage", "type", "outcome"),
        "Events by type (unknown ones: other) and outcome: accepted (ingest); applied, waiting (for a deadline "
        "before it), duplicate, late, forwarded, bot, runaway, erased (before the person's erasure), no_consent "
        "(track).",
    ),
    Described("tracker_batches_total", "counter", ("stage",), "Batches finished."),
    Described("tracker_batch_duration_seconds", "histogram", ("stage",), "From a batch's first record to its end."),
    Described("tracker_commit_duration_seconds", "histogram", ("stage",), "The atomic commit in the store."),
    Described(
        "tracker_publish_duration_seconds",
        "histogram",
        ("stage",),
        "Sending a batch's outputs until they are acknowledged; the whole transaction where there is one.",
    ),
    Described(
        "tracker_transactions_total",
        "counter",
        ("outcome",),
        "Kafka transactions: committed, aborted, fenced.",
    ),
    Described("tracker_lag_records", "gauge", ("stage", "topic", "partition"), "Records not yet read."),
    Described(
        "tracker_lag_seconds",
        "gauge",
        ("stage", "topic", "partition"),
        "Now minus the watermark (track under the wall clock), else the age of the last record read, 0 when all are.",
    ),
    Described(
        "tracker_watermark_timestamp_seconds",
        "gauge",
        ("partition",),
        "The watermark of a partition of journey.events, since 1970; absent until every source spoke.",
    ),
    Described(
        "tracker_time_held_by",
        "gauge",
        ("partition", "source"),
        "1 for the source whose time is least: the one that holds this partition's deadlines back.",
    ),
    Described("tracker_outputs_total", "counter", ("topic",), "Records published, by topic without namespace."),
    Described(
        "tracker_dropoffs_total",
        "counter",
        ("reason", "kind"),
        "Drop-offs: dropped_off, recovered, cancelled.",
    ),
    Described(
        "tracker_dropoffs_withheld_total",
        "counter",
        ("reason", "why"),
        "Drop-offs that were due but must not be sent, and why: consent, deferred_too_long, or ordered (an order after "
        "it was already folded).",
    ),
    Described("tracker_triggers_total", "counter", ("rule",), "Triggers sent, by the rule of the model."),
    Described(
        "tracker_triggers_withheld_total",
        "counter",
        ("rule", "why"),
        "Triggers that were due but must not be sent, and why: consent, deferred_too_long, or ordered (an order after "
        "it was already folded).",
    ),
    Described("tracker_dead_letters_total", "counter", ("stage", "reason"), "Records given up, by reason."),
    Described("tracker_state_cache_hits_total", "counter", (), "States found in the worker's memory."),
    Described("tracker_state_cache_misses_total", "counter", (), "States that had to be read from the store."),
    Described(
        "tracker_partitions",
        "gauge",
        ("stage", "state"),
        "Partitions held: running, paused (a dependency is away) or stopped (an operator is needed).",
    ),
    Described("tracker_raw_records_total", "counter", ("dialect",), "Raw records, by the dialect they were read as."),
    Described(
        "tracker_raw_records_skipped_total",
        "counter",
        ("dialect",),
        "Those of them that tell of nobody's journey, as their dialect says, and became no event.",
    ),
    Described(
        "tracker_flow_waits_total",
        "counter",
        (),
        "Batches after which a raw partition in backlog waited for a slower one.",
    ),
    Described(
        "tracker_events_mended_total",
        "counter",
        ("flag",),
        "Events that ingest mended or marked, by their flag: ts_in_future, ts_missing, ts_rescaled, bot.",
    ),
    Described(
        "tracker_bounds_hit_total",
        "counter",
        ("bound",),
        "Times that a bound of a person's state or of a record was hit; operation.md lists them.",
    ),
)

Stage = Literal["ingest", "track"]


def _ints() -> defaultdict[str, int]:
    return defaultdict(int)


def _pairs() -> defaultdict[tuple[str, str], int]:
    return defaultdict(int)


class Tally:
    """What one batch of one stage counted. Add to the fields directly, `tally.events[type, outcome] += 1`;
    `flush` empties it, so that one tally serves a partition for good."""

    __slots__ = (
        "bounds",
        "cache_hits",
        "cache_misses",
        "dead_letters",
        "dialects",
        "dropoffs",
        "events",
        "mended",
        "outputs",
        "skipped",
        "triggers",
        "triggers_withheld",
        "waits",
        "withheld",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again at zero, for a batch that is folded a second time."""
        self.events = _pairs()
        """(event type, outcome)"""
        self.outputs = _ints()
        """topic, without namespace"""
        self.dropoffs = _pairs()
        """(reason, kind)"""
        self.withheld = _pairs()
        """(reason, why)"""
        self.triggers = _ints()
        """rule"""
        self.triggers_withheld = _pairs()
        """(rule, why)"""
        self.dead_letters = _ints()
        """reason"""
        self.dialects = _ints()
        """dialect that a raw record was read as"""
        self.skipped = _ints()
        """dialect of a raw record that became no event"""
        self.mended = _ints()
        """flag"""
        self.bounds = _ints()
        """bound"""
        self.waits = 0
        """batches after which a raw partition waited for a slower one"""
        self.cache_hits = 0
        self.cache_misses = 0


class Metrics:
    """The catalogue on a registry. `known_types` are the event types that get a label of their own; durations
    are in seconds, event times in milliseconds UTC."""

    def __init__(self, known_types: Collection[str] = (), registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._known = frozenset(known_types)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._children: dict[tuple[str, ...], Counter] = {}
        self._holders: dict[int, str] = {}
        for name, kind, labels, meaning in CATALOGUE:
            if kind == "counter":
                self._counters[name] = Counter(name, meaning, labels, registry=self.registry)
            elif kind == "gauge":
                self._gauges[name] = Gauge(name, meaning, labels, registry=self.registry)
            else:
                self._histograms[name] = Histogram(name, meaning, labels, buckets=SECONDS, registry=self.registry)
        ProcessCollector(registry=self.registry)

    def flush(
        self,
        stage: Stage,
        tally: Tally,
        batch: float,
        commit: float | None = None,
        publish: float | None = None,
    ) -> None:
        """Book one finished batch with its durations, then empty the tally. Call it after the commit: a batch
        that failed was not counted."""
        for (type_, outcome), count in tally.events.items():
            label = type_ if type_ in self._known else "other"
            self._add("tracker_events_total", count, stage, label, outcome)
        for (reason, kind), count in tally.dropoffs.items():
            self._add("tracker_dropoffs_total", count, reason, kind)
        for (reason, why), count in tally.withheld.items():
            self._add("tracker_dropoffs_withheld_total", count, reason, why)
        for rule, count in tally.triggers.items():
            self._add("tracker_triggers_total", count, rule)
        for (rule, why), count in tally.triggers_withheld.items():
            self._add("tracker_triggers_withheld_total", count, rule, why)
        for topic, count in tally.outputs.items():
            self._add("tracker_outputs_total", count, topic)
        for reason, count in tally.dead_letters.items():
            self._add("tracker_dead_letters_total", count, stage, reason)
        for dialect, count in tally.dialects.items():
            self._add("tracker_raw_records_total", count, dialect)
        for dialect, count in tally.skipped.items():
            self._add("tracker_raw_records_skipped_total", count, dialect)
        if tally.waits:
            self._add("tracker_flow_waits_total", tally.waits)
        for flag, count in tally.mended.items():
            self._add("tracker_events_mended_total", count, flag)
        for bound, count in tally.bounds.items():
            self._add("tracker_bounds_hit_total", count, bound)
        self._add("tracker_state_cache_hits_total", tally.cache_hits)
        self._add("tracker_state_cache_misses_total", tally.cache_misses)
        self._add("tracker_batches_total", 1, stage)
        self.observe("tracker_batch_duration_seconds", stage, batch)
        if commit is not None:
            self.observe("tracker_commit_duration_seconds", stage, commit)
        if publish is not None:
            self.observe("tracker_publish_duration_seconds", stage, publish)
        tally.clear()

    def observe(self, name: str, stage: Stage, seconds: float) -> None:
        """Book one duration by itself, where it does not come with a batch."""
        self._histograms[name].labels(stage).observe(seconds)

    def transaction(self, outcome: Literal["committed", "aborted", "fenced"]) -> None:
        """Book the end of one Kafka transaction."""
        self._add("tracker_transactions_total", 1, outcome)

    def lag(self, stage: Stage, topic: str, partition: int, records: int, seconds: float | None) -> None:
        """How far a partition is behind; `seconds` None while nothing is known about its event time."""
        labels = (stage, topic, str(partition))
        self._gauges["tracker_lag_records"].labels(*labels).set(records)
        if seconds is not None:
            self._gauges["tracker_lag_seconds"].labels(*labels).set(seconds)

    def watermark(self, partition: int, ms: int | None, held_by: str | None) -> None:
        """The watermark of a partition of journey.events (None: not known yet) and the source that holds it."""
        if ms is not None:
            self._gauges["tracker_watermark_timestamp_seconds"].labels(str(partition)).set(ms / 1000)
        before = self._holders.get(partition)
        if before != held_by:
            if before is not None:
                self._forget("tracker_time_held_by", str(partition), before)
                del self._holders[partition]
            if held_by is not None:
                self._gauges["tracker_time_held_by"].labels(str(partition), held_by).set(1)
                self._holders[partition] = held_by

    def partitions(self, stage: Stage, states: Mapping[str, int]) -> None:
        """How many partitions are `running`, `paused`, `stopped`; a state left out is 0."""
        for state in ("running", "paused", "stopped"):
            self._gauges["tracker_partitions"].labels(stage, state).set(states.get(state, 0))

    def forget(self, stage: Stage, topic: str, partition: int) -> None:
        """A partition went to another worker: its gauges here would stand still and lie."""
        self._forget("tracker_lag_records", stage, topic, str(partition))
        self._forget("tracker_lag_seconds", stage, topic, str(partition))
        if stage == "track":
            self.watermark(partition, None, None)
            self._forget("tracker_watermark_timestamp_seconds", str(partition))

    def value(self, name: str, **labels: str) -> float:
        """A sample's present value, 0 where there is none: for summaries and tests."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name that carry these labels."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _add(self, name: str, count: int, *labels: str) -> None:
        if not count:
            return
        child = self._children.get((name, *labels))
        if child is None:
            counter = self._counters[name]
            child = self._children[(name, *labels)] = counter.labels(*labels) if labels else counter
        child.inc(count)

    def _forget(self, name: str, *labels: str) -> None:
        self._gauges[name].remove(*labels)


class Server(Protocol):
    """A running endpoint."""

    port: int

    def close(self) -> None:
        """Stop serving and release the port."""


class _Server:
    def __init__(self, metrics: Metrics, health: Health, host: str, port: int) -> None:
        self._health = health
        self._server, self._thread = start_http_server(port, host, metrics.registry)
        self._metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(metrics.registry)
        self._server.set_app(self._answer)
        self.port = port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start_response)
            case "/livez":
                status, text = _said(self._health.live())
            case "/readyz":
                status, text = _said(self._health.ready())
            case _:
                status, text = "404 Not Found", "/metrics, /livez, /readyz\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [text.encode()]


def _said(checks: Checks) -> tuple[str, str]:
    """Status and text of an answer: a line for each check, as Kubernetes' own components say it."""
    lines = [f"[+] {what}: ok" if wrong is None else f"[-] {what}: {wrong}" for what, wrong in checks.items()]
    well = not any(checks.values())
    return "200 OK" if well else "503 Service Unavailable", "".join(f"{line}\n" for line in lines) or "ok\n"


def serve(metrics: Metrics, health: Health, host: str, port: int, process: int = 0) -> Server | None:
    """Serve /metrics, /livez and /readyz in a thread, for process number `process` on `port` + `process`; None when
    `port` is 0. Raises SettingError when it cannot listen there."""
    if port == 0:
        return None
    try:
        return _Server(metrics, health, host, port + process)
    except (OSError, OverflowError) as error:
        raise SettingError(
            f"TRACKER_METRICS_HOST is {host}, TRACKER_METRICS_PORT is {port}: process {process} cannot listen on "
            f"{host}:{port + process} ({error}); allowed: an address of this machine and a free port, or port 0 for no "
            "metrics"
        ) from None

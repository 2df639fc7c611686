"""`tracker replay`: a recording through the running pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaClient

from tracker.broker.kafka import FAILURES, connected
from tracker.broker.offsets import Offsets
from tracker.broker.raw import RawWriter
from tracker.demo.scenarios import load_scenarios
from tracker.domain.units import NEVER
from tracker.errors import ScenarioError, Unavailable
from tracker.journeys.loader import load_all
from tracker.settings import Settings
from tracker.stream.recording import Recording, joined, read_recording, recording_of
from tracker.stream.replay import Replayed, Sent, replay
from tracker.wire.position import decode_position
from tracker.wiring.parts import delivery_of, run, store_of, topic_counts, topics_of

Report = Callable[[Sent], None]


def longest_wait(settings: Settings) -> int:
    """After how many ms without another event every drop-off and session of a recording is out. Triggers may wait for
    months, and a replay does not, unless it is told until when."""
    models = load_all(settings.model, settings.state_ttl)
    waits = (rule.wait for model in models for rule in model.rules if rule.emit == "drop_off")
    return max(waits, default=0) + settings.session_gap


class Progress:
    """How far the tracker is: the least watermark over the positions that the broker holds."""

    def __init__(self, settings: Settings, partitions: int, client: AIOKafkaClient, *, exactly_once: bool) -> None:
        self._store = store_of(settings)
        self._partitions = partitions
        topics = topics_of(settings)
        group = topics.track_group if exactly_once else topics.position_group
        self._offsets = [Offsets(client, group, topics.events, partition) for partition in range(partitions)]

    async def watermark(self) -> int | None:
        """In ms; None while a partition has none. Raises `Unavailable`."""
        marks = [await self._one(partition) for partition in range(self._partitions)]
        least = min(marks, default=NEVER)
        return least if least > NEVER else None

    async def _one(self, partition: int) -> int:
        try:
            committed = await self._offsets[partition].read()
        except FAILURES as error:
            raise Unavailable(f"the broker did not say how far the tracker is: {error!r}") from error
        if committed is None:
            return NEVER
        if committed.metadata:
            position = decode_position(committed.metadata)
            # In the middle of a watermark's deadlines only those before the last one done are out.
            return position.watermark if position.due is None else position.due - 1
        # A broker that drops the metadata (the embedded one): the store knows the watermark of that offset.
        row = await self._store.row(partition)
        if row is None or committed.offset < row.position.offset or row.position.due is not None:
            return NEVER
        return row.position.watermark

    async def close(self) -> None:
        """Release the store."""
        await self._store.close()


async def replay_recording(
    settings: Settings,
    recording: Recording,
    *,
    at_least: int = 0,
    speed: float | None = None,
    rebase: bool = False,
    until: int | None = None,
    report: Report = lambda _: None,
) -> Replayed:
    """Send a recording through the pipeline, see `tracker.stream.replay`; time goes on for `at_least` so many ms."""
    counts = await topic_counts(settings)
    topics = topics_of(settings)
    exactly_once = await delivery_of(settings)
    async with (
        connected(settings.brokers_text) as client,
        RawWriter(settings.brokers_text, topics.raw_topics, idempotent=exactly_once) as writer,
    ):
        progress = Progress(settings, counts[topics.events], client, exactly_once=exactly_once)
        try:
            return await replay(
                recording,
                writer,
                progress.watermark,
                clock="wall" if settings.clock == "wall" else "event",
                longest_wait=max(longest_wait(settings), at_least),
                until=until,
                speed=speed,
                rebase=rebase,
                report=report,
            )
        finally:
            await progress.close()


def read_sources(sources: Sequence[str], *, skip_bad: bool = False) -> tuple[Recording, int]:
    """All events to replay, and for how many ms after the last of them time has to go on at least. Raises
    `SettingError`, `BadRecording` and `ScenarioError`."""
    files = [Path(source) for source in sources if not is_scenario(source)]
    told = [scenario for source in sources if is_scenario(source) for scenario in load_scenarios(source)]
    for scenario in told:
        if scenario.erased:
            raise ScenarioError(f"{scenario.where}: {scenario.id} erases somebody, which only tests can replay")
    parts = [recording_of(event for scenario in told for event in scenario.events)] if told else []
    if files:
        parts.append(read_recording(files, skip_bad=skip_bad))
    recording = joined(parts)
    return recording, max((scenario.until - recording.last for scenario in told), default=0)


def is_scenario(source: str) -> bool:
    """Whether it is a file of scenarios, or no file at all."""
    return source.endswith((".yaml", ".yml")) or not Path(source).is_file()


def run_replay(
    settings: Settings,
    sources: Sequence[str],
    speed: float | None,
    rebase: bool,
    until: int | None,
    *,
    skip_bad: bool = False,
    report: Report = lambda _: None,
) -> tuple[Replayed, int]:
    """`tracker replay`: blocks until the tracker has published all of it; answers also how many lines were left out.
    `sources` are files of events, files of scenarios (`.yaml`) and ids of built-in scenarios."""
    recording, wait = read_sources(sources, skip_bad=skip_bad)
    done = run(
        replay_recording(settings, recording, at_least=wait, speed=speed, rebase=rebase, until=until, report=report)
    )
    return done, len(recording.bad)

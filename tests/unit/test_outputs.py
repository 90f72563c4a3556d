"""What the supervisor's loop polls: a descriptor's number is used again and again, by one container after the other."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.host.live import Live
from stackpy_runtime.host.outputs import Outputs
from tests.waiting import wait_for


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def running(root: Path, name: str) -> Live:
    """A container as it is once its program runs."""
    container: Any = {"id": name, "name": name, "config": {}, "state": {"status": "running"}}
    (root / "containers" / name).mkdir(parents=True)
    (root / "run" / "io").mkdir(parents=True, exist_ok=True)
    live = Live(str(root), container)
    for descriptor in live.open_output():
        os.close(descriptor)
    live.open_recorder()
    live.pid = 1
    return live


def test_output_is_read_through_a_descriptor_that_another_container_has_had(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """One that ends at once may be watched only when its end is already being taken into account."""
    outputs = Outputs(loop)
    first = running(tmp_path, "first")
    numbers = list(first.sources)
    outputs.watch(first)
    looked = threading.Event()
    loop.call_soon_threadsafe(looked.set)
    assert looked.wait(60)
    outputs.close(first.give_up_output())
    first.close_recorder()
    closed = threading.Event()
    loop.call_soon_threadsafe(closed.set)
    assert closed.wait(60)

    second = running(tmp_path, "second")
    assert set(second.sources) & set(numbers)
    outputs.watch(second)
    with open(second.fifos[0], "wb") as fifo:
        fifo.write(b"up\n")
        fifo.flush()
        log = tmp_path / "containers" / "second" / "log"
        wait_for(lambda: b"up" in log.read_bytes(), "what it has written, in its log")
    outputs.close(second.give_up_output())
    second.close_recorder()

"""Reads what containers write when there is some: the descriptors that the supervisor's loop polls, and their closing.

The loop remembers a descriptor by its number. One that is closed while the loop has it would leave its number behind,
and the next container whose FIFO gets that number would never be polled. So the loop's thread alone closes them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from stackpy_runtime.host.live import Live

RETRY = 0.5  # seconds


class Outputs:
    """What the loop polls for containers. Methods may be called in any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def watch(self, live: Live) -> None:
        """Reads a container's output whenever there is some, until its descriptors are closed."""
        self.loop.call_soon_threadsafe(self._watch, live)

    def close(self, descriptors: Iterable[int]) -> None:
        """Closes descriptors that nobody else uses any more, polled or not."""
        self.loop.call_soon_threadsafe(self._close, tuple(descriptors))

    def _close(self, descriptors: tuple[int, ...]) -> None:
        for descriptor in descriptors:
            self.loop.remove_reader(descriptor)
            os.close(descriptor)

    def _watch(self, live: Live) -> None:
        with live.changed:
            sources = [live.terminal] if live.terminal >= 0 else live.sources
            if live.pid and live.ended is None:
                for descriptor in sources:
                    self.loop.add_reader(descriptor, self._pump, live, descriptor)

    def _pump(self, live: Live, descriptor: int) -> None:
        if not live.pump():
            # Looking again at once would spin: a closed terminal, a full disk, a client that does not read.
            self.loop.remove_reader(descriptor)
            if live.terminal < 0:
                self.loop.call_later(RETRY, self._watch, live)

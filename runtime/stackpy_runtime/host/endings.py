"""What the end of a container leaves to be done, and what may have to be tried again.

A full disk takes neither the end itself into the index nor the last output into the log; a control group cannot be
removed while a process in it is still dying. Each is tried again until it is done, and our processes stay for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from stackpy_runtime import labels
from stackpy_runtime.container import crashes, ending, health, log_reading, ranges
from stackpy_runtime.container.cgroups import remove_parent
from stackpy_runtime.errors import EngineError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.container.cgroups import Group
    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.live import Ended, Live
    from stackpy_runtime.host.outputs import Outputs
    from stackpy_runtime.model import ContainerState, Crash, Ending
    from stackpy_runtime.store.store import Store

PAUSE = 0.5
TRIES = 20
LINES_KEPT = 20
SIGNAL_COUNTS = 10.0  # seconds in which a container that was sent a signal may end for it


class Endings:
    """Finishes what `Lifecycle` begins. Methods run in worker threads."""

    def __init__(
        self,
        store: Store,
        keeper: KeeperLink,
        outputs: Outputs,
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.store, self.keeper, self.outputs, self.later = store, keeper, outputs, later

    def _again(self, pause: float, action: Callable[[], None]) -> None:
        self.later(pause, lambda: threading.Thread(target=action, daemon=True).start())

    def record(self, live: Live, ended: ContainerState) -> None:
        """Writes an end into the index."""
        with live.changed:
            live.unfinished.discard("end")
            # Later states are written by whoever brings them about.
            if live.state is not ended or live.removed:
                return
            try:
                self.store.update_container(live.id, state=ended, networks={})
            except NotFound:
                return
            except EngineError:
                live.unfinished.add("end")
                self._again(PAUSE, lambda: self.record(live, ended))
                return
            # From here on the index is all that is to be read of it.
            with contextlib.suppress(OSError):
                os.unlink(f"{live.folder}/process")

    def note(self, live: Live) -> None:
        """Writes how a container that runs is into the index; what a full disk refuses is tried again."""
        with live.changed:
            if live.removed or not live.pid:
                return  # its end is written by `record`
            try:
                self.store.update_container(live.id, state=live.state)
            except NotFound:
                return
            except EngineError:
                self._again(PAUSE, lambda: self.note(live))

    def explain(self, live: Live, end: Ended, boot: str) -> tuple[Ending, ending.Memory]:
        """Why a container's run has ended, and what its memory was; called while its control group is there."""
        memory = self._memory(live)
        asked = live.state.get("asked")
        if asked and end.when - asked.get("at", end.when) > SIGNAL_COUNTS and end.signal == 0:
            # A signal of long ago that it has got over.
            asked = None
        rebooted = end.code is None and live.state.get("boot", boot) != boot
        return ending.explain(end.code, end.signal, asked, memory, rebooted=rebooted), memory or ending.Memory()

    @staticmethod
    def _memory(live: Live) -> ending.Memory | None:
        """What a container's control group says of its memory; None where we lack a descriptor to read that."""
        if live.group is None:
            return ending.Memory(0, live.config.get("mem_limit") or 0)
        try:
            kills = live.group.oom_kills()
            peak = live.group.memory_peak() if kills else 0
        except OSError:
            return None
        return ending.Memory(kills, live.config.get("mem_limit") or 0, peak)

    def keep_crash(self, live: Live, ended: ContainerState) -> None:
        """Keeps what is known of a crash where its container's replacement does not take it away."""
        own = live.config.get("labels", {})
        if live.removed or labels.RESOURCE not in own or "ending" not in ended:
            return
        crash: Crash = {
            "id": live.id,
            "name": live.name,
            "resource": own[labels.RESOURCE],
            "image": live.config["image"],
            "started_at": ended["started_at"],
            "finished_at": ended["finished_at"],
            "exit_code": ended["exit_code"],
            "restart_count": ended["restart_count"],
            "ending": ended["ending"],
            "output": [line["text"].rstrip("\n") for line in log_reading.last_lines(live.folder, LINES_KEPT)],
        }
        if live.probe is not None:
            crash["health"] = health.read(live.folder)
        try:
            crashes.keep(self.store.root.path, own, crash)
        except OSError as error:
            # A full disk; the container's own state says most of it.
            print(f"container {live.name}: its crash report could not be kept: {error}", file=sys.stderr)

    def detach(self, live: Live, networking: Callable[[Live], None], tries: int = TRIES) -> None:
        """Takes a container off its networks, unless it is being started again."""
        try:
            networking(live)
        except (EngineError, OSError) as error:
            print(f"container {live.name}: it could not be taken off its networks: {error}", file=sys.stderr)
            if tries:

                def again() -> None:
                    with live.verb:
                        if not (live.launching or live.pid):
                            self.detach(live, networking, tries - 1)

                self._again(PAUSE, again)

    def close_output(self, live: Live) -> None:
        """Closes a container's FIFOs and log, once all that it wrote is in the log."""
        with live.changed:
            live.unfinished.discard("output")
            if live.refused and not live.removed:
                live.unfinished.add("output")
                self._again(PAUSE, lambda: self._drain(live))
                return
            self.outputs.close(live.give_up_output())
            live.close_recorder()
            self.keeper.release(f"io/{live.id}")
            self.close_stdin(live)

    def close_stdin(self, live: Live) -> None:
        """Lets a container see the end of its standard input."""
        with live.changed:
            if live.stdin >= 0:
                live.close_stdin()
                self.keeper.release(f"stdin/{live.id}")

    def _drain(self, live: Live) -> None:
        with live.changed:
            if live.launching or live.pid:
                # Started again: its output goes on in the same FIFOs, and is closed at its next end.
                live.unfinished.discard("output")
                return
            live.pump(last=True)
            self.close_output(live)

    def release_range(self, first_id: int, sharer: int, tries: int = TRIES) -> None:
        """Gives a range of host IDs back, or leaves one that is shared."""
        try:
            if sharer:
                ranges.leave(first_id, sharer)
            else:
                ranges.release(first_id)
        except OSError as error:
            print(f"the range of host IDs from {first_id} could not be given back: {error}", file=sys.stderr)
            if tries:
                self._again(PAUSE, lambda: self.release_range(first_id, sharer, tries - 1))

    def remove_group(self, group: Group, pause: float = 0.005) -> None:
        """Kills what is left in a control group and removes it."""
        try:
            group.kill()
            removed = group.remove()
        except OSError as error:
            # It must not keep the end from being known; the next supervisor sweeps what is left.
            print(f"control group {group.name} could not be removed: {error}", file=sys.stderr)
            removed = False
        if not removed:
            self._again(pause, lambda: self.remove_group(group, min(pause * 2, 1.0)))
        elif "/" in group.parent:
            # In a group of the user's, which stays: ours in it goes with the last container.
            remove_parent(group.parent)

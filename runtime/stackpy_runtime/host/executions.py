"""Processes in running containers: `exec` for clients; captured.py runs health checks and hooks on top."""

from __future__ import annotations

import json
import os

from stackpy_runtime.container import confinement, plan
from stackpy_runtime.errors import Conflict
from stackpy_runtime.host.beginnings import WORD_OF_END
from stackpy_runtime.host.handing_over import hand_over
from stackpy_runtime.host.pausing import is_paused
from stackpy_runtime.linux.proc import executes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import ImageConfig


def join_plan(
    lifecycle: Lifecycle,
    live: Live,
    argv: list[str],
    *,
    tty: bool = False,
    environment: dict[str, str] | None = None,
    working_dir: str = "",
    user: str = "",
    privileged: bool = False,
    process_of: tuple[int, int] | None = None,
) -> JoinPlan:
    """What to start; Conflict when the container does not run.

    privileged: with every capability of the container's user namespace; what seccomp allows goes by them
    process_of: PID and start of its first process, where that is not executed yet
    """
    if not process_of:
        live.await_begun()
    with live.changed:
        pid, start = process_of or (live.pid, live.start)
    if not pid:
        raise Conflict("it is not running", subject=f"container {live.name}", hint=f"stackpy start {live.name}")
    if is_paused(live):
        raise Conflict(
            "it is paused", subject=f"container {live.name}", hint=f"`stackpy unpause {live.name}` has it go on"
        )
    of = live.container["image_id"]
    image: ImageConfig = lifecycle.store.image(of)["config"] if of else {}  # a build step has none
    config = live.config
    hostname = config.get("hostname") or live.id[:12]
    plain = confinement.is_plain(config)
    if not plain or config.get("network_mode") == "host":
        from stackpy_runtime.host import confining

        hostname = confining.hostname_of(lifecycle.store, config, live.id)
    group = live.group
    capabilities = confinement.every_capability(config) if privileged else confinement.capabilities(config)
    filter_ = lifecycle.beginnings.filter_of(config, capabilities)
    process = plan.process({**config, "command": argv, "entrypoint": []}, image, hostname, filter_)
    process["capabilities"] = sorted(capabilities)
    process["tty"] = tty
    process["environment"].update(environment or {})
    if tty:
        process["environment"].setdefault("TERM", "xterm")
    process["working_dir"] = working_dir or process["working_dir"]
    process["user"] = user or process["user"]
    own = config.get("network_mode") != "host"
    joining: JoinPlan = {
        "name": live.name,
        "pid": pid,
        "start": start,
        "own_network": own,
        "cgroups": group.entrances() if group else [],
        "process": process,
    }
    if config.get("runtime"):
        from stackpy_runtime.host import external

        external.arrange_join(lifecycle.store.root, live, joining)
    if not plain and (kinds := confining.namespaces_of(live, pid)) is not None:
        joining["kinds"] = kinds
    return joining


def spawn(
    lifecycle: Lifecycle,
    joining: JoinPlan,
    channel: int,
    stdin: int,
    streams: list[int],
    live: Live | None = None,
    *,
    of: str,
) -> str:
    """Has the process forked; returns its reference.

    live: the container, where a process that stands by may become it
    of: what it is for, its container's ID and by what its client knows it, for the supervisor after us: `exec/…/…`
    """
    beginnings = lifecycle.beginnings
    joiner = None if live is None or "handed_to" in joining else lifecycle.joiners.take(live)
    if joiner is not None:
        with beginnings.announced:
            beginnings.executions[joiner.token] = None
        given = [channel, *([stdin] if stdin >= 0 else []), *streams]
        lifecycle.keeper.assign(joiner.token, joiner.token, of)
        with joiner.line:
            if hand_over(joiner.line, {"plan": joining, "stdin": stdin >= 0}, given):
                return joiner.token
        forget(lifecycle, joiner.token)
    reference = os.urandom(8).hex()
    with beginnings.announced:
        beginnings.executions[reference] = None
    lifecycle.keeper.spawn("exec", reference, joining, channel, stdin, streams, of)
    return reference


def wait(lifecycle: Lifecycle, reference: str, timeout: float | None = None) -> int | None:
    """The exit code; None after `timeout` seconds."""
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        beginnings.announced.wait_for(lambda: beginnings.executions[reference] is not None, timeout)
        return beginnings.executions[reference]


def end_of_beginning(lifecycle: Lifecycle, reference: str) -> int | None:
    """What `wait` gives, of a process whose line has ended; None where it executes its program.

    The line ends also where it was killed before. What the keeper tells of it may still be on its way.
    """
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        beginnings.announced.wait_for(
            lambda: reference in beginnings.started or beginnings.executions[reference] is not None, WORD_OF_END
        )
        pid, start, _ = beginnings.started.get(reference, (0, 0, -1))
    return wait(lifecycle, reference, 0.0 if pid and executes(pid, start) else WORD_OF_END)


def forget(lifecycle: Lifecycle, reference: str) -> None:
    """Drops what is known of an execution."""
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        beginnings.executions.pop(reference, None)
        _, _, pidfd = beginnings.started.pop(reference, (0, 0, -1))
    if pidfd >= 0:
        os.close(pidfd)


def said(data: bytes) -> dict[str, Any]:
    """A message of a process that is not yet executed."""
    message: dict[str, Any] = json.loads(data)
    return message

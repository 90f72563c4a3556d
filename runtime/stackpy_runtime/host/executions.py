"""Processes in running containers: `exec` for clients, and the commands of health checks."""

from __future__ import annotations

import json
import os
import signal
import socket

from stackpy_runtime.container import plan, security
from stackpy_runtime.errors import Conflict
from stackpy_runtime.host.probes import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import ImageConfig

OUTPUT_KEPT = 4096


def join_plan(
    lifecycle: Lifecycle,
    live: Live,
    argv: list[str],
    *,
    tty: bool = False,
    environment: dict[str, str] | None = None,
    working_dir: str = "",
    user: str = "",
) -> JoinPlan:
    """What to start; Conflict when the container does not run."""
    with live.changed:
        pid, start = live.pid, live.start
    if not pid:
        raise Conflict("it is not running", subject=f"container {live.name}", hint=f"stackpy start {live.name}")
    of = live.container["image_id"]
    image: ImageConfig = lifecycle.store.image(of)["config"] if of else {}  # a build step has none
    config = live.config
    hostname = config.get("hostname") or live.id[:12]
    capabilities = security.capabilities(config.get("cap_add", []), config.get("cap_drop", []))
    group = live.group
    cgroups = [f"{path}/cgroup.procs" for path in dict.fromkeys(group.paths().values())] if group else []
    process = plan.process(
        {**config, "command": argv, "entrypoint": []}, image, hostname, lifecycle.beginnings.filter(capabilities)
    )
    process["tty"] = tty
    process["environment"].update(environment or {})
    if tty:
        process["environment"].setdefault("TERM", "xterm")
    process["working_dir"] = working_dir or process["working_dir"]
    process["user"] = user or process["user"]
    own = config.get("network_mode") != "host"
    return {
        "name": live.name,
        "pid": pid,
        "start": start,
        "own_network": own,
        "cgroups": cgroups,
        "process": process,
    }


def spawn(lifecycle: Lifecycle, joining: JoinPlan, channel: int, stdin: int, streams: list[int]) -> str:
    """Has the process forked; returns its reference."""
    beginnings = lifecycle.beginnings
    reference = os.urandom(8).hex()
    with beginnings.announced:
        beginnings.executions[reference] = None
    lifecycle.keeper.spawn("exec", reference, joining, channel, stdin, streams)
    return reference


def wait(lifecycle: Lifecycle, reference: str, timeout: float | None = None) -> int | None:
    """The exit code; None after `timeout` seconds."""
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        beginnings.announced.wait_for(lambda: beginnings.executions[reference] is not None, timeout)
        return beginnings.executions[reference]


def forget(lifecycle: Lifecycle, reference: str) -> None:
    """Drops what is known of an execution."""
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        beginnings.executions.pop(reference, None)
        _, _, pidfd = beginnings.started.pop(reference, (0, 0, -1))
    if pidfd >= 0:
        os.close(pidfd)


def probe(lifecycle: Lifecycle, live: Live, argv: list[str], timeout: float) -> Verdict:
    """Runs a health check's command; healthy when it exits with 0 within `timeout` seconds."""
    beginnings = lifecycle.beginnings
    try:
        joining = join_plan(lifecycle, live, argv)
    except Conflict as error:
        return Verdict(False, str(error))
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.fchmod(writing, 0o666)  # to be opened again as /dev/stdout
    os.set_blocking(reading, False)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        reference = spawn(lifecycle, joining, theirs.fileno(), -1, [writing, writing])
    finally:
        theirs.close()
        os.close(writing)
    try:
        code = wait(lifecycle, reference, timeout)
        if code is None:
            with beginnings.announced:
                _, _, pidfd = beginnings.started.get(reference, (0, 0, -1))
            if pidfd >= 0:
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return Verdict(False, f"`{' '.join(argv)}` did not end within {timeout:g} s")
        if code == 0:
            return Verdict(True, "")
        return Verdict(False, _reason(ours) or f"exit code {code}: {_output(reading)}")
    finally:
        forget(lifecycle, reference)
        ours.close()
        os.close(reading)


def _output(reading: int) -> str:
    try:
        return os.read(reading, OUTPUT_KEPT).decode("utf-8", "replace").strip()
    except BlockingIOError:
        return ""


def _reason(channel: socket.socket) -> str:
    """The error that the process reported before it could execute."""
    channel.setblocking(False)
    try:
        data = channel.recv(65536)
    except OSError:
        return ""
    return str(json.loads(data).get("error", {}).get("message", "")) if data else ""

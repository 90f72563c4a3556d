"""`exec` for clients: the supervisor's part is to have the process forked, and to tell how it ended.

Standard streams, or the controlling side of a terminal, are the client's own; what the process says before it executes
goes straight to it through the channel that it has given.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from functools import partial

from stackpy_runtime.errors import Conflict, EngineError, EngineUnavailable, ProcessFailed, from_wire
from stackpy_runtime.host import executions, requests, steps
from stackpy_runtime.host.beginnings import NEVER_BEGAN, NEVER_EXECUTED, code_of_execution
from stackpy_runtime.host.events import of_container
from stackpy_runtime.host.wire import Closed, close_all
from stackpy_runtime.store import event_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.host.wire import Connection

LEFT = -2  # in place of an exit code: the client has left the process, which goes on
_KIND = "exec"  # of what the keeper is told that a process is for


def serve(
    lifecycle: Lifecycle,
    connection: Connection,
    arguments: dict[str, Any],
    descriptors: list[int],
    afterwards: list[Callable[[], None]],
) -> dict[str, Any]:
    """Starts a process in a container and answers with its exit code.

    descriptors: channel, and without a terminal stdin, stdout, stderr; none for a process that is `detach`ed
    afterwards: gets what prepares for the next one, which this client need not wait for
    """
    requests.execution(arguments)
    reference = arguments["container"]
    live = steps.running(lifecycle, reference) or lifecycle.live(reference)
    tty = bool(arguments.get("tty"))
    joining = executions.join_plan(
        lifecycle,
        live,
        arguments["argv"],
        tty=tty,
        environment=arguments.get("environment"),
        working_dir=arguments.get("working_dir", ""),
        user=arguments.get("user", ""),
        privileged=arguments.get("privileged", False),
    )
    if size := arguments.get("size"):
        joining["process"]["size"] = [int(number) for number in size]
    of = f"{_KIND}/{live.id}/{arguments.get('execution', '')}"
    if arguments.get("detach"):
        return _detached(lifecycle, live, joining, of)
    channel, *streams = descriptors
    with contextlib.ExitStack() as stack:
        if tty:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, null)
            stdin, streams = -1, [null, null]
        else:
            stdin, streams = (streams[0], streams[1:]) if arguments.get("stdin") else (-1, streams)
        spawned = executions.spawn(lifecycle, joining, channel, stdin, streams, live, of=of)
    _begun(lifecycle, live, arguments["argv"], spawned)
    # Our copies must go now: the client reads its pipes until nobody has them open.
    close_all(descriptors)
    descriptors.clear()
    if tty:
        threading.Thread(target=_listen, args=(lifecycle, connection, spawned), daemon=True).start()
    try:
        code = executions.wait(lifecycle, spawned)
    finally:
        executions.forget(lifecycle, spawned)
    afterwards.append(partial(lifecycle.joiners.prepare, live))
    return _ended(lifecycle, live, spawned, code)


def _ended(lifecycle: Lifecycle, live: Live, spawned: str, code: int | None) -> dict[str, Any]:
    """Tells of the end of a process; the answer for its client."""
    if code == LEFT:
        _tell(lifecycle, live, "exec_detach", execID=spawned)
        return {"exit_code": code}
    lifecycle.keeper.told(spawned)
    _check_begun(code, f"container {live.name}")
    _tell(lifecycle, live, "exec_die", execID=spawned, exitCode=str(code))
    return {"exit_code": code}


def adopt(lifecycle: Lifecycle, children: list[dict[str, Any]]) -> None:
    """Takes up what clients have started through a supervisor before us, and ends what it has started for itself."""
    beginnings = lifecycle.beginnings
    for child in children:
        if child["kind"] != "exec" or not child["of"]:
            continue
        kind, _, rest = child["of"].partition("/")
        container, _, execution = rest.partition("/")
        if kind != _KIND:
            # With what it has started; it is a child of the keeper's, so that no other process has its number.
            for end in (os.killpg, os.kill) if child["pid"] else ():
                with contextlib.suppress(ProcessLookupError):
                    end(child["pid"], signal.SIGKILL)
            continue
        with beginnings.announced:
            number, executed = child.get("signal", 0), child.get("executed", True)
            beginnings.executions[child["ref"]] = code_of_execution(child.get("code"), number, executed=executed)
        beginnings.adopted[execution] = child["ref"]
        live = lifecycle.lives.get(container)
        if live is not None:
            threading.Thread(target=_outlive, args=(lifecycle, live, child["ref"]), daemon=True).start()


def resume(lifecycle: Lifecycle, connection: Connection, arguments: dict[str, Any]) -> dict[str, Any]:
    """The answer for a client whose process an earlier supervisor has started: its exit code.

    begun: only whether it was started
    """
    subject = f"container {arguments['container']}"
    spawned = lifecycle.beginnings.adopted.get(arguments["execution"], "")
    if not spawned:
        raise EngineUnavailable(
            "the engine was killed, and what became of the process is not known",
            subject=subject,
            hint="it may not have begun, or its keeper was killed as well; what it wrote is all there",
        )
    if arguments.get("begun"):
        return {"exit_code": 0}
    if arguments.get("tty"):
        threading.Thread(target=_listen, args=(lifecycle, connection, spawned), daemon=True).start()
    code = executions.wait(lifecycle, spawned)
    _check_begun(code, subject)
    return {"exit_code": code}


def _check_begun(code: int | None, subject: str) -> None:
    """Raises where what stands for an exit code says that there was no program."""
    if code == NEVER_BEGAN:
        raise Conflict("it is not running any more", subject=subject)
    if code == NEVER_EXECUTED:
        raise ProcessFailed("the process was killed before it had executed its program", exit_code=137, subject=subject)


def _begun(lifecycle: Lifecycle, live: Live, argv: list[str], spawned: str) -> None:
    line = " ".join(argv)
    _tell(lifecycle, live, f"exec_create: {line}", f"exec_start: {line}", execID=spawned)


def _tell(lifecycle: Lifecycle, live: Live, *actions: str, **attributes: str) -> None:
    if live.container["image_id"]:
        # Not of a build's step, which is no container that anybody knows.
        happened = [of_container(live, action, **attributes) for action in actions]
        event_log.record(lifecycle.store.root, *happened)


def _detached(lifecycle: Lifecycle, live: Live, joining: JoinPlan, of: str) -> dict[str, Any]:
    """Answers once the process executes; what it writes goes nowhere. Raises what has kept it from that."""
    terminal = -1
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        spawned = executions.spawn(lifecycle, joining, theirs.fileno(), -1, [null, null], of=of)
    finally:
        theirs.close()
        os.close(null)
    with ours:
        while True:
            data, given, _, _ = socket.recv_fds(ours, 1 << 16, 1)
            if not data:
                break
            [terminal] = given or [terminal]
            message = executions.said(data)
            if "error" in message:
                executions.forget(lifecycle, spawned)
                raise from_wire(message["error"])
    if terminal >= 0:
        keep_terminal(lifecycle.keeper, spawned, terminal)
    try:
        _check_begun(executions.end_of_beginning(lifecycle, spawned), f"container {live.name}")
    except EngineError:
        executions.forget(lifecycle, spawned)
        raise
    _begun(lifecycle, live, joining["process"]["argv"], spawned)
    threading.Thread(target=_outlive, args=(lifecycle, live, spawned), kwargs={"forget": True}, daemon=True).start()
    return {"exit_code": 0}


def _outlive(lifecycle: Lifecycle, live: Live, spawned: str, *, forget: bool = False) -> None:
    """Tells of the end of a process that no client of this supervisor waits for."""
    code = executions.wait(lifecycle, spawned)
    if forget:
        executions.forget(lifecycle, spawned)
    with contextlib.suppress(Conflict, ProcessFailed):
        _ended(lifecycle, live, spawned, code)


def _listen(lifecycle: Lifecycle, connection: Connection, spawned: str) -> None:
    """Takes the terminal over from a client that leaves its process running."""
    try:
        message, descriptors = connection.receive()
    except (Closed, OSError):
        # It has the answer, or has died: then its terminal has hung up.
        return
    if not message.get("keep") or len(descriptors) != 1:
        close_all(descriptors)
        return
    keep_terminal(lifecycle.keeper, spawned, descriptors[0])
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        if beginnings.executions.get(spawned, 0) is None:
            beginnings.executions[spawned] = LEFT
            beginnings.announced.notify_all()


def keep_terminal(keeper: KeeperLink, spawned: str, terminal: int) -> None:
    """Reads a terminal whose user has left until nobody has its other side any more; so does whoever comes after us."""
    keeper.hold(f"exec/{spawned}", [terminal])

    def drain() -> None:
        try:
            while os.read(terminal, 65536):
                pass
        except OSError:
            # EIO: it has ended.
            pass
        os.close(terminal)
        keeper.release(f"exec/{spawned}")

    threading.Thread(target=drain, daemon=True).start()

"""Hooks of a container's life: pre_start, post_start and pre_stop.

Each is a command in the container's own sandbox, with its file system, network, mounts, secrets and limits; several run
one after the other. What they write goes into the container's log.

pre_start runs when the sandbox stands and before the main process is executed: one that fails keeps the container from
starting. post_start runs once the main process has been executed, at the same time as it, as Compose's: one that fails
ends the container. pre_stop runs before the stop signal of a stop that has a grace period, for as long as that at most;
one that fails does not keep the container from being stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackpy_runtime.errors import Conflict, EngineError, ProcessFailed
from stackpy_runtime.host import captured, executions
from stackpy_runtime.host.beginnings import NEVER_BEGAN

if TYPE_CHECKING:
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import Hook

NAMES = ("pre_start", "post_start", "pre_stop")
OUTPUT_KEPT = 4096


def present(live: Live, name: str) -> bool:
    """Whether a container has hooks of that name."""
    return bool(live.config.get(name))


def before_start(lifecycle: Lifecycle, live: Live) -> None:
    """Runs pre_start beside the process that waits to be the container's first; raises ProcessFailed."""
    pid, start = lifecycle.beginnings.await_started(live.id)
    # A long one must not keep other containers from starting.
    lifecycle.turns.release()
    try:
        for hook in live.config.get("pre_start", []):
            _check_wanted(live, "pre_start", hook)
            if failure := _run(lifecycle, live, "pre_start", hook, None, (pid, start)):
                _check_wanted(live, "pre_start", hook)
                raise failure
            _check_wanted(live, "pre_start", hook)
    finally:
        lifecycle.turns.acquire()


def _check_wanted(live: Live, name: str, hook: Hook) -> None:
    if live.interrupted:
        raise Conflict(f"it was stopped while {name} `{_line(hook)}` ran", subject=f"container {live.name}")


def after_start(lifecycle: Lifecycle, live: Live) -> None:
    """Runs post_start; raises ProcessFailed after it has ended the container for one that failed."""
    pid = live.pid
    for hook in live.config.get("post_start", []):
        failure = _run(lifecycle, live, "post_start", hook, None)
        if live.interrupted or live.pid != pid or not pid:
            # It was stopped, or has ended, meanwhile: that has reasons of its own.
            return
        if failure:
            lifecycle.end(live, {"verb": "hook", "how": failure.message}, pid)
            raise failure


def before_stop(lifecycle: Lifecycle, live: Live, grace: float) -> str:
    """Runs pre_stop; returns what went wrong, for people."""
    problems = []
    for hook in live.config.get("pre_stop", []):
        try:
            failure = _run(lifecycle, live, "pre_stop", hook, grace)
        except (EngineError, OSError) as error:
            # A full disk, or no descriptor left.
            problems.append(f"pre_stop `{_line(hook)}` could not be started: {error}")
            continue
        if failure:
            problems.append(failure.message)
    return ", ".join(problems)


def interrupt(lifecycle: Lifecycle, live: Live) -> None:
    """Ends the hook that a start of the container waits for, so that a stop need not wait for it."""
    with live.changed:
        if not (live.launching or live.hook):
            return
        live.interrupted = True
        reference = live.hook
    if reference:
        captured.kill(lifecycle, reference)


def _run(
    lifecycle: Lifecycle,
    live: Live,
    name: str,
    hook: Hook,
    timeout: float | None,
    process_of: tuple[int, int] | None = None,
) -> ProcessFailed | None:
    """Runs one hook; returns why it failed."""
    subject = f"container {live.name}"
    try:
        joining = executions.join_plan(
            lifecycle,
            live,
            hook["command"],
            environment=hook.get("environment"),
            working_dir=hook.get("working_dir", ""),
            user=hook.get("user", ""),
            privileged=hook.get("privileged", False),
            process_of=process_of,
        )
    except Conflict:
        return ProcessFailed(f"{name} `{_line(hook)}`: the container has ended before", exit_code=125, subject=subject)

    def begun(reference: str) -> None:
        with live.changed:
            live.hook = reference if name != "pre_stop" else ""

    try:
        found = captured.run(lifecycle, joining, timeout, kept=OUTPUT_KEPT, each=live.note, begun=begun)
    finally:
        with live.changed:
            live.hook = ""
    if found.code == 0:
        return None
    if found.code is None:
        text = f"{name} `{_line(hook)}` did not end within {timeout:g} s"
        return ProcessFailed(text, exit_code=124, output=found.output, subject=subject)
    if found.code == NEVER_BEGAN:
        return ProcessFailed(f"{name} `{_line(hook)}` could not be started", exit_code=125, subject=subject)
    why = found.reason or f"exited with {found.code}"
    text = f"{name} `{_line(hook)}`: {why}" if found.reason else f"{name} `{_line(hook)}` {why}"
    last = found.output.splitlines()[-1:] if found.output else []
    return ProcessFailed(": ".join([text, *last]), exit_code=found.code, output=found.output, subject=subject)


def _line(hook: Hook) -> str:
    return " ".join(hook["command"])

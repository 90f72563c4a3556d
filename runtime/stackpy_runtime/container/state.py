"""What a container is doing, read without any of our processes: the store's word checked against the kernel's.

The keeper writes two files in a container's folder: `process` when it starts, `exit` when it has ended. They are newer
than the store's row whenever the supervisor was not there to hear of it: of a start too, whatever the container was
before that. `process` is removed once the row knows of the end, so that of what does not run nothing is read.
"""

from __future__ import annotations

import errno

from stackpy_runtime import json_text
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.linux.proc import boot_id, has_executed, is_absent, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.model import ContainerState


def initial() -> ContainerState:
    """The state of a container that has never run."""
    return {
        "status": "created",
        "pid": 0,
        "exit_code": None,
        "error": "",
        "oom_killed": False,
        "started_at": "",
        "finished_at": "",
        "health": "",
        "restart_count": 0,
    }


def read_document(path: str) -> dict[str, Any]:
    """A JSON file of the keeper; {} when it is not there or not whole, or the disk does not give it."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json_text.loads(file.read())
    except ValueError:
        return {}
    except OSError as error:
        if is_absent(error) or error.errno == errno.EIO:
            return {}
        raise
    return document if isinstance(document, dict) else {}


def is_alive(pid: int, start: int, boot: str) -> bool:
    """Whether the process that these three name is there.

    One that has ended counts until the keeper has collected it, which it does once the exit code is on disk.
    """
    return bool(pid) and start_time(pid, ended=True) == start and start != 0 and (not boot or boot == boot_id())


def live(stored: ContainerState, folder: str) -> ContainerState:
    """The state now; `stored` itself where the store knows it. `folder`: the container's, with the keeper's files."""
    if stored["status"] in ("running", "paused"):
        if is_alive(stored["pid"], stored.get("pid_start", 0), stored.get("boot", "")):
            return stored
        return _ended(stored, read_document(f"{folder}/exit"))
    begun = _begun(stored, folder)
    if begun is None:
        return stored
    if is_alive(begun["pid"], begun["pid_start"], begun["boot"]):
        return begun if has_executed(begun["pid"]) else stored
    ended = read_document(f"{folder}/exit")
    if ended.get("pid") == begun["pid"] and not ended.get("executed", True):
        return stored  # of a start that came to nothing
    return _ended(begun, ended)


def beginning(stored: ContainerState, folder: str) -> tuple[int, int]:
    """PID and start of the process of a start that is about to execute its program, or to end; (0, 0) for none."""
    if stored["status"] in ("running", "paused") or (begun := _begun(stored, folder)) is None:
        return 0, 0
    pid, start = begun["pid"], begun["pid_start"]
    return (0, 0) if has_executed(pid) or not is_alive(pid, start, begun["boot"]) else (pid, start)


def _begun(stored: ContainerState, folder: str) -> ContainerState | None:
    """The state of a run that the store has not heard of, as it began; None where there is none."""
    process = read_document(f"{folder}/process")
    if not process or (process["start"], process["boot"]) == (stored.get("pid_start"), stored.get("boot")):
        return None  # the store has heard of the end of this one, or how it came to nothing
    begun: ContainerState = {
        **stored,
        "status": "running",
        "pid": process["pid"],
        "pid_start": process["start"],
        "boot": process["boot"],
        "group": process.get("group", ""),
        "exit_code": None,
        "error": "",
        "oom_killed": False,
        "started_at": timestamp(process["time"]) if "time" in process else stored["started_at"],
        "finished_at": "",
        "stopped": False,
        "restart_count": stored["restart_count"] + 1 if stored["status"] == "restarting" else 0,
    }
    begun.pop("asked", None)
    begun.pop("halted", None)
    return begun


def _ended(stored: ContainerState, ended: dict[str, Any]) -> ContainerState:
    """The state of a run that is over. ended: what the keeper has noted, of this run or another, or {}"""
    from stackpy_runtime.container import ending  # an end that is not in the index is rare

    pid, boot = stored["pid"], stored.get("boot", "")
    gone: ContainerState = {**stored, "status": "exited", "pid": 0, "health": ""}
    if ended.get("pid") == pid and isinstance(ended.get("code"), int):
        why = ending.explain(ended["code"], ended.get("signal", 0), stored.get("asked"), None)
        return {**gone, "exit_code": ended["code"], "finished_at": timestamp(ended["time"]), "ending": why}
    why = ending.explain(None, 0, None, None, rebooted=bool(boot) and boot != boot_id())
    return {**gone, "exit_code": None, "error": why["text"], "ending": why}

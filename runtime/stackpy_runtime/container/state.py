"""What a container is doing, read without any of our processes: the store's word checked against the kernel's.

The keeper writes two files in a container's folder: `process` when it starts, `exit` when it has ended. They are newer
than the store's row whenever the supervisor was not there to hear of it.
"""

from __future__ import annotations

from stackpy_runtime import json_text
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.linux.proc import boot_id, start_time

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
    """A JSON file of the keeper; {} when it is not there or not whole."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json_text.loads(file.read())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def is_alive(pid: int, start: int, boot: str) -> bool:
    """Whether the process that these three name is there.

    One that has ended counts until the keeper has collected it, which it does once the exit code is on disk.
    """
    return bool(pid) and start_time(pid, ended=True) == start and start != 0 and (not boot or boot == boot_id())


def live(stored: ContainerState, folder: str) -> ContainerState:
    """The state now. `folder`: the container's, with the keeper's files."""
    if stored["status"] not in ("running", "paused", "created"):
        return stored
    pid, start, boot = stored["pid"], stored.get("pid_start", 0), stored.get("boot", "")
    if stored["status"] == "created":
        process = read_document(f"{folder}/process")
        if not process:
            return stored
        pid, start, boot = process["pid"], process["start"], process["boot"]
    if is_alive(pid, start, boot):
        now: ContainerState = {**stored, "pid": pid, "pid_start": start, "boot": boot}
        return now if stored["status"] == "paused" else {**now, "status": "running"}
    from stackpy_runtime.container import ending  # an end that is not in the index is rare

    ended = read_document(f"{folder}/exit")
    gone: ContainerState = {**stored, "status": "exited", "pid": 0, "health": ""}
    if ended.get("pid") == pid and isinstance(ended.get("code"), int):
        why = ending.explain(ended["code"], ended.get("signal", 0), stored.get("asked"), None)
        return {**gone, "exit_code": ended["code"], "finished_at": timestamp(ended["time"]), "ending": why}
    why = ending.explain(None, 0, None, None, rebooted=bool(boot) and boot != boot_id())
    return {**gone, "exit_code": None, "error": why["text"], "ending": why}

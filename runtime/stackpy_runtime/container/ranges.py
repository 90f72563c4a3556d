"""Host ID ranges for user namespaces, 65,536 IDs each, unique on the host across engine roots.

A range is held while its container runs, by a file under /run/stackpy/ranges made with O_EXCL: there is no table to
lock or to corrupt, and IDs on disk stay plain, so a container may get another range at its next start.
"""

from __future__ import annotations

import os

from stackpy_runtime.errors import Conflict
from stackpy_runtime.linux.processes import boot_id, start_time

SIZE = 65536
# Above what distributions hand out through /etc/subuid and systemd-nspawn (up to 1,879,048,191), below 2³¹.
FIRST, COUNT = 1_879_113_728, 4000
FOLDER = "/run/stackpy/ranges"


def subordinate_ranges(text: str) -> list[tuple[int, int]]:
    """The (first, count) pairs of an /etc/subuid or /etc/subgid file."""
    rows = (line.split(":") for line in text.splitlines())
    return [(int(r[1]), int(r[2])) for r in rows if len(r) == 3 and r[1].isdigit() and r[2].isdigit()]


def overlaps(first: int, taken: list[tuple[int, int]]) -> bool:
    """Whether the range from `first` meets any of `taken`."""
    return any(first < start + count and start < first + SIZE for start, count in taken)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _is_stale(path: str) -> bool:
    """Whether the holder's engine and container are both gone, or the host has rebooted since."""
    boot, _, rest = _read(path).partition("\n")
    pid, _, started = rest.partition(" ")
    if boot and boot != boot_id():
        return True
    return pid.isdigit() and started.strip().isdigit() and start_time(int(pid)) != int(started)


def acquire() -> int:
    """The first host ID of a free range, held until `bind` names its process, then while that process lives.

    Raises Conflict when all are taken.
    """
    os.makedirs(FOLDER, mode=0o755, exist_ok=True)
    taken = subordinate_ranges(_read("/etc/subuid")) + subordinate_ranges(_read("/etc/subgid"))
    me = os.getpid()
    for number in range(COUNT):
        first = FIRST + number * SIZE
        if overlaps(first, taken):
            continue
        path = f"{FOLDER}/{first}"
        for _ in range(2):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                if not _is_stale(path):
                    break
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                continue
            os.write(descriptor, f"{boot_id()}\n{me} {start_time(me)}".encode())
            os.close(descriptor)
            return first
    raise Conflict("all host ID ranges for user namespaces are taken", hint=f"see {FOLDER}")


def bind(first: int, pid: int) -> None:
    """Ties the range to a container's process: it is free once that process is gone."""
    aside = f"{FOLDER}/.{first}.{os.getpid()}"
    with open(aside, "w", encoding="ascii") as file:
        file.write(f"{boot_id()}\n{pid} {start_time(pid)}")
    os.rename(aside, f"{FOLDER}/{first}")


def release(first: int) -> None:
    """Gives a range back."""
    try:
        os.unlink(f"{FOLDER}/{first}")
    except FileNotFoundError:
        pass

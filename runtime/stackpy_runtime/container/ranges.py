"""Host ID ranges for user namespaces, 65,536 IDs each, unique on the host across engine roots.

A range is held while its container runs, by a file under /run/stackpy/ranges that names the holding process; IDs on
disk stay plain, so a container may get another range at its next start. Who takes over the file of a dead holder must
not lose it to that holder's own release, which may come later: two containers would share their IDs. So each taking has
a token of its own, and taking and releasing have turns on the whole host.

A container that shares a namespace with another is in the other's user namespace, and may outlive it: it is noted in a
line of its own, `+PID START`, and the range is free when nobody is left.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from stackpy_runtime.errors import Conflict
from stackpy_runtime.linux import host_locks
from stackpy_runtime.linux.proc import boot_id, is_absent, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 65536
# Above what distributions hand out through /etc/subuid and systemd-nspawn (up to 1,879,048,191), below 2³¹.
FIRST, COUNT = 1_879_113_728, 4000
FOLDER = "/run/stackpy/ranges"

_held: dict[int, str] = {}  # the ranges that this process has taken and not released → their tokens
_next = 0  # number of the range at which the next search begins: all before it were taken when we last looked


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
    except OSError as error:
        if is_absent(error):
            return ""
        raise


@contextmanager
def _turn() -> Iterator[None]:
    """One taker at a time: of all processes, and of the threads of this one, since each opens the file for itself.

    Raises Conflict when another root's engine does not give its turn back.
    """
    os.makedirs(FOLDER, mode=0o755, exist_ok=True)
    with host_locks.held(f"{FOLDER}/.lock", "the ranges of user IDs"):
        yield


def _is_stale(text: str) -> bool:
    """Whether the holder's engine and container and all that share it are gone, or the host has rebooted since."""
    boot, _, rest = text.partition("\n")
    if boot and boot != boot_id():
        return True
    return _is_gone(rest.partition("\n")[0]) and not _sharing(text)


def _is_gone(holder: str) -> bool:
    pid, _, started = holder.partition(" ")
    # a process that ended before `bind` could look has the start time of none: 0
    return pid.isdigit() and started.isdigit() and (not int(started) or start_time(int(pid)) != int(started))


def _sharing(text: str) -> list[str]:
    """The lines of those that share the range and are still there."""
    return [line for line in text.splitlines() if line.startswith("+") and not _is_gone(line[1:])]


def _token(text: str) -> str:
    lines = text.splitlines()
    return lines[2].strip() if len(lines) > 2 and not lines[2].startswith("+") else ""


def _write(first: int, pid: int, token: str, sharing: list[str]) -> None:
    """`pid` 0: the holder has ended, those who share it have not."""
    _replace(first, [boot_id(), f"{pid} {start_time(pid) if pid else 0}", token, *sharing])


def acquire() -> int:
    """The first host ID of a free range, held until `bind` names its process, then while that process lives.

    Raises Conflict when all are taken.
    """
    global _next
    taken = subordinate_ranges(_read("/etc/subuid")) + subordinate_ranges(_read("/etc/subgid"))
    with _turn():
        # From the first one each time, a thousandth container would look at the holders of all others: 50 ms.
        for number in (*range(_next, COUNT), *range(_next)):
            first: int = FIRST + number * SIZE
            if first in _held or overlaps(first, taken):
                continue
            path = f"{FOLDER}/{first}"
            if os.path.exists(path) and not _is_stale(_read(path)):
                continue
            token = os.urandom(8).hex()
            _write(first, os.getpid(), token, [])
            _held[first] = token
            _next = number + 1
            return first
    raise Conflict("all host ID ranges for user namespaces are taken", hint=f"see {FOLDER}")


def bind(first: int, pid: int, *, again: bool = False) -> None:
    """Ties the range to a container's process: it is free once that process is gone.

    again: it has been tied before, and others may share it by now
    """
    with _turn():
        sharing = _sharing(_read(f"{FOLDER}/{first}")) if again else []
        _write(first, pid, _held.get(first) or os.urandom(8).hex(), sharing)


def share(first: int, pid: int) -> None:
    """Notes that a process is in the range of a container, or about to start another one there."""
    with _turn():
        path = f"{FOLDER}/{first}"
        lines = _read(path).splitlines() or [boot_id(), "0 0", os.urandom(8).hex()]
        _replace(first, [*lines, f"+{pid} {start_time(pid)}"])


def leave(first: int, pid: int) -> None:
    """Takes that back; the range is given back when nobody else is in it."""
    with _turn():
        path = f"{FOLDER}/{first}"
        lines = _read(path).splitlines()
        own = next((line for line in lines if line.startswith(f"+{pid} ")), "")
        if own:
            lines.remove(own)
            _replace(first, lines)
        if lines and first not in _held and _is_stale("\n".join(lines)):
            os.unlink(path)


def _replace(first: int, lines: list[str]) -> None:
    # One name for each range, since writers take turns: what somebody who was killed has left is written over.
    aside = f"{FOLDER}/.{first}"
    with open(aside, "w", encoding="ascii") as file:
        file.write("\n".join(lines))
    os.rename(aside, f"{FOLDER}/{first}")


def of_process(pid: int) -> int:
    """The first host ID of the range that a container's process runs in; 0 when it is gone or has none of ours."""
    fields = _read(f"/proc/{pid}/uid_map").split()
    return int(fields[1]) if len(fields) == 3 and fields[2] == str(SIZE) else 0


def release(first: int) -> None:
    """Gives a range back, unless somebody else has it by now."""
    global _next
    path = f"{FOLDER}/{first}"
    with _turn():
        token = _held.pop(first, None)
        _next = min(_next, (first - FIRST) // SIZE)
        text = _read(path)
        # a range that an earlier supervisor took is known by its holder alone, which has ended
        if text and (_token(text) == token or _is_stale(text)):
            if sharing := _sharing(text):
                _write(first, 0, os.urandom(8).hex(), sharing)
            else:
                os.unlink(path)

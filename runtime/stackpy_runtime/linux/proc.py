"""What /proc tells of processes and of this boot; apart from processes.py, since `plan` needs no ctypes."""

from __future__ import annotations

import errno

PF_FORKNOEXEC = 0x40  # include/linux/sched.h; execve takes it off before it closes what is to be closed


def is_absent(error: OSError) -> bool:
    """Whether what was looked at is not there, or not for us to see.

    False where it is we who lack a descriptor or memory, or anything: to take that for an end would kill what runs.
    """
    return error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EIO)


def stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on (proc_pid_stat(5)); [] when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError as error:
        if is_absent(error):
            return []
        raise


def start_time(pid: int, *, ended: bool = False) -> int:
    """Clock ticks after boot at which a process started: with the PID it names the process; 0 when it is gone.

    ended: also of one that has ended and that its parent has not collected yet
    """
    fields = stat_fields(pid)
    return 0 if not fields or (fields[0] in (b"Z", b"X") and not ended) else int(fields[19])


def has_executed(pid: int) -> bool:
    """Whether a process has executed a program since it was forked, as one that is not collected yet still tells.

    True for one that is not there, of which nobody can say.
    """
    fields = stat_fields(pid)
    return not (fields and int(fields[6]) & PF_FORKNOEXEC)


def executes(pid: int, start: int) -> bool:
    """Whether the process that these two name has executed a program, and is there or not collected yet."""
    # In this order: of one that was collected in between nobody can say whether it had.
    return has_executed(pid) and start_time(pid, ended=True) == start


def boot_id() -> str:
    """The kernel's name of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def own(name: str) -> str:
    """A setting of the calling process under /proc/self; "" where this kernel has none of that name."""
    try:
        with open(f"/proc/self/{name}", encoding="ascii") as file:
            return file.read().strip("\0\n")
    except OSError:
        return ""


def set_own(name: str, value: str) -> None:
    """Sets one of them, as far as the kernel lets us."""
    try:
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(value)
    except OSError:
        # A login that cannot be forgotten (audit's loginuid_immutable), a score that may not be lowered.
        pass

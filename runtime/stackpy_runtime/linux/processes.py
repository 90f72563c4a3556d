"""What a process may do to itself: capabilities, secure bits, file-system IDs, filters (prctl(2), capset(2))."""

from __future__ import annotations

import ctypes

from stackpy_runtime.linux.libc import failure, libc, number, syscall
from stackpy_runtime.linux.proc import stat_fields

PR_SET_NAME, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 15, 4, 8, 24, 28
PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 38, 36, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
SECBIT_NO_SETUID_FIXUP = 4
SYS_CLOSE_RANGE = 436
CLOSE_RANGE_CLOEXEC = 4
MOST_DESCRIPTORS = 1 << 30  # sysctl_nr_open_max (fs/file.c), rounded up

# include/uapi/linux/capability.h, in order of their numbers
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()


class cap_header(ctypes.Structure):
    """struct __user_cap_header_struct."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class cap_data(ctypes.Structure):
    """struct __user_cap_data_struct, twice for 64 bits."""

    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def prctl(option: int, second: int = 0, third: int = 0, fourth: int = 0, fifth: int = 0) -> int:
    """prctl(2)."""
    result = libc.prctl(option, *[ctypes.c_ulong(value) for value in (second, third, fourth, fifth)])
    if result < 0:
        raise failure(f"prctl option={option} {second}")
    return int(result)


def set_name(name: str) -> None:
    """The name of the calling thread in /proc/PID/comm, at most 15 bytes."""
    libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def set_filesystem_ids(user: int, group: int) -> None:
    """setfsuid(2) and setfsgid(2), which report nothing: asking again tells whether they took."""
    for call, wanted in ((libc.setfsgid, group), (libc.setfsuid, user)):
        call(wanted)
        if call(wanted) != wanted:
            raise failure(f"{call.__name__} {wanted}", 1)


def set_thread_user(user: int) -> None:
    """setresuid(2) for the effective ID of the calling thread alone: the C library would change all threads."""
    if syscall(number("setresuid"), -1, user, -1) < 0:
        raise failure(f"setresuid euid={user}")


def capability_mask(names: list[str]) -> int:
    """The bits of capabilities by name, without CAP_."""
    return sum(1 << CAPABILITIES.index(name) for name in names)


def drop_bounding(keep: int) -> None:
    """Removes every capability that is not in `keep` from the bounding set."""
    for bit in range(len(CAPABILITIES)):
        if not keep >> bit & 1 and libc.prctl(PR_CAPBSET_DROP, bit, 0, 0, 0) and ctypes.get_errno() != 22:
            raise failure(f"prctl PR_CAPBSET_DROP {CAPABILITIES[bit]}")


def set_capabilities(effective: int, permitted: int, inheritable: int = 0) -> None:
    """capset(2) of the calling thread."""
    header = cap_header(0x20080522, 0)
    data = (cap_data * 2)()
    for half in (0, 1):
        shift = 32 * half
        data[half].effective = effective >> shift & 0xFFFFFFFF
        data[half].permitted = permitted >> shift & 0xFFFFFFFF
        data[half].inheritable = inheritable >> shift & 0xFFFFFFFF
    if libc.capset(ctypes.byref(header), data):
        raise failure(f"capset effective={effective:#x} permitted={permitted:#x}")


def join_session_keyring(name: str = "") -> None:
    """Gives the caller a session keyring that is not its parent's (keyctl(2)).

    name: of one that others of its user namespace join too; "" for one of its own
    """
    call = number("keyctl")
    # KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM; ENOSYS: a kernel without keyrings has none to share
    identity = syscall(call, 1, name or None)
    if identity < 0:
        if ctypes.get_errno() == 38:
            return
        raise failure(f"keyctl KEYCTL_JOIN_SESSION_KEYRING {name}")
    if name:
        # All to who possesses it; its user may find it too, which joining takes.
        syscall(call, 5, identity, 0x3F1B0000)


def close_on_exec_from(first: int) -> None:
    """Marks every descriptor from `first` on as close-on-exec."""
    if syscall(SYS_CLOSE_RANGE, first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC) < 0:
        raise failure(f"close_range from {first}")


def raise_descriptor_limit() -> None:
    """Lets this process and its children open as many descriptors as the hard limit allows."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def default_signals() -> None:
    """Gives every signal its default action, also the two that glibc keeps for itself and would not let us set."""
    action = ctypes.create_string_buffer(32)  # struct kernel_sigaction: SIG_DFL, no flags, no mask
    for signal in range(1, 65):
        if signal not in (9, 19):
            libc.syscall(ctypes.c_long(number("rt_sigaction")), ctypes.c_long(signal), action, None, ctypes.c_long(8))


def install_filter(program: bytes, flags: int = 0) -> int:
    """Installs a seccomp filter, an array of struct sock_filter, on the calling thread.

    It takes no_new_privs or CAP_SYS_ADMIN. flags: SECCOMP_FILTER_FLAG_…; returns the listener that NEW_LISTENER asks
    for, else 0.
    """

    class sock_fprog(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    block = sock_fprog(len(program) // 8, program)
    result = syscall(number("seccomp"), 1, flags, block)  # SECCOMP_SET_MODE_FILTER
    if result < 0:
        raise failure(f"seccomp SECCOMP_SET_MODE_FILTER flags={flags:#x}")
    return result


class pidfd_info(ctypes.Structure):
    """struct pidfd_info (include/uapi/linux/pidfd.h, Linux 6.13)."""

    _fields_ = [
        ("mask", ctypes.c_uint64),
        ("cgroupid", ctypes.c_uint64),
        *[(name, ctypes.c_uint32) for name in "pid tgid ppid ruid rgid euid egid suid sgid fsuid fsgid".split()],
        ("exit_code", ctypes.c_int32),
        ("coredump_mask", ctypes.c_uint32),
        ("spare", ctypes.c_uint32),
    ]


PIDFD_INFO_EXIT = 1 << 3


def exit_status(pidfd: int, pid: int) -> int | None:
    """The wait status of an ended process that was not ours, where the kernel still knows it.

    Before its parent has collected it, /proc/PID/stat tells (proc_pid_stat(5), field 52); afterwards the pidfd does,
    if it was opened before (PIDFD_GET_INFO, Linux 6.15).
    """
    fields = stat_fields(pid)
    if fields and fields[0] == b"Z":
        return int(fields[49])
    info = pidfd_info(mask=PIDFD_INFO_EXIT)
    size = ctypes.sizeof(info)  # _IOWR(0xFF, 11, struct pidfd_info)
    request = 3 << 30 | size << 16 | 0xFF << 8 | 11
    if libc.ioctl(pidfd, ctypes.c_ulong(request), ctypes.byref(info)) or not info.mask & PIDFD_INFO_EXIT:
        return None
    return int(info.exit_code)

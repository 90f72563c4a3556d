"""Signals and capabilities by the names that signal(7) and capabilities(7) give them."""

from __future__ import annotations

from stackpy.dsl.values import Complaints, meant, words, wrong
from stackpy.patterns import pattern

SIGNALS = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
_REALTIME = pattern(r"RTM(IN|AX)([+-]\d{1,2})?")


def signal(value: object) -> str:
    """A signal's name, as SIGTERM; a number from 1 to 64 stays one."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 64:
        return str(number)
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if name not in SIGNALS and not _REALTIME.fullmatch(name):
        close = "" if name.isdigit() else meant(f"SIG{name}", [f"SIG{one}" for one in SIGNALS])
        raise wrong('a signal such as "SIGTERM"', value, close)
    return f"SIG{name}"


def capabilities(value: object) -> list[str]:
    """Capabilities without CAP_, sorted, each once; ALL means all of them."""
    result = set()
    complaints = Complaints()
    for index, word in enumerate(words(value)):
        name = word.upper().removeprefix("CAP_")
        if name != "ALL" and name not in CAPABILITIES:
            complaints.add(wrong('a capability such as "NET_ADMIN"', word, meant(name, (*CAPABILITIES, "ALL"))), index)
        result.add(name)
    complaints.settle()
    return sorted(result)

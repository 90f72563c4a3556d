"""What a container may do by default: capabilities, and which parts of /proc and /sys it sees.

The sets are Docker's (oci/caps/defaults.go, oci/defaults.go), plus what later vulnerabilities have added.
"""

from __future__ import annotations

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux.processes import CAPABILITIES

DEFAULT_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
).split()

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def capabilities(add: list[str], drop: list[str]) -> frozenset[str]:
    """The set that results from Compose's cap_add and cap_drop; ALL stands for every one.

    Raises InvalidConfig for a name that the kernel does not know.
    """

    def known(name: str) -> str:
        short = name.upper().removeprefix("CAP_")
        if short != "ALL" and short not in CAPABILITIES:
            import difflib

            near = difflib.get_close_matches(short, CAPABILITIES, 1)
            raise InvalidConfig(f"unknown capability `{name}`", hint=f"did you mean `{near[0]}`?" if near else "")
        return short

    added, dropped = {known(name) for name in add}, {known(name) for name in drop}
    base = set() if "ALL" in dropped else set(DEFAULT_CAPABILITIES)
    if "ALL" in added:
        return frozenset(set(CAPABILITIES) - dropped)
    return frozenset((base - dropped) | added)

"""Which parts of /proc and /sys a container does not see, and which it cannot write.

Docker's (oci/defaults.go), plus what later vulnerabilities have added. Names alone, so that listing them loads nothing.
"""

from __future__ import annotations

import functools
import os

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
_PROCESSORS = "/sys/devices/system/cpu"


@functools.cache
def masked_paths() -> list[str]:
    """All that is hidden on this host: with how hot each processor ran, by which others' work shows, as Docker does."""
    try:
        names = sorted(os.listdir(_PROCESSORS))
    except OSError:
        names = []
    found = (f"{_PROCESSORS}/{name}/thermal_throttle" for name in names if name.removeprefix("cpu").isdigit())
    return [*MASKED_PATHS, *(path for path in found if os.path.isdir(path))]

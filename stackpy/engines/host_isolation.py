"""How a container is kept apart, in the shape and names of Docker's `HostConfig`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def isolation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `HostConfig` about privileges, devices and namespaces."""
    options = config.get("security_opt") or ()
    privileged = config.get("privileged", False)
    open_paths = privileged or "systempaths=unconfined" in options
    return {
        "Privileged": privileged,
        # In the API they are paths, and their option is none of those listed.
        "SecurityOpt": [one for one in options if one != "systempaths=unconfined"] or None,
        "MaskedPaths": None if open_paths else list(_MASKED),
        "ReadonlyPaths": None if open_paths else list(_READ_ONLY),
        "Devices": [_device(one) for one in config.get("devices", ())] or None,
        "DeviceCgroupRules": list(config["device_cgroup_rules"]) if config.get("device_cgroup_rules") else None,
        "UsernsMode": "" if config.get("userns") in (None, "auto") else config["userns"],
        "PidMode": config.get("pid", ""),
        "IpcMode": config.get("ipc", "private"),
        "UTSMode": config.get("uts", ""),
    }


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    if len(parts) == 2 and not parts[1].startswith("/"):
        parts = [parts[0], parts[0], parts[1]]
    return {
        "PathOnHost": parts[0],
        "PathInContainer": parts[1] if len(parts) > 1 else parts[0],
        "CgroupPermissions": parts[2] if len(parts) > 2 else "rwm",
    }

"""How a container is kept apart, in the shape and names of Docker's `HostConfig`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def isolation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `HostConfig` about privileges, devices and namespaces that differs from the usual."""
    options = config.get("security_opt") or ()
    shown: dict[str, Any] = {"Privileged": config.get("privileged", False)}
    if config.get("privileged") or "systempaths=unconfined" in options:
        # In the API they are paths, and the option is none of those listed.
        shown |= {"MaskedPaths": None, "ReadonlyPaths": None}
    if listed := [one for one in options if one != "systempaths=unconfined"]:
        shown["SecurityOpt"] = listed
    if config.get("devices"):
        shown["Devices"] = [_device(one) for one in config["devices"]]
    if config.get("device_cgroup_rules"):
        shown["DeviceCgroupRules"] = list(config["device_cgroup_rules"])
    if config.get("userns", "auto") != "auto":
        shown["UsernsMode"] = config["userns"]
    for key, name in (("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode")):
        if config.get(key):
            shown[name] = config[key]
    return shown


def apparmor(config: Mapping[str, Any]) -> str:
    """The AppArmor profile that a container was given, "" for none."""
    prefixes = ("apparmor=", "apparmor:")
    return next((one[9:] for one in reversed(config.get("security_opt") or ()) if one.startswith(prefixes)), "")


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    if len(parts) == 2 and not parts[1].startswith("/"):
        parts = [parts[0], parts[0], parts[1]]
    return {
        "PathOnHost": parts[0],
        "PathInContainer": parts[1] if len(parts) > 1 else parts[0],
        "CgroupPermissions": parts[2] if len(parts) > 2 else "rwm",
    }

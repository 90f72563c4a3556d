"""features and spec: what this runtime knows, and a bundle's document to begin with."""

from __future__ import annotations

from typing import Any

from stackpy_runtime.container.bundling import DEV_MOUNTS
from stackpy_runtime.container.masks import READ_ONLY_PATHS, masked_paths
from stackpy_runtime.container.plan import DEFAULT_PATH
from stackpy_runtime.container.security import DEFAULT_CAPABILITIES
from stackpy_runtime.linux.processes import CAPABILITIES
from stackpy_runtime.linux.seccomp import OPERATORS
from stackpy_runtime.oci import bundle, mount_options, seccomp


def features(version: str) -> dict[str, Any]:
    """What is honoured, whatever this host's kernel has (features.md). version: of the program."""
    flags = sorted(seccomp.FLAGS)
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": bundle.VERSION,
        "hooks": list(bundle.HOOKS),
        "mountOptions": mount_options.names(),
        "linux": {
            "namespaces": sorted(bundle.KINDS),
            "capabilities": [f"CAP_{name}" for name in CAPABILITIES],
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(OPERATORS),
                "archs": sorted(f"SCMP_ARCH_{name}" for name in seccomp.ARCHITECTURES),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"io.stackpy.version": version},
    }


def template() -> dict[str, Any]:
    """config.json of a shell with the engine's defaults, but for a user namespace, whose range is the caller's."""
    capabilities = sorted(f"CAP_{name}" for name in DEFAULT_CAPABILITIES)
    guard = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": bundle.VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={DEFAULT_PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "stackpy",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": guard},
            *DEV_MOUNTS,
            {
                "destination": "/dev/shm",  # noqa: S108 - inside the container
                "type": "tmpfs",
                "source": "shm",
                "options": [*guard, "mode=1777", "size=65536k"],
            },
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": guard},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*guard, "ro"]},
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": [*guard, "relatime", "ro"],
            },
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": masked_paths(),
            "readonlyPaths": list(READ_ONLY_PATHS),
        },
    }

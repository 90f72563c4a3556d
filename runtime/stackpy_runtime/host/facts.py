"""What an engine is, holds and runs on, under the names of Docker Engine API's SystemInfo."""

from __future__ import annotations

import os
import platform

from stackpy_runtime.container import cgroups
from stackpy_runtime.image import staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.model import Container
    from stackpy_runtime.store.store import Store

_ACTIVE = ("running", "restarting")


def facts(store: Store, containers: list[Container]) -> dict[str, Any]:
    """The document; `containers` as they are now. Starts and creates nothing."""
    running = sum(container["state"]["status"] in _ACTIVE for container in containers)
    paused = sum(container["state"]["status"] == "paused" for container in containers)
    layout = cgroups.layout()
    return {
        "Containers": len(containers),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(containers) - running - paused,
        "Images": len(store.images()),
        "Driver": "overlayfs",
        "DriverStatus": [["Layers of archives", _layers(store)]],
        "DockerRootDir": store.root.path,
        "CgroupVersion": str(layout.version),
        "CgroupDriver": "cgroupfs",
        "KernelVersion": os.uname().release,
        "OperatingSystem": _system(),
        "OSType": "linux",
        "Architecture": os.uname().machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": os.uname().nodename,
    }


def _layers(store: Store) -> str:
    if not store.root.exists():
        return "none yet"
    return "kept as their tars (erofs)" if staging.keeps_tars(store.root) else "unpacked"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"  # a host without os-release(5)

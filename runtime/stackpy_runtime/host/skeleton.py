"""The bottom layer of every container: mount points.

/proc, /sys, /dev, /etc/hosts and the targets of its mounts are folders and files of a layer *beneath* the image's, so
they exist where the image lacks them and the container's own layer stays clean: what a build step leaves behind is
what the step did, and nothing is to be cleaned away afterwards (CVE-2024-23652).
"""

from __future__ import annotations

import os
import stat

from stackpy_runtime.container.sources import open_source
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.plan import MountPlan
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.store.root import Root

FOLDERS = ("proc", "sys", "dev", "etc", "run/secrets")
FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


def base(root: Root) -> str:
    """The folder that all containers of a root share; made once."""
    path = f"{root.path}/skeleton"
    if not os.path.exists(f"{path}/etc/resolv.conf"):
        for name in FOLDERS:
            os.makedirs(f"{path}/{name}", mode=0o755, exist_ok=True)
        for name in FILES:
            os.close(os.open(f"{path}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    return path


def targets(folder: str, mounts: list[MountPlan]) -> list[str]:
    """A folder with the targets of these mounts, when there are any: the list of layers that it adds."""
    if not mounts:
        return []
    path = f"{folder}/targets"
    os.makedirs(path, mode=0o755, exist_ok=True)
    for mount in mounts:
        target = path + mount["target"]
        if target.startswith(f"{path}/dev/"):
            continue  # /dev is made anew in each container
        if not mount.get("file") and _is_folder(mount):
            os.makedirs(target, mode=0o755, exist_ok=True)
            if mount["kind"] == "tmpfs":
                # What a tmpfs has where nobody says otherwise: it takes the mode of the folder that it covers.
                os.chmod(target, 0o1777)  # noqa: S103 - covered by the tmpfs
        else:
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            if not os.path.lexists(target):
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    return [path]


def _is_folder(mount: MountPlan) -> bool:
    """Whether what is mounted is a folder, as it is now; InvalidConfig for a part of a volume that is not there."""
    if "within" in mount and mount["kind"] == "volume":
        opened = open_source(mount)
        try:
            return stat.S_ISDIR(os.fstat(opened).st_mode)
        finally:
            os.close(opened)
    return mount["kind"] != "bind" or os.path.isdir(mount["source"])


def lowers(root: Root, live: Live, image_layers: list[str], mounts: list[MountPlan]) -> list[str]:
    """The lower folders of a container's overlay, bottom first."""
    return [base(root), *targets(live.folder, mounts), *[layers.lower(root, layer) for layer in image_layers]]

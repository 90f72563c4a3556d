"""Kernel settings of a container: those that belong to a namespace of its own, and no others.

They are written by a thread with the host's rights that has joined the container's namespaces: which of the settings
under /proc/sys it reaches is decided by those alone, and no path of the container is followed. Those of IPC are the
host's root's to write before Linux 6.11, and since then the root's of the container's user namespace.
"""

from __future__ import annotations

import errno
import os
import threading

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.linux import namespaces, processes, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# ipc/ipc_sysctl.c and ipc/mq_sysctl.c: what those register for each IPC namespace
_OF_IPC = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.msg_next_id kernel.sem kernel.sem_next_id kernel.shmall "
    "kernel.shmmax kernel.shmmni kernel.shm_next_id kernel.shm_rmid_forced kernel.auto_msgmni".split()
)
_OF_NAMES = {"kernel.hostname": "hostname", "kernel.domainname": "domainname"}


def normal(name: str) -> str:
    """`net.ipv4.ip_forward` for that name with slashes; where a part has a dot, dots and slashes are swapped."""
    dot, slash = name.find("."), name.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name.replace(".", "\0").replace("/", ".").replace("\0", "/")
    return name


def path(name: str) -> str:
    """Where a setting is below /proc/sys: `net/ipv4/conf/eth0.10/forwarding` for `net.ipv4.conf.eth0/10.forwarding`."""
    return normal(name).replace(".", "\0").replace("/", ".").replace("\0", "/")


def check(sysctls: Mapping[str, str], *, own_network: bool, own_ipc: bool) -> None:
    """Raises InvalidConfig for a setting that is not the container's own."""
    for given in sysctls:
        name = normal(given)
        if not name or any(part in ("", ".", "..") for part in path(name).split("/")):
            raise InvalidConfig(f"`{given}` is not the name of a sysctl", hint="such as net.ipv4.ip_forward")
        if name in _OF_NAMES:
            raise InvalidConfig(f"sysctl {name} is set by another field", hint=f"use `{_OF_NAMES[name]}`")
        if name.startswith("net."):
            if not own_network:
                raise InvalidConfig(
                    f"sysctl {name} is that of a network which is not the container's own",
                    hint="leave network_mode out, or set it there",
                )
        elif name in _OF_IPC or name.startswith("fs.mqueue."):
            if not own_ipc:
                raise InvalidConfig(
                    f"sysctl {name} is that of an IPC namespace which is not the container's own",
                    hint="leave `ipc` out, or set it there",
                )
        else:
            raise InvalidConfig(
                f"sysctl {name} is of the whole host: the kernel has it in no namespace",
                hint="set it on the host; a container has its own net.*, kernel.msg*, .sem and .shm*, and fs.mqueue.*",
            )


def write(sysctls: Mapping[str, str], pidfd: int, root: int) -> None:
    """Sets them in the namespaces of a process. Raises InvalidConfig.

    root: the host's ID of the root of its user namespace
    """
    problems: list[EngineError] = []

    def run() -> None:
        try:
            namespaces.setns(pidfd, namespaces.CLONE_NEWNET | namespaces.CLONE_NEWIPC)
            for name in sorted(sysctls, key=lambda one: not one.startswith("net")):
                try:
                    _write(name, sysctls[name])
                except PermissionError:
                    processes.set_thread_user(root)
                    _write(name, sysctls[name])
        except EngineError as error:
            problems.append(error)
        except PermissionError as error:
            problems.append(InvalidConfig(f"sysctl {name}: {(error.strerror or '').lower()}"))

    # Of its own, since it ends in the container's namespaces.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


def _write(name: str, value: str) -> None:
    try:
        sysctl.write(path(name), value)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermissionError(error.errno, os.strerror(error.errno)) from None
        if error.errno == errno.ENOENT:
            raise InvalidConfig(
                f"sysctl {normal(name)}: this kernel has no such setting in a namespace",
                hint="older kernels show some, as net.core.somaxconn, only with userns=host",
            ) from None
        text = os.strerror(error.errno or 0).lower()
        raise InvalidConfig(f"sysctl {normal(name)}={value}: {text}") from None

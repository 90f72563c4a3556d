"""net.ipv4.ip_forward: on while a network needs it, then as it was.

The memory of what it was lies in /run/stackpy, not in the engine root: several roots share the one setting, and the
last that leaves restores it, whichever had switched it on. Like the setting it does not outlive a reboot.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from stackpy_runtime.linux import host_locks, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackpy_runtime.linux.netlink import Link
    from stackpy_runtime.network.names import Names

STATE = "/run/stackpy"
_SETTING = "net/ipv4/ip_forward"
OURS = ("sp-", "sv")  # how the names of our links begin


@contextmanager
def host_lock() -> Iterator[None]:
    """Held while something of the host is read and then claimed: the setting, a free subnet.

    Raises Conflict when another root's engine does not give it back: one that is stopped would stop all others.
    """
    os.makedirs(STATE, 0o755, exist_ok=True)
    with host_locks.held(f"{STATE}/network.lock", "the networks"):
        yield


def acquire(names: Names, links: list[Link], close: Callable[[], None]) -> None:
    """Turns forwarding on for this root.

    close: loads the filter, before anything is forwarded; `uplinks` tells it then which links to keep apart
    """
    with host_lock():
        os.makedirs(f"{STATE}/forwarding", 0o700, exist_ok=True)
        switch = sysctl.read(_SETTING) == "0"
        if switch:
            uplinks = [link.name for link in links if link.name != "lo" and not link.name.startswith(OURS)]
            # A link's name may hold a quotation mark, which nft's language cannot.
            uplinks = [name for name in uplinks if '"' not in name]
            with open(f"{STATE}/uplinks", "w", encoding="utf-8") as file:
                file.write("\n".join(uplinks))
        with open(f"{STATE}/forwarding/{names.table}", "w", encoding="ascii"):
            pass
        close()
        if switch:
            sysctl.write(_SETTING, "1")


def release(names: Names, links: list[Link], tables: set[str]) -> None:
    """Turns it off again, when we had turned it on and nobody is left who needs it.

    tables: the nf_tables tables that exist; a root without one was removed by force and counts no more.
    """
    with host_lock():
        folder = f"{STATE}/forwarding"
        _unlink(f"{folder}/{names.table}")
        users = [name for name in _entries(folder) if name in tables and name != names.table]
        if users or not os.path.exists(f"{STATE}/uplinks"):
            return
        _unlink(f"{STATE}/uplinks")
        # Somebody who came later (Docker, libvirt) found it on and relies on it.
        if not any(link.kind in ("bridge", "tun", "wireguard") and not link.name.startswith(OURS) for link in links):
            sysctl.write(_SETTING, "0")


def uplinks() -> list[str]:
    """The links between which nothing was forwarded before us; empty when the host was a router already."""
    try:
        with open(f"{STATE}/uplinks", encoding="utf-8") as file:
            return file.read().split("\n")
    except FileNotFoundError:
        return []


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

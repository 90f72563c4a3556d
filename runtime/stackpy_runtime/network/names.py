"""What the engine's links and tables are called on the host. Pure.

All names derive from the engine root, so that several roots live side by side; link names have at most 15 characters
(IFNAMSIZ). A root's links share prefixes, so that one rule speaks of all of them.
"""

from __future__ import annotations

import hashlib


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Names:
    """The names of one engine root. `root` is its absolute path."""

    __slots__ = ("_root", "bridge_prefix", "port_prefix", "table")

    def __init__(self, root: str) -> None:
        digest = _digest(root)
        self._root = root
        self.table = f"stackpy-{digest[:8]}"
        self.bridge_prefix = f"sp-{digest[:5]}"
        self.port_prefix = f"sv{digest[:5]}"

    def bridge(self, network_id: str) -> str:
        """The bridge of a network: 15 characters."""
        return self.bridge_prefix + _digest(f"{self._root}\0{network_id}")[:7]

    def port(self, nonce: bytes) -> str:
        """The host's side of a veth pair. 4 bytes of chance: a restarted container's last pair may be dying yet."""
        return self.port_prefix + nonce.hex()[:8]


def group(bridge: str) -> int:
    """The link group of a network's bridge and ports, by which the kernel deletes them at once."""
    return int(_digest(bridge)[:8], 16) & 0x7FFFFFFF | 1


def mac(address: str) -> str:
    """The MAC address that goes with an IPv4 address, so that a successor at an address is known to its neighbours."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def publication(protocol: str, host_ip: str, port: int) -> str:
    """A published port for people, and the name of its chain and of the socket that holds it: `tcp-127.0.0.1-8080`."""
    return f"{protocol}-{host_ip}-{port}"

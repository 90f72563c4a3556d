"""Being heard beside other firewalls on the host.

An accept in our table does not undo another's drop. Docker and ufw set iptables' FORWARD policy to DROP, firewalld
rejects what no zone lets through: there, and only there, our bridges get an accept of their own, marked with the name
of our table, and taken away with the last network. Our own table still decides what reaches a container.
"""

from __future__ import annotations

import shutil
import subprocess  # 12 ms, paid when a network is made and not when a container starts

from stackpy_runtime.linux.nfnetlink import NFPROTO_INET, NFPROTO_IPV4
from stackpy_runtime.linux.nftables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.network.names import Names

_TIMEOUT = 10.0


def open_forward(names: Names) -> None:
    """Lets this root's bridges through iptables' FORWARD where its policy or Docker's chain would not."""
    chain = _closed_chain()
    if not chain:
        return
    for rule in _rules(names):
        if _iptables("-C", chain, *rule).returncode:
            _iptables("-I", chain, *rule)


def close_forward(names: Names) -> None:
    """Takes our rules away again, from whichever chain they are in."""
    if not shutil.which("iptables") or not _iptables_in_use():
        return
    for chain in ("DOCKER-USER", "FORWARD"):
        for rule in _rules(names):
            while not _iptables("-C", chain, *rule).returncode:
                if _iptables("-D", chain, *rule).returncode:
                    break


def join_zone(bridge: str) -> None:
    """Puts a bridge into firewalld's zone `trusted`, where firewalld runs."""
    if _firewalld():
        _run("firewall-cmd", "--quiet", "--zone=trusted", f"--change-interface={bridge}")


def leave_zone(bridge: str) -> None:
    """Takes a bridge out of it."""
    if _firewalld():
        _run("firewall-cmd", "--quiet", "--zone=trusted", f"--remove-interface={bridge}")


def _rules(names: Names) -> list[list[str]]:
    mark = ["-m", "comment", "--comment", names.table, "-j", "ACCEPT"]
    return [[flag, f"{names.bridge_prefix}+", *mark] for flag in ("-i", "-o")]


def _closed_chain() -> str:
    """The chain that would drop us: Docker's for its users, FORWARD with a policy of DROP, or ""."""
    # Its tables are only there when something uses them; asking iptables would make them.
    if not shutil.which("iptables") or not _iptables_in_use():
        return ""
    if not _iptables("-S", "DOCKER-USER").returncode:
        return "DOCKER-USER"
    return "FORWARD" if "-P FORWARD DROP" in _iptables("-S", "FORWARD").stdout else ""


def _iptables_in_use() -> bool:
    try:
        with open("/proc/net/ip_tables_names", encoding="ascii") as file:
            legacy = "filter" in file.read().split()
    except OSError:
        legacy = False
    return legacy or "filter" in tables(NFPROTO_IPV4)


def _firewalld() -> bool:
    # Its table is there while it runs; asking the program takes a third of a second.
    return "firewalld" in tables(NFPROTO_INET) and bool(shutil.which("firewall-cmd"))


def _iptables(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run("iptables", "-w", "5", *arguments)


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))

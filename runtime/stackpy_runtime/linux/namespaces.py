"""Namespaces: unshare(2), setns(2), and user namespaces with a given mapping (user_namespaces(7))."""

from __future__ import annotations

import contextlib
import os

from stackpy_runtime.linux.libc import failure, flag_names, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWTIME = 0x80

NAMES = {
    CLONE_NEWNS: "CLONE_NEWNS",
    CLONE_NEWCGROUP: "CLONE_NEWCGROUP",
    CLONE_NEWUTS: "CLONE_NEWUTS",
    CLONE_NEWIPC: "CLONE_NEWIPC",
    CLONE_NEWUSER: "CLONE_NEWUSER",
    CLONE_NEWPID: "CLONE_NEWPID",
    CLONE_NEWNET: "CLONE_NEWNET",
    CLONE_NEWTIME: "CLONE_NEWTIME",
}

IdMap = list[tuple[int, int, int]]  # inside, outside, count


def unshare(flags: int) -> None:
    """Moves the caller into new namespaces."""
    if libc.unshare(flags):
        hint = ""
        if flags & CLONE_NEWUSER:
            hint = "user namespaces may be forbidden here: see `sysctl user.max_user_namespaces`"
        raise failure(f"unshare {flag_names(flags, NAMES)}", hint=hint)


def setns(descriptor: int, flags: int) -> None:
    """Joins a namespace, or those of the process of a pidfd."""
    if libc.setns(descriptor, flags):
        raise failure(f"setns {flag_names(flags, NAMES)}")


@contextlib.contextmanager
def entered(descriptor: int, kind: int) -> Iterator[None]:
    """Runs its body with the calling thread in another network (or IPC, UTS) namespace, and comes back."""
    name = {CLONE_NEWNET: "net", CLONE_NEWIPC: "ipc", CLONE_NEWUTS: "uts"}[kind]
    home = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, kind)
        try:
            yield
        finally:
            setns(home, kind)
    finally:
        os.close(home)


def set_domain_name(name: str) -> None:
    """setdomainname(2) of the UTS namespace."""
    encoded = name.encode()
    if libc.setdomainname(encoded, len(encoded)):
        raise failure(f"setdomainname {name}")


def map_text(mapping: IdMap) -> str:
    """The text of a uid_map or gid_map file."""
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in mapping)


def user_namespace(users: IdMap, groups: IdMap, owner: int = 0) -> int:
    """A descriptor of a new user namespace with these mappings; no process stays in it.

    owner: the user outside on whose account goes what its users take of limits (user_namespaces(7)). What is counted in
    a namespace counts for its owner too: were that root for all of them, one could take all that root may have.

    A helper process holds the namespace while the maps are written, since only a process of an ancestor that has
    CAP_SETUID there may write a map with more than one ID.
    """
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        # Nothing here may raise: this is a fork of whoever called, with all that it holds.
        try:
            failed = 0
            if owner:
                # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP: the capabilities stay, since hosts may ask for them.
                failed = libc.prctl(28, 4, 0, 0, 0) or libc.setresuid(0, owner, 0)
            failed = failed or libc.unshare(CLONE_NEWUSER)
            os.write(ready[1], b"0" if failed else b"1")
            os.close(go[1])
            os.read(go[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        os.close(go[0])
        if os.read(ready[0], 1) != b"1":
            raise failure(
                "unshare CLONE_NEWUSER", 1, "raise user.max_user_namespaces with sysctl; it may be 0 on this host"
            )
        for kind, mapping in (("uid", users), ("gid", groups)):
            with open(f"/proc/{pid}/{kind}_map", "w", encoding="ascii") as file:
                file.write(map_text(mapping))
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready[0])
        os.close(go[1])
        os.waitpid(pid, 0)

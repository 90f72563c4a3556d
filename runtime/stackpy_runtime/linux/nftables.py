"""libnftables: nft's own language, parsed and sent from inside this process (libnftables(3)).

An element costs 0.15 ms, the `nft` program 4 ms. The library is loaded when the first rule is, 5 ms, so that reading
commands never do.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading

from stackpy_runtime.errors import Conflict, Denied, EngineError, KernelError, Unsupported
from stackpy_runtime.linux import nfnetlink

SONAME = "libnftables.so.1"
# The library waits for answers with select(2), which ends a process that gives it a descriptor from 1,024 on.
_MOST = 1024
_TRIES = 4  # another thread may take a number that has just become free

_reserved: list[int] = []


def reserve() -> None:
    """Keeps low descriptors for the library's socket; called before a process opens, or is given, a thousand others."""
    while len(_reserved) < _TRIES:
        _reserved.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))


class Nftables:
    """One handle of libnftables, with its netlink socket, usable from several threads.

    A table made with `claim` belongs to this handle: neither `nft flush ruleset` nor another process's delete touches
    it (NFT_TABLE_F_OWNER), and it outlives the handle (NFT_TABLE_F_PERSIST, Linux 6.9), when a new one may claim it.
    """

    def __init__(self) -> None:
        """Raises Unsupported where libnftables is not installed."""
        try:
            self._library = ctypes.CDLL(SONAME)
        except OSError:
            raise Unsupported(
                f"publishing and isolating networks needs {SONAME}, which is not installed",
                hint="apt-get install nftables",
            ) from None
        library = self._library
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        for name in ("nft_ctx_free", "nft_ctx_buffer_error", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._lock = threading.Lock()
        library.nft_ctx_free.restype = None
        self._handle: int | None = None
        for _ in range(_TRIES):
            found = self._open()
            if all(descriptor < _MOST for descriptor in found):
                break
            library.nft_ctx_free(self._handle)
        else:
            self._handle = None
            raise EngineError(f"libnftables needs a descriptor below {_MOST}, and all are in use")
        self._channel = self._own_socket(found)

    def _open(self) -> set[int]:
        """Makes a handle; returns the descriptors of netfilter sockets that there are now and were not before."""
        before = _netfilter_sockets()
        if _reserved:
            os.close(_reserved.pop())
        self._handle = self._library.nft_ctx_new(0)
        if not self._handle:
            raise EngineError("libnftables gives no handle: out of memory or descriptors")
        self._library.nft_ctx_buffer_error(self._handle)
        return _netfilter_sockets() - before

    @staticmethod
    def _own_socket(found: set[int]) -> socket.socket | None:
        """The library's socket, which its interface does not show; ownership of a table hangs on it."""
        if len(found) != 1:
            return None
        descriptor = next(iter(found))
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=os.dup(descriptor))

    def close(self) -> None:
        """Gives the handle back; tables stay."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            if self._handle:
                self._library.nft_ctx_free(self._handle)
                self._handle = None
                if _reserved:
                    reserve()  # its own, for the next one

    def run(self, commands: str) -> None:
        """Carries commands out as one transaction: all or nothing. Raises KernelError with the library's words."""
        with self._lock:
            if not self._library.nft_run_cmd_from_buffer(self._handle, commands.encode()):
                return
            report = (self._library.nft_ctx_get_error_buffer(self._handle) or b"").decode(errors="replace")
        raise _failure(report, commands)

    def change_set(self, verb: int, family: int, table: str, name: str, keys: list[bytes]) -> None:
        """Adds or deletes elements of a set, by a message of our own. Raises KernelError."""
        data = nfnetlink.batch(nfnetlink.element(verb, family, table, name, keys, 1))
        with self._lock:
            channel = self._channel or nfnetlink.open_socket()
            try:
                nfnetlink.transact(channel, f"change nf_tables set {table} {name}", 1, data)
            finally:
                if self._channel is None:
                    channel.close()

    def claim(self, family: int, table: str) -> bool:
        """Makes a table, or takes over one whose owner is gone; True when others cannot touch it from now on.

        Raises Conflict when another process owns it.
        """
        wanted = (nfnetlink.NFT_TABLE_F_OWNER | nfnetlink.NFT_TABLE_F_PERSIST, 0)
        for flags in wanted if self._channel is not None else (0,):
            with self._lock:
                channel = self._channel or nfnetlink.open_socket()
                try:
                    nfnetlink.transact(
                        channel,
                        f"make nf_tables table {table}",
                        1,
                        nfnetlink.batch(nfnetlink.new_table(family, table, flags, 1)),
                    )
                    return bool(flags)
                except KernelError as error:
                    # EINVAL, EOPNOTSUPP: a kernel before 6.9, or a table made by an older stackpy there.
                    if error.errno == 1 and not os.geteuid():
                        raise Conflict(
                            f"the nf_tables table {table} is held by another process",
                            hint="another supervisor of this root runs: `nft list tables`",
                        ) from None
                    if not flags or error.errno not in (22, 95):
                        raise
                finally:
                    if self._channel is None:
                        channel.close()
        return False

    def chains(self, family: int, table: str) -> set[str]:
        """The names of a table's chains; empty when there is no such table."""
        with nfnetlink.open_socket() as channel:
            found = nfnetlink.names(channel, nfnetlink.NFT_MSG_GETCHAIN, family)
        return {name for owner, name in found if owner == table}


def tables(family: int) -> set[str]:
    """The names of all tables of a family."""
    with nfnetlink.open_socket() as channel:
        return {table for table, _ in nfnetlink.names(channel, nfnetlink.NFT_MSG_GETTABLE, family)}


def _netfilter_sockets() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            probe = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            # The listing's own descriptor, or one that another thread closed meanwhile.
            continue
        with probe:
            if probe.family == socket.AF_NETLINK and probe.proto == nfnetlink.NETLINK_NETFILTER:
                found.add(descriptor)
    return found


def _failure(report: str, commands: str) -> EngineError:
    """The first line of the library's report, with what it points at."""
    lines = report.splitlines()
    first = next((line for line in lines if line.startswith("Error:")), lines[0] if lines else "no reason given")
    reason = first.removeprefix("Error: ").removeprefix("Could not process rule: ").rstrip(".")
    at = lines[1].strip() if len(lines) > 1 else commands.strip().splitlines()[0]
    message = f"nft: {reason[:1].lower()}{reason[1:]}: `{at}`"
    number = next((code for code in (1, 2, 16, 17, 95) if os.strerror(code) == reason), 0)
    if number == 1 and os.geteuid():
        return Denied(message, hint="run it with sudo")
    return KernelError(message, errno=number)

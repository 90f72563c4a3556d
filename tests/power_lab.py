"""A machine whose power can be cut: an engine root on an ext4 of its own, and boots that are PID namespaces.

Whoever cuts shuts the file system down in the midst of its work, without its journal's last part, and kills the first
process of the boot, and with it all others. The next boot has another boot ID, no links and no rules, and on the disk
what was there in that moment.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_for

SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
NEWNS, NEWPID, NEWNET = 0x00020000, 0x20000000, 0x40000000
PRIVATE, RECURSIVE, BIND = 1 << 18, 1 << 14, 1 << 12


class Machine:
    """The disk at `disk`, and its boots."""

    def __init__(self, folder: Path, megabytes: int = 256) -> None:
        self.folder, self.disk, self.image = folder, folder / "root", folder / "disk.img"
        self.boots = 0
        self.disk.mkdir(parents=True)
        self.groups = folder / "groups"
        for each in (self.groups, folder / "proc"):
            each.mkdir()
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1", self.image], check=True)

    def boot(self, work: Callable[[], None]) -> int:
        """Begins to run `work` as the first process of a boot; the PID of it here."""
        self.boots += 1
        own = self.folder / "boot_id"
        own.write_text(f"00000000-0000-4000-8000-{self.boots:012}\n")
        subprocess.run(["mount", "-o", "loop", self.image, self.disk], check=True)
        child = os.fork()
        if child:
            return child
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            _succeeds(libc.unshare(NEWNS | NEWPID | NEWNET))
            _succeeds(libc.mount(b"none", b"/", None, PRIVATE | RECURSIVE, None))
            first = os.fork()
            if first:
                signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
                os._exit(min(255, abs(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))))
            # One of its own and one more: who mounts a /proc in a user namespace must see one with nothing over it.
            for target in ("/proc", str(self.folder / "proc")):
                _succeeds(libc.mount(b"proc", target.encode(), b"proc", 0, None))
            _succeeds(libc.mount(bytes(own), b"/proc/sys/kernel/random/boot_id", None, BIND, None))
            # /sys shows the links of whoever has mounted it; the control groups are the host's.
            for source, target in (("/sys/fs/cgroup", self.groups), ("", "/sys"), (self.groups, "/sys/fs/cgroup")):
                how = ["--rbind", source] if source else ["-t", "sysfs", "sys"]
                subprocess.run(["mount", *how, target], check=True)
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            work()
            os._exit(0)
        except BaseException:
            (self.folder / "failure").write_text(traceback.format_exc())
            raise
        finally:
            os._exit(1)

    def end(self, boot: int, *, cut: bool = False) -> None:
        """Waits for the end of a boot, or cuts the power; fails with what its work has failed with."""
        if cut:
            descriptor = os.open(self.disk, os.O_RDONLY)
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
            os.close(descriptor)
            os.kill(boot, signal.SIGTERM)
        code = os.waitstatus_to_exitcode(os.waitpid(boot, 0)[1])
        subprocess.run(["umount", self.disk], check=True)
        # Namespaces of processes that are no more hold it for a moment, and mounting it anew would find it shut down.
        wait_for(lambda: not self._in_use(), "a disk that nobody has mounted")
        failure = self.folder / "failure"
        assert not failure.exists(), failure.read_text()
        assert cut or code == 0, f"the boot ended with {code}"

    def _in_use(self) -> bool:
        return (
            str(self.image)
            in subprocess.run(
                ["losetup", "--noheadings", "--output", "BACK-FILE", "--list"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )

    def run(self, work: Callable[[], None]) -> None:
        """A boot from its beginning to its end."""
        self.end(self.boot(work))


def _succeeds(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A machine; nothing of it is left."""
    try:
        yield Machine(folder)
    finally:
        subprocess.run(["umount", "-q", folder / "root"], check=False)
        shutil.rmtree(folder)

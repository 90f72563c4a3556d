"""The control group of a bundle's container: at a path that the caller chose, in every hierarchy of the host."""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container import cgroups
from stackpy_runtime.container.cgroups import read_file, write_file
from stackpy_runtime.errors import Conflict, EngineError, KernelError, Unsupported
from stackpy_runtime.linux.bpf import filter_devices
from stackpy_runtime.oci import devices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy_runtime.linux.bpf import DeviceRule
    from stackpy_runtime.oci.resources import Write

DYING = 10.0  # seconds in which what was killed has to leave its group


class Hierarchy(NamedTuple):
    """One mounted hierarchy. names: its controllers (`name=systemd` for one without); empty: version 2."""

    names: tuple[str, ...]
    folder: str


class Host(NamedTuple):
    """The hierarchies of this host. On a hybrid one version 1 has the controllers, and version 2 is left alone."""

    version: int
    hierarchies: list[Hierarchy]


def parse(mountinfo: str) -> Host:
    """What a /proc/PID/mountinfo says (proc_pid_mountinfo(5))."""
    old: dict[tuple[str, ...], str] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(kind) < 3 or len(fields) < 5 or kind[0] != "cgroup":
            continue
        flags = {"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "seclabel"}
        names = tuple(each for each in kind[2].split(",") if each not in flags and "release_agent" not in each)
        old.setdefault(names, fields[4])
    if any(not name.startswith("name=") for names in old for name in names):
        return Host(1, [Hierarchy(names, folder) for names, folder in old.items()])
    folder = cgroups.parse_mountinfo(mountinfo).mounts.get("", "")
    return Host(2, [Hierarchy((), folder)] if folder else [])


@functools.cache
def host() -> Host:
    """This host's, read once."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        found = parse(file.read())
    if not found.hierarchies:
        raise Unsupported("no cgroup file system is mounted", hint="mount -t cgroup2 none /sys/fs/cgroup")
    return found


class Group:
    """A group by its path below the top of each hierarchy."""

    def __init__(self, path: str) -> None:
        self.path, self.host = path, host()
        self.version = self.host.version
        self.made: list[str] = []  # by this object

    def folders(self) -> list[tuple[Hierarchy, str]]:
        """Its folder in each hierarchy."""
        return [(each, f"{each.folder}{self.path}") for each in self.host.hierarchies]

    def folder(self, controller: str) -> str:
        """Its folder for a controller; "" when this host has none of that name."""
        for hierarchy, folder in self.folders():
            if self.version == 2 or controller in hierarchy.names:
                return folder
        return ""

    def procs(self) -> list[str]:
        """The files by which a process joins."""
        return [f"{folder}/cgroup.procs" for _, folder in self.folders()]

    def create(self) -> None:
        """Makes it, and what lies above it; Conflict when processes are in it already."""
        for hierarchy, folder in self.folders():
            if self.version == 2:
                self._delegate(hierarchy.folder)
            made = ""
            for part in self.path.strip("/").split("/"):
                made = f"{made}/{part}"
                try:
                    os.mkdir(f"{hierarchy.folder}{made}")
                    self.made.append(f"{hierarchy.folder}{made}")
                except FileExistsError:
                    pass
                except OSError as error:
                    reason = (error.strerror or "").lower()
                    raise KernelError(f"mkdir {hierarchy.folder}{made}: {reason}", errno=error.errno or 0) from None
                if "cpuset" in hierarchy.names:
                    self._inherit_cpuset(f"{hierarchy.folder}{made}")
                if self.version == 2 and made != self.path:
                    self._delegate(f"{hierarchy.folder}{made}")
            if found := read_file(f"{folder}/cgroup.procs").split():
                raise Conflict(
                    f"linux.cgroupsPath: container's cgroup is not empty: {len(found)} processes are in {self.path}",
                    hint="a container needs a control group of its own",
                )
        if self.frozen():
            # Whoever joins would stand still at once, and could not be told that nothing comes of it.
            raise Conflict(f"linux.cgroupsPath: container's cgroup unexpectedly frozen: {self.path}")

    def unmake(self) -> None:
        """Removes what `create` has made before it failed; what was there, and who is in it, is left alone."""
        for folder in reversed(self.made):
            try:
                os.rmdir(folder)
            except OSError:
                # Somebody has used it since.
                pass

    def _delegate(self, folder: str) -> None:
        for controller in read_file(f"{folder}/cgroup.controllers").split():
            try:
                write_file(f"{folder}/cgroup.subtree_control", f"+{controller}")
            except KernelError:
                # Not ours to give: a limit that needs it fails by its name.
                pass

    def _inherit_cpuset(self, folder: str) -> None:
        """A new group of version 1 has no CPU and no memory node, and nothing can join it."""
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not read_file(f"{folder}/{name}").strip():
                write_file(f"{folder}/{name}", read_file(f"{os.path.dirname(folder)}/{name}").strip())

    def apply(self, writes: Iterable[Write]) -> None:
        """Writes limits. Where two depend on each other, one that is refused is tried again after the rest."""
        waiting = list(writes)
        while waiting:
            refused: list[tuple[Write, KernelError]] = []
            for each in waiting:
                try:
                    self._apply(each)
                except KernelError as error:
                    # memory and memory+swap, quota and period: the kernel wants them in an order that depends on what
                    # holds so far.
                    refused.append((each, error))
            if len(refused) == len(waiting):
                first, reason = refused[0]
                raise KernelError(f"{first.where}: {reason}", errno=reason.errno or 0)
            waiting = [each for each, _ in refused]

    def _apply(self, each: Write) -> None:
        folder = self.folder(each.controller)
        for name in (each.name, *each.others):
            if folder and os.path.exists(f"{folder}/{name}"):
                value = each.value.removeprefix("default ") if name == "io.bfq.weight" else each.value
                write_file(f"{folder}/{name}", value)
                return
        if not each.optional:
            raise Unsupported(f"{each.where}: this host's control groups have no {each.name}")

    def permit(self, rules: list[DeviceRule]) -> None:
        """Allows the devices that the rules come to, and no others."""
        if self.version == 2:
            filter_devices(self.folder(""), rules)
            return
        folder = self.folder("devices")
        if not folder:
            raise Unsupported("linux.resources.devices: this host's control groups have no devices controller")
        for name, value in devices.writes(rules):
            write_file(f"{folder}/{name}", value)

    def processes(self) -> list[int]:
        """PIDs of all in the group and in those below it, as this host counts them."""
        return cgroups.pids_beneath(self.folders()[0][1])

    def signal_all(self, number: int) -> None:
        """Signals every process of the group; it is held still meanwhile, so that no fork escapes."""
        if number == signal.SIGKILL and self.version == 2:
            try:
                write_file(f"{self.folder('')}/cgroup.kill", "1")
                return
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
        held = False
        try:
            held = self.freeze(True)
        except EngineError:
            # No freezer: then what forks meanwhile is caught by the next round.
            pass
        try:
            for pid in self.processes():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
        finally:
            if held:
                self.freeze(False)

    def freeze(self, frozen: bool) -> bool:
        """Holds every process where it is, or has them go on; False when nothing had to be done."""
        if self.frozen() == frozen:
            return False
        old = cgroups.Layout(1, {"freezer": self._top("freezer")}) if self.version == 1 else None
        layout = old or cgroups.Layout(2, {"": self._top("")})
        parent, _, name = self.path.strip("/").rpartition("/")
        cgroups.Group(parent or ".", name, layout).freeze(frozen)
        return True

    def _top(self, controller: str) -> str:
        for hierarchy in self.host.hierarchies:
            if self.version == 2 or controller in hierarchy.names:
                return hierarchy.folder
        raise Unsupported(f"this host's control groups have no {controller} controller")

    def frozen(self) -> bool:
        """Whether it is held still."""
        if self.version == 2:
            return "frozen 1" in read_file(f"{self.folder('')}/cgroup.events")
        folder = self.folder("freezer")
        return bool(folder) and read_file(f"{folder}/freezer.state").strip() == "FROZEN"

    def remove(self) -> None:
        """Removes it with what was made below it; waits for what is still dying."""
        deadline = time.monotonic() + DYING
        pause = 0.001
        while True:
            left = [folder for _, folder in self.folders() if not self._remove(folder)]
            if not left:
                return
            if time.monotonic() > deadline:
                raise EngineError(f"control group {left[0]} is not empty", hint="its processes do not end")
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def _remove(self, folder: str) -> bool:
        done = True
        for path, _, _ in os.walk(folder, topdown=False):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise
                done = False
        return done

"""A container's control group: limits, killing, OOM; version 2, and version 1 or hybrid where the host has that.

Files: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/. Names derive from the engine root, so several roots
live side by side. On version 1 a group exists once for each controller.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from typing import NamedTuple

from stackpy_runtime.errors import KernelError, Unsupported

CONTROLLERS = ("memory", "cpu", "pids", "freezer", "devices")
PERIOD = 100_000  # µs, the kernel's default
_FREEZING = 10.0  # seconds that processes have to stand still: one in a system call of a dead disk never does


class Layout(NamedTuple):
    """Where this host's hierarchies are mounted: version 2 has one, under ""."""

    version: int
    mounts: dict[str, str]


class Limits(NamedTuple):
    """Bytes, CPUs, processes; 0: none."""

    memory: int = 0
    cpus: float = 0.0
    pids: int = 0


def parse_mountinfo(text: str) -> Layout:
    """The layout that a /proc/PID/mountinfo describes (proc_pid_mountinfo(5))."""
    first: dict[str, str] = {}
    unified = ""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(kind) < 3 or len(fields) < 5:
            continue
        if kind[0] == "cgroup2":
            unified = unified or fields[4]
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                if option in CONTROLLERS:
                    first.setdefault(option, fields[4])
    if first:
        return Layout(1, first)
    return Layout(2, {"": unified} if unified else {})


@functools.cache
def layout() -> Layout:
    """This host's layout, read once."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return parse_mountinfo(file.read())


def _write(path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KernelError(
            f"write {value} to {path}: {(error.strerror or '').lower()}", errno=error.errno or 0
        ) from None


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def settings(version: int, limits: Limits) -> dict[str, list[tuple[str, str]]]:
    """The files to write, in order, by controller ("" on version 2)."""
    quota = max(1000, round(limits.cpus * PERIOD)) if limits.cpus else 0
    if version == 2:
        return {
            "": [
                ("memory.max", str(limits.memory) if limits.memory else "max"),
                ("memory.swap.max", "0" if limits.memory else "max"),
                ("cpu.max", f"{quota or 'max'} {PERIOD}"),
                ("pids.max", str(limits.pids) if limits.pids else "max"),
            ]
        }
    return {
        "memory": [
            # The limit with swap may not be below the one without: lift it first, then set both.
            ("memory.memsw.limit_in_bytes", "-1"),
            ("memory.limit_in_bytes", str(limits.memory) if limits.memory else "-1"),
            *([("memory.memsw.limit_in_bytes", str(limits.memory))] if limits.memory else []),
        ],
        "cpu": [("cpu.cfs_period_us", str(PERIOD)), ("cpu.cfs_quota_us", str(quota or -1))],
        "pids": [("pids.max", str(limits.pids) if limits.pids else "max")],
    }


def parent_name(root: str) -> str:
    """The group of an engine root, in which its containers' groups are."""
    # Here, since the keeper imports this module and must stay small: hashlib brings OpenSSL along.
    import hashlib

    return f"stackpy-{hashlib.sha256(root.encode()).hexdigest()[:8]}"


def remove_parent(root: str) -> None:
    """Removes an engine root's own group when no container's is left in it."""
    for mount in dict.fromkeys(layout().mounts.values()):
        try:
            os.rmdir(f"{mount}/{parent_name(root)}")
        except OSError:
            # Not there, or another container is in it.
            pass


def of_process(root: str, pid: int) -> Group | None:
    """The group of an engine root that a process is in (proc_pid_cgroup(5))."""
    parent = parent_name(root)
    start = f"/{parent}/"
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        path = line.split(":", 2)[2]
        if path.startswith(start):
            return Group(parent, path.removeprefix(start).split("/")[0])
    return None


def sweep(root: str, kept: set[str]) -> None:
    """Removes the groups of an engine root that no container of ours is in, with what still runs in them."""
    parent = parent_name(root)
    for mount in dict.fromkeys(layout().mounts.values()):
        try:
            names = [entry.name for entry in os.scandir(f"{mount}/{parent}") if entry.is_dir()]
        except FileNotFoundError:
            continue
        for name in names:
            group = Group(parent, name)
            if group.name not in kept:
                group.kill()
                group.remove()


class Group:
    """The control group of one container."""

    def __init__(self, parent: str, name: str, hierarchy: Layout | None = None) -> None:
        self.layout = hierarchy or layout()
        if not self.layout.mounts:
            raise Unsupported("no cgroup file system is mounted", hint="mount -t cgroup2 none /sys/fs/cgroup")
        self.parent = parent
        self.name = f"{self.parent}/{name}"

    def paths(self) -> dict[str, str]:
        """The group's folder by controller; the same folder stands once where controllers share a mount."""
        return {controller: f"{mount}/{self.name}" for controller, mount in self.layout.mounts.items()}

    def create(self, limits: Limits) -> list[str]:
        """Makes the group with its limits; returns the files into which its processes write themselves."""
        paths = self.paths()
        for path in dict.fromkeys(paths.values()):
            try:
                os.mkdir(path)
            except FileExistsError:
                pass
            except FileNotFoundError:
                self._create_parent(os.path.dirname(path))
                os.mkdir(path)
        self.limit(limits, fresh=True)
        if self.layout.version == 1 and "devices" in paths:
            self._allow_devices(paths["devices"])
        return [f"{path}/cgroup.procs" for path in dict.fromkeys(paths.values())]

    def _create_parent(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)
        if self.layout.version == 2:
            for folder in (os.path.dirname(path), path):
                for controller in ("memory", "cpu", "pids"):
                    try:
                        _write(f"{folder}/cgroup.subtree_control", f"+{controller}")
                    except KernelError:
                        # Not delegated to us or not built in: a limit that needs it fails in `limit`, by name.
                        pass

    def limit(self, limits: Limits, *, fresh: bool = False) -> None:
        """Sets the limits now; raises Unsupported for one whose controller this host does not offer."""
        nothing = settings(self.layout.version, Limits())
        paths = self.paths()
        for controller, files in settings(self.layout.version, limits).items():
            for name, value in files:
                wanted = (name, value) not in nothing.get(controller, [])
                if fresh and not wanted:
                    continue
                path = f"{paths.get(controller, '')}/{name}"
                if not os.path.exists(path):
                    # Swap accounting may be off while memory is on: then there is no swap to limit.
                    if wanted and "sw" not in name.split(".", 1)[1]:
                        raise Unsupported(
                            f"this host's cgroups cannot limit {name.split('.')[0]}", hint="stackpy system check"
                        )
                    continue
                _write(path, value)

    def _allow_devices(self, path: str) -> None:
        """Only the devices that every container has (Docker's default list)."""
        _write(f"{path}/devices.deny", "a")
        for rule in (
            "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm",
            "c 5:2 rwm", "c 136:* rwm",
        ):  # fmt: skip
            _write(f"{path}/devices.allow", rule)

    def processes(self) -> list[int]:
        """PIDs of the processes in the group, as this host counts them."""
        path = next(iter(self.paths().values()))
        return [int(pid) for pid in _read(f"{path}/cgroup.procs").split()]

    def kill(self) -> None:
        """Kills every process of the group."""
        if self.layout.version == 2:
            try:
                _write(f"{self.paths()['']}/cgroup.kill", "1")
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
            return
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def freeze(self, frozen: bool) -> None:
        """Stops every process of the group where it is, and returns when they stand; or has them go on.

        Raises Unsupported where this host has no freezer, KernelError when they do not stand after ten seconds.
        """
        path = self.paths().get("" if self.layout.version == 2 else "freezer", "")
        name, value = ("cgroup.freeze", str(int(frozen))) if self.layout.version == 2 else (
            "freezer.state", "FROZEN" if frozen else "THAWED")  # fmt: skip
        if not os.path.exists(f"{path}/{name}"):
            raise Unsupported("this host's cgroups cannot freeze processes", hint="stackpy system check")
        _write(f"{path}/{name}", value)
        end = time.monotonic() + _FREEZING
        while frozen and not self._stands(path):
            if time.monotonic() > end:
                _write(f"{path}/{name}", "THAWED" if self.layout.version == 1 else "0")
                raise KernelError(f"the processes in {path} do not stand still", errno=errno.EBUSY)
            time.sleep(0.002)

    def _stands(self, path: str) -> bool:
        if self.layout.version == 2:
            return "frozen 1" in _read(f"{path}/cgroup.events")
        return _read(f"{path}/freezer.state").strip() == "FROZEN"

    def oom_kills(self) -> int:
        """How often the kernel has killed a process of the group for want of memory."""
        name = "memory.events" if self.layout.version == 2 else "memory.oom_control"
        path = self.paths().get("" if self.layout.version == 2 else "memory", "")
        for line in _read(f"{path}/{name}").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def memory_peak(self) -> int:
        """The most memory that the group has had at once, in bytes; 0 where the kernel does not say."""
        name = "memory.peak" if self.layout.version == 2 else "memory.max_usage_in_bytes"
        text = _read(f"{self.paths().get('' if self.layout.version == 2 else 'memory', '')}/{name}").strip()
        return int(text) if text.isdigit() else 0

    def remove(self) -> bool:
        """Removes the group; False while a process of it is still dying."""
        done = True
        for path in dict.fromkeys(self.paths().values()):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                done = False
        return done

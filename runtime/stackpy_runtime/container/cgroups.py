"""A container's control group: limits, killing, OOM; version 2, and version 1 or hybrid where the host has that.

Files: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/. Names derive from the engine root, so several roots
live side by side. On version 1 a group exists once for each controller.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import time
from typing import NamedTuple

from stackpy_runtime.container import limits as rules
from stackpy_runtime.container.device_rules import DEFAULT, on_version_1
from stackpy_runtime.container.limit_refusals import devices, explained, not_offered
from stackpy_runtime.container.limits import Write
from stackpy_runtime.errors import KernelError, Unsupported
from stackpy_runtime.linux.bpf import filter_devices
from stackpy_runtime.linux.proc import is_absent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackpy_runtime.container.limits import Setting
    from stackpy_runtime.linux.bpf import DeviceRule
    from stackpy_runtime.model import Limits

# Those of version 1 that a container is in, whether it has a limit of theirs or not: programs that size themselves by
# what they may use want to find all of the first four (a JVM takes the host's figures where one is missing). The first
# that is joined waits for an RCU grace period; each further one costs 0.2 ms with its making and its end.
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "devices", "blkio")
_FREEZING = 10.0  # seconds that processes have to stand still: one in a system call of a dead disk never does


class Layout(NamedTuple):
    """Where this host's hierarchies are mounted: version 2 has one, under "", version 1 one for each controller."""

    version: int
    mounts: dict[str, str]


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
        return Layout(1, {controller: first[controller] for controller in CONTROLLERS if controller in first})
    return Layout(2, {"": unified} if unified else {})


@functools.cache
def layout() -> Layout:
    """This host's layout, read once."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return parse_mountinfo(file.read())


def write_file(path: str, value: str) -> None:
    """Writes a file of a group; raises KernelError."""
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


def read_file(path: str) -> str:
    """What a file of a group or of procfs says; "" where it is not there, or no longer."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        if is_absent(error):
            return ""
        raise


def parent_name(root: str, above: str = "") -> str:
    """The group of an engine root, in which its containers' groups are; `above`: the group that it is in."""
    # Here, since the keeper imports this module and must stay small: hashlib brings OpenSSL along.
    import hashlib

    own = f"stackpy-{hashlib.sha256(root.encode()).hexdigest()[:8]}"
    return f"{above.strip('/')}/{own}" if above.strip("/") else own


def shown(folders: dict[str, str]) -> dict[str, str]:
    """What a container sees in /sys/fs/cgroup on version 1: names like `cpu,cpuacct` and the host's folders.

    folders: by controller; those that share a mount are the same
    """
    names: dict[str, list[str]] = {}
    for controller, folder in folders.items():
        names.setdefault(folder, []).append(controller)
    return {",".join(controllers): folder for folder, controllers in names.items()}


def _every_mount() -> list[str]:
    return list(dict.fromkeys(layout().mounts.values()))


def remove_parent(name: str) -> None:
    """Removes an engine root's own group, whose `parent_name` it is, when no container's is left in it."""
    for mount in _every_mount():
        try:
            os.rmdir(f"{mount}/{name}")
        except OSError:
            # Not there, or another container is in it.
            pass


def of_process(root: str, pid: int) -> Group | None:
    """The group of an engine root that a process is in (proc_pid_cgroup(5))."""
    parent = parent_name(root)
    found: dict[str, tuple[str, str]] = {}
    for line in read_file(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        above, here, below = path.partition(f"/{parent}/")
        if here:
            place = (f"{above.strip('/')}/{parent}".strip("/"), below.split("/")[0])
            found.update(dict.fromkeys(controllers.split(","), place))
    if not found:
        return None
    return Group(*next(iter(found.values())))


def sweep(root: str, kept: set[str], above: tuple[str, ...] = ()) -> None:
    """Removes the groups of an engine root that no container of ours is in, with what still runs in them.

    above: other groups that the root's own may be in
    """
    for parent in dict.fromkeys([parent_name(root), *(parent_name(root, one) for one in above)]):
        for mount in _every_mount():
            try:
                names = [entry.name for entry in os.scandir(f"{mount}/{parent}") if entry.is_dir()]
            except FileNotFoundError:
                continue
            for name in names:
                group = Group(parent, name)
                if group.name not in kept:
                    group.kill()
                    group.remove()


def _emptied(path: str) -> bool:
    """Kills what runs in groups below a group and removes them and it; False while a process is still dying."""
    for folder, _, _ in os.walk(path, topdown=False):
        for pid in read_file(f"{folder}/cgroup.procs").split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


def pids_beneath(folder: str) -> list[int]:
    """PIDs of all in the group at `folder` and in those below it, as this host counts them."""
    found: dict[int, None] = {}
    for each, _, _ in os.walk(folder):
        found.update(dict.fromkeys(int(pid) for pid in read_file(f"{each}/cgroup.procs").split()))
    return list(found)


class Group:
    """The control group of one container."""

    def __init__(self, parent: str, name: str, hierarchy: Layout | None = None) -> None:
        self.layout = hierarchy or layout()
        if not self.layout.mounts:
            raise Unsupported("no cgroup file system is mounted", hint="mount -t cgroup2 none /sys/fs/cgroup")
        self.parent = parent
        self.name = f"{self.parent}/{name}"

    def paths(self) -> dict[str, str]:
        """The group's folder by controller; of those that share a mount it is the same."""
        return {controller: f"{mount}/{self.name}" for controller, mount in self.layout.mounts.items()}

    def entrances(self) -> list[str]:
        """The files into which a process writes itself."""
        return [f"{path}/cgroup.procs" for path in dict.fromkeys(self.paths().values())]

    def create(self) -> list[str]:
        """Makes the group, without limits; returns the files into which its processes write themselves."""
        paths = self.paths()
        for path in dict.fromkeys(paths.values()):
            self._make(path)
        if "cpuset" in paths:
            self._fill_cpuset(paths["cpuset"])
        if self.layout.version == 2 or "devices" in paths:
            self._permit_usual_devices()
        return self.entrances()

    def _make(self, path: str) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            pass
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if self.layout.version == 2:
                self._hand_down("memory", "cpu", "pids")
            os.mkdir(path)

    def _hand_down(self, *controllers: str) -> None:
        """Version 2: offers controllers to the group, all the way from the top."""
        above = self.layout.mounts[""]
        for part in ["", *self.parent.split("/")]:
            above = f"{above}/{part}" if part else above
            for controller in controllers:
                try:
                    write_file(f"{above}/cgroup.subtree_control", f"+{controller}")
                except KernelError:
                    # Not delegated to us or not built in: a limit that needs it fails in `limit`, by name.
                    pass

    def limit(self, limits: Limits, before: Limits | None = None) -> None:
        """Sets the limits now, in place of those `before`; raises Unsupported for one that this host does not offer."""
        numbers = {**devices(before or {}), **devices(limits)}
        old, new = (rules.settings(self.layout.version, one, numbers) for one in (before or {}, limits))
        for name, setting in old.items():
            if name not in new:
                self._apply(setting, undo=True)
        for name, setting in new.items():
            if setting != old.get(name):
                self._apply(setting)

    def _apply(self, setting: Setting, *, undo: bool = False) -> None:
        controller, first = setting.controller, setting.writes[0].file
        if self.layout.version == 2:
            folder = self.paths()[""]
            if not os.path.exists(f"{folder}/{first}") and not undo:
                self._hand_down(first.split(".")[0])
        else:
            folder = self.paths().get(controller, "")
        if first.startswith("cpu.rt_") and not undo:
            self._grant_realtime(folder, setting)
        forms = ((setting.writes, setting.undo), setting.instead)
        writes, undone = forms[1] if forms[1][0] and not os.path.exists(f"{folder}/{first}") else forms[0]
        for write in undone if undo else writes:
            self._set(folder, write, wanted=not undo)

    def _grant_realtime(self, folder: str, setting: Setting) -> None:
        """Gives the root's own group as much real-time time as its containers have together: a new group has none."""
        above, own = os.path.split(folder)
        period, runtime = (int(write.value) for write in setting.writes[1:])
        share = runtime / period
        for entry in os.scandir(above):
            if entry.is_dir() and entry.name != own:
                used, each = (read_file(f"{entry.path}/cpu.rt_{name}_us").strip() for name in ("runtime", "period"))
                share += int(used) / int(each) if used.isdigit() and each.isdigit() else 0.0
        whole = f"{above}/cpu.rt_period_us"
        if os.path.exists(whole):
            wanted = -int(-share * int(read_file(whole)) // 1)
            granted = Write("cpu.rt_runtime_us", str(wanted))
            self._set(above, granted, wanted=True)

    def _set(self, folder: str, write: Write, *, wanted: bool) -> None:
        path = f"{folder}/{write.file}"
        if not os.path.exists(path):
            # Swap accounting may be off while memory is on: then there is no swap to limit.
            if wanted and not write.optional:
                raise not_offered(write.file)
            return
        value = write.value
        if value == rules.INHERITED:
            value = read_file(f"{os.path.dirname(folder)}/{write.file}").strip()
        try:
            write_file(path, value)
        except KernelError as error:
            raise explained(error, write, folder) from None

    def _fill_cpuset(self, path: str) -> None:
        """Version 1: without processors and memory nobody may join; a new group has none (cgroup-v1/cpusets.rst).

        Once the group above has both it hands them down itself: a write of each for each container costs more than all
        that its other hierarchies do.
        """
        if read_file(f"{path}/cgroup.clone_children").strip() == "1":
            return
        above = self.layout.mounts["cpuset"]
        for part in self.name.split("/"):
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not read_file(f"{above}/{part}/{file}").strip():
                    write_file(f"{above}/{part}/{file}", read_file(f"{above}/{file}").strip())
            above = f"{above}/{part}"
        write_file(f"{self.layout.mounts['cpuset']}/{self.parent}/cgroup.clone_children", "1")

    def permit_devices(self, permitted: Sequence[DeviceRule]) -> None:
        """Allows these devices and no others; raises KernelError where that cannot be enforced."""
        if self.layout.version == 2:
            filter_devices(self.paths()[""], permitted)
            return
        path = self.paths().get("devices", "")
        if not path:
            raise Unsupported("this host's cgroups cannot tell devices apart", hint="stackpy system check")
        write_file(f"{path}/devices.deny", "a")
        for rule in permitted:
            for line in on_version_1(rule):
                write_file(f"{path}/devices.allow", line)

    def _permit_usual_devices(self) -> None:
        """The devices that every container has."""
        try:
            self.permit_devices(DEFAULT)
        except KernelError:
            # Of version 2, a kernel without the filter: a container in a user namespace of its own can neither make
            # device nodes nor open the host's, and others are refused (host/confining.py).
            if self.layout.version == 1:
                raise

    def complete(self) -> None:
        """Version 1: takes along what runs in the group into the hierarchies that an earlier version has not joined."""
        missing = [path for path in dict.fromkeys(self.paths().values()) if not os.path.isdir(path)]
        for path in missing:
            self._make(path)
            if path == self.paths().get("cpuset"):
                self._fill_cpuset(path)
        here = next((path for path in self.paths().values() if path not in missing), "")
        moved: set[str] = set()
        # What was forked meanwhile by one that was not moved yet comes with the next turn.
        while missing and (left := set(read_file(f"{here}/cgroup.procs").split()) - moved):
            for pid in left:
                for path in missing:
                    with contextlib.suppress(KernelError):  # it has ended
                        write_file(f"{path}/cgroup.procs", pid)
            moved |= left

    def processes(self) -> list[int]:
        """PIDs of the processes in the group, as this host counts them."""
        path = next(iter(self.paths().values()))
        return [int(pid) for pid in read_file(f"{path}/cgroup.procs").split()]

    def kill(self) -> None:
        """Kills every process of the group, and of those that a privileged container has made in it."""
        if self.layout.version == 2:
            try:
                write_file(f"{self.paths()['']}/cgroup.kill", "1")
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
            return
        paths = self.paths()
        pids = pids_beneath(next(iter(paths.values())))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        # Version 1 delivers no signal, not even this one, to what stands still (cgroup-v1/freezer-subsystem.rst).
        for folder, _, _ in os.walk(paths["freezer"]) if pids and "freezer" in paths else ():
            if read_file(f"{folder}/freezer.state").strip() not in ("THAWED", ""):
                write_file(f"{folder}/freezer.state", "THAWED")

    def freeze(self, frozen: bool) -> None:
        """Stops every process of the group where it is, and returns when they stand; or has them go on.

        Raises Unsupported where this host has no freezer, KernelError when they do not stand after ten seconds.
        """
        path = self.paths().get("" if self.layout.version == 2 else "freezer", "")
        name, value = ("cgroup.freeze", str(int(frozen))) if self.layout.version == 2 else (
            "freezer.state", "FROZEN" if frozen else "THAWED")  # fmt: skip
        if not os.path.exists(f"{path}/{name}"):
            raise Unsupported("this host's cgroups cannot freeze processes", hint="stackpy system check")
        write_file(f"{path}/{name}", value)
        end = time.monotonic() + _FREEZING
        while frozen and not self._stands(path):
            if time.monotonic() > end:
                write_file(f"{path}/{name}", "THAWED" if self.layout.version == 1 else "0")
                raise KernelError(f"the processes in {path} do not stand still", errno=errno.EBUSY)
            time.sleep(0.002)

    def _stands(self, path: str) -> bool:
        if self.layout.version == 2:
            return "frozen 1" in read_file(f"{path}/cgroup.events")
        return read_file(f"{path}/freezer.state").strip() == "FROZEN"

    def oom_kills(self) -> int:
        """How often the kernel has killed a process of the group for want of memory."""
        name = "memory.events" if self.layout.version == 2 else "memory.oom_control"
        path = self.paths().get("" if self.layout.version == 2 else "memory", "")
        for line in read_file(f"{path}/{name}").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def memory_peak(self) -> int:
        """The most memory that the group has had at once, in bytes; 0 where the kernel does not say."""
        name = "memory.peak" if self.layout.version == 2 else "memory.max_usage_in_bytes"
        text = read_file(f"{self.paths().get('' if self.layout.version == 2 else 'memory', '')}/{name}").strip()
        return int(text) if text.isdigit() else 0

    def anonymous_memory(self) -> int:
        """Bytes that its processes use and that no file has: what cannot be given back without swap."""
        path = self.paths().get("" if self.layout.version == 2 else "memory", "")
        key = "anon" if self.layout.version == 2 else "total_rss"
        for line in read_file(f"{path}/memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
        return 0

    def remove(self) -> bool:
        """Removes the group, with those that a privileged container has made in it; False while a process is dying."""
        done = True
        for path in dict.fromkeys(self.paths().values()):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                done = _emptied(path) and done
        return done

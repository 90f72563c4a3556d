"""What has happened in an engine root: a line of JSON for each event, in the shape of Docker's (API, SystemEvents).

A file and not a table of the index: an event is one append without a transaction, which no start can be seen to pay
for, and whoever follows reads on in it without a process of ours. Several processes write, each line with one
write(2) that O_APPEND keeps in one piece. Two files of bounded size: the older goes when the newer is full.

A line says besides how long its boot had lasted, by a clock that nobody sets: should the machine's clock be set, what
happened before, in the same boot, is told by the clock as it is now. So `--since 10m` is ten minutes.
"""

from __future__ import annotations

import fcntl
import os
import time

from stackpy_runtime import json_text, labels
from stackpy_runtime.linux.proc import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO, Literal

    from stackpy_runtime.model import Container, Event, Image, Network
    from stackpy_runtime.store.root import Root

    Kind = Literal["container", "image", "network", "volume"]

MOST = 4 << 20  # bytes of one of the two files: some ten thousand events
LONGEST_ATTRIBUTE = 1024
_NANO = 1_000_000_000
_SET = 60 * _NANO  # by less the clock is not set but adjusted, and the time of an event stays what it was
_BOOT = 8  # characters of a boot's ID
_LOOK = 1.0  # seconds after which a follower looks again, where no change was told


def event(kind: Kind, action: str, identity: str, attributes: Mapping[str, str]) -> Event:
    """Something that has just happened to an object.

    action: Docker's word for it; attributes: what else is known, as text; labels are among them
    """
    now = time.time_ns()
    # A label may hold a document; what finds or explains an event is short.
    kept = {key: value for key, value in attributes.items() if len(value) <= LONGEST_ATTRIBUTE}
    return {
        "Type": kind,
        "Action": action[:LONGEST_ATTRIBUTE],
        "Actor": {"ID": identity, "Attributes": kept},
        "scope": "local",
        "time": now // _NANO,
        "timeNano": now,
        "boot": _this_boot(),
        "bootNano": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    }


def of_container(container: Container, action: str, **attributes: str) -> Event:
    """Something that has happened to a container. attributes: Docker's, such as exitCode, signal, execID, oldName"""
    config = container["config"]
    given = {key: value for key, value in config.get("labels", {}).items() if key != labels.SPEC}
    own = {**given, "image": config["image"], "name": container["name"]}
    return event("container", action, container["id"], {**own, **attributes})


def _this_boot() -> str:
    """ "" where that cannot be read: an event is no reason for what it tells of to fail, and keeps its time then."""
    try:
        return boot_id()[:_BOOT]
    except OSError:
        return ""


def of_image(image: Image, action: str, name: str = "") -> Event:
    """Something that has happened to an image. name: the reference that it was done with"""
    shown = name or next(iter(image["references"]), image["id"])
    return event("image", action, image["id"], {**(image["config"].get("Labels") or {}), "name": shown})


def of_network(network: Network, action: str) -> Event:
    """Something that has happened to a network."""
    return event("network", action, network["id"], {"name": network["name"], "type": network["driver"]})


def record(root: Root, *events: Event, most: int = MOST) -> None:
    """Appends events. One that cannot be written is lost: a full disk must not keep a container from starting."""
    path = root.events
    lines = "".join(json_text.dumps(each) + "\n" for each in events).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # In one call, and a line of their own even where a full disk has cut off the one before.
            os.write(descriptor, b"\n" + lines)
            if os.lseek(descriptor, 0, os.SEEK_CUR) > most:
                _rotate(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        pass


def _rotate(path: str, descriptor: int) -> None:
    """Makes the full file the older one, unless another process has just done so."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.path.samestat(os.stat(path), os.fstat(descriptor)):
        os.rename(path, f"{path}.1")


def _parsed(line: bytes) -> Event | None:
    """The event of a line; None for what a crash of the host has left of one."""
    try:
        document: Event = json_text.loads(line)
        return document if "timeNano" in document else None
    except (ValueError, TypeError):
        return None


def read(root: Root, since: int = 0, until: int | None = None) -> Iterator[Event]:
    """The events that are kept, oldest first. since, until: nanoseconds since the epoch, both included."""
    with _Reader(root.events) as reader:
        yield from _between(reader.older(), since, until)
        yield from _between(reader.new(), since, until)


def follow(root: Root, since: int | None = None, until: int | None = None) -> Iterator[Event]:
    """The kept events from `since` on, or none, and then each as it happens, until the time `until` has come."""
    from stackpy_runtime.linux.inotify import Watch  # ctypes, for those who follow only

    watch = Watch()
    left = _LOOK
    ends = None if until is None else time.monotonic() + (until - time.time_ns()) / _NANO
    try:
        with _Reader(root.events) as reader:
            if since is None:
                reader.skip()
            else:
                yield from _between(reader.older(), since, until)
            while ends is None or (left := ends - time.monotonic()) >= 0:
                yield from _between(reader.new(watch.add), since or 0, until)
                left = min(_LOOK, left if ends is None else max(0.0, ends - time.monotonic()))
                # Without a file there is nothing to watch: the root may not even exist yet.
                watch.wait(left if reader.found else min(left, 0.05))
            yield from _between(reader.new(), since or 0, until)
    finally:
        watch.close()


def _between(events: Iterator[Event], since: int, until: int | None) -> Iterator[Event]:
    boot, now = _this_boot(), time.time_ns()
    began = now - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for each in events:
        _by_this_clock(each, boot, began)
        happened = each["timeNano"]
        if until is not None and happened > now and until > now - _SET:
            happened = until  # of another boot, with a time that is yet to come: it has happened all the same
        if happened >= since and (until is None or happened <= until):
            yield each


def _by_this_clock(event: Event, boot: str, began: int) -> None:
    """Has an event the time that it has by the clock as it is now; takes out what is not Docker's.

    boot: this one; began: when, in nanoseconds, by the clock as it is now
    """
    own, lasted = event.pop("boot", ""), event.pop("bootNano", 0)
    if own and own == boot and abs(shift := began + lasted - event["timeNano"]) > _SET:
        # In whole seconds, so that it is the same each time.
        event["time"] += round(shift / _NANO)
        event["timeNano"] += round(shift / _NANO) * _NANO


class _Reader:
    """The two files, read on from where they were left, through rotation."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: BinaryIO | None = None
        self.rest = b""

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    @property
    def found(self) -> bool:
        """Whether there is a file to be watched."""
        return self.file is not None

    def older(self) -> Iterator[Event]:
        """The events of the older file; the newer is held from here on, so that a rotation meanwhile loses none."""
        self._open()
        try:
            file = open(f"{self.path}.1", "rb")
        except (FileNotFoundError, NotADirectoryError):
            return
        with file:
            if self.file is None or not os.path.samestat(os.fstat(file.fileno()), os.fstat(self.file.fileno())):
                for line in file:
                    if parsed := _parsed(line):
                        yield parsed

    def skip(self) -> None:
        """Leaves out what is there already."""
        self._open()
        if self.file is not None:
            self.file.seek(0, os.SEEK_END)

    def new(self, opened: Callable[[str], object] = lambda path: None) -> Iterator[Event]:
        """What was added since the last call. opened: told of the file that is read, each time it is another one."""
        while True:
            if self.file is None and not self._open():
                return
            assert self.file is not None
            opened(self.path)
            # Looked at before the last read: whatever is in a file by then is read before the next is opened.
            rotated = self._rotated()
            while data := self.file.read(1 << 20):
                *lines, self.rest = (self.rest + data).split(b"\n")
                for line in lines:
                    if parsed := _parsed(line):
                        yield parsed
            if not rotated:
                return
            self.file.close()
            self.file, self.rest = None, b""

    def _open(self) -> bool:
        if self.file is None:
            try:
                self.file = open(self.path, "rb")
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def _rotated(self) -> bool:
        assert self.file is not None
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno()))
        except FileNotFoundError:
            return True

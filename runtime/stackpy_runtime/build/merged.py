"""The tree that a step sees, as a descriptor: overlayfs over the layers, never attached to a path.

COPY and WORKDIR write through it, so that what is where in lower layers (a link to a folder, a file in the place of a
folder, modes of parents, whiteouts) comes out as the kernel would have it, instead of being imitated here; measured, it
costs 0.2 ms a step and next to nothing per file. Since the mount has no path, no death of ours leaves it behind, and
every path of the image is resolved with RESOLVE_IN_ROOT beneath its descriptor: an absolute link, `..` or a loop in a
hostile image cannot lead to the host.

A file that is made through it costs the kernel two inodes and every call twice. What is made in a folder that is new
itself can be made in the upper folder at once, with the same result: nothing of lower layers shows there. The kernel
allows that as long as nobody looks through the mount for what was made so (Documentation/filesystems/overlayfs.rst,
"Changes to underlying filesystems").
"""

from __future__ import annotations

import errno
import os

from stackpy_runtime.errors import EngineError, KernelError, Unsupported
from stackpy_runtime.linux import libc, mounts
from stackpy_runtime.linux.files import open_beneath
from stackpy_runtime.linux.overlays import attached
from stackpy_runtime.linux.threads import apart
from stackpy_runtime.store import mounted

# redirect_dir and metacopy off: an upper folder becomes a layer, whole in itself. volatile: without it the end of the
# mount would sync the host's whole file system; what is to last is synced when the layer is done.
_OPTIONS: dict[str, str | None] = {"redirect_dir": "off", "metacopy": "off", "volatile": None}

_ATTRIBUTES = mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID

# fsconfig(2) takes values of 255 bytes.
_LONGEST_VALUE = 255


class Merged:
    """The merged view of layers, with `staged`/upper on top when that is given; a context manager.

    layers: folders, bottom first
    root: its descriptor, between __enter__ and __exit__
    """

    def __init__(self, layers: list[str], staged: str = "") -> None:
        self._layers, self._staged = layers, staged
        self.root = self._upper = -1

    def __enter__(self) -> Merged:
        if self._layers and (self._staged or len(self._layers) > 1):
            self.root = _mount(self._layers, self._staged)
            if self._staged:
                self._upper = os.open(f"{self._staged}/upper", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            only = self._layers[0] if self._layers else f"{self._staged}/upper"
            self.root = os.open(only, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *exception: object) -> None:
        for descriptor in (self.root, self._upper):
            if descriptor >= 0:
                os.close(descriptor)
        self.root = self._upper = -1

    def behind(self, folder: int) -> int:
        """A descriptor of what stands in the upper folder behind `folder`, which was made through the view just now;
        -1 where it is the same, or where the kernel does not tell.

        Whoever takes it makes everything in there by it, and looks through the view for nothing of that any more.
        """
        if self._upper < 0:
            return -1
        try:
            path = os.readlink(f"/proc/self/fd/{folder}")
            found = open_beneath(self._upper, path.lstrip("/"), os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return -1
        # Numbers of inodes are the overlay's own where its layers are several file systems; times are the upper's.
        if _times(found) == _times(folder):
            return found
        os.close(found)
        return -1


def _times(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_mtime_ns, status.st_ctime_ns


def _mount(layers: list[str], staged: str) -> int:
    descriptors: list[int] = []
    detached = any(mounted.source(path) != path for path in layers)
    try:
        if detached:
            # For kernels between 6.12 and 6.15.
            descriptors += [mounted.clone(mounted.source(path)) for path in reversed(layers)]
            return attached(descriptors, staged, _OPTIONS if staged else {}, _ATTRIBUTES)
        for path in [*reversed(layers), *([f"{staged}/upper", f"{staged}/work"] if staged else [])]:
            descriptors.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        upper = descriptors[len(layers) :]
        lowers = descriptors[: len(layers)]
        try:
            return _new(lowers, upper)
        except KernelError as error:
            # `lowerdir+` came with Linux 6.5.
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise
        return _old(lowers, upper)
    except OSError as error:
        if isinstance(error, EngineError):
            raise
        raise libc.failure(f"open layer {error.filename}", error.errno) from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _new(lowers: list[int], upper: list[int]) -> int:
    values: list[tuple[str, str | None]] = [("lowerdir+", f"/proc/self/fd/{lower}") for lower in lowers]
    return _create([*values, *_top(upper, "/proc/self/fd/")])


def _top(upper: list[int], prefix: str) -> list[tuple[str, str | None]]:
    names = zip(("upperdir", "workdir"), upper, strict=False)
    return [*((key, f"{prefix}{value}") for key, value in names), *(_OPTIONS.items() if upper else ())]


def _create(values: list[tuple[str, str | None]]) -> int:
    context = mounts.fsopen("overlay")
    try:
        for key, value in values:
            command = mounts.FSCONFIG_SET_FLAG if value is None else mounts.FSCONFIG_SET_STRING
            if code := mounts.fsconfig(context, command, key, value):
                raise libc.failure(f"fsconfig overlay {key}={value}", code)
        if code := mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE):
            raise libc.failure("fsconfig overlay create", code, hint="`stackpy system check` tells what is missing")
        return mounts.fsmount(context, _ATTRIBUTES)
    finally:
        os.close(context)


def _old(lowers: list[int], upper: list[int]) -> int:
    """For kernels before 6.5: all layers in one option, by the shortest names there are.

    They are numbers in /proc/self/fd, which is made the current folder of a thread that shares it with no other.
    """
    lowerdir = ":".join(str(lower) for lower in lowers)
    if len(lowerdir) > _LONGEST_VALUE:
        raise Unsupported(
            f"an image of {len(lowers)} layers is too deep for this kernel", hint="Linux 6.5 has no such limit"
        )

    def work() -> int:
        os.chdir("/proc/thread-self/fd")
        return _create([("lowerdir", lowerdir), *_top(upper, "")])

    return apart(work)

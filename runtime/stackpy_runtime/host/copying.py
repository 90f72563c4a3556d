"""`cp` on the client's side: between this host and a container that runs or does not, volumes and binds included."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container import copy_rules, plan, ranges, visiting
from stackpy_runtime.container.copy_rules import CONTENT
from stackpy_runtime.container.tree_ends import TreeEnd
from stackpy_runtime.container.tree_writing import Owners
from stackpy_runtime.errors import Conflict, InvalidConfig, NotFound
from stackpy_runtime.host.skeleton import base, targets
from stackpy_runtime.store import layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackpy_runtime.container.copy_rules import End, Path
    from stackpy_runtime.container.visiting import Visit
    from stackpy_runtime.host.client import Client
    from stackpy_runtime.image.entries import Source
    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import Container
    from stackpy_runtime.store.store import Store

_NO_LIMIT = (1 << 32) - 2
ETC = ("hosts", "hostname", "resolv.conf")


class Copied(NamedTuple):
    """What came of it.

    size: of the archive, in bytes
    left_out: devices, which nothing makes where they would open
    """

    size: int
    left_out: list[str]


class _Counted:
    def __init__(self, out: Sink) -> None:
        self._out, self.size = out, 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._out.write(data)


def copy_out(
    find: Callable[[], Container],
    store: Store,
    client: Client,
    path: str,
    destination: str,
    *,
    follow: bool,
    archive: bool,
) -> Copied:
    """Copies a file or folder of a container to a path of this host.

    find: the container as it is now
    follow: a link at the end of `path` is followed
    archive: files keep the IDs of their owners; else they are the caller's. No program stays set-id or privileged.
    """
    with _visit(find, store, client) as visit:
        wanted, found = _look(visit, path, follow=follow)
        called = CONTENT if wanted.content or found.name == CONTENT else wanted.core.rpartition("/")[2]
        there = copy_rules.split(destination)
        local = TreeEnd(there, destination, follow=True)
        try:
            target = copy_rules.target(found, called, there, local.end)
            owner = (-1, -1) if archive else (os.geteuid(), os.getegid())
            packed = visit.pack(called)
            left_out = local.extract(target, packed, Owners(*owner, _NO_LIMIT, False), strict=True)
            while packed.read():
                pass  # what stands behind the archive's end, and then its maker's last word
            return Copied(packed.size, left_out)
        finally:
            local.close()


def archive_out(
    find: Callable[[], Container], store: Store, client: Client, path: str, out: Sink, *, follow: bool
) -> Copied:
    """Writes a file or folder of a container as a tar."""
    with _visit(find, store, client) as visit:
        wanted, found = _look(visit, path, follow=follow)
        packed = visit.pack(CONTENT if wanted.content else found.name)
        while data := packed.read():
            out.write(data)
        return Copied(packed.size, [])


def copy_into(
    find: Callable[[], Container], store: Store, client: Client, source: str, path: str, *, follow: bool
) -> Copied:
    """Copies a file or folder of this host into a container; files keep the IDs of their owners, as docker's."""
    wanted = copy_rules.split(source)
    local = TreeEnd(wanted, source, follow=follow)
    try:
        if not local.kind:
            raise NotFound(f"there is no `{source}` on this host")
        called = CONTENT if wanted.content or local.name == CONTENT else wanted.core.rpartition("/")[2]
        with _visit(find, store, client) as visit:
            there = _absolute(path)
            found = visit.look(there, _shown(path), follow=True)
            target = copy_rules.target(local.end, called, there, found)
            sizes: list[_Counted] = []

            def write(out: Sink) -> None:
                sizes.append(_Counted(out))
                local.pack(sizes[0], called)

            left_out = visit.extract(target, write)
            return Copied(sizes[0].size, left_out)
    finally:
        local.close()


def archive_into(find: Callable[[], Container], store: Store, client: Client, source: Source, path: str) -> Copied:
    """Extracts a tar into a folder of a container."""
    with _visit(find, store, client) as visit:
        found = visit.look(_absolute(path), _shown(path), follow=True)
        target = copy_rules.check_archive(found)
        sizes: list[_Counted] = []

        def write(out: Sink) -> None:
            sizes.append(_Counted(out))
            while data := source.read():
                sizes[0].write(data)

        try:
            left_out = visit.extract(target, write)
        except InvalidConfig as error:
            raise InvalidConfig(f"the archive cannot be extracted: {error.message}", hint=error.hint) from None
        return Copied(sizes[0].size, left_out)


def _absolute(path: str) -> Path:
    """A path of a container, which begins at its root whatever its working folder is."""
    if "\0" in path:
        raise InvalidConfig("a path has no NUL character")
    return copy_rules.split(path if path.startswith("/") else f"/{path}")


def _shown(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _look(visit: Visit, path: str, *, follow: bool) -> tuple[Path, End]:
    wanted = _absolute(path)
    found = visit.look(wanted, _shown(path), follow=follow)
    if not found.kind:
        raise NotFound(f"there is no `{_shown(path)}` in the container")
    return wanted, found


@contextmanager
def _visit(find: Callable[[], Container], store: Store, client: Client) -> Iterator[Visit]:
    """A process in the container, whatever its state."""
    container = find()
    subject = f"container {container['name']}"
    if container["state"]["status"] in ("running", "paused"):
        with visiting.Visit(_enter_running(container, subject)) as visit:
            yield visit
        return
    # Nobody starts or removes it meanwhile: two overlays must not write to one folder.
    connection = client.request("still", {"container": container["id"]})
    try:
        answer, _ = connection.receive()
        if "error" in answer:
            client.unwrap(answer)
        container = find()
        if container["state"]["status"] in ("running", "paused"):
            with visiting.Visit(_enter_running(container, subject)) as visit:
                yield visit
            return
        first = ranges.acquire()
        try:
            with visiting.Visit(_enter_stopped(store, container, first)) as visit:
                yield visit
        finally:
            ranges.release(first)
    finally:
        connection.close()


def _enter_running(container: Container, subject: str) -> Callable[[], None]:
    state = container["state"]
    if not state["pid"] or "pid_start" not in state:
        raise Conflict("it is just ending", subject=subject)
    return visiting.running(state["pid"], state["pid_start"], subject)


def _enter_stopped(store: Store, container: Container, first: int) -> Callable[[], None]:
    config, root = container["config"], store.root
    image = store.image(container["image_id"])
    volumes = {
        mount["source"]: store.volume(mount["source"])["mountpoint"]
        for mount in config.get("mounts", [])
        if mount["type"] == "volume"
    }
    mounts = plan.mounts(config, volumes)
    folder = f"{root.containers}/{container['id']}"
    files = {name: f"{folder}/etc/{name}" for name in ETC}
    os.makedirs(f"{root.run}/mnt", mode=0o711, exist_ok=True)
    return visiting.stopped(
        [base(root), *targets(folder, mounts), *(layers.lower(root, layer) for layer in image["layers"])],
        folder,
        mounts,
        # It has none before its first start.
        {name: path for name, path in files.items() if os.path.exists(path)},
        user=config.get("user", image["config"].get("User", "")),
        first=first,
        scratch=f"{root.run}/mnt",
        read_only=config.get("read_only", False),
    )

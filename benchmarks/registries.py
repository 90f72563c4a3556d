"""The rows about registries: one image of a Debian's size, a docker-registry on loopback, podman on the other side."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Row, Side, command, compare, most_memory, within

if TYPE_CHECKING:
    from benchmarks.peers import Podman

SIZE, FILES = 170 << 20, 8_700  # those of Debian 12 as a container image has it
_LARGEST = 4 << 20
MEMORY_MB = 80
IMAGE = "debian-size:1"


class Registries:
    """ours: a command line of ours from its words; environment: what it runs in, but for the engine root."""

    def __init__(self, folder: Path, ours: Callable[..., list[str]], environment: dict[str, str]) -> None:
        self.folder, self.ours = folder, ours
        self.root = folder / "root"
        self.environment = {**environment, "STACKPY_ROOT": str(self.root)}

    def rows(self, podman: Podman, rounds: int) -> list[Row]:
        """All of them."""
        self.folder.mkdir(parents=True)
        archive = self.folder / "files.tar"
        write_files(archive)
        podman.import_image(archive, IMAGE)
        with registry(self.folder) as (host, data):
            name = f"{host}/{IMAGE}"
            push = [*podman.words, "push", "--quiet", "--tls-verify=false", IMAGE, name]
            subprocess.run(push, check=True, capture_output=True)
            return [*self._pulls(podman, name, rounds), self._push(podman, push, name, data, rounds)]

    def _pulls(self, podman: Podman, name: str, rounds: int) -> list[Row]:
        """Of the layers as their tars, and unpacked, as on kernels that mount no tars; and the memory of the first."""

        def empty() -> None:
            # Whatever a store would keep for the next pull goes too.
            shutil.rmtree(self.root, ignore_errors=True)

        def without() -> None:
            subprocess.run([*podman.words, "rmi", "--force", name], check=False, capture_output=True)
            subprocess.run([*podman.words, "rmi", "--force", IMAGE], check=False, capture_output=True)

        ours = self.ours("pull", "-q", name)
        unpacking = {**self.environment, "STACKPY_LAYERS": "unpacked"}
        theirs = [*podman.words, "pull", "--quiet", "--tls-verify=false", name]
        work = "pull of a Debian-size image from a local registry"
        other = Side("podman pull", command(*theirs), without)
        rows = [
            compare(
                work, Side("stackpy pull", command(*ours, env=self.environment), empty), other, 0.3,
                rounds=rounds, warm=1,
            ),
            compare(
                "the same, layers unpacked", Side("stackpy pull", command(*ours, env=unpacking), empty), other, 0.6,
                rounds=rounds, warm=1,
            ),
        ]  # fmt: skip
        empty()
        amount = most_memory(*ours, env=self.environment, cwd="/")
        without()
        # The most of one of its processes: it has several.
        beside = most_memory(*theirs, env=dict(os.environ), cwd="/")
        return [*rows, within("memory of the pull", "stackpy pull", amount, "podman pull", beside, MEMORY_MB, "MB")]

    def _push(self, podman: Podman, theirs: list[str], name: str, data: Path, rounds: int) -> Row:
        """An image that was made here, so that it is compressed on the way, by both."""
        podman.import_image(self.folder / "files.tar", IMAGE)
        command(*self.ours("import", str(self.folder / "files.tar"), name), env=self.environment)()

        def forget() -> None:
            shutil.rmtree(data, ignore_errors=True)

        return compare(
            "push of it",
            Side("stackpy push", command(*self.ours("push", "-q", name), env=self.environment), forget),
            Side("podman push", command(*theirs), forget),
            0.8,
            rounds=rounds,
            warm=1,
        )


def write_files(archive: Path) -> None:
    """A tar of this host's files, as many and as large as a Debian's."""
    size = count = 0
    with tarfile.open(archive, "w") as tar:
        for place in ("/usr/bin", "/usr/lib", "/usr/share"):
            for folder, folders, names in os.walk(place):
                folders.sort()
                for name in sorted(names):
                    path = f"{folder}/{name}"
                    if os.path.islink(path) or not os.path.isfile(path):
                        continue
                    own = os.stat(path).st_size
                    # Large ones as far as the small ones leave room for: else programs alone would fill it.
                    room = min(SIZE, 2 * SIZE * (count + 1) / FILES + _LARGEST)
                    if own > _LARGEST or size + own > room:
                        continue
                    tar.add(path, path[1:])
                    size, count = size + own, count + 1
                    if count == FILES:
                        return


@contextmanager
def registry(folder: Path) -> Iterator[tuple[str, Path]]:
    """A docker-registry on loopback: HOST:PORT, and the folder with what it holds."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    config = folder / "registry.json"  # which is YAML too
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        yield f"localhost:{port}", folder / "data" / "docker"
    finally:
        process.kill()
        process.wait()

"""Other engines beside ours, each with a store of its own: what they build and load is compared with what we do.

podman is on every host (.ci/host-packages). docker is compared with where a dockerd is on the host; the tests install
none, since Debian's package starts one at once, whose rules change what the host forwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers import Docker as Daemon
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
from tests.layer_trees import everything

DOCKER = "/usr/bin/docker"  # Debian's; it has BuildKit built in
HAS_DOCKER = os.path.exists(DOCKER) and shutil.which("dockerd") is not None

NAMES = ["podman", *(["docker"] if HAS_DOCKER else [])]

# What an image says of its containers; what is not here is about how it was made.
FIELDS = "Cmd Entrypoint Env ExposedPorts Healthcheck Labels OnBuild Shell StopSignal User Volumes WorkingDir".split()
# What RUN needs for itself, and containers get anyway: engines leave different stubs of it behind.
_OTHERS = {"dev", "proc", "sys", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab"}

Tree = Mapping[str, tuple[object, ...]]


class Refused(AssertionError):
    """The peer could not do it; what it said."""


class Podman:
    """podman, with a store of its own."""

    name = "podman"

    def __init__(self, place: Path, short: str) -> None:
        self.place = place
        self._options = ("--root", f"{place}/storage", "--runroot", short, "--storage-driver", "overlay")

    def __call__(self, *words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.place), "XDG_RUNTIME_DIR": str(self.place)}
        # There, since conmon leaves notes in its current folder.
        return _output(["podman", *self._options, *words], environment, self.place)

    def build(self, tag: str, *words: str) -> None:
        """Builds an image as `podman build` does, without what it adds of its own."""
        self(
            "build", "--format", "docker", "--isolation", "chroot", "--identity-label=false", "--layers=false",
            "--pull-never", "-t", tag, *words,
        )  # fmt: skip

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of its containers."""
        (document,) = json.loads(self("image", "inspect", image))
        # podman has the check beside the rest
        return configuration({"Healthcheck": document.get("Healthcheck"), **document["Config"]})

    @contextmanager
    def mounted(self, image: str) -> Iterator[int]:
        """The image's tree, as a descriptor."""
        top = os.open(self("image", "mount", image).strip(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield top
        finally:
            os.close(top)
            self("image", "umount", image)


class Docker:
    """docker with BuildKit, whose daemon has a data root, a socket and namespaces of its own."""

    name = "docker"

    def __init__(self, daemon: Daemon) -> None:
        self._environment = {**daemon.environment, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": f"{daemon.folder}/client"}

    def __call__(self, *words: str) -> str:
        return _output([DOCKER, *words], self._environment)

    def build(self, tag: str, *words: str) -> None:
        """Builds an image with BuildKit."""
        self("build", "--progress", "plain", "-t", tag, *words)

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of its containers."""
        (document,) = json.loads(self("image", "inspect", image))
        return configuration(document["Config"])

    @contextmanager
    def mounted(self, image: str) -> Iterator[int]:
        """The image's tree, as a descriptor."""
        (document,) = json.loads(self("image", "inspect", image))
        assert document["GraphDriver"]["Name"] == "overlay2"
        data = document["GraphDriver"]["Data"]
        folders = [data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":"))]
        with Merged(folders[::-1]) as view:
            yield view.root


Peer = Podman | Docker


def _output(words: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


@contextmanager
def podman(place: Path) -> Iterator[Podman]:
    """podman with its store in a folder."""
    place.mkdir(parents=True, exist_ok=True)
    # It takes no run root whose path has more than 50 characters.
    with tempfile.TemporaryDirectory() as short:
        peer = Podman(place, short)
        try:
            yield peer
        finally:
            # its overlay driver leaves a mount behind
            subprocess.run(["umount", f"{place}/storage/overlay"], capture_output=True, check=False)


@contextmanager
def docker(*, on_host: bool = False) -> Iterator[Docker]:
    """A docker daemon for a while; on_host: its builds see the host's network, by `--network host`."""
    with tempfile.TemporaryDirectory(prefix="docker") as folder, Daemon(Path(folder) / "d", on_host=on_host) as daemon:
        yield Docker(daemon)


@contextmanager
def all_there_are(place: Path) -> Iterator[dict[str, Any]]:
    """podman with its store in a folder, and docker where it is; by name."""
    with ExitStack() as stack:
        peers: dict[str, Any] = {"podman": stack.enter_context(podman(place))}
        if HAS_DOCKER:
            peers["docker"] = stack.enter_context(docker())
        yield peers


def configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """An image's configuration without what is empty, the environment in the order of its names.

    A working directory `/` is what containers get without one; docker writes it down.
    """
    found = {field: config[field] for field in FIELDS if config.get(field)}
    if found.get("WorkingDir") == "/":
        del found["WorkingDir"]
    if "Env" in found:
        found["Env"] = sorted(found["Env"])
    return found


def tree(root: int, *, times: bool = False) -> Tree:
    """All that is in an image and can be compared.

    times: also when each was changed, which steps of two builds do not agree on
    """
    found = {}
    for path, seen in everything(root).items():
        if path == "." or path in _OTHERS or path.split("/")[0] in _OTHERS:
            continue
        mode, user, group, links, size, time, device, attributes, *rest = seen
        # Links to a folder are counted by what is beneath it, and differently where two layers have it.
        links = 0 if str(mode).startswith("0o4") else links
        found[path] = (mode, user, group, links, size, time if times else 0, device, attributes, *rest)
    return found


@contextmanager
def ours(root: str, name: str) -> Iterator[int]:
    """The tree of an image of our store, as a descriptor."""
    store = Store(root)
    try:
        with Merged([layers.folder(store.root, layer) for layer in store.image(name)["layers"]]) as view:
            yield view.root
    finally:
        store.close()

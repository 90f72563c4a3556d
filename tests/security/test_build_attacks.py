"""Hostile images and contexts against COPY, FILE, WORKDIR and cache mounts: the host never shows and never changes.

Rows of THREATS.md: 2024-1753 and its kin (build sources through links, WORKDIR through links), 2024-23651/23652 (cache
mounts and races), 2026-53488 (reserved labels), 2026-57231 (Env without a value), 2024-40635 (user numbers).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import settings
from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.store import layers
from tests.build_lab import Builder, copy, file, run, source, step

pytestmark = pytest.mark.root


class Canary:
    """A folder of the host that no build may read or write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "sub").mkdir(parents=True)
        (path / "secret").write_text("host secret")
        (path / "secret").chmod(0o600)
        self.before = self.state()

    def state(self) -> list[tuple[Any, ...]]:
        """All of the folder, and the host's root."""
        found: list[tuple[Any, ...]] = [(name,) for name in sorted(os.listdir("/"))]
        for path in [self.path, *sorted(self.path.rglob("*"))]:
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found.append((str(path), status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content))
        found.append((Path("/proc/sys/kernel/core_pattern").read_text(),))
        return found


@pytest.fixture
def canary() -> Iterator[Canary]:
    made = Canary(Path(f"/var/tmp/stackpy-canary-{os.getpid()}"))
    yield made
    after = made.state()
    shutil.rmtree(made.path)
    assert after == made.before


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "tree" / "a").mkdir(parents=True)
    (folder / "tree" / "a" / "file").write_text("attack")
    (folder / "file").write_text("attack")
    return folder


def hostile(builder: Builder, fill: Callable[[Path], None]) -> Any:
    """A base image that an attacker made."""
    staged = layers.stage(builder.store.root)
    fill(Path(staged) / "upper")
    layers.commit(builder.store.root, staged, "hostile")
    image: Any = {"id": "sha256:" + "c" * 64, "references": ["evil:latest"], "layers": ["hostile"], "config": {}}
    builder.store.put_image({**image, "history": [], "recipe": "", "architecture": "amd64", "size": 0, "created": ""})
    return {"kind": "image", "reference": "evil"}


LINKS = {
    "absolute": lambda canary: str(canary),
    "climbing": lambda canary: "../" * 30 + str(canary).lstrip("/"),
    "through proc": lambda canary: f"/proc/self/root{canary}",
    "through a descriptor": lambda canary: "/proc/self/fd/3",
    "to itself": lambda canary: "way",
}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("through", ["proc", "no proc"])
def test_links_of_an_image_stay_inside(
    kind: str, through: str, builder: Builder, canary: Canary, context: Path
) -> None:
    """An image may make /way whatever it likes, and /proc a link to the host's."""

    def fill(upper: Path) -> None:
        (upper / "way").symlink_to(LINKS[kind](canary.path))
        (upper / "way2").symlink_to("way")
        if through == "proc":
            (upper / "proc").symlink_to("/../../proc")

    base = hostile(builder, fill)
    steps = [
        copy(context, "file", "/way/secret"),
        copy(context, "file", "/way/"),
        copy(context, "tree/", "/way2/sub"),
        copy(context, "tree/", "/way"),
        file("/way/secret", "attack"),
        file("/way2/../../secret", "attack"),
        step("workdir", target="/way/new"),
        copy(context, "file", "/x", chown="root"),
    ]
    for one in steps:
        try:
            built = builder.build(source(one, base=base))
        except EngineError as error:
            assert "Traceback" not in str(error)
        else:
            assert "host secret" not in "".join(builder.tree(built).values())
        assert canary.state() == canary.before, one["text"]


def test_accounts_come_from_the_image_as_data(builder: Builder, canary: Canary, context: Path) -> None:
    """/etc/passwd as a link to the host's, a FIFO, a device or an endless file."""
    (canary.path / "passwd").write_text("ghost:x:7:7::/:/bin/sh\n")
    canary.before = canary.state()
    fills: dict[str, Callable[[Path], None]] = {
        "link": lambda etc: (etc / "passwd").symlink_to(f"../../../..{canary.path}/passwd"),
        "fifo": lambda etc: os.mkfifo(etc / "passwd"),
        "device": lambda etc: os.mknod(etc / "passwd", stat.S_IFCHR | 0o666, os.makedev(1, 5)),
        "large": lambda etc: (etc / "passwd").write_text("x:" * (1 << 20)),
        "numbers": lambda etc: (etc / "passwd").write_text("ghost:x:4294967296:-1::/:/bin/sh\n"),
    }
    for name, fill in fills.items():
        folder = builder.store.root.path + name
        lab = Builder(Path(folder))

        def make(upper: Path, fill: Callable[[Path], None] = fill) -> None:
            (upper / "etc").mkdir()
            fill(upper / "etc")

        with pytest.raises(InvalidConfig, match="ghost"):
            lab.build(source(copy(context, "file", "/x", chown="ghost"), base=hostile(lab, make)))
        with pytest.raises(InvalidConfig, match="outside"):
            lab.build(source(copy(context, "file", "/x", chown="4294967296"), base=hostile(lab, lambda upper: None)))
        lab.store.close()


def test_a_context_that_changes_under_our_hands_brings_in_nothing(
    builder: Builder, canary: Canary, tmp_path: Path
) -> None:
    """Somebody swaps a folder, and a file, of the context for links to the host's, again and again."""
    context = tmp_path / "context"
    (context / "src" / "sub").mkdir(parents=True)
    (context / "src" / "sub" / "secret").write_text("harmless")
    (context / "src" / "plain").write_text("harmless")
    (context / "other").symlink_to(canary.path)
    (context / "file-link").symlink_to(canary.path / "secret")
    stop = threading.Event()

    def swap() -> None:
        pairs = [("src/sub", "other"), ("src/plain", "file-link")]
        while not stop.is_set():
            for one, two in pairs:
                exchange(str(context / one), str(context / two))

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        for number in range(150):
            image = source(copy(context, "src/", f"/{number}/"))
            try:
                built = builder.build(image)
            except EngineError:
                continue
            assert "host secret" not in "".join(builder.tree(built).values())
    finally:
        stop.set()
        racer.join()


def exchange(one: str, two: str) -> None:
    """renameat2(2) with RENAME_EXCHANGE."""
    from stackpy_runtime.linux.libc import libc

    libc.renameat2(-100, one.encode(), -100, two.encode(), 2)


def test_a_cache_s_name_leaves_no_folder(builder: Builder, canary: Canary) -> None:
    from stackpy_runtime.build import caches

    for target in (f"/../../..{canary.path}", "/a/../../b", "/" + "x" * 5000, "/ü\udcff/$(touch x)/\n"):
        path = caches.folder(builder.store.root, target)
        assert os.path.dirname(path) == f"{builder.store.root.path}/cache/mounts"
        assert len(os.path.basename(path)) < 100
    for wrong in ("relative", "/", "/..", "//"):
        with pytest.raises(InvalidConfig, match="no absolute path"):
            builder.resolve(source(run("x", cache=[wrong])))


def test_what_an_image_says_of_itself_is_not_believed() -> None:
    config = settings.inherited(
        {"Env": ["HOME", "=", "A=1"], "Labels": {"stackpy.stack": "x", "stackpy.spec": "{}", "a": "b"}}
    )
    assert config == {"Env": ["A=1"], "Labels": {"a": "b"}}


def test_layers_are_for_root_only(builder: Builder) -> None:
    builder.build(source(file("/x", "1", mode=0o4755), base={"kind": "host", "programs": ["sh"]}))
    for path in (builder.store.root.layers, f"{builder.store.root.path}/staging"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    cache = f"{builder.store.root.path}/cache"
    assert stat.S_IMODE(os.stat(cache).st_mode) == 0o700

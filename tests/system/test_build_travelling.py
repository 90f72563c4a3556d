"""A build cache in a folder: what one engine root made another takes, whatever has become of the folder meanwhile."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import cache_states, travelling
from stackpy_runtime.build.cache_places import Folder, Place
from stackpy_runtime.build.cache_registry import Registry
from stackpy_runtime.image import exporting, layer_tar, references
from stackpy_runtime.image.registry.connections import Connections
from stackpy_runtime.model import ImageSource
from tests.build_lab import Builder, copy, of_stage, run, source, step
from tests.registry_lab import docker_registry

pytestmark = pytest.mark.root

HOST: Any = {"kind": "host", "programs": ["sh", "cat", "ls", "touch", "mkdir", "rm", "ln", "chmod"]}


class Lab:
    """Two engine roots and a folder between them."""

    def __init__(self, folder: Path) -> None:
        self.one, self.other = Builder(folder / "one"), Builder(folder / "other")
        self.place = folder / "cache"
        self.context = folder / "context"
        self.context.mkdir()
        (self.context / "app").write_text("app")

    def image(self, last: str = "cat /app") -> ImageSource:
        return source(
            step("env", values={"A": "b"}),
            run("mkdir -p /d/in; echo 1 > /d/a; ln /d/a /d/b; chmod 4755 /d/a; touch /d/in/x; ln -s a /d/l"),
            run("rm -r /d/in; mkdir /d/in; touch /d/in/y; rm /d/l; echo kept >> /cache/log", cache=["/cache"]),
            copy(self.context, "app", "/app"),
            run(last, cache=["/cache"]),
            base=HOST,
        )

    def bring(self, image: ImageSource, name: str = "app", place: Place | None = None) -> travelling.Moved:
        self.one.build(image)
        resolved = self.one.resolve(image)
        to = place or Folder(str(self.place))
        return travelling.bring(self.one.store, image, resolved, to, name=name, progress=lambda event: None)

    def fetch(self, image: ImageSource, place: Place | None = None) -> tuple[travelling.Moved, list[str]]:
        said: list[str] = []
        moved = travelling.fetch(
            self.other.store,
            image,
            self.other.resolve(image),
            [place or Folder(str(self.place))],
            progress=lambda event: said.append(event["text"]),
        )
        assert self.other.clean()
        return moved, said

    def blobs(self) -> list[Path]:
        return sorted((self.place / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    for builder in (made.one, made.other):
        assert builder.clean()
        builder.store.close()


def test_another_host_builds_as_if_it_had_built_before(lab: Lab) -> None:
    image = lab.image()
    brought = lab.bring(image)
    assert (brought.steps, brought.mounts) == (6, 1)
    moved, said = lab.fetch(image)
    assert (moved.steps, moved.mounts, said) == (6, 0, [])  # with every step there no folder of a RUN step is needed
    there, here = lab.other.build(image), lab.one.build(image)
    assert lab.other.ran == [] and lab.other.runs == []
    assert lab.other.tree(there) == lab.one.tree(here)
    assert "d/in/x" not in lab.other.tree(there)
    assert exporting.exported(lab.other.store, there).layers == exporting.exported(lab.one.store, here).layers


def test_a_registry_carries_the_same(lab: Lab, tmp_path: Path) -> None:
    image = lab.image()
    with docker_registry(tmp_path / "registry") as registry:
        reference = references.parse(registry.name("me/cache"))
        sides = [Connections(str(builder.store.root.path)) for builder in (lab.one, lab.other)]
        there, here = (
            Registry(side, reference, builder.store.root)
            for side, builder in zip(sides, (lab.one, lab.other), strict=True)
        )
        assert lab.fetch(image, here) == ((0, 0, 0), [])
        assert lab.bring(image, place=there)[:2] == (6, 1)
        assert lab.bring(image, place=there)[:2] == (0, 0)
        assert lab.fetch(image, here)[0][:2] == (6, 0)
        lab.other.build(image)
        assert lab.other.ran == []
        changed = lab.image("cat /cache/log")
        assert lab.fetch(changed, here)[0][:2] == (0, 1)
        lab.other.build(changed)
        assert "".join(lab.other.output) == "kept\n"
        for side in sides:
            side.close()


def test_what_is_there_is_not_written_again_and_what_nobody_names_goes(lab: Lab) -> None:
    lab.bring(lab.image())
    before = lab.blobs()
    assert lab.bring(lab.image())[:2] == (0, 0)
    assert len(lab.blobs()) == len(before)
    assert lab.bring(lab.image("echo 2"))[:2] == (1, 0)
    assert len(lab.blobs()) == len(before)
    lab.bring(source(run("echo other > /x", cache=[]), base=HOST), name="other")
    both = Folder(str(lab.place)).carried()
    assert sorted(both) == ["app", "other"]
    assert both["other"].steps[0] in both["app"].steps


def test_a_folder_that_has_not_changed_is_not_read_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel's clock for files has ticks, for which a test would have to wait.
    monkeypatch.setattr(cache_states, "_TICK_NS", 0)
    packed: list[int] = []
    before = layer_tar.write

    def counted(folder: int, out: Any) -> None:
        packed.append(folder)
        before(folder, out)

    monkeypatch.setattr(layer_tar, "write", counted)
    lab.bring(lab.image())
    assert len(packed) > 1
    packed.clear()
    assert lab.bring(lab.image())[:2] == (0, 0)
    assert packed == []
    (log,) = Path(lab.one.store.root.path, "cache/mounts").glob("*/log")
    # As long, and as old as it was: the time of its change says that it is another.
    status = log.stat()
    log.write_text("KEPT\n")
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert lab.bring(lab.image())[:2] == (0, 1)
    assert len(packed) == 1
    # Where the place has lost it, it is written again.
    shutil.rmtree(lab.place)
    packed.clear()
    lab.bring(lab.image())
    assert len(packed) > 1


def test_a_step_that_changed_runs_with_the_folders_of_the_other_host(lab: Lab) -> None:
    lab.bring(lab.image())
    changed = lab.image("cat /cache/log")
    moved, _ = lab.fetch(changed)
    assert (moved.steps, moved.mounts) == (5, 1)
    lab.other.build(changed)
    assert ([text.split()[0] for text in lab.other.ran], "".join(lab.other.output)) == (["RUN"], "kept\n")


def test_folders_that_this_host_has_stay_as_they_are(lab: Lab) -> None:
    lab.bring(lab.image())
    lab.other.build(source(run("echo mine > /cache/log", cache=["/cache"]), base=HOST))
    lab.fetch(lab.image("cat /cache/log"))
    lab.other.build(lab.image("cat /cache/log"))
    assert "".join(lab.other.output) == "mine\n"


def test_stages_that_nobody_needed_stay_for_the_next(lab: Lab) -> None:
    image = lab.image()
    image["stages"] = {"tool": source(run("echo tool > /tool"), base=HOST)}
    image["steps"].append(of_stage("tool", "/tool", "/tool"))
    lab.bring(image)
    before = Folder(str(lab.place)).carried()["app"]
    assert lab.fetch(image)[0].steps == len(before.steps) - 1
    lab.other.build(image)
    travelling.bring(
        lab.other.store,
        image,
        lab.other.resolve(image),
        Folder(str(lab.place)),
        name="app",
        progress=lambda event: None,
    )
    assert set(Folder(str(lab.place)).carried()["app"].steps) == set(before.steps)


def test_a_damaged_blob_is_a_miss_that_is_told(lab: Lab) -> None:
    lab.bring(lab.image())
    largest = lab.blobs()[-1]  # the base
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    moved, said = lab.fetch(lab.image())
    assert (moved.steps, len(said)) == (5, 1)
    assert "is not taken from a cache: " in said[0]
    lab.other.build(lab.image())
    assert [text.split()[0] for text in lab.other.ran] == ["FROM"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"version": 2, "steps": [], "mounts": []}, "is of version 2"),
        ({"version": 1, "steps": [{"name": "a" * 64, "blob": "sha256:../../x", "size": 1}], "mounts": []}, "no digest"),
        ({"version": 1, "steps": 3, "mounts": []}, "cache of"),
    ],
)
def test_a_document_that_cannot_be_believed_is_a_miss(lab: Lab, document: Any, message: str) -> None:
    lab.bring(lab.image())
    _forge(lab.place, document)
    moved, said = lab.fetch(lab.image())
    assert moved == (0, 0, 0)
    assert message in said[0]


def test_a_folder_name_from_elsewhere_never_leaves_the_caches(lab: Lab, tmp_path: Path) -> None:
    lab.bring(lab.image())
    carried = Folder(str(lab.place)).carried()["app"]
    names = ["../../../escape-0123456789ab", "cache-0123456789ab/../../x", "/x-0123456789ab", "..", "cache"]
    (part,) = carried.mounts[0].parts
    mounts = [{"name": name, "blob": part.blob, "size": part.size} for name in names]
    _forge(lab.place, {"version": 1, "steps": [], "mounts": mounts})
    before = sorted(tmp_path.iterdir())
    assert lab.fetch(lab.image())[0].mounts == 0
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_there_is_a_miss(lab: Lab) -> None:
    assert lab.fetch(lab.image()) == ((0, 0, 0), [])


def _forge(place: Path, document: Any) -> None:
    """Makes a document the one that a place has, digests and all."""

    def keep(data: bytes) -> tuple[str, int]:
        digest = hashlib.sha256(data).hexdigest()
        (place / "blobs" / "sha256" / digest).write_bytes(data)
        return f"sha256:{digest}", len(data)

    kind = "application/vnd.stackpy.cache.config.v1+json"
    digest, size = keep(json.dumps(document).encode())
    config = {"mediaType": kind, "digest": digest, "size": size}
    digest, size = keep(json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode())
    index = {"schemaVersion": 2, "manifests": [{"digest": digest, "size": size}]}
    (place / "index.json").write_text(json.dumps(index))


def test_a_hostile_blob_lands_nowhere(lab: Lab, tmp_path: Path) -> None:
    image = lab.image()
    lab.bring(image)
    canary = tmp_path / "canary"
    entries = {
        "up": tarfile.TarInfo("../../../canary"),
        "link": tarfile.TarInfo("etc"),
        "through": tarfile.TarInfo("etc/canary"),
        "attribute": tarfile.TarInfo("x"),
    }
    entries["link"].type, entries["link"].linkname = tarfile.SYMTYPE, str(tmp_path)
    entries["attribute"].pax_headers = {"SCHILY.xattr.trusted.overlay.redirect": "/etc"}
    first = lab.other.resolve(image)["steps"][0]["id"]
    for names, refused in ((["up"], True), (["attribute"], True), (["link", "through"], False)):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in names:
                tar.addfile(entries[name])
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        (lab.place / "blobs" / "sha256" / digest).write_bytes(data.getvalue())
        piece = {"name": first, "blob": f"sha256:{digest}", "size": len(data.getvalue())}
        _forge(lab.place, {"version": 1, "steps": [piece], "mounts": []})
        moved, said = lab.fetch(image)
        assert (moved.steps, len(said)) == ((0, 1) if refused else (1, 0))
        assert not canary.exists()

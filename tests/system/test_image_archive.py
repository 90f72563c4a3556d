"""Archives of images in every honest form: docker's and OCI's, as tars and folders, plain and compressed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import archive
from stackpy_runtime.store import garbage, layers
from stackpy_runtime.store.store import Store
from tests.image_archives import LAYERS, MACHINE, OCI, Built, as_folder, as_tar, digest, document, layer

pytestmark = pytest.mark.root


@pytest.fixture(params=["indexed", "unpacked"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("STACKPY_LAYERS", request.param)
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


def contents(store: Store, image: Any) -> list[dict[str, str]]:
    result = []
    for layer_id in image["layers"]:
        path = Path(layers.folder(store.root, layer_id))
        files = (file for file in path.rglob("*") if file.is_file() or file.is_char_device())
        result.append({str(f.relative_to(path)): f.read_text() if f.is_file() else "whiteout" for f in sorted(files)})
    return result


def chain(diff_ids: list[str]) -> list[str]:
    first = diff_ids[0][7:]
    return [first, hashlib.sha256(f"sha256:{first} {diff_ids[1]}".encode()).hexdigest()]


EXPECTED_CONTENTS = [{"bin/sh": "#!", "etc/motd": "hello"}, {"bin": "whiteout", "etc/motd": "changed"}]


def expected(built: Built, *references: str) -> dict[str, Any]:
    return {
        "id": built.id,
        "references": list(references),
        "layers": chain(built.diff_ids),
        "config": {
            "Cmd": ["sh"],
            "Env": ["PATH=/bin"],
            "WorkingDir": "/srv",
            "User": "1000:1000",
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"a": "b"},
            "Volumes": {"/data": {}},
            "StopSignal": "SIGINT",
            "Shell": ["/bin/bash", "-c"],
            "OnBuild": ["LABEL built=here"],
            "Healthcheck": {"Test": ["CMD-SHELL", "up"], "Interval": 5_000_000_000},
        },
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": "COPY . /", "empty_layer": False},
            {"created": "", "created_by": "", "empty_layer": True},
        ],
        "recipe": "",
        "architecture": MACHINE,
        "size": 14,
        "created": "2026-01-02T03:04:05Z",
    }


def hybrid(built: Built) -> dict[str, bytes]:
    """What docker 25 and newer save: both forms, over the same blobs."""
    names = [f"blobs/sha256/{digest(blob)[7:]}" for blob in (*built.blobs, built.config)]
    entry = {"Config": names[-1], "RepoTags": ["me/app:1"], "Layers": names[:-1], "LayerSources": {}}
    return {**built.layout(), "manifest.json": document([entry])}


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def gzip_in_members(data: bytes) -> bytes:
    """Several members and zeros at the end, as pigz, bgzip and tape writers do."""
    return b"".join(gzip.compress(data[start : start + 700]) for start in range(0, len(data), 700)) + bytes(300)


def zstd_in_frames(data: bytes) -> bytes:
    frames = b"".join(zstd(data[start : start + 700]) for start in range(0, len(data), 700))
    return b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip" + frames


PACKINGS = [None, gzip.compress, zstd, gzip_in_members, zstd_in_frames]
FORMS = [(form, whole) for form in ("docker", "layout", "hybrid") for whole in (None, gzip.compress, zstd)]


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize(("form", "whole"), [*FORMS, ("folder", None)])
def test_every_form_gives_the_same_image(store: Store, tmp_path: Path, form: str, pack: Any, whole: Any) -> None:
    built = Built(pack=pack)
    path = tmp_path / "image"
    if form == "folder":
        as_folder(path, built.layout())
    else:
        members = hybrid(built) if form == "hybrid" else getattr(built, form)()
        as_tar(path, members)
        if whole:
            path.write_bytes(whole(path.read_bytes()))
    assert archive.describe(str(path)).id == built.id
    image = archive.load(store, str(path))
    assert image == expected(built)
    assert (contents(store, image), store.images()) == (EXPECTED_CONTENTS, [image])
    assert os.listdir(store.root.staging) == []


def test_old_archives_that_link_one_layer_to_another(store: Store, tmp_path: Path) -> None:
    built = Built([LAYERS[0], LAYERS[0]])
    path = tmp_path / "image"
    with tarfile.open(path, "w") as writer:
        for name, data in built.docker().items():
            info = tarfile.TarInfo("./" + name)
            if name == "1/layer.tar":
                info.type, info.linkname = tarfile.SYMTYPE, "../0/layer.tar"
                writer.addfile(info)
                continue
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    assert contents(store, archive.load(store, str(path))) == [EXPECTED_CONTENTS[0]] * 2


def test_references_are_given_only_when_asked(store: Store, tmp_path: Path) -> None:
    built = Built()
    docker, layout = as_tar(tmp_path / "docker", built.docker()), as_tar(tmp_path / "layout", built.layout())
    assert archive.load(store, str(docker))["references"] == []
    assert archive.load(store, str(docker), tag=True)["references"] == ["me/app:1", "other:latest"]
    store.untag("me/app:1")
    assert archive.load(store, str(layout), tag=True)["references"] == ["me/app:1", "other:latest"]


def test_layers_that_are_there_are_not_read_again(store: Store, tmp_path: Path) -> None:
    built, other = Built(), Built(created="2027-01-01T00:00:00Z")
    archive.load(store, str(as_tar(tmp_path / "one", built.docker())))
    inodes = [os.stat(path).st_ino for name in chain(built.diff_ids) for path in layers.paths(store.root, name)]
    told: list[Any] = []
    members = other.docker()
    for name in ("0/layer.tar", "1/layer.tar"):
        members[name] = b"not read"
    archive.load(store, str(as_tar(tmp_path / "two", members)), told.append)
    assert told == [{"kind": "state", "text": f"layer {n} of 2: already there"} for n in (1, 2)]
    after = [os.stat(path).st_ino for name in chain(built.diff_ids) for path in layers.paths(store.root, name)]
    assert after == inodes
    store.remove_image(built.id)
    assert garbage.collect(store, grace=0).layers == []
    store.remove_image(other.id)
    assert garbage.collect(store, grace=0).layers == sorted(chain(built.diff_ids))


def test_progress_ends_at_the_total(store: Store, tmp_path: Path) -> None:
    told: list[Any] = []
    built = Built([layer(a="x" * 10_000_000), LAYERS[1]])
    archive.load(store, str(as_tar(tmp_path / "image", built.docker())), told.append)
    first = [event for event in told if event["text"] == "layer 1 of 2"]
    assert [event["kind"] for event in told] == ["download"] * len(told)
    assert len(first) > 2
    assert [event["done"] for event in first] == sorted(event["done"] for event in first)
    assert {event["text"]: event["done"] == event["total"] for event in told} == {
        "layer 1 of 2": True,
        "layer 2 of 2": True,
    }


def test_the_manifest_for_this_machine_is_chosen(store: Store, tmp_path: Path) -> None:
    ours, theirs = Built(), Built(architecture="s390x")
    manifests = {built: document(built.manifest()) for built in (ours, theirs)}
    descriptors = [
        Built.descriptor(manifests[built], "manifest.v1+json", platform={"os": "linux", "architecture": architecture})
        for built, architecture in ((theirs, "s390x"), (ours, MACHINE))
    ]
    proof = document({**ours.manifest(), "note": "attestation"})
    notes = {"vnd.docker.reference.type": "attestation-manifest"}
    descriptors.append(
        Built.descriptor(
            proof, "manifest.v1+json", platform={"os": "unknown", "architecture": "unknown"}, annotations=notes
        )
    )
    inner = document({"mediaType": f"{OCI}.index.v1+json", "manifests": descriptors})
    members = ours.layout(index={"manifests": [Built.descriptor(inner, "index.v1+json")]})
    for data in (inner, *manifests.values(), theirs.config):
        members[f"blobs/sha256/{digest(data)[7:]}"] = data
    assert archive.load(store, str(as_tar(tmp_path / "image", members)))["id"] == ours.id
    only = {
        **members,
        "index.json": document(
            {"manifests": [descriptors[0], {**descriptors[0], "platform": {"os": "linux", "architecture": "arm"}}]}
        ),
    }
    with pytest.raises(InvalidConfig, match=f"it has no image for linux/{MACHINE}, only for linux/arm, linux/s390x"):
        archive.load(store, str(as_tar(tmp_path / "other", only)))


def test_links_in_a_layout_may_lead_inside_only(store: Store, tmp_path: Path) -> None:
    built = Built()
    path = as_folder(tmp_path / "image", built.layout())
    blob = path / "blobs" / "sha256" / built.diff_ids[0][7:]
    blob.rename(path / "elsewhere")
    blob.symlink_to("../../elsewhere")
    assert archive.load(store, str(path))["id"] == built.id
    store.remove_image(built.id)
    garbage.collect(store, grace=0)
    (path / "elsewhere").rename(tmp_path / "outside")
    blob.unlink()
    blob.symlink_to("../../../outside")
    with pytest.raises(InvalidConfig, match="cannot be opened: invalid cross-device link"):
        archive.load(store, str(path))

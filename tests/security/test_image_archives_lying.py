"""Archives of images that lie, ask for too much or can be read in two ways: refused, and nothing of them stays."""

from __future__ import annotations

import bz2
import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import InvalidConfig, NotFound
from stackpy_runtime.image import archive
from stackpy_runtime.store.store import Store
from tests.image_archives import LAYERS, OCI, Built, as_tar, digest, document, layer

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


BUILT = Built()
PACKED = Built(pack=gzip.compress)
ZEROS = "0" * 64


def changed(members: dict[str, bytes], **changes: bytes | None) -> dict[str, bytes]:
    """Members with some replaced (None: removed); `config`, `layer` and `manifest` stand for the real names."""
    names = {
        "config": f"{BUILT.id[7:]}.json",
        "layer": "1/layer.tar",
        "manifest": "manifest.json",
        "index": "index.json",
    }
    result = {**members, **{names[key]: value for key, value in changes.items() if value is not None}}
    for key, value in changes.items():
        if value is None:
            del result[names[key]]
    return result


def with_manifest(**changes: Any) -> dict[str, bytes]:
    return BUILT.layout(document(BUILT.manifest(**changes)))


def with_config(**changes: Any) -> dict[str, bytes]:
    return Built(**changes).docker()


def with_index(*manifests: Any, **more: Any) -> dict[str, bytes]:
    return BUILT.layout(index={"manifests": list(manifests), **more})


def damaged(members: dict[str, bytes], data: bytes, by: bytes) -> dict[str, bytes]:
    return {name: by if content == data else content for name, content in members.items()}


def nested(depth: int) -> dict[str, bytes]:
    members = BUILT.layout()
    data = document(BUILT.manifest())
    descriptor = Built.descriptor(data, "manifest.v1+json")
    for _ in range(depth):
        data = document({"manifests": [descriptor]})
        descriptor = Built.descriptor(data, "index.v1+json")
        members[f"blobs/sha256/{digest(data)[7:]}"] = data
    return {**members, "index.json": document({"manifests": [descriptor]})}


LIES: dict[str, tuple[str, dict[str, bytes]]] = {
    "nothing": ("it is neither a docker archive (no manifest.json) nor an OCI layout (no index.json)", {"x": b""}),
    "empty": ("it is neither a docker archive (no manifest.json) nor an OCI layout (no index.json)", {}),
    "no-image": ("it has no image", changed(BUILT.docker(), manifest=b"[]")),
    "several": (
        "it has several images: a:1, b:1",
        changed(
            BUILT.docker(), manifest=document([{"Config": "c", "RepoTags": [f"{n}:1"], "Layers": []} for n in "ab"])
        ),
    ),
    "several-in-an-index": (
        f"it has several images: sha256:{'1' * 64}, sha256:{'2' * 64}",
        with_index(*({"digest": f"sha256:{n * 64}", "size": 1} for n in "12")),
    ),
    "manifest-text": ("manifest.json cannot be read: ", changed(BUILT.docker(), manifest=b"{")),
    "manifest-types": (
        "manifest.json cannot be read: Expected `array`, got `int` - at `$[0].Layers`",
        BUILT.docker(Layers=7),
    ),
    "manifest-deep-unknown": (
        "manifest.json is nested too deeply",
        changed(BUILT.docker(), manifest=b'[{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]"),
    ),
    "manifest-large": (
        "manifest.json has 5 MiB, and 4 MiB are allowed",
        changed(BUILT.docker(), manifest=b" " * (5 << 20)),
    ),
    "config-large": (
        "the configuration has 5 MiB, and 4 MiB are allowed",
        changed(BUILT.docker(), config=b" " * (5 << 20)),
    ),
    "config-missing": (f"`{BUILT.id[7:]}.json` is missing from it", changed(BUILT.docker(), config=None)),
    "config-other": (
        f"the digest of its configuration is {digest(b'{}')}, and its name says {BUILT.id[7:]}",
        changed(BUILT.docker(), config=b"{}"),
    ),
    "config-outside": ("`../../../../etc/passwd` is missing from it", BUILT.docker(Config="../../../../etc/passwd")),
    "config-no-layers": (
        "the configuration cannot be read: Object missing required field `diff_ids`",
        with_config(rootfs={}),
    ),
    "config-windows": ("it is an image for windows, and this engine runs linux images", with_config(os="windows")),
    "config-env-types": ("the configuration cannot be read: Expected `str`", with_config(config={"Env": [7]})),
    "diff-id-path": (
        "`sha256:../../../x` is not a sha256 digest",
        with_config(rootfs={"diff_ids": ["sha256:../../../x", BUILT.diff_ids[1]]}),
    ),
    "diff-id-upper": (
        f"`{BUILT.diff_ids[0].upper()}` is not a sha256 digest",
        with_config(rootfs={"diff_ids": [BUILT.diff_ids[0].upper(), BUILT.diff_ids[1]]}),
    ),
    "diff-id-other": (
        f"layer 2 of 2: the digest of its content is {BUILT.diff_ids[1]}, and the configuration says sha256:{ZEROS}",
        with_config(rootfs={"diff_ids": [BUILT.diff_ids[0], f"sha256:{ZEROS}"]}),
    ),
    "fewer-layers": ("its configuration lists 2 layers, and the manifest 1", BUILT.docker(Layers=["0/layer.tar"])),
    "more-layers": ("its configuration lists 2 layers, and the manifest 3", BUILT.docker(Layers=["0/layer.tar"] * 3)),
    "layer-missing": ("layer 2 of 2: `1/layer.tar` is missing from it", changed(BUILT.docker(), layer=None)),
    "layer-outside": (
        "layer 1 of 2: `/etc/passwd` is missing from it",
        BUILT.docker(Layers=["/etc/passwd", "1/layer.tar"]),
    ),
    "layer-changed": (
        "layer 2 of 2: the digest of its content is",
        changed(BUILT.docker(), layer=layer(etc__motd="forged", wh_bin="")),
    ),
    "layer-with-a-tail": (
        "layer 2 of 2: the digest of its content is",
        changed(BUILT.docker(), layer=LAYERS[1] + b"tail"),
    ),
    "layer-ends-early": ("layer 2 of 2: it ends within a file", changed(BUILT.docker(), layer=LAYERS[1][:514])),
    "layer-bzip2": (
        "layer 2 of 2: it is compressed with bzip2 or xz, and gzip and zstd can be read",
        changed(BUILT.docker(), layer=bz2.compress(LAYERS[1])),
    ),
    "layer-gzip-ends-early": (
        "layer 2 of 2: its gzip stream ends early",
        changed(BUILT.docker(), layer=gzip.compress(LAYERS[1])[:-9]),
    ),
    "layer-gzip-damaged": (
        "layer 2 of 2: its gzip stream is damaged",
        changed(BUILT.docker(), layer=gzip.compress(LAYERS[1])[:-8] + bytes(8)),
    ),
    "layer-gzip-tail": (
        "layer 2 of 2: its gzip stream is damaged",
        changed(BUILT.docker(), layer=gzip.compress(LAYERS[1]) + b"tail that is no gzip"),
    ),
    "layer-zstd-damaged": (
        "layer 2 of 2: its zstd stream is damaged",
        changed(BUILT.docker(), layer=b"\x28\xb5\x2f\xfd" + b"\xff" * 40),
    ),
    "index-is-a-manifest": ("index.json is not an index", changed(BUILT.layout(), index=document(BUILT.manifest()))),
    "index-empty": ("it has no image", with_index()),
    "index-both": ("a document is a manifest and an index at once", with_index(layers=[])),
    "manifest-both": ("a document is a manifest and an index at once", with_manifest(manifests=[])),
    "manifest-media-type": (
        f"a document says that it is `{OCI}.index.v1+json`, and reads as a manifest",
        with_manifest(mediaType=f"{OCI}.index.v1+json"),
    ),
    "descriptor-media-type": (
        f"a document says that it is `{OCI}.index.v1+json`, and reads as a manifest",
        with_index(Built.descriptor(document(BUILT.manifest()), "index.v1+json")),
    ),
    "descriptor-size": (
        "a manifest has",
        with_index({**Built.descriptor(document(BUILT.manifest()), "manifest.v1+json"), "size": 7}),
    ),
    "descriptor-digest-path": (
        "`sha256:../../../etc/passwd` is not a sha256 digest",
        with_index({"digest": "sha256:../../../etc/passwd", "size": 1}),
    ),
    "descriptor-sha512": ("is not a sha256 digest", with_index({"digest": "sha512:" + "ab" * 64, "size": 1})),
    "blob-missing": (
        f"`blobs/sha256/{ZEROS}` is missing from it",
        with_index({"digest": f"sha256:{ZEROS}", "size": 1}),
    ),
    "manifest-changed": (
        "the digest of a manifest is",
        damaged(BUILT.layout(), document(BUILT.manifest()), document(BUILT.manifest()).replace(b"2", b"3", 1)),
    ),
    "config-changed": (
        "the digest of the configuration is",
        damaged(BUILT.layout(), BUILT.config, BUILT.config.replace(b"hello", b"hullo").replace(b"sh", b"SH", 1)),
    ),
    "compressed-digest": (
        "layer 1 of 2: its digest is",
        damaged(PACKED.layout(), PACKED.blobs[0], gzip.compress(LAYERS[0], 1, mtime=1)),
    ),
    "indexes-in-indexes": ("its indexes are nested more than 4 deep", nested(5)),
    "too-many-layers": (
        "it has 501 layers, and 500 are allowed",
        Built(rootfs={"diff_ids": [f"sha256:{ZEROS}"] * 501}).docker(Layers=["0/layer.tar"] * 501),
    ),
    "tag-that-is-none": ("invalid image reference `../x`: `..` is not a registry", BUILT.docker(RepoTags=["../x"])),
    "member-name": ("it has a member whose name is longer than 1024 bytes", {"x" * 1100: b""}),
}


@pytest.mark.parametrize("name", LIES)
def test_an_archive_that_lies_leaves_nothing(store: Store, tmp_path: Path, name: str) -> None:
    message, members = LIES[name]
    path = as_tar(tmp_path / "image", members)
    with pytest.raises(InvalidConfig) as caught:
        archive.load(store, str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"archive {path}: ")
    assert (store.images(), os.listdir(store.root.layers), os.listdir(store.root.staging)) == ([], [], [])


def test_a_member_that_is_a_device_or_too_many(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "image"
    with tarfile.open(path, "w") as writer:
        info = tarfile.TarInfo("null")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
        writer.addfile(info)
    with pytest.raises(InvalidConfig, match="it has a member that is neither file nor folder: `null`"):
        archive.load(store, str(path))
    block = tarfile.TarInfo("x").tobuf()
    path.write_bytes(block * 20_001)
    with pytest.raises(InvalidConfig, match="it has more than 20000 entries"):
        archive.load(store, str(path))


def test_what_is_no_archive(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        archive.load(store, str(tmp_path / "none"))
    assert (str(missing.value), missing.value.hint) == (
        f"no such archive: `{tmp_path}/none`",
        "give the path of a tar or of an OCI layout",
    )
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello " * 200)
    (tmp_path / "folder").mkdir()
    messages = {}
    for name in ("pipe", "text", "folder"):
        with pytest.raises(InvalidConfig) as caught:
            archive.load(store, str(tmp_path / name))
        messages[name] = caught.value.message
    assert messages == {
        "pipe": "it is neither a file nor a folder",
        "text": "it is not a tar archive, or damaged: a header's checksum is wrong",
        "folder": "it is neither a docker archive (no manifest.json) nor an OCI layout (no index.json)",
    }
    assert os.listdir(store.root.staging) == []

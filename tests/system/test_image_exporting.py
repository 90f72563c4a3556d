"""Layers as tars, and the configuration that names them: the same for the same recipe, wherever and whenever."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import NotFound, Unsupported
from stackpy_runtime.image import exporting
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
from tests.build_lab import Builder, copy, file, source, step

pytestmark = pytest.mark.root
EPOCH = 1_700_000_000


def _layer(store: Store, name: str) -> Path:
    """A new layer's folder, in its place."""
    staged = layers.stage(store.root)
    return Path(layers.commit(store.root, staged, name))


def _tar(store: Store, name: str, epoch: int = EPOCH) -> tuple[tarfile.TarFile, exporting.LayerDigest]:
    buffer = io.BytesIO()
    digest = exporting.layer_tar(store, name, buffer, epoch=epoch)
    assert digest.diff_id == exporting.digest_of(buffer.getvalue())
    assert digest.size == len(buffer.getvalue())
    return tarfile.open(fileobj=io.BytesIO(buffer.getvalue())), digest


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"), create=True)


def _everything(folder: Path) -> None:
    (folder / "b").mkdir()
    (folder / "b" / "file").write_text("text")
    os.chown(folder / "b" / "file", 70000, 3_000_000)
    os.chmod(folder / "b" / "file", 0o4755)
    os.setxattr(folder / "b" / "file", "user.note", b"\0\xff")
    os.setxattr(folder / "b" / "file", "trusted.overlay.origin", b"x")
    os.setxattr(folder / "b" / "file", "user.overlay.opaque", b"y")
    os.link(folder / "b" / "file", folder / "a-name")
    os.symlink("../nowhere/" + "x" * 120, folder / "b" / "link")
    os.mkfifo(folder / "pipe", 0o600)
    os.mknod(folder / "gone", 0o20000, 0)
    (folder / "opaque").mkdir(0o700)
    os.setxattr(folder / "opaque", "trusted.overlay.opaque", b"y")
    (folder / "opaque" / "new").write_text("")
    (folder / ("long" * 40)).write_text("long")
    (folder / "späte Datei").write_text("x")
    with open(folder / "sparse", "wb") as sparse:
        sparse.truncate(3 << 20)
        sparse.seek(1 << 20)
        sparse.write(b"data")


def test_a_layers_tree_becomes_ocis_tar(store: Store) -> None:
    folder = _layer(store, "one")
    _everything(folder)
    for path in folder.rglob("*"):
        os.utime(path, (0, 1_600_000_000.9) if path.name == "file" else None, follow_symlinks=False)
    archive, _ = _tar(store, "one")
    found: dict[str, Any] = {
        member.name: (member.type.decode(), oct(member.mode), member.size, member.linkname) for member in archive
    }
    assert found == {
        "a-name": ("0", "0o4755", 4, ""),
        "b": ("5", "0o755", 0, ""),
        "b/file": ("1", "0o4755", 0, "a-name"),
        "b/link": ("2", "0o777", 0, "../nowhere/" + "x" * 120),
        "long" * 40: ("0", "0o644", 4, ""),
        "opaque": ("5", "0o700", 0, ""),
        "opaque/.wh..wh..opq": ("0", "0o0", 0, ""),
        "opaque/new": ("0", "0o644", 0, ""),
        "pipe": ("6", "0o600", 0, ""),
        ".wh.gone": ("0", "0o0", 0, ""),
        "sparse": ("0", "0o644", 3 << 20, ""),
        "späte Datei": ("0", "0o644", 1, ""),
    }
    file = archive.getmember("a-name")
    assert (file.uid, file.gid, file.mtime) == (70000, 3_000_000, 1_600_000_000)
    assert [key for key in file.pax_headers if "xattr" in key] == ["SCHILY.xattr.user.note"]
    assert archive.getmember("sparse").mtime == EPOCH
    names = archive.getnames()
    assert names.index("opaque") + 1 == names.index("opaque/.wh..wh..opq")


def test_the_same_tree_made_at_another_time_and_in_another_order_has_the_same_digest(
    store: Store, tmp_path: Path
) -> None:
    other = Store(str(tmp_path / "other"), create=True)
    names = [f"file{number}" for number in range(50)]
    for each, order in ((store, names), (other, names[::-1])):
        folder = _layer(each, "one")
        for name in order:
            (folder / name).write_text(name)
            if each is other:
                os.utime(folder / name, (1_900_000_000, 1_900_000_000))
    assert _tar(store, "one")[1] == _tar(other, "one")[1]


def test_a_digest_is_computed_once_and_goes_with_its_layer(store: Store) -> None:
    folder = _layer(store, "one")
    (folder / "file").write_text("text")
    first = exporting.layer_digest(store, "one", epoch=EPOCH)
    # Nobody writes to a layer: if this were read again, the digest would be another.
    (folder / "file").write_text("other")
    assert exporting.layer_digest(store, "one", epoch=EPOCH) == first
    assert exporting.layer_digest(store, "one", epoch=EPOCH - 1) != first
    staged = layers.reserve(store.root)
    os.rename(folder, f"{staged}/gone")
    layers.discard(store.root, staged)
    with pytest.raises(NotFound):
        exporting.layer_digest(store, "one", epoch=EPOCH)
    (_layer(store, "one") / "file").write_text("other")
    assert exporting.layer_digest(store, "one", epoch=EPOCH) != first


def test_a_file_whose_name_is_a_whiteout_is_refused(store: Store) -> None:
    (_layer(store, "one") / ".wh.file").write_text("")
    with pytest.raises(Unsupported, match=r"`\.wh\.file` cannot be in a layer"):
        _tar(store, "one")


def test_gnu_tar_makes_the_same_tree_of_it(store: Store, tmp_path: Path) -> None:
    folder = _layer(store, "one")
    for number in range(20):
        (folder / "d" / str(number)).mkdir(parents=True)
        (folder / "d" / str(number) / "file").write_bytes(os.urandom(number * 700))
    with open(tmp_path / "layer.tar", "wb") as out:
        exporting.layer_tar(store, "one", out, epoch=EPOCH)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "out", "-xpf", tmp_path / "layer.tar"], check=True)
    assert subprocess.run(["diff", "-r", folder, tmp_path / "out"], check=False).returncode == 0


def _built(root: Path, context: Path) -> tuple[Builder, Any]:
    builder = Builder(root)
    image = builder.build(
        source(
            file("/etc/motd", "hello"),
            copy(context, ".", "/srv/"),
            step("workdir", target="/srv"),
            step("env", values={"B": "2", "A": "1"}),
            step("label", values={"z": "1", "a": "2"}),
            step("cmd", argv=["/bin/true"]),
        )
    )
    return builder, image


def test_two_roots_at_two_times_give_the_same_configuration(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "app.py").write_text("print()")
    one, first = _built(tmp_path / "one", tmp_path / "context")
    time.sleep(1.1)
    os.utime(tmp_path / "context" / "app.py")
    other, second = _built(tmp_path / "two", tmp_path / "context")
    second["config"]["Labels"]["stackpy.stack"] = "other"
    whole = exporting.exported(one.store, first)
    assert exporting.exported(other.store, second) == whole
    assert json.loads(whole.config) == {
        "created": "1970-01-01T00:00:00Z",
        "architecture": first["architecture"],
        "os": "linux",
        "config": {
            "Cmd": ["/bin/true"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "B=2", "A=1"],
            "Labels": {"a": "2", "z": "1"},
            "WorkingDir": "/srv",
        },
        "rootfs": {"type": "layers", "diff_ids": [digest.diff_id for _, digest in whole.layers]},
        "history": [
            {"created": "1970-01-01T00:00:00Z", "created_by": line["created_by"]}
            | ({"empty_layer": True} if line["empty_layer"] else {})
            for line in first["history"]
        ],
    }
    document = json.loads(exporting.manifest(whole))
    assert document["config"]["digest"] == exporting.digest_of(whole.config)
    assert [layer["digest"] for layer in document["layers"]] == [digest.diff_id for _, digest in whole.layers]


def test_source_date_epoch_is_what_times_are_clamped_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "context").mkdir()
    builder, image = _built(tmp_path / "root", tmp_path / "context")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    assert json.loads(exporting.image_config(builder.store, image))["created"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH is `yesterday`"):
        exporting.image_config(builder.store, image)

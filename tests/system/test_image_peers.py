"""Other engines' tools on our archives, and we on theirs: skopeo and podman."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from stackpy_runtime.build.merged import Merged
from stackpy_runtime.errors import Conflict
from stackpy_runtime.image import archive, exporting, saving
from stackpy_runtime.model import Image
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
from tests import peers_lab
from tests.build_lab import Builder, copy, file, listing, source, step

pytestmark = pytest.mark.root


@pytest.fixture(name="builder", scope="module")
def builder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """An image with everything that a layer can hold, built here."""
    place = tmp_path_factory.mktemp("peers")
    context = place / "context"
    (context / "folder" / "deep").mkdir(parents=True)
    (context / "folder" / "file").write_text("text")
    (context / "folder" / "file").chmod(0o4751)
    os.symlink("../folder/file", context / "folder" / "link")
    (context / ("long" * 40)).write_text("long")
    (context / "späte Datei").write_text("ä")
    made = Builder(place / "root")
    made.build(
        source(
            copy(context, ".", "/srv/", chown="1000:2000"),
            file("/etc/motd", "hello"),
            file("/srv/folder/file", "changed", mode=0o600),
            step("workdir", target="/srv/new"),
            step("env", values={"A": "1", "B": "x y"}),
            step("label", values={"z": "1", "a": "ä"}),
            step("expose", ports=["80", "53/udp"]),
            step("user", value="1000:2000"),
            step("cmd", argv=["/bin/true", "<&>"]),
        ),
        tags=["me/peer:1"],
    )
    layer = made.store.image("me/peer:1")["layers"]
    # Of what a RUN step may leave: an opaque folder, a whiteout, attributes, hard links, a pipe.
    top = Path(layers.folder(made.store.root, layer[-1]))
    os.setxattr(top / "srv" / "new", "user.note", b"kept")
    (top / "srv" / "one").write_text("linked")
    os.link(top / "srv" / "one", top / "srv" / "two")
    os.mkfifo(top / "srv" / "pipe")
    os.mknod(top / "srv" / "späte Datei", 0o20000, 0)
    (top / "etc").mkdir()
    os.setxattr(top / "etc", "trusted.overlay.opaque", b"y")
    yield made
    made.store.close()


class Peers(NamedTuple):
    """skopeo, and podman with a storage of its own."""

    place: Path
    podman: peers_lab.Podman

    def skopeo(self, *words: str) -> bytes:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.place), "XDG_RUNTIME_DIR": str(self.place)}
        done = subprocess.run(["skopeo", *words], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, (words, done.stderr.decode())
        return done.stdout


@pytest.fixture(name="peers")
def peers_fixture(tmp_path: Path) -> Iterator[Peers]:
    with peers_lab.podman(tmp_path) as podman:
        yield Peers(tmp_path, podman)


def _save(builder: Builder, path: Path, form: str) -> exporting.Exported:
    with open(path, "wb") as out:
        saving.save(builder.store, ["me/peer:1"], out, form=form)
    return exporting.exported(builder.store, builder.store.image("me/peer:1"))


def _tree(store: Store, image: Image) -> dict[str, str]:
    with Merged([layers.folder(store.root, layer) for layer in image["layers"]]) as view:
        return listing(view.root)


def _diff_ids(config: bytes) -> list[str]:
    found: list[str] = json.loads(config)["rootfs"]["diff_ids"]
    return found


@pytest.mark.parametrize(("form", "transport"), [("docker", "docker-archive"), ("oci", "oci-archive")])
def test_skopeo_reads_what_we_save_and_we_load_what_it_copies(
    builder: Builder, peers: Peers, tmp_path: Path, form: str, transport: str
) -> None:
    saved = _save(builder, tmp_path / "ours.tar", form)
    config = peers.skopeo("inspect", "--config", "--raw", f"{transport}:{tmp_path}/ours.tar")
    assert config == saved.config
    target = "docker-archive:copy.tar:me/copied:2" if form == "docker" else "oci:copy:me/copied:2"
    peers.skopeo("copy", f"{transport}:{tmp_path}/ours.tar", target.replace(":copy", f":{tmp_path}/copy"))
    store = Store(str(tmp_path / "other"), create=True)
    (image,) = archive.load_all(store, str(tmp_path / ("copy.tar" if form == "docker" else "copy")))
    assert (image["id"], image["references"]) == (exporting.digest_of(saved.config), ["me/copied:2"])
    assert [digest for _, digest in exporting.exported(store, image).layers] == [digest for _, digest in saved.layers]
    assert _tree(store, image) == _tree(builder.store, builder.store.image("me/peer:1"))
    store.close()


def test_podman_loads_what_we_save_and_we_load_what_it_saves(builder: Builder, peers: Peers, tmp_path: Path) -> None:
    saved = _save(builder, tmp_path / "ours.tar", "docker")
    assert "Loaded image: docker.io/me/peer:1" in peers.podman("load", "-i", f"{tmp_path}/ours.tar")
    (shown,) = json.loads(peers.podman("image", "inspect", "me/peer:1"))
    assert (shown["Id"], shown["RootFS"]["Layers"]) == (
        hashlib.sha256(saved.config).hexdigest(),
        _diff_ids(saved.config),
    )
    assert shown["Config"] == json.loads(saved.config)["config"]
    place = peers.podman("image", "mount", "me/peer:1").strip()
    root = os.open(place, os.O_RDONLY)
    ours = _tree(builder.store, builder.store.image("me/peer:1"))
    assert listing(root) == ours
    assert os.getxattr(f"{place}/srv/new", "user.note") == b"kept"
    assert os.stat(f"{place}/srv/one").st_nlink == 2
    os.close(root)
    peers.podman("image", "umount", "me/peer:1")
    peers.podman("save", "-o", f"{tmp_path}/theirs.tar", "me/peer:1")
    store = Store(str(tmp_path / "other"), create=True)
    (image,) = archive.load_all(store, str(tmp_path / "theirs.tar"))
    assert (image["id"], image["references"]) == (exporting.digest_of(saved.config), ["me/peer:1"])
    assert _tree(store, image) == ours
    with open(tmp_path / "again.tar", "wb") as out:
        saving.save(store, ["me/peer:1"], out)
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "ours.tar").read_bytes()
    store.close()


def test_skopeo_reads_the_layout_that_we_save(builder: Builder, peers: Peers, tmp_path: Path) -> None:
    saving.save_layout(builder.store, ["me/peer:1"], str(tmp_path / "layout"))
    saved = exporting.exported(builder.store, builder.store.image("me/peer:1"))
    config = peers.skopeo("inspect", "--config", "--raw", f"oci:{tmp_path}/layout:docker.io/me/peer:1")
    assert config == saved.config
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layout"]
    with pytest.raises(Conflict, match="is there already"):
        saving.save_layout(builder.store, ["me/peer:1"], str(tmp_path / "layout"))
    store = Store(str(tmp_path / "other"), create=True)
    (image,) = archive.load_all(store, str(tmp_path / "layout"))
    assert (image["id"], image["references"]) == (exporting.digest_of(config), ["me/peer:1"])
    store.close()

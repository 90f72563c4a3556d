"""Containers and steps on layers that are kept as their tars."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError
from stackpy_runtime.image import archive, exporting
from stackpy_runtime.store import garbage, layers
from stackpy_runtime.store.store import Store
from tests.build_lab import copy, run, step
from tests.engine_lab import IMAGE, Lab
from tests.image_archives import Built, as_tar
from tests.layer_trees import mounts_of
from tests.waiting import wait_for

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def indexed(lab_of_session: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab's image with all its layers as tars, and one more that hides and replaces."""
    store = Store(lab_of_session.root)
    folder = tmp_path_factory.mktemp("indexed")
    image = store.image(IMAGE)
    tars = []
    for number, layer in enumerate(image["layers"]):
        with open(folder / str(number), "wb") as out:
            exporting.layer_tar(store, layer, out, epoch=2**40)
        tars.append((folder / str(number)).read_bytes())
    below, above = folder / "below", folder / "above"
    for top in (below, above):
        (top / "data" / "full").mkdir(parents=True)
    (below / "data" / "gone").write_text("lower")
    (below / "data" / "full" / "old").write_text("lower")
    (below / "data" / "kept").write_text("kept")
    (below / "data" / "capable").write_bytes(b"")
    os.setxattr(below / "data" / "capable", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    os.link(below / "data" / "kept", below / "data" / "same")
    os.mknod(below / "data" / "null", 0o020666, os.makedev(1, 3))
    (above / "data" / ".wh.gone").touch()
    (above / "data" / "full" / ".wh..wh..opq").touch()
    (above / "data" / "full" / "new").write_text("upper")
    for top in (below, above):
        command = ["tar", "--xattrs", "--xattrs-include=*", "-C", top, "-c", "data"]
        tars.append(subprocess.run(command, check=True, capture_output=True).stdout)
    os.environ["STACKPY_LAYERS"] = "indexed"
    try:
        built = Built(tars, config={"Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]})
        loaded = archive.load(store, str(as_tar(folder / "image.tar", built.docker(RepoTags=["indexed:1"]))), tag=True)
    finally:
        del os.environ["STACKPY_LAYERS"]
    assert all(layers.tar(store.root, layer) for layer in loaded["layers"])
    yield "indexed:1"
    store.remove_image(loaded["id"], force=True)
    store.close()


def test_a_container_runs_on_indexed_layers(lab: Lab, indexed: str) -> None:
    script = """
        ls /data /data/full
        cat /data/kept /data/full/new
        echo more >> /data/kept && cat /data/same
        chmod 700 /data/full && touch /data/full/x && rm /data/full/new && ls /data/full
        mv /data/full /data/moved && ls /data/moved
        rm -r /data/moved && ls /data
        readlink /proc/self/exe
        cat /data/null
    """
    ended = lab.shell(script, image=indexed)
    kept = "kept"
    names = "capable\nfull\nkept\nnull\nsame\n"
    assert ended.out == (
        f"/data:\n{names}\n/data/full:\nnew\n{kept}upper{kept}"
        "x\nx\n" + names.replace("full\n", "") + ended.out.splitlines()[-1] + "\n"
    )
    # A device of an image opens in no container.
    assert "/data/null: Permission denied" in ended.err


def test_attributes_and_owners_are_the_containers(lab: Lab, indexed: str) -> None:
    code = """
status = os.stat("/data/kept")
print(status.st_uid, status.st_gid, status.st_nlink, os.stat("/data/null").st_rdev == os.makedev(1, 3))
print(os.listxattr("/data/capable"))
"""
    assert lab.python(code, image=indexed).out == "0 0 2 True\n['security.capability']\n"


def test_the_supervisor_lets_go_of_removed_layers(lab: Lab, indexed: str, tmp_path: Path) -> None:
    """Their space is free although it had them mounted."""
    store = Store(lab.root)
    tars = [Path(layers.tar(store.root, layer)).read_bytes() for layer in store.image(indexed)["layers"]]
    built = Built([*tars, Built().tars[0]])
    image = archive.load(store, str(as_tar(tmp_path / "image.tar", built.docker(RepoTags=["going:1"]))), tag=True)
    try:
        name = lab.up(["sleep", "100"], image="going:1")
        (supervisor,) = lab.processes("supervisor")
        assert ["etc", "usr"] in mounts_of(supervisor)
        lab.engine.remove(name, force=True)
        store.remove_image(image["id"], force=True)
        assert image["layers"][-1] in garbage.collect(store, grace=0).layers
        wait_for(lambda: ["etc", "usr"] not in mounts_of(supervisor), "the layer's space")
    finally:
        store.close()


def test_a_missing_layer_is_named(lab: Lab, indexed: str) -> None:
    store = Store(lab.root)
    index = layers.home(store.root, store.image(indexed)["layers"][-1])
    os.rename(index, f"{lab.root}/aside")
    try:
        with pytest.raises(EngineError) as caught:
            lab.up(["true"], image=indexed)
        missing = index.removesuffix(".erofs")
        assert caught.value.message == f"a layer of its image is no longer on disk: `{missing}`"
    finally:
        os.rename(f"{lab.root}/aside", index)
        store.close()


@pytest.mark.parametrize("kind", ["indexed", "unpacked"])
def test_steps_run_and_copy_on_loaded_layers(lab: Lab, indexed: str, tmp_path: Path, kind: str) -> None:
    """RUN, COPY and WORKDIR over layers of either kind leave the same."""
    (tmp_path / "file").write_text("copied")
    source: Any = {
        "base": {"kind": "image", "reference": indexed if kind == "indexed" else IMAGE},
        "steps": [
            run("mkdir -p /data && echo made > /data/by"),
            step("workdir", target="/data/deep"),
            copy(tmp_path, "file", "./"),
            run("cat /data/by file > /data/all"),
        ],
    }
    recipe = lab.engine.resolve(source)
    lab.engine.build(source, recipe, key="", tags=[f"built-{kind}"], labels={}, progress=lambda progress: None)
    ended = lab.shell("cat /data/all; pwd", image=f"built-{kind}")
    lab.engine.store.remove_image(f"built-{kind}", force=True)
    assert (ended.out, ended.err) == ("made\ncopied/data/deep\n", "")

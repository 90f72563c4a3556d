"""Pushing to a real registry, and what skopeo and podman find there."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError, InvalidConfig
from tests.image_archives import Built, digest, layer
from tests.registry_lab import Answer, Fault, Middle, Registry, pack

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True, scope="module")
def base(registry: Registry) -> None:
    registry.put("base:1", Built([layer(etc__motd="hello"), layer(b="1")], pack))


def build(engine: Engine, tag: str, base: str = "", **values: str) -> str:
    """An image with a layer of its own; returns its ID."""
    files = [
        {
            "instruction": "file",
            "text": f"FILE /{name}",
            "line": "stack.py:1",
            "target": f"/{name}",
            "content": base64.b64encode(text.encode()).decode(),
        }
        for name, text in values.items()
    ]
    kind: Any = {"kind": "image", "reference": base} if base else {"kind": "scratch"}
    source: Any = {"base": kind, "steps": files}
    engine._writable()
    made = engine.build(
        source, engine.resolve(source), key="", tags=[tag], labels={"stackpy.stack": "x"}, progress=lambda _: None
    )
    return made["id"]


def test_a_built_image_is_what_skopeo_finds(registry: Registry, engine: Engine, tmp_path: Path) -> None:
    build(engine, "own:1", hello="world")
    events: list[Any] = []
    pushed = engine.push("own:1", registry.name("team/own:1"), progress=events.append)
    found = registry.inspect("team/own:1")
    assert (found["Digest"], found["RepoTags"], found["Labels"]) == (pushed, ["1"], None)
    registry.skopeo("copy", f"docker://{registry.name('team/own:1')}", f"dir:{tmp_path}/out", side="src-")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    data = (tmp_path / "out" / manifest["layers"][0]["digest"][7:]).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as reader:
        assert [member.name for member in reader if member.isfile()] == ["hello"]
    assert [event for event in events if event["kind"] == "upload"][-1]["done"] == len(data)
    assert engine.image("own:1")["published"] == {f"{registry.host}/team/own:1": pushed}


def test_pushing_again_sends_nothing(before: Middle, engine: Engine) -> None:
    build(engine, "again:1", again="1")
    first = engine.push("again:1", f"{before.host}/again:1")
    before.asked.clear()
    assert engine.push("again:1", f"{before.host}/again:1") == first
    assert [one.method for one in before.asked] == ["HEAD", "HEAD", "PUT"]
    # Another engine root, another time: the same bytes.
    other = Engine(f"{engine.root}-2")
    build(other, "again:1", again="1")
    assert other.push("again:1", f"{before.host}/again:1") == first


def test_a_pulled_image_keeps_its_digest_elsewhere(registry: Registry, engine: Engine) -> None:
    image = engine.pull(registry.name("base:1"))
    assert engine.push(registry.name("base:1"), registry.name("copy/base:2")) == image["manifest"]
    assert registry.inspect("copy/base:2")["Digest"] == registry.inspect("base:1")["Digest"]


def test_layers_are_taken_over_from_other_repositories(registry: Registry, before: Middle, engine: Engine) -> None:
    engine.pull(f"{before.host}/base:1")
    build(engine, "child:1", base=f"{before.host}/base:1", child="1")
    engine.push("child:1", f"{before.host}/one:1")
    before.asked.clear()
    engine.push("child:1", f"{before.host}/two:1")
    mounts = [one.path for one in before.requests("POST", "mount=")]
    assert len(mounts) == 3
    uploads = before.requests("PUT", "/blobs/uploads/")
    assert len(uploads) == 1  # the configuration alone
    assert registry.inspect("two:1")["Digest"] == registry.inspect("one:1")["Digest"]


def test_podman_takes_what_was_pushed(registry: Registry, engine: Engine, tmp_path: Path) -> None:
    build(engine, "for-podman:1", hello="there")
    engine.push("for-podman:1", registry.name("for-podman:1"))
    with tempfile.TemporaryDirectory() as short:  # podman takes no run root whose path has more than 50 characters
        storage = ["podman", "--root", f"{tmp_path}/storage", "--runroot", short, "--storage-driver", "vfs"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}

        def podman(*words: str) -> bytes:
            done = subprocess.run([*storage, *words], env=environment, check=False, capture_output=True)
            assert done.returncode == 0, done.stderr
            return done.stdout

        podman("pull", "-q", "--tls-verify=false", registry.name("for-podman:1"))
        tar = podman("export", podman("create", registry.name("for-podman:1"), "x").decode().strip())
    with tarfile.open(fileobj=io.BytesIO(tar)) as reader:
        assert reader.extractfile("hello").read() == b"there"  # type: ignore[union-attr]


def test_an_upload_that_breaks_is_made_again(before: Middle, registry: Registry, engine: Engine) -> None:
    build(engine, "broken:1", broken="1")
    before.on("PUT", "/blobs/uploads/", Answer(503), times=1)
    before.on("PUT", "/blobs/uploads/", Fault(cut=0), times=1)
    before.on("POST", "/blobs/uploads/", Answer(429, b"", {"Retry-After": "0"}), times=1)
    before.on("PUT", "/manifests/", Answer(502), times=1)
    assert engine.push("broken:1", f"{before.host}/broken:1") == registry.inspect("broken:1")["Digest"]


def test_what_the_registry_does_not_take_is_said(before: Middle, engine: Engine) -> None:
    build(engine, "bad:1", bad="1")
    denied = b'{"errors":[{"code":"DENIED","message":"quota\\u001b[31m reached"}]}'
    before.on("PUT", "/blobs/uploads/", Answer(403, denied))
    with pytest.raises(EngineError, match=r"refuses: the upload of sha256:\w+: quota.\[31m reached"):
        engine.push("bad:1", f"{before.host}/bad:1")
    with pytest.raises(InvalidConfig, match="has a digest"):
        engine.push("bad:1", f"{before.host}/bad@{digest(b'')}")

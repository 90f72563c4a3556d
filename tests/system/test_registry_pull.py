"""Pulling from a real registry, with a server before it that breaks, is slow or asks for patience."""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.image import staging
from stackpy_runtime.image.registry import backoff
from stackpy_runtime.model import Image
from stackpy_runtime.store import garbage, layers
from tests.image_archives import MACHINE, OCI, Built, digest, document, layer
from tests.registry_lab import Answer, Fault, Middle, Registry, middle, pack, serve, serve_manifest
from tests.waiting import wait_for

pytestmark = pytest.mark.root

RANDOM = random.Random(7).randbytes(700_000).hex()  # which does not compress to nothing
BIG = [layer(etc__motd="hello", bin__sh="#!"), layer(srv__data=RANDOM), layer(srv__more=RANDOM[::-1], wh_bin="")]


@pytest.fixture(autouse=True, scope="module")
def big(registry: Registry) -> None:
    registry.put("big:1", Built(BIG, pack))


def tree(engine: Engine, image: Image) -> dict[str, bytes]:
    """What the image's layers show, uppermost first."""
    found: dict[str, bytes] = {}
    for layer_id in reversed(image["layers"]):
        top = layers.folder(engine.store.root, layer_id)
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                if path.is_file():
                    found.setdefault(os.path.relpath(path, top), path.read_bytes())
    return found


def leftovers(engine: Engine) -> list[str]:
    root = engine.store.root
    return [*os.listdir(root.layers), *os.listdir(root.staging), *(str(path) for path in Path(root.blobs).rglob("*"))]


def test_an_image_comes_as_it_was_put(registry: Registry, engine: Engine) -> None:
    events: list[Any] = []
    image = engine.pull(registry.name("big:1"), progress=events.append)
    built = Built(BIG, pack)
    assert (image["id"], image["references"]) == (built.id, [registry.name("big:1")])
    assert tree(engine, image)["etc/motd"] == b"hello"
    assert tree(engine, image)["srv/data"] == RANDOM.encode()
    assert {event["text"] for event in events if event["kind"] == "download" and event["done"] == event["total"]} == {
        f"layer {number} of 3" for number in (1, 2, 3)
    }
    manifest = digest(document(built.manifest()))
    assert image["origins"] == [f"{registry.host}/big@{manifest}"]
    assert engine.image(f"{registry.host}/big@{manifest}")["id"] == built.id
    assert engine.look_up(registry.name("big:1")) == {
        "id": built.id,
        "digest": manifest,
        "index": "",
        "size": sum(map(len, built.blobs)),
    }


def test_nothing_is_asked_for_what_is_there(before: Middle, engine: Engine) -> None:
    reference = f"{before.host}/big:1"
    engine.pull(reference)
    before.asked.clear()
    engine.pull(reference)
    assert before.asked == []
    engine.pull(reference, policy="always")
    assert before.requests("GET", "/blobs/") == before.requests("GET", Built(BIG, pack).id)  # the configuration alone


def test_a_layer_of_another_image_is_not_downloaded(registry: Registry, before: Middle, engine: Engine) -> None:
    registry.put("big:2", Built([*BIG, layer(new="1")], pack))
    engine.pull(f"{before.host}/big:1")
    before.asked.clear()
    image = engine.pull(f"{before.host}/big:2")
    assert tree(engine, image)["new"] == b"1"
    wanted = [digest(pack(layer(new="1"))), image["id"]]
    assert sorted(one.path.rpartition("/")[2] for one in before.requests("GET", "/blobs/")) == sorted(wanted)


@pytest.mark.parametrize("how", ["gzip", "zstd", "plain", "docker"])
def test_every_form_of_layers_and_manifests(registry: Registry, engine: Engine, how: str) -> None:
    built = Built(BIG[:1], {"zstd": zstandard.compress, "plain": None}.get(how, pack))
    registry.put(f"forms:{how}", built, *(["--format=v2s2"] if how == "docker" else []))
    image = engine.pull(registry.name(f"forms:{how}"))
    assert tree(engine, image) == {"etc/motd": b"hello", "bin/sh": b"#!"}


def test_the_platform_is_chosen_from_an_index(engine: Engine) -> None:
    other = "arm64" if MACHINE == "amd64" else "amd64"
    ours, theirs = Built([layer(name="ours")]), Built([layer(name="theirs")], architecture=other)
    with middle() as server:
        manifests = []
        for built, machine in ((theirs, other), (ours, MACHINE)):
            data = document(built.manifest())
            serve_manifest(server, data, "app", "none", (*built.blobs, built.config))
            platform = {"os": "linux", "architecture": machine}
            manifests.append(built.descriptor(data, "manifest.v1+json", platform=platform))
        attestation = {**manifests[0], "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
        index = document({"schemaVersion": 2, "manifests": [attestation, *manifests]})
        name = serve_manifest(server, index, "app", "1", kind=f"{OCI}.index.v1+json")
        assert engine.pull(name)["id"] == ours.id
        assert engine.image(name)["origins"] == [
            f"{server.host}/app@{digest(index)}", f"{server.host}/app@{manifests[1]['digest']}"
        ]  # fmt: skip
        image = engine.pull(name, platform=f"linux/{other}", policy="always")
        assert (image["id"], image["architecture"]) == (theirs.id, other)
        with pytest.raises(EngineError, match=f"no image for linux/s390x, only for linux/{'amd64'}, linux/arm64"):
            engine.pull(name, platform="linux/s390x", policy="always")


def test_a_base_of_another_platform_leaves_the_name_to_this_machines(engine: Engine) -> None:
    other = "arm64" if MACHINE == "amd64" else "amd64"
    plain: Any = {"config": {"Env": ["PATH=/bin"]}}
    ours = Built([layer(name="ours")], **plain)
    theirs = Built([layer(name="theirs")], architecture=other, **plain)
    with middle() as server:
        manifests = []
        for built, machine in ((theirs, other), (ours, MACHINE)):
            data = document(built.manifest())
            serve_manifest(server, data, "app", "none", (*built.blobs, built.config))
            platform = {"os": "linux", "architecture": machine}
            manifests.append(built.descriptor(data, "manifest.v1+json", platform=platform))
        index = document({"schemaVersion": 2, "manifests": manifests})
        name = serve_manifest(server, index, "app", "1", kind=f"{OCI}.index.v1+json")

        def build(platform: str) -> Image:
            base: Any = {"kind": "image", "reference": name, **({"platform": platform} if platform else {})}
            source: Any = {"base": base, "steps": [copying]}
            recipe = engine.resolve(source)
            rows = engine.bases(source)
            assert {row["runs_on"] for row in rows} == {platform or f"linux/{MACHINE}"}
            made = engine.build(source, recipe, key="", tags=[], labels={}, progress=lambda event: None)
            assert [row["missing"] for row in engine.bases(source)] == [False]
            assert engine.resolve(source) == recipe
            return made

        copying: Any = {"instruction": "file", "text": "FILE", "line": "", "target": "/x", "content": "eA=="}
        foreign, own = build(f"linux/{other}"), build("")
        assert (foreign["architecture"], own["architecture"]) == (other, MACHINE)
        assert tree(engine, foreign)["name"] == b"theirs"
        assert tree(engine, own)["name"] == b"ours"
        assert engine.image(name)["id"] == ours.id
        assert engine.image_of(name, f"linux/{other}")["id"] == theirs.id
        asked = len(server.requests("GET", ""))
        assert build(f"linux/{other}")["id"] == foreign["id"]
        # Both are here: nobody is asked again.
        assert len(server.requests("GET", "")) == asked
        # Both at once, as a stage and a base of one image.
        both: Any = {
            "base": {"kind": "scratch"},
            "steps": [
                {**copying, "instruction": "copy", "from_stage": each, "sources": ["/name"], "target": f"/{each}"}
                for each in "ab"
            ],
            "stages": {
                "a": {"base": {"kind": "image", "reference": name}, "steps": []},
                "b": {"base": {"kind": "image", "reference": name, "platform": f"linux/{other}"}, "steps": []},
            },
        }
        made = engine.build(both, engine.resolve(both), key="", tags=[], labels={}, progress=lambda event: None)
        assert tree(engine, made) == {"a": b"ours", "b": b"theirs"}


def test_an_image_for_another_machine_is_refused_unless_asked_for(engine: Engine) -> None:
    other = "arm64" if MACHINE == "amd64" else "amd64"
    with middle() as server:
        name = serve(server, Built([layer(a="b")], architecture=other))
        with pytest.raises(EngineError, match=f"for linux/{other}, and this machine is linux/{MACHINE}"):
            engine.pull(name)
        assert engine.pull(name, platform=other)["architecture"] == other


def test_what_breaks_is_taken_up_again_by_range(before: Middle, engine: Engine) -> None:
    built = Built(BIG, pack)
    blob = f"/blobs/{digest(built.blobs[1])}"
    before.on("GET", blob, Fault(cut=100_000), times=1)
    before.on("GET", blob, Fault(cut=200_000), times=1)
    image = engine.pull(f"{before.host}/big:1")
    assert tree(engine, image)["srv/data"] == RANDOM.encode()
    ranges = [one.headers.get("Range", "") for one in before.requests("GET", blob)]
    assert ranges == ["", "bytes=100000-", "bytes=300000-"]


def test_a_server_without_ranges_is_read_from_the_beginning(engine: Engine) -> None:
    built = Built(BIG[1:2], pack)
    with middle() as server:
        broken = {"Content-Length": str(len(built.blobs[0]))}
        server.on("GET", f"/blobs/{digest(built.blobs[0])}", Answer(503, b"", broken), times=0)
        name = serve(server, built)
        with middle(server.host) as cutting:
            cutting.on("GET", f"/blobs/{digest(built.blobs[0])}", Fault(cut=100_000), times=1)
            image = engine.pull(name.replace(server.host, cutting.host))
    assert tree(engine, image)["srv/data"] == RANDOM.encode()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(before: Middle, engine: Engine, status: int) -> None:
    before.on("GET", "/manifests/", Answer(status, b"", {"Retry-After": "0"}), times=2)
    before.on("GET", "/blobs/", Answer(status, b""), times=2)
    assert engine.pull(f"{before.host}/big:1")["references"] == [f"{before.host}/big:1"]
    assert len(before.requests("GET", "/manifests/")) == 3


def test_retry_after_is_honoured(before: Middle, engine: Engine) -> None:
    before.on("GET", "/manifests/", Answer(429, b"", {"Retry-After": "1"}), times=1)
    began = time.monotonic()
    engine.pull(f"{before.host}/big:1")
    assert time.monotonic() - began >= 1
    before.on("GET", "/manifests/", Answer(429, b"", {"Retry-After": "7200"}))
    with pytest.raises(EngineError, match="asks to come back in 7200 seconds"):
        engine.pull(f"{before.host}/big:1", policy="always")


def test_a_registry_that_stays_broken_is_given_up(before: Middle, engine: Engine) -> None:
    before.on("GET", "/blobs/", Fault(cut=10))
    with pytest.raises(EngineError, match=r"the connection broke|cannot read"):
        engine.pull(f"{before.host}/big:1")
    assert leftovers(engine) == []


def test_what_has_come_whole_before_the_connection_broke_need_not_come_again(before: Middle, engine: Engine) -> None:
    built = Built(BIG, pack)
    first, broken, last = (digest(blob) for blob in built.blobs)
    reference = f"{before.host}/big:1"

    def fail() -> None:
        # Not before the others have come, or are on their way to be cut off.
        before.on("GET", broken, Fault(cut=10, slow=0.2), times=backoff.TRIES)
        with pytest.raises(EngineError, match="the connection broke") as caught:
            engine.pull(reference)
        assert caught.value.hint == "pull again; what is here already stays"
        assert engine.images() == []
        assert sorted(os.listdir(f"{engine.store.root.blobs}/sha256")) == sorted([first[7:], last[7:]])
        assert (os.listdir(engine.store.root.layers), os.listdir(engine.store.root.staging)) == ([], [])
        before.asked.clear()

    fail()
    # A bit has fallen over since: that one comes again.
    with open(f"{engine.store.root.blobs}/sha256/{last[7:]}", "r+b") as kept:
        kept.seek(1000)
        byte = kept.read(1)[0]
        kept.seek(1000)
        kept.write(bytes([byte ^ 1]))
    assert tree(engine, engine.pull(reference))["srv/data"] == RANDOM.encode()
    wanted = [built.id, broken, last]
    assert sorted(one.path.rpartition("/")[2] for one in before.requests("GET", "/blobs/")) == sorted(wanted)
    engine.remove_image(reference)
    garbage.collect(engine.store, grace=0)
    # What nobody comes back for goes with the rest.
    fail()
    garbage.collect(engine.store, grace=0)
    assert leftovers(engine) == [f"{engine.store.root.blobs}/sha256"]


def test_layers_come_at_once_and_two_pulls_download_once(before: Middle, engine: Engine) -> None:
    before.on("GET", "/blobs/", Fault(slow=0.005))
    errors: list[BaseException] = []

    def pull() -> None:
        try:
            Engine(engine.root).pull(f"{before.host}/big:1")
        except BaseException as error:
            errors.append(error)

    engine._writable()
    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(before.requests("GET", f"/blobs/{digest(blob)}")) for blob in Built(BIG, pack).blobs] == [1, 1, 1]
    assert before.most >= 2


def test_a_pull_that_is_killed_or_interrupted_is_made_again(before: Middle, engine: Engine) -> None:
    command = [sys.executable, "-m", "stackpy.cli.main", "pull", f"{before.host}/big:1"]
    environment = {**os.environ, "STACKPY_ROOT": engine.root, "PYTHONPATH": ":".join(sys.path)}
    stalled = f"/blobs/{digest(Built(BIG, pack).blobs[1])}"
    before.on("GET", stalled, Fault(slow=600), times=2)
    for end in (signal.SIGKILL, signal.SIGINT):
        before.asked.clear()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: before.requests("GET", stalled), "the pull is under way")
        process.send_signal(end)
        process.communicate(timeout=60)
        assert engine.images() == []
    assert len(os.listdir(engine.store.root.staging)) <= 1  # of the one that was killed
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert tree(engine, engine.image(f"{before.host}/big:1"))["srv/data"] == RANDOM.encode()


def test_what_is_not_there_is_said(registry: Registry, engine: Engine) -> None:
    with pytest.raises(NotFound, match=f"no image `{registry.host}/none:1` in its registry"):
        engine.pull(registry.name("none:1"))
    assert engine.published_digest(registry.name("none:1")) == ""
    assert engine.published_digest(registry.name("big:1")) == engine.registry_digest(registry.name("big:1"))
    with pytest.raises(EngineError, match="cannot reach localhost:1: connection refused"):
        engine.pull("localhost:1/app")


def test_a_pin_is_pulled_under_its_tag(registry: Registry, engine: Engine) -> None:
    registry.put("moved:1", Built([layer(a="old")], pack))
    old = engine.registry_digest(registry.name("moved:1"))
    registry.put("moved:1", Built([layer(a="new")], pack))
    image = engine.pull(registry.name("moved:1"), digest=old)
    assert (tree(engine, image), image["references"]) == ({"a": b"old"}, [registry.name("moved:1")])
    fresh = Engine(engine.root)
    assert tree(engine, fresh.pull(registry.name("moved:1"), policy="always")) == {"a": b"new"}
    assert tree(engine, fresh.pull(registry.name("moved:1"), digest=old)) == {"a": b"old"}
    assert fresh.image(registry.name("moved:1"))["id"] == image["id"]


def test_mirrors_are_asked_first_and_left_when_they_fail(registry: Registry, engine: Engine) -> None:
    with middle(registry.host) as mirror, middle(registry.host) as origin:
        (Path(engine.root)).mkdir()
        text = f'[registries."{origin.host}"]\nmirrors = ["http://localhost:1", "http://{mirror.host}"]\n'
        Path(engine.root, "registries.toml").write_text(text)
        built = Built(BIG, pack)
        mirror.on("GET", f"/blobs/{digest(built.blobs[2])}", Answer(404))
        assert engine.pull(f"{origin.host}/big:1")["id"] == built.id
        assert [one.path for one in origin.asked] == [f"/v2/big/blobs/{digest(built.blobs[2])}"]
        assert len(mirror.requests("GET", "/manifests/1")) == 1


def test_compressed_layers_may_be_let_go(registry: Registry, engine: Engine) -> None:
    Path(engine.root).mkdir()
    Path(engine.root, "registries.toml").write_text("keep_blobs = false\n")
    image = engine.pull(registry.name("big:1"))
    kept = {path.name for path in Path(engine.store.root.blobs).rglob("*") if path.is_file()}
    assert kept == {image["id"][7:], image["manifest"][7:]}
    assert tree(engine, image)["srv/data"] == RANDOM.encode()


def test_a_base_is_looked_up_for_the_plan_and_pulled_by_the_build(engine: Engine) -> None:
    built = Built(BIG, pack, config={"Env": ["PATH=/bin"]})
    with middle() as server:
        name = serve(server, built)
        source: Any = {
            "base": {"kind": "image", "reference": name},
            "steps": [{"instruction": "env", "text": "ENV A=1", "line": "stack.py:1", "values": {"A": "1"}}],
        }
        engine._writable()
        recipe = engine.resolve(source)
        assert recipe["steps"][0]["inputs"] == {"image": built.id}
        assert engine.missing_bases(source) == [(name, "")]
        # The configuration alone, which may have ONBUILD.
        assert [one.path.rpartition("/")[2] for one in server.requests("GET", "/blobs/")] == [built.id]
        made = engine.build(source, recipe, key="", tags=["made:1"], labels={}, progress=lambda _: None)
        assert made["config"]["Env"] == ["PATH=/bin", "A=1"]
        assert Engine(engine.root).resolve(source)["id"] == recipe["id"]
        assert json.loads(json.dumps(made)) == made


def test_layers_that_are_unpacked_are_the_same_and_the_lowest_needs_no_tar(
    registry: Registry, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed = tree(engine, engine.pull(registry.name("big:1")))
    monkeypatch.setenv("STACKPY_LAYERS", "unpacked")
    kept: list[str] = []
    keep = staging.TarLayer.keep
    monkeypatch.setattr(staging.TarLayer, "keep", lambda layer, source: kept.append(layer._path) or keep(layer, source))
    other = Engine(str(tmp_path / "unpacked"))
    image = other.pull(registry.name("big:1"))
    assert all(os.path.isdir(layers.folder(other.store.root, layer_id)) for layer_id in image["layers"])
    assert (tree(other, image), len(kept)) == (indexed, len(BIG) - 1)
    # What stands on layers that are there waits for none either.
    registry.put("big:more", Built([*BIG, layer(new="1", wh_srv="")], pack))
    assert tree(other, other.pull(registry.name("big:more")))["new"] == b"1"
    assert len(kept) == len(BIG) - 1


@pytest.mark.parametrize("number", range(3))
def test_a_wrong_byte_in_a_layer_that_is_unpacked_leaves_nothing(
    before: Middle, engine: Engine, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("STACKPY_LAYERS", "unpacked")
    before.on("GET", f"/blobs/{digest(Built(BIG, pack).blobs[number])}", Fault(flip=40))
    with pytest.raises(EngineError):
        engine.pull(f"{before.host}/big:1")
    assert leftovers(engine) == []


def test_a_server_of_this_machine_without_tls_needs_no_authorities(
    registry: Registry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda: pytest.fail("20 ms for nothing"))
    assert engine.pull(registry.name("big:1"))["id"] == Built(BIG, pack).id

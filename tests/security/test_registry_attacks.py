"""Registries that lie, flood and lead astray: rows of the list of threats on manifests, digests, redirects and bombs.

After each refusal nothing is kept, and the host is as it was.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError
from tests.image_archives import OCI, Built, digest, document, layer
from tests.registry_lab import Answer, Fault, Middle, middle, serve, serve_manifest

pytestmark = pytest.mark.root

MANIFEST, INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"


@pytest.fixture(name="server")
def server_fixture() -> Iterator[Middle]:
    with middle() as server:
        yield server


def refused(engine: Engine, name: str, words: str | None) -> None:
    """Pulls, and holds the refusal to its words and to leaving nothing behind."""
    with pytest.raises(EngineError, match=words):
        engine.pull(name)
    root = engine.store.root
    left = [str(path) for place in (root.layers, root.staging, root.blobs) for path in Path(place).rglob("*")]
    assert [path for path in left if not path.endswith("/sha256")] == []
    assert engine.images() == []


def log_in(host: str) -> None:
    path = Path(os.environ["DOCKER_CONFIG"], "config.json")
    path.parent.mkdir()
    path.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"mona:secret").decode()}}}))


def test_2021_41190_a_document_that_is_two_things_is_refused(server: Middle, engine: Engine) -> None:
    built = Built()
    both = {**built.manifest(), "manifests": [built.descriptor(built.config, "manifest.v1+json")]}
    blobs = (*built.blobs, built.config)
    refused(engine, serve_manifest(server, document(both), "both", "1", blobs), "a manifest and an index at once")
    plain = built.manifest()
    refused(
        engine,
        serve_manifest(server, document(plain), "typed", "1", blobs, kind=INDEX),
        "says that it is .*index.*, and reads as a manifest",
    )
    inner = document({**plain, "mediaType": INDEX})
    refused(engine, serve_manifest(server, inner, "inner", "1", blobs, kind=MANIFEST), "and reads as a manifest")
    # An index may not change what the document under a digest is either.
    serve_manifest(server, document(plain), "app", "none", blobs)
    index = {"schemaVersion": 2, "manifests": [built.descriptor(document(plain), "index.v1+json")]}
    refused(engine, serve_manifest(server, document(index), "app", "1", kind=INDEX), "index says that a manifest is")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_2020_15157_credentials_go_to_no_other_host(server: Middle, engine: Engine, code: int) -> None:
    built = Built()
    with middle() as other:
        log_in(server.host)
        theirs = f"http://{other.host}/blob"
        basic = {"WWW-Authenticate": 'Basic realm="x"'}
        server.on("GET", "^/v2/", lambda asked: None if "Authorization" in asked.headers else Answer(401, b"", basic))
        server.on("GET", f"/blobs/{digest(built.blobs[0])}", Answer(code, b"", {"Location": theirs}))
        other.on("GET", "/blob", Answer(200, built.blobs[0]))
        engine.pull(serve(server, built))
        assert all("Authorization" in one.headers for one in server.requests("GET", "/blobs/"))
        assert [one.headers.get("Authorization") for one in other.asked] == [None]


def test_2020_15157_a_redirects_challenge_is_not_answered(server: Middle, engine: Engine) -> None:
    built = Built()
    with middle() as other:
        log_in(server.host)
        server.on("GET", "/blobs/", Answer(307, b"", {"Location": f"http://{other.host}/blob"}))
        other.on("GET", "/blob", Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{other.host}/token"'}))
        refused(engine, serve(server, built), "refuses")
        assert {(one.path, one.headers.get("Authorization")) for one in other.asked} == {("/blob", None)}


def test_foreign_urls_of_layers_are_not_followed(server: Middle, engine: Engine) -> None:
    built = Built()
    with middle() as other:
        layers = [{**one, "urls": [f"http://{other.host}/layer"]} for one in built.manifest()["layers"]]
        server.on("GET", f"/blobs/{digest(built.blobs[1])}", Answer(404))
        refused(engine, serve(server, built, layers=layers), "has no blob")
        assert other.asked == []


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("file:///etc/shadow", "redirects to `file:///etc/shadow`, which is not followed"),
        ("gopher://localhost/", "is not followed"),
        ("/v2/again", "redirects more than 5 times"),
    ],
)
def test_redirects_that_lead_astray(server: Middle, engine: Engine, location: str, words: str) -> None:
    server.on("GET", "/again", Answer(307, b"", {"Location": "/v2/again"}))
    server.on("GET", "/manifests/", Answer(307, b"", {"Location": location}))
    refused(engine, f"{server.host}/app:1", words)


@pytest.mark.parametrize("where", ["config", "layers"])
@pytest.mark.parametrize(
    "name",
    [
        "sha256:../../../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:abc",
        "sha512:" + "a" * 128,
        "sha256:" + "a" * 63 + "/",
        "../x",
        "",
    ],
)
def test_2024_3727_a_digest_is_no_path(server: Middle, engine: Engine, where: str, name: str) -> None:
    manifest = Built().manifest()
    target = manifest["config"] if where == "config" else manifest["layers"][0]
    target["digest"] = name
    refused(engine, serve_manifest(server, document(manifest), "app", "1"), "is not a sha256 digest")
    assert server.requests("GET", "/blobs/") == []


@pytest.mark.parametrize("place", [0, 20, 10_007])
@pytest.mark.parametrize("what", ["/manifests/", "config", "0", "1"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_byte_leaves_nothing(server: Middle, engine: Engine, what: str, place: int, packed: bool) -> None:
    built = Built(pack=(lambda tar: gzip.compress(tar, mtime=0)) if packed else None)
    name = serve(server, built)
    promised = {"Docker-Content-Digest": digest(document(built.manifest())), "Content-Type": MANIFEST}
    with middle(server.host) as flipping:
        path = (
            what
            if what == "/manifests/"
            else "/blobs/" + (built.id if what == "config" else digest(built.blobs[int(what)]))
        )
        if what == "/manifests/":
            data = bytearray(document(built.manifest()))
            data[place % len(data)] ^= 1
            flipping.on("GET", path, Answer(200, bytes(data), promised))
        else:
            flipping.on("GET", path, Fault(flip=place))
        refused(engine, name.replace(server.host, flipping.host), None)


@pytest.mark.parametrize(("fault", "words"), [(Fault(more=b"x" * 9), "more than the"), (Fault(short=99), "broke")])
def test_a_layer_of_another_length(server: Middle, engine: Engine, fault: Fault, words: str) -> None:
    built = Built([layer(etc__motd="hello")])
    name = serve(server, built)
    with middle(server.host) as lying:
        lying.on("GET", f"/blobs/{digest(built.blobs[0])}", fault)
        refused(engine, name.replace(server.host, lying.host), words)


def test_sizes_that_lie(server: Middle, engine: Engine) -> None:
    built = Built()
    for number, (key, size, words) in enumerate(
        [("config", 10, "more than the"), ("config", -1, "gives a blob -1 bytes"), ("config", 1 << 40, "are allowed")]
    ):
        manifest = built.manifest()
        manifest[key] = {**manifest[key], "size": size}
        blobs = (*built.blobs, built.config)
        refused(engine, serve_manifest(server, document(manifest), f"app{number}", "1", blobs), words)
    twice = built.manifest()
    twice["layers"] = [twice["layers"][0], {**twice["layers"][0], "size": 7}]
    refused(engine, serve_manifest(server, document(twice), "twice", "1", (*built.blobs, built.config)), "two sizes")


def test_a_configuration_that_does_not_fit_its_manifest(server: Middle, engine: Engine) -> None:
    built = Built()
    refused(engine, serve(server, built, layers=built.manifest()["layers"][:1]), "lists 2 layers, and the manifest 1")
    other = Built([layer(x="y"), layer(z="")])
    swapped = {**other.manifest(), "config": built.manifest()["config"]}
    blobs = (*other.blobs, built.config)
    refused(engine, serve_manifest(server, document(swapped), "swapped", "1", blobs), "digest of its content")


def test_what_is_no_image_is_said_to_be_none(server: Middle, engine: Engine) -> None:
    chart = Built().manifest()
    chart["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    refused(engine, serve_manifest(server, document(chart), "chart", "1"), "no image that can be run")
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    refused(engine, serve_manifest(server, b'{"schemaVersion": 1}', "old", "1", kind=old), "schema 1")


def test_2024_25621_hostile_manifests_end_in_a_message(server: Middle, engine: Engine) -> None:
    chance = random.Random(3)
    built = Built([layer(a="b")])
    values: list[Any] = [None, "", 0, -1, 1e308, [], {}, [[]], "x" * 5000, {"a": 1}, True, "\x1b[31m", "\ud800"]

    def spoil(node: Any) -> Any:
        if isinstance(node, dict) and node and chance.random() < 0.8:
            key = chance.choice(list(node))
            return {**node, key: spoil(node[key])}
        if isinstance(node, list) and node and chance.random() < 0.8:
            place = chance.randrange(len(node))
            return [*node[:place], spoil(node[place]), *node[place + 1 :]]
        return chance.choice(values)

    current: list[bytes] = [b""]
    server.on("GET", "/manifests/", lambda _: Answer(200, current[0], {"Content-Type": MANIFEST}))
    for blob in (*built.blobs, built.config):
        server.on("GET", digest(blob), Answer(200, blob))
    for turn in range(500):
        data = json.dumps(spoil(built.manifest())).encode()
        current[0] = data[: chance.randrange(len(data))] if turn % 5 == 0 else data
        try:
            engine.pull(f"{server.host}/app:1", policy="always")
        except EngineError as error:
            assert str(error).isprintable(), str(error)


def _grown(path: Path, name: str, words: str) -> int:
    """The most memory, in KiB, of a pull that is refused with these words."""
    program = (
        "import sys; sys.path[:0] = sys.argv[3:]; from stackpy_runtime.engine import Engine\n"
        "from stackpy_runtime.errors import EngineError\n"
        "try: Engine(sys.argv[1]).pull(sys.argv[2])\n"
        "except EngineError as error: print(error)\n"
        # Not getrusage: that counts the test's own memory, which the process was forked with.
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), name, *sys.path], capture_output=True, text=True, check=True
    )
    said, most = done.stdout.rstrip().rsplit("\n", 1) if "\n" in done.stdout.rstrip() else ("", done.stdout)
    assert words in said, said
    left = [str(found) for folder in ("layers", "staging") for found in (path / folder).rglob("*")]
    assert words == "" or left == []
    return int(most)


def zeros(gibibytes: int) -> bytes:
    """A gzip stream of a tar with one file of so many GiB of zeros, a thousandth of its size."""
    import tarfile

    info = tarfile.TarInfo("zeros")
    info.size = gibibytes << 30
    # Of many members, so that it is made quickly.
    return gzip.compress(info.tobuf()) + gzip.compress(bytes(1 << 26)) * (gibibytes * 16)


def test_decompression_bombs_are_seen_before_they_fill_anything(server: Middle, tmp_path: Path) -> None:
    small = _grown(tmp_path / "root", serve(server, Built([layer(a="b")]), "small"), "")
    bomb = Built([layer(bomb="")])
    bomb.blobs = [zeros(2)]
    deep = b"[" * 1_000_000
    manifests = {
        "bomb": ("decompresses to more than 150 times its size", document(bomb.manifest()), (*bomb.blobs, bomb.config)),
        "deep": ("nested too deeply", b'{"schemaVersion":2,"layers":' + deep, ()),
        "huge": ("are allowed", b'{"x":"' + b"y" * (64 << 20), ()),
    }
    for name, (words, data, blobs) in manifests.items():
        grown = _grown(tmp_path / name, serve_manifest(server, data, name, "1", blobs), words)
        assert grown - small < 50 << 10, name


def test_too_many_entries_layers_and_indexes(server: Middle, engine: Engine) -> None:
    manifest = Built().manifest()
    many = {**manifest, "layers": manifest["layers"] * 300}
    refused(engine, serve_manifest(server, document(many), "many", "1"), "600 layers, and 500 are allowed")
    data = document(manifest)
    for depth in range(6):
        inner = Built.descriptor(data, "index.v1+json" if depth else "manifest.v1+json")
        serve_manifest(server, data, "deep", "none", kind=INDEX if depth else MANIFEST)
        data = document({"schemaVersion": 2, "manifests": [inner], "depth": depth})
    refused(engine, serve_manifest(server, data, "deep", "1", kind=INDEX), "nested more than 4 deep")
    empty = document({"schemaVersion": 2, "manifests": []})
    refused(engine, serve_manifest(server, empty, "empty", "1", kind=INDEX), "no image for")

"""Registries for tests, all on loopback: Debian's docker-registry, and an HTTP server of ours that stands before it.

The second one forwards what no rule is for. A rule cuts, truncates, changes or delays an answer, or gives another one;
so the same server is a registry with faults, a registry that lies, and the token server.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.image.registry import backoff
from tests.image_archives import Built, as_folder
from tests.waiting import wait_for

USER, PASSWORD = "mona", "s3cret:x"
# bcrypt of the above, as `htpasswd -B` writes it
_HTPASSWD = f"{USER}:$2b$04$SS9aQXQMYu1EEz/qHiDIr.ryBwt36Ok8S2u2qWB6OXisxUdJxf9My\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Registry(NamedTuple):
    """A docker-registry that runs."""

    host: str  # HOST:PORT
    folder: Path
    ca: str = ""  # with TLS
    login: str = ""  # USER:PASSWORD

    def name(self, repository: str) -> str:
        return f"{self.host}/{repository}"

    def put(self, repository: str, built: Built, *options: str, **layout: Any) -> None:
        """Has skopeo put an image there."""
        place = self.folder / f"layout-{len(list(self.folder.iterdir()))}"
        as_folder(place, built.layout(**layout))
        self.skopeo("copy", *options, f"oci:{place}", f"docker://{self.name(repository)}", side="dest-")

    def skopeo(self, verb: str, *arguments: str, side: str = "") -> str:
        given = [f"--{side}tls-verify={'true' if self.ca else 'false'}"]
        given += [f"--{side}cert-dir={os.path.dirname(self.ca)}"] if self.ca else []
        given += [f"--{side}creds={self.login}"] if self.login else []
        return subprocess.run(
            ["skopeo", "--insecure-policy", verb, *given, *arguments], check=True, capture_output=True, text=True
        ).stdout

    def inspect(self, repository: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.skopeo("inspect", f"docker://{self.name(repository)}"))
        return document

    def blobs(self) -> set[str]:
        """Digests of all that it has, in whatever repository."""
        return {path.parent.name for path in self.folder.glob("data/docker/registry/v2/blobs/sha256/*/*/data")}


@contextmanager
def docker_registry(folder: Path, *, tls: bool = False, users: bool = False) -> Iterator[Registry]:
    """A docker-registry with its content in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    host = f"localhost:{free_port()}"
    document: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host.replace("localhost", "127.0.0.1")},
    }
    ca = ""
    if tls:
        ca = certificate(folder / "tls")
        document["http"]["tls"] = {"certificate": f"{folder}/tls/host.crt", "key": f"{folder}/tls/host.key"}
    if users:
        (folder / "htpasswd").write_text(_HTPASSWD)
        document["auth"] = {"htpasswd": {"realm": "tests", "path": f"{folder}/htpasswd"}}
    (folder / "config.yml").write_text(json.dumps(document))  # which is YAML too
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", f"{folder}/config.yml"], stdout=log, stderr=log)
    try:
        wait_for(lambda: _listens(host), "docker-registry listens")
        yield Registry(host, folder, ca, f"{USER}:{PASSWORD}" if users else "")
    finally:
        process.kill()
        process.wait()


def certificate(folder: Path) -> str:
    """Makes an authority and a certificate of localhost; returns the authority's file."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    ca = ["openssl", "req", "-x509", *key, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"]
    own = ["-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/CN=localhost", "-addext"]
    host = ["openssl", "req", "-x509", *key, *own, "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    for command in (
        ca,
        [*host, "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "host.key", "-out", "host.crt"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    # skopeo takes every key in its folder for one of a client.
    trusted = folder / "trusted" / "ca.crt"
    trusted.parent.mkdir()
    (folder / "ca.crt").rename(trusted)
    return str(trusted)


def _listens(host: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), 1).close()
    except OSError:
        return False
    return True


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What a rule answers itself."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class Fault(NamedTuple):
    """What happens to a forwarded answer.

    cut: the connection ends after so many bytes of the body; flip: the byte at this place is changed
    short: the body is shorter, and says so; slow: seconds before each piece of 64 KiB; more: bytes after the last
    """

    cut: int = -1
    flip: int = -1
    short: int = -1
    slow: float = 0.0
    more: bytes = b""


Rule = Callable[[Asked], "Answer | Fault | None"]


class Middle:
    """The HTTP server of ours. upstream: HOST:PORT to forward to, or "" for none."""

    def __init__(self, upstream: str = "") -> None:
        self.upstream = upstream
        self.asked: list[Asked] = []
        self.rules: list[tuple[str, re.Pattern[str], Rule, list[int]]] = []
        self.open = self.most = 0  # bodies of blobs under way: now, and at most at once
        self._lock = threading.Lock()
        middle = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes: 40 ms else

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ValueError):
                    self.close_connection = True

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: middle.handle(self)
                raise AttributeError(name)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def on(self, method: str, path: str, rule: Rule | Answer | Fault, times: int = -1) -> None:
        """Adds a rule for requests whose path contains the expression; it holds `times` times, or always."""
        function = rule if callable(rule) else lambda _: rule
        self.rules.append((method, re.compile(path), function, [times]))

    def requests(self, method: str = "", path: str = "") -> list[Asked]:
        return [one for one in self.asked if method in ("", one.method) and re.search(path, one.path)]

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        asked = Asked(handler.command, handler.path, dict(handler.headers.items()), handler.rfile.read(length))
        with self._lock:
            self.asked.append(asked)
            ruled = self._ruled(asked)
        if isinstance(ruled, Answer):
            self._send(handler, ruled.status, {**ruled.headers, "Content-Length": str(len(ruled.body))}, ruled.body)
        elif self.upstream:
            self._forward(handler, asked, ruled or Fault())
        else:
            self._send(handler, 404, {"Content-Length": "2"}, b"{}")

    def _ruled(self, asked: Asked) -> Answer | Fault | None:
        for method, path, rule, left in self.rules:
            if method == asked.method and path.search(asked.path) and left[0]:
                found = rule(asked)
                if found is not None:
                    left[0] -= 1
                    return found
        return None

    def _forward(self, handler: BaseHTTPRequestHandler, asked: Asked, fault: Fault) -> None:
        connection = http.client.HTTPConnection(self.upstream)
        try:
            connection.request(asked.method, asked.path, asked.body or None, asked.headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        headers = {name: value for name, value in answer.getheaders() if name != "Transfer-Encoding"}
        if "Location" in headers:
            headers["Location"] = headers["Location"].replace(self.upstream, self.host)
        if asked.method != "HEAD":
            headers["Content-Length"] = str(len(body))
        if fault.flip >= 0 and body:
            place = fault.flip % len(body)
            body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        if fault.more or fault.short >= 0:
            body = (body if fault.short < 0 else body[: fault.short]) + fault.more
            headers["Content-Length"] = str(len(body))
        blob = asked.method == "GET" and "/blobs/" in asked.path
        with self._lock:
            self.open += blob
            self.most = max(self.most, self.open)
        try:
            self._send(handler, answer.status, headers, body, fault)
        finally:
            with self._lock:
                self.open -= blob

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        fault: Fault | None = None,
    ) -> None:
        fault = fault or Fault()
        handler.send_response_only(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        whole = body if fault.cut < 0 else body[: fault.cut]
        for start in range(0, len(whole), 65536):
            time.sleep(fault.slow)
            handler.wfile.write(whole[start : start + 65536])
        if fault.cut >= 0:
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def middle(upstream: str = "") -> Iterator[Middle]:
    """The server of ours, before a registry or alone."""
    server = Middle(upstream)
    try:
        yield server
    finally:
        server.close()


def pack(tar: bytes) -> bytes:
    """A layer compressed, quickly and always the same."""
    return gzip.compress(tar, 1, mtime=0)


@pytest.fixture(name="registry", scope="module")
def registry_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An empty one, for the tests of a module."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(name="before")
def before_fixture(registry: Registry) -> Iterator[Middle]:
    """The server of ours, before the registry that the module has as `registry`."""
    with middle(registry.host) as server:
        yield server


@pytest.fixture(name="engine")
def engine_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine on an empty root, without credentials, that tries again almost at once."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(backoff, "_FIRST", 0.01)
    return Engine(str(tmp_path / "root"))


def serve(server: Middle, built: Built, repository: str = "app", tag: str = "1", **changes: Any) -> str:
    """Has a server without an upstream be the registry of an image; returns the reference."""
    data = json.dumps(built.manifest(**changes)).encode()
    return serve_manifest(server, data, repository, tag, (*built.blobs, built.config))


def serve_manifest(
    server: Middle, data: bytes, repository: str, tag: str, blobs: tuple[bytes, ...] = (), kind: str = ""
) -> str:
    """Has it serve this very manifest, with blobs, whatever it says."""
    import hashlib

    kind = kind or "application/vnd.oci.image.manifest.v1+json"
    own = hashlib.sha256(data).hexdigest()
    server.on("GET", f"/v2/{repository}/manifests/(?:{tag}|sha256:{own})$", Answer(200, data, {"Content-Type": kind}))
    for blob in blobs:
        server.on("GET", f"/v2/{repository}/blobs/sha256:{hashlib.sha256(blob).hexdigest()}$", Answer(200, blob))
    return f"{server.host}/{repository}:{tag}"


def tokens(server: Middle, users: dict[str, str], *, realm: str = "") -> list[str]:
    """Makes a server ask for tokens, and give them out at /token; returns the list of scopes that were asked for.

    users: what may log in, for pushes; everyone may pull
    """
    import base64
    from urllib.parse import parse_qs, urlsplit

    scopes: list[str] = []
    valid: dict[str, str] = {}
    where = realm or f"http://{server.host}/token"

    def give(asked: Asked) -> Answer:
        fields = parse_qs(urlsplit(asked.path).query or asked.body.decode())
        given = asked.headers.get("Authorization", "")
        known = {"Basic " + base64.b64encode(f"{name}:{word}".encode()).decode() for name, word in users.items()}
        refresh = fields.get("refresh_token", [""])[0]
        if (given and given not in known) or (refresh and refresh not in users.values()):
            return Answer(401, b"{}")
        scope = " ".join(fields.get("scope", [""]))
        scopes.append(scope)
        token = f"token-{len(scopes)}"
        may_push = bool(given) or bool(refresh)
        valid[token] = scope if may_push else scope.replace(":pull,push", ":pull")
        return Answer(200, json.dumps({"token": token}).encode())

    def ask(asked: Asked) -> Answer | None:
        verb = "pull" if asked.method in ("GET", "HEAD") else "push"
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        repository = re.match(r"/v2/(.+)/(?:manifests|blobs)/", asked.path)
        scope = f"repository:{repository[1]}:pull,push" if repository else ""
        granted = valid.get(token)
        if granted is not None and (not repository or (repository[1] in granted and verb in granted)):
            return None
        challenge = f'Bearer realm="{where}",service="tests",scope="{scope}"'
        return Answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}', {"WWW-Authenticate": challenge})

    for method in ("GET", "POST"):
        server.on(method, "^/token", give)
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        server.rules.insert(0, (method, re.compile("^/v2/"), ask, [-1]))
    return scopes

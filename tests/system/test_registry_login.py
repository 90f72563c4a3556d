"""Who asks: docker's config.json, credential helpers, Basic, tokens; and with whom TLS is spoken."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError, InvalidConfig
from tests.image_archives import Built, layer
from tests.registry_lab import PASSWORD, USER, Answer, Registry, docker_registry, middle, serve, tokens

pytestmark = pytest.mark.root


@pytest.fixture(name="registry", scope="module")
def registry_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """With TLS and users."""
    with docker_registry(tmp_path_factory.mktemp("registry"), tls=True, users=True) as registry:
        registry.put("app:1", Built([layer(a="b")]))
        yield registry


def config(document: dict[str, Any]) -> Path:
    path = Path(os.environ["DOCKER_CONFIG"], "config.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def trusting(engine: Engine, registry: Registry, **more: Any) -> Engine:
    engine.registries = {registry.host: {"ca": registry.ca, **more}}
    return engine


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_an_unknown_authority_is_not_trusted_not_even_on_loopback(registry: Registry, engine: Engine) -> None:
    with pytest.raises(EngineError, match="cannot be trusted: unable to get local issuer certificate"):
        engine.pull(registry.name("app:1"))
    lax = Engine(engine.root)
    lax.registries = {registry.host: {"insecure": True}}
    with pytest.raises(EngineError, match="refuses"):
        lax.pull(registry.name("app:1"))


def test_login_pull_push_logout(registry: Registry, engine: Engine) -> None:
    trusting(engine, registry)
    with pytest.raises(EngineError, match=f"{registry.host} refuses"):
        engine.pull(registry.name("app:1"))
    with pytest.raises(EngineError, match=f"{registry.host} refuses"):
        engine.login(registry.host, USER, "wrong")
    path = Path(engine.login(f"https://{registry.host}/v2/", USER, PASSWORD))
    assert path == Path(os.environ["DOCKER_CONFIG"], "config.json")
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert json.loads(path.read_text()) == {"auths": {registry.host: {"auth": encoded}}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = trusting(Engine(engine.root), registry)
    again.pull(registry.name("app:1"))
    again.push(registry.name("app:1"), registry.name("mine:1"))
    assert registry.inspect("mine:1")["Digest"] == registry.inspect("app:1")["Digest"]
    assert (again.logout(registry.host), again.logout(registry.host)) == (True, False)
    assert json.loads(path.read_text()) == {"auths": {}}


def test_what_else_is_in_the_file_stays(registry: Registry, engine: Engine) -> None:
    other = {"auths": {"quay.io": {"auth": "eDp5"}}, "HttpHeaders": {"a": "b"}, "psFormat": "x"}
    path = config(other)
    trusting(engine, registry).login(registry.host, USER, PASSWORD)
    engine.logout(registry.host)
    assert json.loads(path.read_text()) == other
    config([])  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match=r"config\.json is no JSON document"):
        engine.login(registry.host, USER, PASSWORD)


HELPER = """\
#!/bin/sh
read server
case $1 in
get) cat "$0.$(echo "$server" | tr : _)" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
store) echo "$server" > "$0.stored";;
erase) echo "$server" > "$0.erased";;
esac
"""


@pytest.mark.parametrize("setting", ["credsStore", "credHelpers"])
def test_credentials_come_from_a_helper(
    registry: Registry, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    program = tmp_path / "docker-credential-fake"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config({setting: "fake" if setting == "credsStore" else {registry.host: "fake"}})
    trusting(engine, registry)
    with pytest.raises(EngineError, match="refuses"):
        engine.pull(registry.name("app:1"))
    assert engine.login(registry.host, USER, PASSWORD) == "docker-credential-fake"
    assert json.loads(Path(f"{program}.stored").read_text()) == {
        "ServerURL": registry.host, "Username": USER, "Secret": PASSWORD
    }  # fmt: skip
    answer = {"ServerURL": registry.host, "Username": USER, "Secret": PASSWORD}
    Path(f"{program}.{registry.host.replace(':', '_')}").write_text(json.dumps(answer))
    fresh = trusting(Engine(engine.root), registry)
    fresh.pull(registry.name("app:1"))
    assert fresh.logout(registry.host)
    assert Path(f"{program}.erased").read_text().strip() == registry.host
    config({"credsStore": "../../evil"})
    with pytest.raises(InvalidConfig, match="cannot be a credential helper"):
        trusting(Engine(engine.root), registry).pull(registry.name("app:1"), policy="always")


def test_tokens_are_asked_for_what_is_needed_and_used_again(engine: Engine, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "plain") as registry, middle(registry.host) as server:
        server.on("GET", "/token", Answer(503), times=2)
        scopes = tokens(server, {"mona": "word"})
        registry.put("app:1", Built([layer(a="b"), layer(c="d")]))
        engine.pull(f"{server.host}/app:1")
        assert scopes == ["repository:app:pull"]
        with pytest.raises(EngineError, match=f"{server.host} refuses"):
            engine.push(f"{server.host}/app:1", f"{server.host}/new:1")
        with pytest.raises(EngineError, match="does not let you in as mona"):
            engine.login(server.host, "mona", "wrong")
        engine.login(server.host, "mona", "word")
        fresh = Engine(engine.root)
        scopes.clear()
        fresh.push(f"{server.host}/app:1", f"{server.host}/new:1")
        assert "repository:new:pull,push" in scopes
        assert registry.inspect("new:1")["Digest"] == registry.inspect("app:1")["Digest"]


def test_an_identity_token_stands_for_a_password(engine: Engine, tmp_path: Path) -> None:
    with middle() as server:
        scopes = tokens(server, {"mona": "refresh-token"})
        name = serve(server, Built([layer(a="b")]))
        config({"auths": {server.host: {"auth": base64.b64encode(b"x:").decode(), "identitytoken": "refresh-token"}}})
        engine.pull(name)
        assert scopes == ["repository:app:pull"]
        (asked,) = server.requests("POST", "/token")
        assert b"grant_type=refresh_token" in asked.body
        assert "Authorization" not in asked.headers

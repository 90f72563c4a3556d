"""What is decided of registries without asking any: endpoints, platforms, challenges, waits, settings, credentials."""

from __future__ import annotations

import base64
import json
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime import platforms
from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image.manifests import Descriptor, Platform
from stackpy_runtime.image.registry import auth, backoff, choosing, settings
from stackpy_runtime.image.registry.credentials import Credentials, Login
from stackpy_runtime.image.registry.endpoints import Endpoint, endpoints, is_loopback
from stackpy_runtime.image.registry.settings import Host, Settings
from stackpy_runtime.registry_verbs import is_old


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("127.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("10.0.0.1:5000", False),
        ("[::2]", False),
        ("registry.example", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_plain_http_is_for_loopback_or_asked_for() -> None:
    configured = Settings({"lax.example": Host(insecure=True), "localhost:2": Host(ca="/ca.pem")})

    def last(name: str) -> Endpoint:
        return endpoints(name, configured, mirrors=True)[-1]

    assert last("docker.io") == Endpoint("registry-1.docker.io", "docker.io")
    assert last("some.example") == Endpoint("some.example", "some.example")
    assert last("lax.example") == Endpoint("lax.example", "lax.example", ("https", "http"), verify=False)
    assert last("localhost:1") == Endpoint("localhost:1", "localhost:1", ("https", "http"))
    assert last("localhost:2") == Endpoint("localhost:2", "localhost:2", ("https",), ca="/ca.pem")


def test_mirrors_come_first_and_only_for_reading() -> None:
    mirrors = ("mirror.example/hub", "http://localhost:5000", "https://m.example:444/a/b/")
    configured = Settings({"docker.io": Host(mirrors), "m.example:444": Host(ca="/ca.pem")})
    assert endpoints("docker.io", configured, mirrors=True) == [
        Endpoint("mirror.example", "mirror.example", ("https",), "/hub"),
        Endpoint("localhost:5000", "localhost:5000", ("http",)),
        Endpoint("m.example:444", "m.example:444", ("https",), "/a/b", "/ca.pem"),
        Endpoint("registry-1.docker.io", "docker.io"),
    ]
    assert len(endpoints("docker.io", configured, mirrors=False)) == 1


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ("http://mirror.example", "plain HTTP can be read and changed"),
        ("ftp://mirror.example", "cannot be a mirror"),
        ("https://", "cannot be a mirror"),
        ("https://m.example/?a", "cannot be a mirror"),
        ("https://user:word@m.example", "holds credentials"),
    ],
)
def test_what_cannot_be_a_mirror(mirror: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        endpoints("docker.io", Settings({"docker.io": Host((mirror,))}), mirrors=True)


def test_settings_of_the_nearest_file_say_all_of_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "system.toml"
    monkeypatch.setattr(settings, "SYSTEM", str(system))
    system.write_text('[registries."a.example"]\ninsecure = true\n[registries."b.example"]\nmirrors = ["m.example"]\n')
    (tmp_path / settings.FILE).write_text('keep_blobs = false\n[registries."a.example"]\nca = "/ca.pem"\n')
    found = settings.load(str(tmp_path), {"c.example": {"insecure": True}, "b.example": {}})
    assert found == Settings(
        {"a.example": Host(ca="/ca.pem"), "b.example": Host(), "c.example": Host(insecure=True)}, keep_blobs=False
    )
    assert found.host("other.example") == Host()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "unknown setting `x`"),
        ("registries = 1", "`registries` must be a table"),
        ("keep_blobs = 1", "`keep_blobs` must be true or false"),
        ('[registries."a"]\nx = 1', "unknown setting `x`"),
        ('[registries."a"]\nca = "relative.pem"', "`ca` must be an absolute path"),
        ('[registries."a"]\nmirrors = "m.example"', "`mirrors` must be a list"),
        ('[registries."a"]\ninsecure = "no"', "`insecure` must be true or false"),
        ("[registries", "Expected"),
    ],
)
def test_settings_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / settings.FILE).write_text(text)
    with pytest.raises(InvalidConfig, match=words) as raised:
        settings.load(str(tmp_path))
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', ("basic", "x", "", "")),
        ('basic realm="x, y=\\"z\\""', ("basic", 'x, y="z"', "", "")),
        (
            'Bearer realm="https://auth.example/token",service="s",scope="repository:a/b:pull,push"',
            ("bearer", "https://auth.example/token", "s", "repository:a/b:pull,push"),
        ),
        ('Basic realm="x", Bearer realm="https://t.example/"', ("bearer", "https://t.example/", "", "")),
        ("Bearer realm=https://t.example/,service=s", ("bearer", "https://t.example/", "s", "")),
        ('Bearer realm="https://t.example/", error="Basic auth"', ("bearer", "https://t.example/", "", "")),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_challenges(header: str, expected: tuple[str, ...] | None) -> None:
    assert auth.challenge(header) == expected


@given(st.text(alphabet='BearerBasic realm=",\\x', max_size=60))
def test_no_challenge_breaks_the_reader(header: str) -> None:
    found = auth.challenge(header)
    assert found is None or found.kind in ("basic", "bearer")


def test_waits_grow_and_what_the_server_asks_for_counts() -> None:
    for attempt in range(1, 12):
        expected = min(20.0, 0.25 * 2 ** (attempt - 1))
        assert 0.75 * expected <= backoff.delay(attempt) <= 1.25 * expected
    assert (backoff.delay(1, "7"), backoff.delay(9, " 0 ")) == (7.0, 0.0)
    assert 8 < backoff.delay(1, formatdate(time.time() + 10, usegmt=True)) <= 10
    assert backoff.delay(1, formatdate(0, usegmt=True)) == 0.0
    assert backoff.delay(1, "soon") < 1
    assert [status for status in range(200, 600) if backoff.passing(status)] == [429, 500, 502, 503, 504]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("Linux/ARM/v7", "linux/arm/v7"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux", str(platforms.machine())),
        ("", str(platforms.machine())),
    ],
)
def test_platforms(text: str, expected: str) -> None:
    assert str(platforms.parse(text)) == expected


@pytest.mark.parametrize("text", ["windows/amd64", "linux/a/b/c", "linux/", "linux/a b", "/"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidConfig):
        platforms.parse(text)


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/amd64/v3 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/amd64/v2", ""),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64/v8", "linux/arm/v7 linux/arm64", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v6", "linux/arm/v7", ""),
        ("linux/amd64", "windows/amd64", ""),
        ("linux/amd64", "", ""),
    ],
)
def test_the_best_of_an_index_is_chosen(wanted: str, there: str, expected: str) -> None:
    descriptors = []
    for text in there.split():
        system, architecture, *variant = text.split("/")
        platform = Platform(architecture, system, variant[0] if variant else None)
        descriptors.append(Descriptor(text, 1, platform=platform))
    if expected:
        assert choosing.choose(descriptors, platforms.parse(wanted)).digest == expected
        return
    with pytest.raises(InvalidConfig, match=f"no image for {platforms.parse(wanted)}"):
        choosing.choose(descriptors, platforms.parse(wanted))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("document", "registry", "expected"),
    [
        ({"auths": {"a.example": {"auth": encoded("me:w:d")}}}, "a.example", Login("me", "w:d")),
        ({"auths": {"https://a.example/v1/": {"auth": encoded("me:w")}}}, "a.example", Login("me", "w")),
        ({"auths": {"https://index.docker.io/v1/": {"auth": encoded("me:w")}}}, "docker.io", Login("me", "w")),
        ({"auths": {"a.example": {"auth": encoded("me:"), "identitytoken": "t"}}}, "a.example", Login(token="t")),
        ({"auths": {"a.example": {"username": "me", "password": "w"}}}, "a.example", Login("me", "w")),
        ({"auths": {"a.example": {"auth": encoded("me:w")}}}, "a.example:5000", None),
        ({"auths": {"a.example.evil": {"auth": encoded("me:w")}}}, "a.example", None),
        ({"auths": {"a.example": {}}}, "a.example", None),
        ({"auths": []}, "a.example", None),
        ({}, "a.example", None),
    ],
)
def test_credentials_of_dockers_file(
    tmp_path: Path, document: dict[str, Any], registry: str, expected: Login | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(document))
    found = Credentials(str(tmp_path)).get(registry)
    assert found == expected
    assert repr(found) in ("None", "Login('me')", "Login('')")


def test_credentials_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"a.example": {"auth": "???"}}}))
    with pytest.raises(InvalidConfig, match=r"`auth` of a\.example cannot be read"):
        Credentials(str(tmp_path)).get("a.example")
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "there-is-none"}))
    with pytest.raises(EngineError, match="docker-credential-there-is-none is not on PATH"):
        Credentials(str(tmp_path)).get("a.example")


@pytest.mark.parametrize(
    ("pulled", "expected"),
    [
        ("", True),
        ("1970-01-02T00:00:00.000000Z", False),
        ("1970-01-01T12:00:00.000000Z", False),
        ("1970-01-01T11:59:59.000000Z", True),
        ("1970-01-05T00:00:00.000000Z", True),  # the clock was wrong then
    ],
)
def test_what_is_more_than_half_a_day_old(pulled: str, expected: bool) -> None:
    assert is_old(pulled, 43200.0, 86400.0) is expected

"""Which archives a fresh system comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import apt_sources, authorities
from stackpy_runtime.image.apt_sources import Source

LIST = """
# deb http://commented/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://mirror.example/debian/ bookworm main
deb-src https://mirror.example/debian bookworm main
deb https://packages.example/apt bookworm stable # a comment
deb
"""
DEB822 = """Types: deb deb-src
# a comment
URIs: http://a.example/debian
  http://b.example/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
Enabled: no
URIs: http://c.example/debian
Suites: bookworm
Components: main
"""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_sources_are_read_in_both_styles() -> None:
    assert apt_sources.parse_list(LIST) == [
        Source("https://mirror.example/debian", "bookworm", ("main",), KEYRING),
        Source("https://packages.example/apt", "bookworm", ("stable",), ""),
    ]
    assert apt_sources.parse_deb822(DEB822) == [
        Source(f"http://{host}.example/debian", suite, ("main", "contrib"), KEYRING)
        for host in "ab"
        for suite in ("bookworm", "bookworm-updates")
    ]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([], ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")),
        (apt_sources.parse_list(LIST), ("https://mirror.example/debian", "http://deb.debian.org/debian-security")),
        (
            [
                Source("http://m/debian-security", "trixie-security", ("main",), ""),
                Source("http://m/debian", "sid", ("main",), ""),
            ],
            ("http://m/debian", "http://m/debian-security"),
        ),
        (
            # other people's: another key, another component, another place, a way that a container may not have
            [
                Source("http://x/debian", "bookworm", ("main",), "/etc/apt/keyrings/x.gpg"),
                Source("http://x/debian", "bookworm", ("stable",), ""),
                Source("http://x/apt", "bookworm", ("main",), ""),
                Source("file:/srv/debian", "bookworm", ("main",), ""),
            ],
            ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security"),
        ),
    ],
)
def test_the_host_s_mirror_is_taken(sources: list[Source], expected: tuple[str, str]) -> None:
    assert apt_sources.mirrors("debian", sources) == expected


def test_the_list_of_a_fresh_system() -> None:
    assert apt_sources.lines("debian", "bookworm", "http://m", "http://s") == [
        "deb http://m bookworm main",
        "deb http://m bookworm-updates main",
        "deb http://s bookworm-security main",
    ]
    assert apt_sources.lines("debian", "sid", "http://m", "http://s") == ["deb http://m sid main"]


def test_suites() -> None:
    assert apt_sources.parse_suite("bookworm") == ("debian", "bookworm")
    assert apt_sources.parse_suite("ubuntu:noble") == ("ubuntu", "noble")
    for wrong in ("fedora:41", "debian:", "debian:--help x", "debian:../x"):
        with pytest.raises(InvalidConfig):
            apt_sources.parse_suite(wrong)


def test_names_of_packages() -> None:
    apt_sources.check_packages(["libstdc++6", "python3.11", "nginx:amd64", "tini=0.19.0-1+b3", "g++"])
    with pytest.raises(InvalidConfig) as caught:
        apt_sources.check_packages(["ok", "-oX=y", "", "a b", "./x.deb", "?all", "x;y"])
    assert caught.value.message == "`-oX=y`, ``, `a b`, `./x.deb`, `?all`, `x;y` cannot be the name of a package"


@given(st.text("deb htp:/[]=#\n\tUR-sx.", max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    for source in [*apt_sources.parse_list(text), *apt_sources.parse_deb822(text)]:
        assert source.suite


def test_certificates_are_compared_by_content() -> None:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = f"# a comment\n{begin}\r\nAAAA\r\nBBBB\r\n{end}\n{begin}\nCCCC"
    assert authorities.certificates(text) == [f"{begin}\nAAAABBBB\n{end}\n"]

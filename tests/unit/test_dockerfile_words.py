"""Words of a Dockerfile: variables, quotes, escapes, platforms, names, quantities."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime import platforms
from stackpy_runtime.dockerfile import names, quantities
from stackpy_runtime.dockerfile.expansion import BadWord, expand
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.platforms import Platform

ENVIRONMENT = {"A": "one", "EMPTY": "", "PATH": "/usr/local/bin/x.tar.gz", "V": "12.5.1", "S": "a b  c", "Ω": "omega"}

# word → what becomes of it; None: it cannot be read
WORDS = {
    "plain": "plain",
    "": "",
    "$A": "one",
    "${A}": "one",
    "$A$A/${A}s": "oneone/ones",
    "$NONE": "",
    "x${NONE}y": "xy",
    "$Ω": "omega",
    "$A1": "",
    "$1x": "x",
    "$": "$",
    "a$": "a$",
    "$$A": "A",  # `$$` is a parameter of the shell, which has no value here
    "\\$A": "$A",
    "a\\b": "ab",
    "\\\\": "\\",
    "end\\": "end",
    "'$A'": "$A",
    '"$A"': "one",
    "'a\"b'": 'a"b',
    '"a\'b"': "a'b",
    '"a\\"b\\$A\\\\c\\d"': 'a"b$A\\c\\d',
    "\"'$A'\"": "'one'",
    "it's": None,
    '"open': None,
    "${A:-x}": "one",
    "${EMPTY:-x}": "x",
    "${EMPTY-x}": "",
    "${NONE-x}": "x",
    "${NONE:-$A-${V}}": "one-12.5.1",
    "${NONE:-a b}": "a b",
    "${NONE:-'a}b'}": "a}b",
    '${NONE:-"}"}': "}",
    "${A:+x}": "x",
    "${EMPTY:+x}": "",
    "${EMPTY+x}": "x",
    "${NONE+x}": "",
    "${A:?must}": "one",
    "${NONE:?must be there}": None,
    "${NONE?}": None,
    "${EMPTY:?}": None,
    "${EMPTY?}": "",
    "${PATH#*/}": "usr/local/bin/x.tar.gz",
    "${PATH##*/}": "x.tar.gz",
    "${PATH%/*}": "/usr/local/bin",
    "${PATH%.*}": "/usr/local/bin/x.tar",
    "${PATH%%.*}": "/usr/local/bin/x",
    "${PATH%%/*}": "",
    "${PATH#nothing}": "/usr/local/bin/x.tar.gz",
    "${V%.?}": "12.5",
    "${V#??}": ".5.1",
    "${V/./-}": "12-5.1",
    "${V//./-}": "12-5-1",
    "${V//[.]/-}": "12.5.1",  # there are no brackets
    "${PATH//\\//:}": ":usr:local:bin:x.tar.gz",
    "${A/o/$V}": "12.5.1ne",
    "${A//n*/x}": "ox",
    "${A/\\*/x}": "one",
    "${A/\\x/y}": None,
    "${NONE#x}": "",
    "${A": None,
    "${A:-x": None,
    "${}": None,
    "${:x}": None,
    "${{A}}": None,
    "${A:x}": None,
    "${A:#x}": None,
    "${A^^}": None,
    "${A/x}": None,
    "<<EOF": "<<EOF",
    "<< EOF": "<< EOF",
}


@pytest.mark.parametrize("word", WORDS)
def test_expansion(word: str) -> None:
    if WORDS[word] is None:
        with pytest.raises(BadWord):
            expand(word, ENVIRONMENT)
    else:
        assert expand(word, ENVIRONMENT).text == WORDS[word]


def test_the_message_of_a_variable_that_must_be_set() -> None:
    with pytest.raises(BadWord, match=r"^NONE: give me a \$value$"):
        expand("${NONE:?give me a \\$value}", {})


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("$S", ["a", "b", "c"]),
        ('"$S"', ["a b  c"]),
        ("x$S", ["xa", "b", "c"]),
        ("a\\ b c", ["a b", "c"]),
        ("'' a", ["a"]),
        ("  ", []),
        ("<< EOF x", ["<< EOF", "x"]),
    ],
)
def test_words(word: str, words: list[str]) -> None:
    assert expand(word, ENVIRONMENT).words == words


def test_another_escape_character() -> None:
    assert expand("C:\\x`$A`` $A", ENVIRONMENT, escape="`").text == "C:\\x$A` one"


def test_the_content_of_a_heredoc_keeps_its_quotes() -> None:
    assert expand("it's \"$A\" \\$A 'b'", ENVIRONMENT, quotes=False).text == "it's \"one\" $A 'b'"


def test_what_is_found_and_what_is_missing() -> None:
    made = expand("$A ${NONE:-$OTHER} '$QUOTED'", ENVIRONMENT)
    assert (made.found, made.missing) == ({"A"}, {"NONE", "OTHER"})


@given(st.text("a${}:-+?#%/*\\'\"` <\n", max_size=20), st.booleans())
def test_any_word_is_read_or_refused(word: str, keep: bool) -> None:
    try:
        made = expand(word, {"a": "x y"}, keep_unset=keep)
    except BadWord as error:
        assert str(error)
    else:
        assert all(made.words)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(BadWord, match="too deeply"):
        expand("${a:-" * 5000 + "x" + "}" * 5000, {})


# --- platforms --------------------------------------------------------------------------------------------------------

PLATFORMS = {
    "linux/amd64": "linux/amd64",
    "linux/x86_64": "linux/amd64",
    "linux/arm64/v8": "linux/arm64",
    "linux/aarch64": "linux/arm64",
    "linux/arm": "linux/arm/v7",
    "linux/arm/6": "linux/arm/v6",
    "linux/armhf": "linux/arm/v7",
    "LINUX/AMD64": "linux/amd64",
    "arm64": "linux/arm64",
    "windows": "windows/riscv64",
    "linux": "linux/riscv64",
    "macos/arm64": "darwin/arm64",
    "linux/amd64/v3": "linux/amd64/v3",
    "": None,
    "nonsense": None,
    "a/b/c/d": None,
    "linux/a b": None,
}


@pytest.mark.parametrize("text", PLATFORMS)
def test_platforms(text: str) -> None:
    found = platforms.named(text, Platform("linux", "riscv64"))
    assert (found and str(found)) == PLATFORMS[text]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("debian", True),
        ("debian:bookworm-slim", True),
        ("docker.io/library/debian@sha256:" + "a" * 64, True),
        ("localhost:5000/a/b__c.d:1.2", True),
        ("[::1]:5000/a", True),
        ("Debian", False),
        ("example.com/Debian", False),
        ("a//b", False),
        ("a:", False),
        ("a:b:c", False),
        ("-a", False),
        ("a" * 64, False),
        ("a@sha256:short", False),
        ("", False),
        ("a b", False),
    ],
)
def test_references(text: str, valid: bool) -> None:
    assert names.is_reference(text) is valid


SOURCES = {
    "https://example.com/a.tar.gz": "url",
    "http://example.com/a.git.tar": "url",
    "https://github.com/moby/buildkit.git": "git",
    "https://github.com/moby/buildkit.git#v1:sub": "git",
    "https://github.com/moby/buildkit.git?ref=v1": "git",
    "git://host/repo": "git",
    "ssh://git@host/repo": "git",
    "git@github.com:moby/buildkit.git": "git",
    "github.com/moby/buildkit": "path",
    "./git@host:repo": "path",
    "a.git": "path",
    "ftp://host/a": "path",
}


@pytest.mark.parametrize("source", SOURCES)
def test_sources(source: str) -> None:
    kind = "git" if names.is_git(source) else "url" if names.is_url(source) else "path"
    assert kind == SOURCES[source]


@pytest.mark.parametrize(
    ("address", "made"),
    [
        ("https://h/r.git", ("https://h/r.git", "", None)),
        ("https://h/r.git#v1:a/b", ("https://h/r.git#v1:a/b", "", None)),
        ("https://h/r.git#:a", ("https://h/r.git#:a", "", None)),
        ("https://h/r.git?tag=v1&subdir=a", ("https://h/r.git#refs/tags/v1:a", "", None)),
        ("https://h/r.git?branch=main&commit=abc1234", ("https://h/r.git#refs/heads/main", "abc1234", None)),
        ("https://h/r.git?keep-git-dir", ("https://h/r.git", "", True)),
        ("https://h/r.git?keep-git-dir=false", ("https://h/r.git", "", False)),
        ("https://h/r.git?submodules=0&mtime=commit", ("https://h/r.git", "", None, False, True)),
        ("https://h/r.git?submodules&fetch-by-commit=1", ("https://h/r.git", "", None)),
        ("https://h/r.git?submodules=2", None),
        ("https://h/r.git?ref=a#b", None),
        ("https://h/r.git?nothing=a", None),
        ("https://h/r.git?ref=a&ref=a", None),
        ("https://h/r.git?ref", None),
    ],
)
def test_git_addresses(address: str, made: tuple[Any, ...] | None) -> None:
    if made is None:
        with pytest.raises(BadSyntax):
            names.git(address)
    else:
        assert names.git(address) == names.Git(*made)


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("80", ["80/tcp"]),
        ("53/UDP", ["53/udp"]),
        ("8000-8002/sctp", ["8000/sctp", "8001/sctp", "8002/sctp"]),
        ("127.0.0.1:80:8080", ["8080/tcp"]),
        ("80:8080", ["8080/tcp"]),
        ("[::1]:80:8080", ["8080/tcp"]),
        ("80/", ["80/tcp"]),
        ("65536", None),
        ("9-8", None),
        ("http", None),
        ("80/http", None),
        ("x:80", None),
        ("", None),
    ],
)
def test_ports(word: str, ports: list[str] | None) -> None:
    if ports is None:
        with pytest.raises(BadSyntax):
            names.ports(word)
    else:
        assert names.ports(word).ports == ports


@pytest.mark.parametrize("name", ["SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX-1", "SIGRTMIN"])
def test_signals(name: str) -> None:
    assert names.is_signal(name)


@pytest.mark.parametrize("name", ["", "SIGNOTHING", "0", "65", "SIGRTMIN+31", "-1", "SIG"])
def test_no_signals(name: str) -> None:
    assert not names.is_signal(name)


# --- quantities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("30s", 30 * 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5s", 15 * 10**8),
        ("500ms", 5 * 10**8),
        ("2h45m", 9900 * 10**9),
        (".5us", 500),
        ("1µs", 1000),
        ("0", 0),
        ("-1s", -(10**9)),
        ("30", None),
        ("s", None),
        ("1d", None),
        ("", None),
        ("1 s", None),
    ],
)
def test_durations(text: str, nanoseconds: int | None) -> None:
    assert quantities.nanoseconds(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("64m", 64 << 20), ("1g", 1 << 30), ("512", 512), ("1.5KiB", 1536), ("2 GB", 2 << 30), ("x", None), ("", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    assert quantities.size(text) == size

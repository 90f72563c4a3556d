"""References: the distribution grammar, in tables and by generated cases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image.references import Reference, normalise, parse
from stackpy_runtime.store.images import spellings, with_tag

DIGEST = "sha256:" + "ab" * 32

VALID = {
    "debian": ("debian:latest", "docker.io/library/debian:latest"),
    "debian:bookworm": ("debian:bookworm", "docker.io/library/debian:bookworm"),
    "docker.io/library/debian": ("debian:latest", "docker.io/library/debian:latest"),
    "docker.io/debian": ("debian:latest", "docker.io/library/debian:latest"),
    "index.docker.io/me/app:1": ("me/app:1", "docker.io/me/app:1"),
    "docker.io/a.b/c": ("docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
    "library/a/b": ("library/a/b:latest", "docker.io/library/a/b:latest"),
    "me/app": ("me/app:latest", "docker.io/me/app:latest"),
    "localhost/app": ("localhost/app:latest", "localhost/app:latest"),
    "localhost:5000/a/b": ("localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
    f"localhost:5000/a/b@{DIGEST}": (f"localhost:5000/a/b@{DIGEST}",) * 2,
    f"ghcr.io/a/b:v1@{DIGEST}": (f"ghcr.io/a/b:v1@{DIGEST}",) * 2,
    "[::1]:5000/a": ("[::1]:5000/a:latest", "[::1]:5000/a:latest"),
    "Registry/a": ("Registry/a:latest", "Registry/a:latest"),
    "a__b/c-d/e.f_g:V.1-x": ("a__b/c-d/e.f_g:V.1-x", "docker.io/a__b/c-d/e.f_g:V.1-x"),
    "a---b": ("a---b:latest", "docker.io/library/a---b:latest"),
    "x:5": ("x:5", "docker.io/library/x:5"),
}

INVALID = {
    "": "the name is missing",
    ":latest": "the name is missing",
    "Debian": "`Debian` is not a name",
    "a//b": "`a//b` is not a name",
    "a/": "`a/` is not a name",
    "/a": "`/a` is not a name",
    "-a": "`-a` is not a name",
    "a_-b": "`a_-b` is not a name",
    "a___b": "`a___b` is not a name",
    "a:": "`` is not a tag",
    "a:.x": "`.x` is not a tag",
    "a:" + "x" * 129: f"`{'x' * 129}` is not a tag",
    "a@": "`` is not a digest",
    "a@sha256:../../etc/passwd": "`sha256:../../etc/passwd` is not a digest",
    "a@" + DIGEST.upper(): f"`{DIGEST.upper()}` is not a digest",
    "a@sha512:" + "ab" * 64: f"`sha512:{'ab' * 64}` is not a digest",
    "a@" + DIGEST[:-1]: f"`{DIGEST[:-1]}` is not a digest",
    "ab" * 32: "64 hexadecimal digits are an image ID, not a name",
    "sha256:abc": "the name `sha256` belongs to digests",
    "host:port/a": "`host:port` is not a registry",
    "a b": "`a b` is not a name",
    "a\n": "`a\n` is not a name",
    "a:b\n": "`b\n` is not a tag",
    "dé": "`dé` is not a name",
    "a/../b": "`a/../b` is not a name",
}


@pytest.mark.parametrize("text", VALID)
def test_valid(text: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.canonical) == VALID[text]


@pytest.mark.parametrize("text", INVALID)
def test_invalid(text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse(text)
    assert str(caught.value) == f"invalid image reference `{text}`: {INVALID[text]}"
    assert caught.value.hint


def test_the_hint_of_a_capital_is_the_name_in_lower_case() -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse("My/App:V1")
    assert "not a registry" not in str(caught.value) or caught.value.hint
    with pytest.raises(InvalidConfig) as caught:
        parse("MyApp:V1")
    assert caught.value.hint == "names are lower case: `myapp:V1`"


def test_a_name_of_256_characters_is_refused() -> None:
    longest = "a" * (255 - len("docker.io/library/"))
    assert parse(longest).repository == f"library/{longest}"
    with pytest.raises(InvalidConfig, match="longer than 255"):
        parse(longest + "a")


word = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)
registry = st.sampled_from(["docker.io", "localhost", "localhost:5000", "ghcr.io", "10.0.0.1:80", "[fe80::1]"])
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digest = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    where = draw(registry)
    parts = draw(st.lists(word, min_size=1, max_size=3))
    if where == "docker.io" and len(parts) == 1:
        parts.insert(0, "library")
    if parts == ["library", "sha256"]:
        parts[1] = "name"
    named = draw(digest | st.just(""))
    return Reference(where, "/".join(parts), draw(tag | st.just("")) if named else draw(tag), named)


@given(references())
def test_both_forms_are_read_back(reference: Reference) -> None:
    assert parse(str(reference)) == reference
    assert parse(reference.canonical) == reference
    assert normalise(str(reference)) == str(reference)
    # What the store completes by itself is the same as what the grammar says.
    assert with_tag(str(reference)) == str(reference)


@given(references())
def test_the_store_knows_all_spellings(reference: Reference) -> None:
    known = spellings(reference.canonical)
    assert {str(reference), reference.canonical} <= set(known)
    assert set(spellings(str(reference))) == set(known)
    assert {parse(each) for each in known} == {reference}


@pytest.mark.parametrize("text", VALID)
def test_the_store_knows_the_familiar_form(text: str) -> None:
    assert VALID[text][0] in spellings(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidConfig:
        return
    assert parse(str(reference)) == reference
    assert "\n" not in str(reference)

"""What is refused before git sees it, names of stacks, and a cycle's line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.errors import ApplyFailed, StackpyError, UsageError
from stackpy.planning.plan import Action, Change, Plan
from stackpy.problems import Location
from stackpy.reconciling import Cycle, Source, cycle_text
from stackpy.reconciling.source import source, without_credentials

HOSTILE_URLS = [
    "", "-", "--upload-pack=touch /tmp/x", "ext::sh -c touch% /tmp/x", "EXT::sh", "fd::17", "ext::", "a b",
    "x\ny", "x\0y", "javascript://x", "ssh://-oProxyCommand=id/x", "-oProxyCommand=id:x", "ssh://user@-oProxyCommand=id/x",
    "user@-oProxyCommand=id:x", "sftp://h/x",
]  # fmt: skip
HOSTILE_REFS = [
    "", "-", "--upload-pack=x", "+main", "main:refs/heads/x", "a..b", "main^", "main~1", "a b", "a\nb", "@{-1}", "ma?n",
    "m*", "m[a", "a\\b", "x.lock", "/main", "main/", "a//b", "main.",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        source(url)


@pytest.mark.parametrize("ref", HOSTILE_REFS)
def test_hostile_refs_are_refused(ref: str) -> None:
    with pytest.raises(UsageError):
        source("https://example.org/x", ref)


@pytest.mark.parametrize("path", ["..", "a/../..", "/etc", "a/../b", "x\0y"])
def test_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        source("https://example.org/x", "main", path)


@given(st.text(), st.text(), st.text())
def test_nothing_that_git_could_take_for_an_option_comes_through(url: str, ref: str, path: str) -> None:
    try:
        checked = source(url, ref, path)
    except UsageError:
        return
    assert not checked.url.startswith("-") and "::" not in checked.url.partition("/")[0]
    assert not checked.ref.startswith(("-", "+")) and ":" not in checked.ref
    assert ".." not in checked.path.split("/") and not checked.path.startswith("/")


@pytest.mark.parametrize(
    ("url", "path", "name"),
    [
        ("https://example.org/team/shop.git", "", "shop"),
        ("https://example.org/team/shop/", "", "shop"),
        ("git@example.org:shop.git", "", "shop"),
        ("/srv/git/shop", "", "shop"),
        ("file:///srv/git/shop.git", "./stacks//blog/", "blog"),
        ("../shop", "", "shop"),
        ("https://user:pw@example.org:8443/a/b", "x", "x"),
    ],
)
def test_names(url: str, path: str, name: str) -> None:
    assert source(url, "main", path).name == name


@pytest.mark.parametrize("ref", ["main", "v1.2.3", "feature/x-1", "refs/tags/v1", "HEAD", "0" * 40, "äö"])
def test_refs(ref: str) -> None:
    assert source("/srv/x", ref).ref == ref


def test_credentials_are_never_shown() -> None:
    url = "https://me:hunter2@example.org/x.git"
    assert Source(url).shown == "https://example.org/x.git"
    assert without_credentials(f"fatal: unable to access '{url}/': no") == (
        "fatal: unable to access 'https://example.org/x.git/': no"
    )
    with pytest.raises(UsageError) as caught:
        source("bad://me:hunter2@example.org/")
    assert "hunter2" not in caught.value.message


CHANGES = (
    Change("image.a", Action.BUILD, ()),
    Change("container.a", Action.REPLACE, ()),
    Change("container.b", Action.REPLACE, ()),
)
PLAN = Plan("shop", "embedded", 4, CHANGES)
EMPTY = Plan("shop", "embedded", 4, ())
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BROKEN = StackpyError("unknown field\nmore", location=Location("/c/app/stack.py", 3))


@pytest.mark.parametrize(
    ("cycle", "line"),
    [
        (Cycle(0, COMMIT, "unchanged", True, "/c", EMPTY, None), "0123456 unchanged"),
        (Cycle(0, COMMIT, "applied", True, "/c", PLAN, None), "0123456 applied 1 to build, 2 to replace"),
        (Cycle(0, COMMIT, "failed", True, "/c", PLAN, StackpyError("1 failure\n  x")), "0123456 failed: 1 failure"),
        (Cycle(0, COMMIT, "failed", True, "/c", None, BROKEN), "0123456 failed: app/stack.py:3: unknown field"),
        (
            Cycle(
                0,
                COMMIT,
                "failed",
                True,
                "/c",
                PLAN,
                ApplyFailed("2 failures", failures={"a.x": "no\n| x", "a.y": "nor"}),
            ),
            "0123456 failed: a.x: no; a.y: nor",
        ),
        (Cycle(0, "", "failed", False, "", None, StackpyError("no route")), "- failed: no route"),
        (Cycle(0, COMMIT, "unchanged", False, "/c", EMPTY, StackpyError("no route")), "0123456 unchanged (no route)"),
        (Cycle(0, COMMIT, "interrupted", True, "/c", PLAN, None), "0123456 interrupted 1 to build, 2 to replace"),
    ],
)
def test_a_line_for_each_cycle(cycle: Cycle, line: str) -> None:
    assert cycle_text(cycle) == f"1970-01-01T00:00:00Z {line}"

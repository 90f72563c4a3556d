"""What `system df` sums up, what `prune` asks for, and what the build cache gives up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.cli.commands import prune
from stackpy.engines import disk, listings, pruning
from stackpy.errors import UsageError
from stackpy_runtime.store.build_cache import Entry, excess

OLD, NEW = "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"


def _usage(**changes: Any) -> dict[str, Any]:
    usage: dict[str, Any] = {"layers": 0, "images": [], "containers": [], "volumes": [], "cache": []}
    return {**usage, **changes}


def _image(unique: int, containers: int = 0) -> dict[str, int]:
    return {"unique": unique, "containers": containers}


def test_an_empty_root_takes_nothing() -> None:
    rows = disk.summary(_usage())
    assert [tuple(row.values()) for row in rows] == [
        ("Images", 0, 0, 0, 0),
        ("Containers", 0, 0, 0, 0),
        ("Local Volumes", 0, 0, 0, 0),
        ("Build Cache", 0, 0, 0, 0),
    ]
    assert disk.percentage(rows[0]) == ""


def test_what_images_share_is_freed_with_the_last_of_them() -> None:
    images = [_image(10), _image(20, containers=1)]
    assert tuple(disk.summary(_usage(layers=100, images=images))[0].values()) == ("Images", 2, 1, 100, 10)
    unused = [_image(10), _image(20)]
    row = disk.summary(_usage(layers=100, images=unused))[0]
    assert (row["reclaimable"], disk.percentage(row)) == (100, " (100%)")


def test_containers_volumes_and_cache() -> None:
    containers = [{"size": size, "state": {"status": status}} for size, status in ((5, "running"), (7, "exited"))]
    volumes = [{"size": 3, "links": 1}, {"size": 4, "links": 0}]
    rows = disk.summary(_usage(containers=containers, volumes=volumes, cache=[{"size": 2}, {"size": 6}]))
    assert [tuple(row.values())[1:] for row in rows[1:]] == [(2, 1, 12, 7), (2, 1, 7, 4), (2, 0, 8, 8)]


@pytest.mark.parametrize(
    ("own", "created", "until", "asked", "expected"),
    [
        ({}, OLD, "", [], True),
        ({"stackpy.stack": "shop"}, OLD, "", [], False),
        ({}, NEW, "2025-01-01T00:00:00Z", [], False),
        ({}, OLD, "2025-01-01T00:00:00Z", [], True),
        ({"a": "b"}, OLD, "", [("a", None, True)], True),
        ({"a": "b"}, OLD, "", [("a", "c", True)], False),
        ({"a": "b"}, OLD, "", [("a", "b", False)], False),
        ({"a": "b"}, OLD, "", [("a", "b", True), ("x", None, False)], True),
    ],
)
def test_what_may_be_pruned(own: dict[str, str], created: str, until: str, asked: Any, expected: bool) -> None:
    assert pruning.wanted(own, created, until, asked) is expected


def test_filters_are_dockers() -> None:
    assert prune._filters(["label=a", "label=b=c=d", "label!=e"]) == (
        "",
        [("a", None, True), ("b", "c=d", True), ("e", None, False)],
    )
    assert prune._filters(["until=2020-01-01T00:00:00Z"])[0] == "2020-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("text", ["dangling=true", "until", "until=", "until=soon", "label=", "=x"])
def test_other_filters_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--filter"):
        prune._filters([text])


_entries = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 100)), max_size=20).map(
    lambda pairs: [Entry("step", str(number), size, float(used)) for number, (size, used) in enumerate(pairs)]
)


@given(_entries, st.integers(0, 5000))
def test_the_cache_gives_up_the_oldest_and_no_more_than_it_must(found: list[Entry], keep: int) -> None:
    going = excess(found, keep)
    left = [entry for entry in found if entry not in going]
    size = sum(entry.size for entry in left)
    assert size <= keep
    assert all(one.used <= other.used for one in going for other in left if other.size)
    if going:
        newest = max(going, key=lambda entry: (entry.used, found.index(entry)))
        assert size + newest.size > keep


IMAGES: list[dict[str, Any]] = [
    {"id": "sha256:aa11", "references": ["shop/web:latest", "shop/web:2"], "size": 1, "created": OLD,
     "config": {"Labels": {"a": "b"}}, "manifest": "sha256:ff"},
    {"id": "sha256:bb22", "references": [], "size": 2, "created": OLD, "built": "2026-01-01T00:00:00Z", "config": {}},
    {"id": "sha256:cc33", "references": ["localhost:5000/x"], "size": 3, "created": NEW, "config": {}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "filters", "expected"),
    [
        ("", [], ["localhost:5000/x", "", "shop/web:latest", "shop/web:2"]),
        ("shop/web", [], ["shop/web:latest", "shop/web:2"]),
        ("shop/web:2", [], ["shop/web:2"]),
        ("shop/*", [], ["shop/web:latest", "shop/web:2"]),
        ("localhost:5000/x", [], ["localhost:5000/x"]),
        ("web", [], []),
        ("", [("dangling", "true")], [""]),
        ("", [("dangling", "false"), ("reference", "*:2")], ["shop/web:2"]),
        ("", [("label", "a")], ["shop/web:latest", "shop/web:2"]),
        ("", [("label", "a=c")], []),
        ("", [("before", "bb")], ["shop/web:latest", "shop/web:2"]),
        ("", [("since", "shop/web")], ["localhost:5000/x", ""]),
        ("", [("until", "2021-01-01T00:00:00Z")], ["shop/web:latest", "shop/web:2"]),
    ],
)
def test_image_ls_filters_as_docker_does(pattern: str, filters: Any, expected: list[str]) -> None:
    assert [row["reference"] for row in listings.images(IMAGES, pattern, filters)] == expected


@pytest.mark.parametrize("pair", [("dangling", "yes"), ("label", ""), ("before", ""), ("since", "nothing"), ("x", "1")])
def test_image_ls_refuses_other_filters(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"expected|there is no image"):
        listings.images(IMAGES, "", [pair])

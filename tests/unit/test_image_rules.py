"""What an entry of a layer may say, and the index's checksum: without a file system."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import erofs, rules
from stackpy_runtime.image.entries import FILE, FOLDER, Entry
from stackpy_runtime.image.indexing import grow
from stackpy_runtime.image.layer_tree import Folder, Node, TreeFull
from stackpy_runtime.image.limits import Limits

NOBODY = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


def entry(name: bytes, kind: str = FILE, mode: int = 0o644, **xattrs: bytes) -> Entry:
    made = Entry(kind, name, b"", mode, 0, 0, 0)
    made.xattrs = {key.replace("__", ".").encode(): value for key, value in xattrs.items()} or None
    return made


def acl(*entries: tuple[int, int, int], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *each) for each in entries)


PLAIN = [(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 7, NOBODY), (OTHER, 7, NOBODY)]
NAMED = [
    (USER_OBJ, 7, NOBODY), (USER, 5, 1), (USER, 6, 9), (GROUP_OBJ, 7, NOBODY), (GROUP, 4, 3), (MASK, 7, NOBODY),
    (OTHER, 7, NOBODY),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        # Without a mask the group's rights are the mode's; with one the mask's are, and the group keeps its own.
        (PLAIN, [(USER_OBJ, 6, NOBODY), (GROUP_OBJ, 4, NOBODY), (OTHER, 0, NOBODY)]),
        (
            NAMED,
            [
                (USER_OBJ, 6, NOBODY), (USER, 5, 1), (USER, 6, 9), (GROUP_OBJ, 7, NOBODY), (GROUP, 4, 3),
                (MASK, 4, NOBODY), (OTHER, 0, NOBODY),
            ],
        ),
    ],
)  # fmt: skip
def test_access_rules_follow_the_mode(given: list[tuple[int, int, int]], wanted: list[tuple[int, int, int]]) -> None:
    assert rules.access(acl(*given), 0o640, ()) == acl(*wanted)
    assert rules.access(acl(*given), None, ()) == acl(*given)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        acl(),
        acl(*PLAIN, version=1),
        acl(*PLAIN)[:-1],
        acl(*PLAIN[:2]),
        acl(*reversed(PLAIN)),
        acl(PLAIN[0], *PLAIN),
        acl(*PLAIN, (64, 0, 0)),
        acl(PLAIN[0], (USER, 7, 5), *PLAIN[1:]),
        acl(NAMED[0], (USER, 7, NOBODY), *NAMED[2:]),
        acl((USER_OBJ, 8, NOBODY), *PLAIN[1:]),
    ],
)
def test_access_rules_that_the_kernel_would_not_take(value: bytes) -> None:
    with pytest.raises(InvalidConfig, match="`d/f` has access rules that cannot be read"):
        rules.access(value, 0o644, (b"d", b"f"))


def test_attributes_of_other_systems_are_left_out() -> None:
    made = entry(b"f", user__a=b"1", security__selinux=b"label", com__apple__x=b"2", system__posix_acl_other=b"3")
    assert rules.attributes(made, (b"f",)) == {b"user.a": b"1"}
    folder = entry(b"d", FOLDER, system__posix_acl_default=acl(*PLAIN))
    assert rules.attributes(folder, (b"d",)) == {b"system.posix_acl_default": acl(*PLAIN)}


@given(st.binary(max_size=300))
def test_any_name_has_parts_or_is_refused(name: bytes) -> None:
    try:
        parts = rules.layer_path(name)
    except InvalidConfig:
        assert b".." in name or len(name) > 255
    else:
        assert not {b"", b".", b".."} & set(parts)
        assert b"".join(parts) == b"".join(part for part in name.split(b"/") if part != b".")


def test_the_checksum_is_crc_32c() -> None:
    """The check value of every catalogue of CRCs; erofs leaves the last inversion out."""
    assert erofs.checksum(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


def test_sparse_files_larger_than_an_index_are_refused() -> None:
    content = erofs.Content(-1)
    with pytest.raises(InvalidConfig, match="larger than an index can hold"):
        content.sparse(-1, 0, [], 1 << 42)


def test_what_a_tar_points_to_must_be_within_reach() -> None:
    """Block numbers have 32 bits: a tar of 2 TiB and more cannot be indexed."""
    root = Folder(0o755, 0, 0, 0)
    root.children[b"f"] = Node(0o100644, 0, 0, 0, size=1, place=1 << 32)
    with pytest.raises(InvalidConfig, match="larger than an index can point into"):
        erofs.write(root, -1, erofs.HEAD, 1, bytes(16))


def test_a_tree_is_no_larger_than_it_may_be() -> None:
    """Folders that no entry names count as well: each entry may stand behind hundreds."""
    names = [b"/".join([b"%d" % number] * 100) for number in range(10)]
    with pytest.raises(TreeFull):
        grow([(entry(name), 0) for name in names], (), lambda descriptor, size: 0, Limits(nodes=999))
    assert grow([(entry(name), 0) for name in names], (), lambda descriptor, size: 0, Limits(nodes=1000)).count == 1000

"""Whatever a tar says: a layer that is kept as its tar, with an index, is the tree that unpacking gives, or is refused
for the same reason.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackpy_runtime.errors import EngineError
from tests.layer_trees import Taken, everything
from tests.security.tar_building import END, Member, Raw, header, padded, record, tar_of

pytestmark = pytest.mark.root

PARTS = ["a", "b", "c", "link", "x" * 120] * 6 + [".wh.a", ".wh.b", ".wh..wh..opq", ".", "", "a", "b", ".."]
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in [(1, 6, 0xFFFFFFFF), (2, 4, 1000), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
)
ATTRIBUTES = [
    *[{}] * 16,
    {"SCHILY.xattr.user.mine": "1"},
    {"SCHILY.xattr.user.mine": "other", "SCHILY.xattr.user.long" + "g" * 200: "v" * 700},
    {"SCHILY.xattr.security.capability": struct.pack("<5I", 0x02000001, 1, 0, 0, 0).decode("latin-1")},
    {"SCHILY.xattr.system.posix_acl_access": ACL.decode("utf-8", "surrogateescape")},
    {"SCHILY.xattr.trusted.overlay.opaque": "y"},
]

names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join)
targets = st.one_of(names, st.sampled_from(["/a", "/", "../b", "b/../c", "../../link/b", "t" * 600, "t" * 200]))


@st.composite
def members(draw: st.DrawFn) -> Member:
    kind = draw(
        st.sampled_from(["file"] * 4 + ["folder"] * 3 + ["symlink"] * 2 + ["link"] * 3 + ["fifo", "char", "block"])
    )
    return Member(
        draw(names),
        kind,
        draw(targets) if kind in ("link", "symlink") else "",
        data=draw(st.sampled_from([b"", b"evil", b"x" * 512, b"y" * 5000])),
        mode=draw(st.sampled_from([0o644, 0o4755, 0, 0o1777])),
        uid=draw(st.sampled_from([0, 0, 1000, 70000])),
        gid=draw(st.sampled_from([0, 5, 2**31])),
        device=draw(st.sampled_from([(0, 0), (1, 3), (300, 70000), (4095, 1048575)])),
        mtime=draw(st.sampled_from([0, 1, 1_700_000_000, 2**33])),
        pax=dict(draw(st.sampled_from(ATTRIBUTES))),
    )


@st.composite
def sparse_files(draw: st.DrawFn) -> Raw:
    """One sparse file, its regions anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, 9000), min_size=2, max_size=8)))
    regions = [(start, end - start) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    size = cuts[-1] + draw(st.integers(0, 3000))
    data = os.urandom(sum(length for _, length in regions))
    text = b",".join(b"%d,%d" % region for region in regions)
    extra = record(b"GNU.sparse.size=%d" % size) + record(b"GNU.sparse.map=" + text)
    head = header(b"x", b"x", b"%011o" % len(extra)) + padded(extra)
    return Raw(head + header(draw(names).encode()[:99] or b"s", b"0", b"%011o" % len(data)) + padded(data) + END)


stacks = st.lists(
    st.tuples(st.none() | st.none() | sparse_files(), st.lists(members(), max_size=9)), min_size=1, max_size=3
)


def tar_with(sparse: Raw | None, plain: list[Member]) -> bytes:
    return (b"" if sparse is None else bytes(sparse).removesuffix(END)) + tar_of(plain, "")


def test_any_layers_are_the_same_in_both_ways(tmp_path: Path) -> None:
    compared = []

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(stacks)
    def check(stack: list[tuple[Raw | None, list[Member]]]) -> None:
        try:
            with Taken(tmp_path / "i") as indexed, Taken(tmp_path / "u") as unpacked:
                for sparse, plain in stack:
                    tar = tar_with(sparse, plain)
                    outcomes: list[object] = []
                    for take in (indexed.index, unpacked.unpack):
                        try:
                            outcomes.append(everything(take(tar)))
                        except EngineError as error:
                            outcomes.append(str(error))
                    assert outcomes[0] == outcomes[1]
                    compared.append(isinstance(outcomes[0], dict))
                    if isinstance(outcomes[0], str):
                        break
        finally:
            shutil.rmtree(tmp_path / "i")
            shutil.rmtree(tmp_path / "u")

    check()
    # Many are refused for one of their names; enough are not.
    assert sum(compared) > 25

"""Strange layers that are loaded: the tree of the uppermost in `tree`'s notation, and the layers bottom first."""

from __future__ import annotations

import struct

from tests.security.tar_building import (
    CANARY,
    END,
    FILE,
    SPARSE_1,
    Layer,
    Member,
    Raw,
    device,
    extended,
    file,
    folder,
    hardlink,
    header,
    padded,
    pax,
    record,
    symlink,
)

LOADED: dict[str, tuple[list[str], list[Layer]]] = {
    "absolute": (["d755 etc", "f644 etc/passwd: evil"], [[file("/etc/passwd")]]),
    "absolute-canary": (["... {canary}", "f644 {canary}/file: evil"], [[file(f"{CANARY}/file")]]),
    "slashes": (["d755 a", "f644 a/b: evil"], [[file(".//a/././b")]]),
    "through-absolute-symlink": (
        ["... {canary}", "f644 {canary}/file: evil", "l777 link -> {/canary}"],
        [[symlink("link", CANARY), file("link/file")]],
    ),
    "through-relative-symlink": (
        ["d755 canary", "f644 canary/file: evil", "l777 link -> ../../../../canary"],
        [[symlink("link", "../../../../canary"), file("link/file")]],
    ),
    "through-symlink-chain": (
        ["l777 a -> b/c", "d755 b", "l777 b/c -> /canary", "d755 canary", "f644 canary/file: evil"],
        [[symlink("a", "b/c"), symlink("b/c", "/canary"), file("a/file")]],
    ),
    "through-lower-symlink": (
        ["d755 canary", "f644 canary/file: evil"],
        [[symlink("link", "/canary")], [file("link/file")]],
    ),
    "through-proc": (
        [
            "l777 l -> /proc/self/root",
            "d755 proc",
            "d755 proc/self",
            "d755 proc/self/root",
            "f644 proc/self/root/x: evil",
        ],
        [[symlink("l", "/proc/self/root"), file("l/x")]],
    ),
    "through-descriptor": (
        [
            "l777 l -> /proc/self/fd/3",
            "d755 proc",
            "d755 proc/self",
            "d755 proc/self/fd",
            "d755 proc/self/fd/3",
            "f644 proc/self/fd/3/x: evil",
        ],
        [[symlink("l", "/proc/self/fd/3"), file("l/x")]],
    ),
    "symlink-to-dotdot": (["d755 d", "l777 d/l -> ../..", "f644 x: evil"], [[symlink("d/l", "../.."), file("d/l/x")]]),
    "file-over-symlink": (["f644 f: evil"], [[symlink("f", f"{CANARY}/file"), file("f")]]),
    "folder-over-symlink": (
        ["d777 d", "f644 d/x: evil"],
        [[symlink("d", CANARY), folder("d", 0o777), file("d/x")]],
    ),
    "folder-over-lower-symlink": (
        ["d777 d", "f644 d/x: evil"],
        [[symlink("d", CANARY)], [folder("d", 0o777), file("d/x")]],
    ),
    "symlink-over-folder": (
        ["... {canary}", "l777 d -> {/canary}", "f644 {canary}/y: evil"],
        [[folder("d"), file("d/x"), symlink("d", CANARY), file("d/y")]],
    ),
    "symlink-over-open-folder": (
        ["l777 a -> /c", "d755 c", "d755 c/b", "f644 c/b/y: evil"],
        [[file("a/b/x"), symlink("a", "/c"), file("a/b/y")]],
    ),
    "file-over-folder": (["f644 d: evil"], [[file("d/x"), file("d/y/z"), file("d")]]),
    "folder-over-file": (["d700 d", "f644 d/x: evil"], [[file("d"), folder("d", 0o700), file("d/x")]]),
    "twice": (["f600 f: second"], [[file("f", data=b"first, and longer"), file("f", data=b"second", mode=0o600)]]),
    "hardlink-to-symlink": (
        ["f644 h: evil", "l777 s -> {/canary}/file"],
        [[symlink("s", f"{CANARY}/file"), hardlink("h", "s"), file("h")]],
    ),
    "hardlink-then-file": (
        ["f644 f: first", "f644 h: evil"],
        [[file("f", data=b"first"), hardlink("h", "f"), file("h")]],
    ),
    "hardlink-to-itself": (["f644 f: evil"], [[file("f"), hardlink("f", "f")]]),
    "hardlink-absolute-inside": (["f644 f: evil", "f644 h: evil"], [[file("f"), hardlink("/h", "/f")]]),
    "hardlink-over-folder": (["f644 f: evil", "f644 h: evil"], [[file("f"), file("h/x"), hardlink("h", "f")]]),
    "hardlink-to-lower": (
        ["d750 d", "f640 d/f: lower", "f640 h: lower"],
        [[folder("d", 0o750), file("d/f", data=b"lower", mode=0o640)], [hardlink("h", "d/f", mode=0o640)]],
    ),
    "hardlink-to-lower-symlink": (
        ["l777 h -> {/canary}/file", "l777 s -> {/canary}/file"],
        [[symlink("s", f"{CANARY}/file")], [hardlink("h", "s")]],
    ),
    "set-id": (["f6755 s: evil", "d1777 t"], [[file("s", mode=0o6755), folder("t", 0o1777)]]),
    "set-id-keeps-after-owner": (["f4755 s: evil"], [[file("s", mode=0o4755, uid=1000, gid=1000)]]),
    "mode-bits-beyond": (["f7777 s: evil"], [[file("s", mode=0o177777)]]),
    "fifo": (["p644 p"], [[Member("p", "fifo")]]),
    "folder-mode-0": (["d0 d", "f0 d/f: evil"], [[folder("d", 0), file("d/f", mode=0)]]),
    "times": (["f644 a: evil", "f644 b: evil"], [[file("a", mtime=-(2**40)), pax("b", mtime="99999999999999.5")]]),
    "devices": (
        ["c644 null: 1:3", "d755 dev", "c640 dev/mem: 1:1", "b644 sda: 8:0", "b644 zero: 0:0"],
        [
            [
                device("null", "char", 1, 3),
                Member("dev/mem", "char", device=(1, 1), mode=0o640),
                device("sda", "block", 8, 0),
                device("zero", "block", 0, 0),
            ]
        ],
    ),
    "char-zero-below": ([], [[device("x", "char", 0, 0)]]),
    "char-zero": (["c0 x"], [[file("x")], [device("x", "char", 0, 0)]]),
    "whiteout": (["c0 x"], [[file("x")], [file(".wh.x")]]),
    "whiteout-below-everything": ([], [[file(".wh.x"), file(".wh..wh..opq")]]),
    "whiteout-of-nothing-there": (["c0 x"], [[], [file(".wh.x")]]),
    "whiteout-through-symlink": (
        ["... {canary}", "c0 {canary}/file"],
        [[symlink("link", CANARY)], [file("link/.wh.file")]],
    ),
    "whiteout-of-symlink": (["c0 link"], [[symlink("link", CANARY)], [file(".wh.link")]]),
    "whiteout-is-a-symlink": (["c0 x"], [[file("x")], [symlink(".wh.x", CANARY)]]),
    "whiteout-then-file": (["f644 x: evil"], [[file("x", data=b"lower")], [file(".wh.x"), file("x")]]),
    "file-then-whiteout": (["f644 x: evil"], [[file("x", data=b"lower")], [file("x"), file(".wh.x")]]),
    "whiteout-then-folder": (
        ["d755 x opaque", "f644 x/new: evil"],
        [[file("x/old")], [file(".wh.x"), folder("x"), file("x/new")]],
    ),
    "whiteout-then-below": (["d755 x opaque", "f644 x/new: evil"], [[file("x/old")], [file(".wh.x"), file("x/new")]]),
    "folder-then-whiteout": (["d755 x opaque", "f644 x/new: evil"], [[file("x/old")], [file("x/new"), file(".wh.x")]]),
    "file-then-folder-over-lower": (["d755 x opaque"], [[file("x/old")], [file("x"), folder("x")]]),
    "opaque": (["d700 x opaque"], [[folder("x", 0o700), file("x/old")], [file("x/.wh..wh..opq")]]),
    "below-an-opaque-folder": (
        ["d700 x opaque", "d755 x/y", "f644 x/y/new: evil"],
        [[folder("x", 0o700), folder("x/y", 0o700)], [file("x/.wh..wh..opq"), file("x/y/new")]],
    ),
    "opaque-of-a-lower-link": (
        ["... {canary} opaque"],
        [[symlink("x", CANARY)], [file("x/.wh..wh..opq")]],
    ),
    "aufs": ([], [[], [folder(".wh..wh.plnk"), file(".wh..wh.plnk/123.456"), file(".wh..wh.aufs")]]),
    "parents-of-below": (
        ["d700 a 5:6", "d750 a/b", "f644 a/b/c: evil"],
        [[folder("a", 0o700, uid=5, gid=6), folder("a/b", 0o750)], [file("a/b/c")]],
    ),
    "global-header": (["f644 f: evil"], [extended(b"g", record(b"path=../canary/file"), header(b"f"))]),
    "size-of-a-link": (["f644 f: evil", "f644 h: evil"], [Raw(FILE + header(b"h", b"1", link=b"f") + END)]),
    "second-archive": (["f644 f: evil"], [Raw(FILE + END + header(b"../canary/file") + padded(b"evil") + END)]),
    "control-characters": (["f644 a\nb\x1b[31m: evil"], [[file("a\nb\x1b[31m")]]),
    "no-utf8": (["f644 \udcff\udcfe: evil"], [Raw(header(b"\xff\xfe") + padded(b"evil") + END)]),
    "name-255": ([f"f644 {'x' * 255}: evil"], [[file("x" * 255)]]),
    "attributes": (
        ["f644 f: evil {'security.capability': 20, 'user.mine': 1}"],
        [
            [
                pax(
                    "f",
                    SCHILY__xattr__user__mine="1",
                    SCHILY__xattr__security__selinux="system_u:object_r:shadow_t:s0",
                    SCHILY__xattr__security__capability=struct.pack("<5I", 0x02000001, 1, 0, 0, 0).decode("latin-1"),
                    SCHILY__xattr__com__apple__x="1",
                )
            ]
        ],
    ),
    "sparse": (
        ["f644 f: \0\0ev\0\0\0il\0"],
        [extended(b"x", record(b"GNU.sparse.size=10") + record(b"GNU.sparse.map=2,2,7,2"), header(b"f"))],
    ),
    "sparse-0.0": (
        ["f644 f: \0\0evil"],
        [
            extended(
                b"x",
                record(b"GNU.sparse.size=6") + record(b"GNU.sparse.offset=2") + record(b"GNU.sparse.numbytes=4"),
                header(b"f"),
            )
        ],
    ),
    "sparse-1.0": (
        ["f644 real: \0\0evil"],
        [
            extended(
                b"x",
                SPARSE_1 + record(b"GNU.sparse.name=real") + record(b"GNU.sparse.realsize=6") + record(b"size=516"),
                header(b"GNUSparseFile.0/f") + padded(b"1\n2\n4\n"),
            )
        ],
    ),
    "sparse-gnu": (
        ["f644 f: \0\0evil"],
        [
            Raw(
                header(b"f", b"S", gnu=b"", sparse=b"00000000002\0" + b"00000000004\0", real=b"00000000006\0")
                + padded(b"evil")
                + END
            )
        ],
    ),
}

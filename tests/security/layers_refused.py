"""Layers that are refused: a part of the message, and the layers bottom first."""

from __future__ import annotations

from tests.security.tar_building import (
    CANARY,
    END,
    FILE,
    SPARSE_1,
    Layer,
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

REFUSED: dict[str, tuple[str, list[Layer]]] = {
    "dotdot": ("it has a path with `..`: `../canary/file`", [[file("../canary/file")]]),
    "dotdot-many": ("it has a path with `..`: `a/../../../canary/file`", [[file("a/../../../canary/file")]]),
    "dotdot-inside": ("it has a path with `..`: `a/../b`", [[file("a/../b")]]),
    "dotdot-last": ("it has a path with `..`: `a/../`", [[folder("a/..")]]),
    "dotdot-folder": ("it has a path with `..`: `../canary/`", [[folder("../canary", 0o777)]]),
    "dotdot-symlink-entry": ("it has a path with `..`: `../canary/l`", [[symlink("../canary/l", "/")]]),
    "dotdot-whiteout": ("it has a path with `..`: `../canary/.wh.file`", [[], [file("../canary/.wh.file")]]),
    "pax-dotdot": ("it has a path with `..`: `../canary/file`", [[pax("x", path="../canary/file")]]),
    "gnu-long-dotdot": (
        "it has a path with `..`: `../canary/file`",
        [extended(b"L", b"../canary/file\0", header(b"x"))],
    ),
    "symlink-loop": ("`a` is behind too many links", [[symlink("a", "b"), symlink("b", "a"), file("a/x")]]),
    "symlink-self": ("`a` is behind too many links", [[symlink("a", "a"), file("a/x")]]),
    "symlink-loop-below": ("`a` is behind too many links", [[symlink("a", "a")], [file("a/x")]]),
    "symlink-to-a-long-name": (
        "`l` is behind a link to a place that cannot be",
        [[symlink("l", "x" * 256), file("l/f")]],
    ),
    "symlink-to-a-deep-place": (
        "`l` is behind a link to a place that cannot be",
        [[symlink("l", "a/" * 257), file("l/f")]],
    ),
    "lower-symlink-to-a-deep-place": (
        "`l` is behind a link to a place that cannot be",
        [[symlink("l", "a/" * 257)], [file("l/f")]],
    ),
    "symlink-up-and-down": (
        "`l` is behind a link to a place that cannot be",
        [[symlink("l", "a/../" * 700), file("l/f")]],
    ),
    "symlink-empty": ("the link `a` has a target of 0 bytes", [[symlink("a", "")]]),
    "symlink-long": ("the link `a` has a target of 5000 bytes", [[symlink("a", "x" * 5000)]]),
    "hardlink-absolute": ("hard link to `{canary}/file`, which is not there", [[hardlink("h", f"{CANARY}/file")]]),
    "hardlink-dotdot": ("it has a path with `..`: `../canary/file`", [[hardlink("h", "../canary/file")]]),
    "hardlink-pax": (
        "it has a path with `..`: `../canary/file`",
        [[hardlink("h", "x", pax={"linkpath": "../canary/file"})]],
    ),
    "hardlink-gnu": (
        "it has a path with `..`: `../canary/file`",
        [extended(b"K", b"../canary/file\0", header(b"h", b"1", b"%011o" % 0))],
    ),
    "hardlink-through-symlink": (
        "hard link to `s/file`, which is not there",
        [[symlink("s", CANARY), hardlink("h", "s/file")]],
    ),
    "hardlink-through-lower-symlink": (
        "hard link to `s/file`, which is not there",
        [[symlink("s", CANARY)], [hardlink("h", "s/file")]],
    ),
    "hardlink-to-a-later-file": ("hard link to `x`, which is not there", [[hardlink("h", "x"), file("x")]]),
    "hardlink-circle": ("hard link to `b`, which is not there", [[hardlink("a", "b"), hardlink("b", "a")]]),
    "hardlink-missing": ("hard link to `x`, which is not there", [[hardlink("h", "x")]]),
    "hardlink-folder": ("`d` is a folder, and folders cannot have hard links", [[folder("d"), hardlink("h", "d")]]),
    "hardlink-lower-folder": ("`d` is not a file, and has no hard links", [[folder("d")], [hardlink("h", "d")]]),
    "hardlink-root": ("the hard link `h` leads nowhere", [[hardlink("h", "/")]]),
    "hardlink-into-what-it-replaces": (
        "hard link to `d/x`, which is not there",
        [[folder("d"), file("d/x"), hardlink("d", "d/x")]],
    ),
    "hardlink-whiteout": (
        "the hard link `h` leads to a whiteout",
        [[file("x")], [file(".wh.x"), hardlink("h", ".wh.x")]],
    ),
    "hardlink-of-removed": ("hard link to `x`, which is not there", [[file("x")], [file(".wh.x"), hardlink("h", "x")]]),
    "device-number": ("the device `n` has the number 4096:0, which is none", [[device("n", "char", 4096, 0)]]),
    "uid-minus-one": ("`f` belongs to 4294967295:0, which is no user and group", [[file("f", uid=0xFFFFFFFF)]]),
    "uid-huge": ("`f` belongs to 1099511627776:0, which is no user and group", [[pax("f", uid="1099511627776")]]),
    "uid-negative": ("it has an entry with a negative UID", [Raw(header(b"f", uid=b"\xff" * 8) + END)]),
    "gid-text": ("it has an entry whose GID is not a number", [[pax("f", gid="root")]]),
    "uid-text": ("it has an entry whose UID is not a number", [Raw(header(b"f", uid=b"root\0\0\0\0") + END)]),
    "size-negative": ("it has an entry with a negative size", [Raw(header(b"f", size=b"\xff" * 12) + END)]),
    "size-beyond-end": ("it ends within a file", [Raw(header(b"f", size=b"%011o" % 99999) + END)]),
    "size-pax-beyond-end": ("it ends within a file", [extended(b"x", record(b"size=9999999"), header(b"f"))]),
    "size-enormous": (
        "it has a file of 18446744073709551615 bytes",
        [extended(b"x", record(b"size=18446744073709551615"), header(b"f"))],
    ),
    "size-digits": (
        "it has an entry whose size is not a number",
        [extended(b"x", record(b"size=" + b"9" * 5000), header(b"f"))],
    ),
    "pax-nul": ("it has a name with a NUL in it", [extended(b"x", record(b"path=a\0b"), header(b"f"))]),
    "pax-length-zero": ("it has an extended header that cannot be read", [extended(b"x", b"0 a=b\n", header(b"f"))]),
    "pax-length-huge": (
        "it has an extended header that cannot be read",
        [extended(b"x", b"99999 a=b\n", header(b"f"))],
    ),
    "pax-length-text": (
        "it has an entry whose extended header is not a number",
        [extended(b"x", b"x a=b\n", header(b"f"))],
    ),
    "pax-no-equals": ("it has an extended header that cannot be read", [extended(b"x", b"6 ab \n", header(b"f"))]),
    "pax-no-newline": ("it has an extended header that cannot be read", [extended(b"x", b"6 a=bc", header(b"f"))]),
    "pax-large": (
        "the extended headers of one entry are longer than 1 MiB",
        [extended(b"x", record(b"a=" + b"x" * (2 << 20)), header(b"f"))],
    ),
    "pax-many": (
        "the extended headers of one entry are longer than 1 MiB",
        [Raw((header(b"x", b"x", b"%011o" % 6) + padded(b"6 a=b\n")) * 4000 + FILE + END)],
    ),
    "pax-alone": (
        "it ends after an extended header",
        [Raw(header(b"x", b"x", b"%011o" % 6) + padded(b"6 a=b\n") + END)],
    ),
    "path-4096": (
        "it has a path of 4096 bytes, and 4095 are allowed",
        [[file("/".join(["d" * 255] * 15 + ["d" * 127, "d" * 128]))]],
    ),
    "path-pax-9000": ("it has a path of 9000 bytes, and 4095 are allowed", [[pax("x", path="d/" * 4500)]]),
    "name-256": ("it has a name of 256 bytes, and 255 are allowed", [[file("x" * 256)]]),
    "path-pax-64k": ("it has a path of 65536 bytes, and 4095 are allowed", [[pax("x", path="d/" * 32768)]]),
    "depth-2000": ("it has folders 2000 deep, and 256 are allowed", [[file("d/" * 1999 + "f")]]),
    "depth-300": ("it has folders 300 deep, and 256 are allowed", [[file("d/" * 299 + "f")]]),
    "xattr-opaque": ("by which overlayfs is steered", [[pax("f", SCHILY__xattr__trusted__overlay__opaque="y")]]),
    "xattr-redirect": (
        "`d` has the attribute `trusted.overlay.redirect`, by which overlayfs is steered",
        [[folder("d", pax={"SCHILY.xattr.trusted.overlay.redirect": "/etc"})]],
    ),
    "xattr-metacopy": ("by which overlayfs is steered", [[pax("f", SCHILY__xattr__trusted__overlay__metacopy="")]]),
    "xattr-user-overlay": ("by which overlayfs is steered", [[pax("f", SCHILY__xattr__user__overlay__opaque="y")]]),
    "xattr-without-a-name": ("has an attribute that no file can have", [[pax("f", SCHILY__xattr__user__="1")]]),
    "xattr-long-name": (
        "has an attribute that no file can have",
        [[file("f", pax={"SCHILY.xattr.user." + "n" * 251: "1"})]],
    ),
    "xattr-nul": (
        "`f` has an attribute that no file can have: `user.a?b`",
        [extended(b"x", record(b"SCHILY.xattr.user.a\0b=1"), header(b"f"))],
    ),
    "xattr-large": (
        "has an attribute that no file can have",
        [extended(b"x", record(b"SCHILY.xattr.user.a=" + b"x" * 65536), header(b"f"))],
    ),
    "capability-short": (
        "`f` has capabilities that cannot be read",
        [extended(b"x", record(b"SCHILY.xattr.security.capability=\1\0\0\2"), header(b"f"))],
    ),
    "capability-of-another-version": (
        "`f` has capabilities that cannot be read",
        [extended(b"x", record(b"SCHILY.xattr.security.capability=\1\0\0\7" + bytes(16)), header(b"f"))],
    ),
    "acl-garbage": (
        "`f` has access rules that cannot be read",
        [extended(b"x", record(b"SCHILY.xattr.system.posix_acl_access=\2\0\0\0garbage!"), header(b"f"))],
    ),
    "acl-empty": (
        "`f` has access rules that cannot be read",
        [extended(b"x", record(b"SCHILY.xattr.system.posix_acl_access="), header(b"f"))],
    ),
    "acl-default-of-a-file": (
        "`f` has default access rules, and is no folder",
        [extended(b"x", record(b"SCHILY.xattr.system.posix_acl_default=\2\0\0\0"), header(b"f"))],
    ),
    "xattr-on-a-link": (
        "by which overlayfs is steered",
        [[symlink("l", "x", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"})]],
    ),
    "whiteout-dotdot": ("it has a whiteout of nothing: `a/.wh...`", [[], [folder("a"), file("a/.wh...")]]),
    "whiteout-dot": ("it has a whiteout of nothing: `.wh..`", [[], [file(".wh..")]]),
    "whiteout-empty": ("it has a whiteout of nothing: `.wh.`", [[], [file(".wh.")]]),
    "whiteout-parent": ("it has an entry within a whiteout: `.wh.x/y`", [[], [file(".wh.x/y")]]),
    "parent-is-a-file": ("`f` is no folder: `f` is a file", [[file("f"), file("f/x")]]),
    "parent-is-a-lower-file": ("`f` is no folder: `f` is a file", [[file("f")], [file("f/x")]]),
    "root-is-a-link": ("it has an entry without a name", [[symlink("./", CANARY)]]),
    "root-is-a-file": ("it has an entry without a name", [Raw(header(b"/") + padded(b"evil") + END)]),
    "no-name": ("it has an entry without a name", [Raw(header(b"") + padded(b"evil") + END)]),
    "type-unknown": ("it has an entry of the unknown type b'Z'", [Raw(header(b"f", b"Z") + padded(b"evil") + END)]),
    "type-volume": ("it has an entry of the unknown type b'M'", [Raw(header(b"f", b"M") + padded(b"evil") + END)]),
    "checksum": ("a header's checksum is wrong", [Raw(FILE.replace(b"f", b"g", 1) + END)]),
    "no-tar": ("a header's checksum is wrong", [Raw(b"x" * 4096)]),
    "ends-in-header": ("it ends within a header", [Raw(FILE + header(b"g")[:300])]),
    "ends-in-file": ("it ends within a file", [Raw(header(b"f") + b"ev")]),
    "sparse-overlap": (
        "the regions of a sparse file overlap",
        [extended(b"x", record(b"GNU.sparse.size=99") + record(b"GNU.sparse.map=2,2,0,2"), header(b"f"))],
    ),
    "sparse-beyond": (
        "the map of a sparse file does not fit the file",
        [extended(b"x", record(b"GNU.sparse.size=3") + record(b"GNU.sparse.map=0,4"), header(b"f"))],
    ),
    "sparse-short": (
        "the map of a sparse file does not fit the file",
        [extended(b"x", record(b"GNU.sparse.size=99") + record(b"GNU.sparse.map=0,2"), header(b"f"))],
    ),
    "sparse-odd": (
        "the map of a sparse file does not fit the file",
        [extended(b"x", record(b"GNU.sparse.size=99") + record(b"GNU.sparse.map=0,4,9"), header(b"f"))],
    ),
    "sparse-name-dotdot": (
        "it has a path with `..`: `../canary/file`",
        [
            extended(
                b"x",
                record(b"GNU.sparse.size=9")
                + record(b"GNU.sparse.map=0,4")
                + record(b"GNU.sparse.name=../canary/file"),
                header(b"f"),
            )
        ],
    ),
    "sparse-enormous": (
        "its files are larger than 128 GiB",
        [extended(b"x", record(b"GNU.sparse.size=%d" % (1 << 50)) + record(b"GNU.sparse.map=0,4"), header(b"f"))],
    ),
    "sparse-1.0-endless": (
        "the map of a sparse file is not one",
        [
            extended(
                b"x", SPARSE_1 + record(b"GNU.sparse.realsize=9") + record(b"size=8192"), header(b"f") + b"1" * 8192
            )
        ],
    ),
    "sparse-1.0-huge": (
        "a sparse file has more than 65536 regions",
        [
            extended(
                b"x",
                SPARSE_1 + record(b"GNU.sparse.realsize=9") + record(b"size=516"),
                header(b"f") + padded(b"99999999\n"),
            )
        ],
    ),
    "sparse-gnu-regions": (
        "it has an entry with a negative sparse map",
        [
            Raw(
                header(b"f", b"S", gnu=b"", sparse=b"\xff" * 12 + b"00000000004\0", real=b"00000000010\0")
                + padded(b"evil")
                + END
            )
        ],
    ),
}

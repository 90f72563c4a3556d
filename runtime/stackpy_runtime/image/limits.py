"""How much an archive may ask for. Each limit is far above what images have, and each has its own message."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from stackpy_runtime.errors import InvalidConfig

MIB, GIB = 1 << 20, 1 << 30


class Limits(NamedTuple):
    """Limits on an image archive and on each layer in it; sizes in bytes."""

    entries: int = 500_000  # of one layer; a whole Debian desktop has 300,000
    nodes: int = 500_000  # of one layer that is indexed: in memory meanwhile, 300 bytes each; larger ones are unpacked
    waiting: int = 125_000  # entries of a layer that came before its turn; of larger ones the tar is read again
    path: int = 4095  # PATH_MAX without its final NUL
    name: int = 255  # NAME_MAX
    depth: int = 256  # folders in folders; each costs a step of path walking, for whoever meets the tree later
    header: int = MIB  # extended headers of one entry: its long names and attributes
    regions: int = 65_536  # data regions of a sparse file
    unpacked: int = 128 * GIB  # one layer, decompressed, holes of sparse files included
    ratio: int = 150  # decompressed to compressed, once a layer has passed `ratio_from`; real ones stay below 20
    ratio_from: int = GIB
    document: int = 4 * MIB  # a manifest, index or configuration; registries allow 4 MiB too
    nesting: int = 4  # indexes within indexes
    layers: int = 500  # overlayfs takes no more (fs/overlayfs/params.h, OVL_MAX_STACK)
    members: int = 20_000  # of the archive itself
    member_name: int = 1024


DEFAULT = Limits()


def size_text(size: int) -> str:
    """`128 GiB` for people."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def bad(why: str) -> NoReturn:
    """Refuses an archive: raises InvalidConfig. Whoever knows which archive it is adds that."""
    raise InvalidConfig(shown(why))


def shown(text: str) -> str:
    """A text that somebody else may have written, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)

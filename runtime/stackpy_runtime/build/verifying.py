"""Whether a recipe gives the same image again: each step is made once more on what it stood on, and compared.

On the layers of the first build, not on those of the second: so a difference is told of the step that makes it, and not
of all that come after. What counts is what an image's digests are computed of: the layer's tar, its times clamped.
"""

from __future__ import annotations

import hashlib
import os
from threading import Lock

from stackpy_runtime.build.caching import Results
from stackpy_runtime.build.work import Work
from stackpy_runtime.errors import NotFound
from stackpy_runtime.image import layer_tar
from stackpy_runtime.image.blobs import Blob, Raw
from stackpy_runtime.image.entries import FILE, FOLDER, Entry
from stackpy_runtime.image.rules import show
from stackpy_runtime.image.spooling import temporary
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.caching import Say
    from stackpy_runtime.build.likeness import Likeness
    from stackpy_runtime.build.runner import Runner
    from stackpy_runtime.model import BuildOptions, Image, ImageSource, Progress, Recipe, RecipeStep, Unlike
    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def verify(
    store: Store,
    source: ImageSource,
    recipe: Recipe,
    image: Image,
    *,
    runner: Runner,
    progress: Callable[[Progress], None],
    options: BuildOptions,
) -> list[Unlike]:
    """Makes every step of a built image again, stages that are needed included, and returns the files that differ.

    image: what the recipe was built as; nothing of it changes, and nothing that is made here stays

    Raises as a build does, and NotFound where the layer of a step is no longer there.
    """
    again = _Again(store, progress, image.get("epoch", layer_tar.NEVER))
    with layers.using(store.root):
        # It records no image, and what becomes of each layer is for `again` to say.
        Work(store, source, recipe, runner, progress, {**options, "no_cache": True}, again).run()
    return again.unlike


class _Again(Results):
    """Gives what each step gave the first time, after it was made once more."""

    def __init__(self, store: Store, progress: Callable[[Progress], None], epoch: int) -> None:
        super().__init__(store, progress)
        self._root, self._epoch, self._one = store.root, epoch, Lock()
        self.unlike: list[Unlike] = []

    def once(
        self,
        step: RecipeStep,
        say: Say,
        make: Callable[[str], None],
        needed: Callable[[], bool] = lambda: True,
        *,
        before: Callable[[], None] = lambda: None,
        like: Likeness | None = None,
        base: bool = False,
    ) -> str:
        """See Results."""
        before()
        found = self._store.step(step["id"])
        if found is None:
            raise NotFound("its layer is no longer in the build cache", hint="build again, then verify")
        if base or not needed():
            say(True)
            return found["layer"]
        say(False)
        staged = layers.stage(self._root)
        try:
            make(staged)
            first = layers.folder(self._root, found["layer"])
            unlike = differences(self._root, first, f"{staged}/upper", self._epoch)
        finally:
            layers.discard(self._root, staged)
        with self._one:
            self.unlike += [
                {"step": step["text"], "line": step["line"], "path": each.path, "what": each.what} for each in unlike
            ]
        return found["layer"]

    def settle(self) -> None:
        """Nothing was made that is to last."""


class Difference(NamedTuple):
    """A file that is not as it was: an absolute path, and in what."""

    path: str
    what: str


class _File(NamedTuple):
    """What a tar says of a file."""

    kind: str
    mode: int
    owner: tuple[int, int]
    target: bytes
    device: tuple[int, int]
    modified: int
    attributes: tuple[tuple[bytes, bytes], ...]
    size: int
    content: str


def differences(root: Root, first: str, second: str, epoch: int) -> list[Difference]:
    """What differs between two folders of layers, as their tars tell it.

    epoch: seconds since 1970; later times count as this one
    """
    one, other = _listed(root, first, epoch), _listed(root, second, epoch)
    if one == other:
        return []
    found = {name: what for name in sorted({**one, **other}) if (what := _compared(one.get(name), other.get(name)))}
    # A folder comes along for what was changed in it.
    through = {name.rpartition(b"/")[0] for name in found}
    return [
        Difference(_shown(name), what)
        for name, what in found.items()
        if not (what.startswith("only ") and name in through and (one.get(name) or other[name]).kind == FOLDER)
    ]


def _compared(one: _File | None, other: _File | None) -> str:
    """In what two files differ; "" in nothing. Pure."""
    if one is None or other is None:
        return "only the second time" if one is None else "only the first time"
    if one.kind != other.kind:
        return f"a {one.kind}, then a {other.kind}"
    found = []
    if one.size != other.size:
        found.append(f"size {one.size}, then {other.size}")
    elif one.content != other.content:
        found.append("content")
    if one.mode != other.mode:
        found.append(f"mode {one.mode:o}, then {other.mode:o}")
    fields = ("owner", "target", "device", "attributes")
    found += [field for field in fields if getattr(one, field) != getattr(other, field)]
    if one.modified != other.modified:
        found.append("time")
    return ", ".join(found)


def _listed(root: Root, folder: str, epoch: int) -> dict[bytes, _File]:
    with temporary(root) as tar:
        descriptor = os.open(folder, _FOLDER)
        try:
            with open(tar, "wb", closefd=False) as out:
                layer_tar.write(descriptor, out, epoch=epoch)
        finally:
            os.close(descriptor)
        reader = Reader(Raw(Blob(tar, 0, os.fstat(tar).st_size)))
        return {entry.name.rstrip(b"/"): _file(reader, entry) for entry in reader}


def _file(reader: Reader, entry: Entry) -> _File:
    content = ""
    if entry.kind == FILE:
        hashed = hashlib.sha256()
        for _, piece in reader.content(entry):
            hashed.update(piece)
        content = hashed.hexdigest()
    return _File(
        entry.kind,
        entry.mode,
        (entry.uid, entry.gid),
        entry.linkname,
        (entry.major, entry.minor),
        entry.mtime_ns,
        tuple(sorted((entry.xattrs or {}).items())),
        entry.size,
        content,
    )


def _shown(name: bytes) -> str:
    parent, slash, last = name.rpartition(b"/")
    if last == b".wh..wh..opq":
        return f"/{show((parent,))}"
    if last.startswith(b".wh."):
        return f"/{show((parent + slash + last[4:],))}"
    return f"/{show((name,))}" if name != b"." else "/"

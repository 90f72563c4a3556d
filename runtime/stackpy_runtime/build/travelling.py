"""A build cache that travels: layers of steps and folders of RUN caches, brought to a place and fetched elsewhere.

A layer travels with its times as they are, and becomes a folder again as the step left it: what is built on it, and the
image's digests, are those of the host where it was made. Whoever may write to a place says what a step's result is, as
for every build cache; its bytes are verified, and nothing in it can land outside the layer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.build import cache_states, caches
from stackpy_runtime.build.cache_parts import Joined, Split, parts_of
from stackpy_runtime.build.cache_places import Carried, Piece, Place, blobs_of
from stackpy_runtime.errors import EngineError, Unsupported
from stackpy_runtime.image import layer_tar
from stackpy_runtime.image.limits import DEFAULT, size_text
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.image.unpack import unpack
from stackpy_runtime.linux.files import rename_new
from stackpy_runtime.store import layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import ImageSource, Progress, Recipe
    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store

    Report = Callable[[Progress], None]

_LEVEL = 3  # zstd's own default
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNT = re.compile(r"[A-Za-z0-9._-]{0,80}-[0-9a-f]{12}(-[0-9]{1,4})?")


class Moved(NamedTuple):
    """What was brought, or fetched: steps, folders, and bytes as they are stored."""

    steps: int
    mounts: int
    size: int


# --- to a place -----------------------------------------------------------------------------------------------------


def bring(store: Store, source: ImageSource, recipe: Recipe, place: Place, *, name: str, progress: Report) -> Moved:
    """Makes a place have the results of a recipe's steps, and the cache folders of its RUN steps, under `name`.

    What is there already is not written again; what this host had no need of stays as it is there.

    Raises EngineError where the place cannot be written, NotFound for a layer that was pruned meanwhile.
    """
    with place.exclusive(), layers.using(store.root):
        before = place.carried()
        known = {piece.name: piece for carried in before.values() for piece in carried.steps if _is_there(place, piece)}
        moved = Moved(0, 0, 0)
        steps = []
        for step_id, layer, afresh in _results(store, recipe):
            piece = known.get(step_id)
            if layer is not None and (piece is None or bool(piece.blob) != bool(layer) or afresh):
                piece = _bring_layer(store.root, place, step_id, layer)
                moved = Moved(moved.steps + 1, 0, moved.size + piece.size)
            if piece is not None:
                steps.append(piece)
        name = place.named(name)
        own = before.get(name, Carried([], []))
        mounts = {piece.name: piece for piece in own.mounts if _is_there(place, piece)}
        for folder in _mounts(store.root, source):
            made, new = _bring_mount(store.root, place, folder, mounts.get(folder), progress)
            if made is not None and made != mounts.get(folder):
                mounts[folder] = made
                moved = Moved(moved.steps, moved.mounts + 1, moved.size + new)
        place.finish(name, Carried(steps, sorted(mounts.values(), key=lambda piece: piece.name)))
    return moved


def _is_there(place: Place, piece: Piece) -> bool:
    return all(place.stored(Piece("", blob, size)) for blob, size in blobs_of(piece))


def _recipes(recipe: Recipe) -> Iterator[Recipe]:
    yield recipe
    yield from recipe.get("stages", {}).values()


def _results(store: Store, recipe: Recipe) -> list[tuple[str, str | None, bool]]:
    """Each step of a recipe once, with its layer, "" for none, None where there is no result here.

    And whether it was made afresh since: its layer has another name then, and not for being that of a step like it.
    """
    found: dict[str, tuple[str | None, bool]] = {}
    for each in _recipes(recipe):
        for step in each["steps"]:
            result = store.step(step["id"])
            # An archive's image is loaded again from the archive, and what is not finished is not known.
            lasting = result is not None and not {"image", "boot"} & result["config"].keys()
            layer = result["layer"] if result is not None and lasting else None
            own = layer in (None, "", step["id"]) or (result is not None and "as" in result["config"])
            found[step["id"]] = (layer, not own)
    return [(step_id, *rest) for step_id, rest in found.items()]


def _bring_layer(root: Root, place: Place, step_id: str, layer: str) -> Piece:
    if not layer:
        return Piece(step_id)
    folder = os.open(layers.folder(root, layer), _FOLDER & ~os.O_NOFOLLOW)
    try:
        return Piece(step_id, *place.keep(_packed(folder)))
    finally:
        os.close(folder)


def _bring_mount(
    root: Root, place: Place, name: str, before: Piece | None, progress: Report
) -> tuple[Piece | None, int]:
    """Keeps a cache folder; None for one that is gone, or that no tar can hold. And how many bytes were written.

    before: what the place has of it, whose parts are not written again
    """
    try:
        folder = os.open(f"{_home(root)}/{name}", _FOLDER)
    except FileNotFoundError:
        return None, 0
    try:
        # Not while a step writes to it.
        fcntl.flock(folder, fcntl.LOCK_SH)
        state = cache_states.state(folder)
        if before is not None and cache_states.remembered(folder, state) == _fingerprint(before):
            return before, 0
        known = {part.content: part for part in parts_of(before)} if before is not None else {}
        split = Split(known, partial(_keep_part, place))
        layer_tar.write(folder, split)
        split.finish()
        piece = Piece(name, size=sum(part.size for part in split.parts), parts=tuple(split.parts))
        cache_states.remember(folder, state, _fingerprint(piece))
        return piece, split.new
    except Unsupported as error:
        progress({"kind": "state", "text": f"the cache folder {name} stays here: {error.message}"})
        return None, 0
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)


def _fingerprint(piece: Piece) -> str:
    """What tells one piece from another: an attribute of a file has room for that, and not for all parts."""
    return hashlib.sha256(" ".join(blob for blob, _ in blobs_of(piece)).encode()).hexdigest()


def _keep_part(place: Place, data: bytes) -> tuple[str, int]:
    import zstandard

    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)

    def write(out: Sink) -> None:
        out.write(packed)

    return place.keep(write)


def _packed(folder: int) -> Callable[[Sink], None]:
    def write(out: Sink) -> None:
        import zstandard

        compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=-1).compressobj()
        layer_tar.write(folder, _Compressed(compressor.compress, out))
        out.write(compressor.flush())

    return write


class _Compressed:
    def __init__(self, compress: Callable[[bytes], bytes], out: Sink) -> None:
        self._compress, self._out = compress, out

    def write(self, data: bytes) -> None:
        if piece := self._compress(data):
            self._out.write(piece)


# --- cache folders --------------------------------------------------------------------------------------------------


def _home(root: Root) -> str:
    return f"{root.path}/cache/mounts"


def _identities(source: ImageSource) -> set[str]:
    """What the cache folders of an image's RUN steps are known by."""
    found: set[str] = set()
    for image in (source, *source.get("stages", {}).values()):
        for step in image["steps"]:
            found |= set(step.get("cache", []))
            found |= {mount["id"] for mount in step.get("mounts", []) if mount["type"] == "cache"}
    return found


def _mounts(root: Root, source: ImageSource) -> list[str]:
    """Names of the cache folders that an image's steps have here, of whatever origin and number."""
    beginnings = _beginnings(root, source)
    try:
        names = sorted(os.listdir(_home(root)))
    except FileNotFoundError:
        return []
    return [name for name in names if _beginning(name) in beginnings]


def _beginnings(root: Root, source: ImageSource) -> set[str]:
    names = (os.path.basename(caches.folder(root, identity)) for identity in _identities(source))
    return {_beginning(name) for name in names}


def _beginning(name: str) -> str:
    """The readable part of a cache folder's name, "/" for what is none."""
    return re.sub(r"-[0-9a-f]{12}(-[0-9]+)?$", "", name) if _MOUNT.fullmatch(name) else "/"


# --- from places ----------------------------------------------------------------------------------------------------


def fetch(store: Store, source: ImageSource, recipe: Recipe, places: Sequence[Place], *, progress: Report) -> Moved:
    """Takes from places what of a recipe's steps is not here: results of steps, then cache folders if some must run.

    A place that has nothing, or that is damaged, is a cache miss: `progress` is told, and the step runs. Stages are
    looked at only if the image itself cannot be had whole.
    """
    found = _Fetching(store, places, progress)
    if not found.steps(recipe, source):
        for name, stage in recipe.get("stages", {}).items():
            found.steps(stage, source["stages"][name])
        found.folders(_beginnings(store.root, source))
    return found.moved()


class _Fetching:
    def __init__(self, store: Store, places: Sequence[Place], progress: Report) -> None:
        self._store, self._progress = store, progress
        self._steps: dict[str, tuple[Place, Piece]] = {}
        self._mounts: dict[str, tuple[Place, Piece]] = {}
        self._count = [0, 0, 0]
        for place in places:
            for carried in self._carried(place):
                for piece in carried.steps:
                    self._steps.setdefault(piece.name, (place, piece))
                for piece in carried.mounts:
                    self._mounts.setdefault(piece.name, (place, piece))

    def moved(self) -> Moved:
        return Moved(*self._count)

    def _carried(self, place: Place) -> Iterable[Carried]:
        try:
            return place.carried().values()
        except EngineError as error:
            self._say(f"nothing is taken from a cache: {error.message}")
            return ()

    def _say(self, text: str) -> None:
        self._progress({"kind": "state", "text": text})

    def steps(self, recipe: Recipe, source: ImageSource) -> bool:
        """Takes what is missing of one recipe; whether all of it is here then, but for a base that is not made."""
        root = self._store.root
        base_is_made = source["base"]["kind"] in ("host", "bootstrap")
        with layers.using(root):
            present = self._store.steps_present(step["id"] for step in recipe["steps"])
            whole, taken = True, []
            for step in recipe["steps"][0 if base_is_made else 1 :]:
                if step["id"] in present:
                    continue
                fetched = self._step(step["id"])
                whole = whole and fetched
                if fetched:
                    taken.append(step["id"])
            if taken:
                layers.flush(root)
            for step_id in taken:
                self._store.put_step(step_id, step_id if self._steps[step_id][1].blob else "", {})
        return whole

    def _step(self, step_id: str) -> bool:
        place, piece = self._steps.get(step_id, (None, None))
        if place is None or piece is None:
            return False
        if not piece.blob:
            self._count[0] += 1
            return True

        def adopt(path: str) -> None:
            layers.adopt(self._store.root, path, step_id)

        if layers.exists(self._store.root, step_id) or self._take(place, piece, adopt):
            self._count[0] += 1
            return True
        return False

    def folders(self, beginnings: set[str]) -> None:
        """Takes the cache folders that steps want and that are not here."""
        home = _home(self._store.root)
        for name, (place, piece) in sorted(self._mounts.items()):
            if _beginning(name) not in beginnings or os.path.lexists(f"{home}/{name}"):
                continue

            def adopt(path: str, target: str = f"{home}/{name}") -> None:
                os.makedirs(home, mode=0o700, exist_ok=True)
                rename_new(path, target)  # a step may have made it meanwhile, and use it

            if self._take(place, piece, adopt):
                self._count[1] += 1

    def _take(self, place: Place, piece: Piece, adopt: Callable[[str], None]) -> bool:
        """Unpacks a blob beside, verifies it, and hands its folder to `adopt`; False where that fails."""
        root = self._store.root
        staged = layers.reserve(root)
        try:
            os.mkdir(f"{staged}/lower", 0o755)
            os.utime(f"{staged}/lower", (0, 0))
            os.mkdir(f"{staged}/upper", 0o755)
            os.chmod(f"{staged}/upper", 0o755)  # noqa: S103 - a layer's root, which programs of any user walk
            with Joined(place, piece) as tar:
                _unpack(tar, f"{staged}/upper", f"{staged}/lower")
                tar.finish()
            self._count[2] += piece.size
            adopt(f"{staged}/upper")
            return True
        except EngineError as error:
            if "no space left" in error.message:
                raise
            self._say(f"{piece.name[:60]} is not taken from a cache: {error.message}")
            return False
        finally:
            layers.discard(root, staged)


def _unpack(tar: Joined, upper: str, lower: str) -> None:
    """The tree of a layer; `lower` is an empty folder, without which marks of what is removed would mean nothing."""
    above = os.open(upper, _FOLDER)
    below = os.open(lower, _FOLDER)
    try:
        unpack(Reader(tar, DEFAULT), above, [below])
    finally:
        os.close(above)
        os.close(below)


def told(moved: Moved, verb: str, where: str) -> str:
    """`3 steps and 1 cache folder brought to ./cache (12 MiB)`."""
    parts = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((moved.steps, "step"), (moved.mounts, "cache folder"))
        if count
    ]
    return f"{' and '.join(parts) or 'nothing new'} {verb} {where} ({size_text(moved.size)})"

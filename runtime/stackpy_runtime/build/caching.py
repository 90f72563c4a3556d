"""The results of steps: taken where they are, made where they are not, each layer by a rename, by one build at a time.

Killed at any moment it leaves a staging folder, which garbage collection removes, and the layers that were finished.
A layer's bytes may still be in memory only; so it is recorded with the boot in which it was made, is believed in that
boot, and once all is done one sync makes it last (`settle`).
"""

from __future__ import annotations

import contextlib
import os
from threading import Lock

from stackpy_runtime.build import bases
from stackpy_runtime.build.digests import sha256_hex
from stackpy_runtime.linux.proc import boot_id
from stackpy_runtime.store import layers, locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackpy_runtime.build.likeness import Likeness
    from stackpy_runtime.model import Progress, RecipeStep
    from stackpy_runtime.store.store import Store

    Say = Callable[[bool], None]


class Results:
    """What steps give, for all chains of one build.

    fresh: takes nothing from the cache, and puts what is made in its place
    progress: told whom a step waits for
    """

    def __init__(self, store: Store, progress: Callable[[Progress], None], *, fresh: bool = False) -> None:
        self._store, self._progress = store, progress
        self._boot = boot_id()
        self._unsettled: list[tuple[str, str, str]] = []  # step, layer, what it is like
        self._likes: dict[str, str] = {}
        self._guard = Lock()
        self._nonce = os.urandom(8).hex() if fresh else ""
        self._made: dict[str, str] = {}  # by this build
        self._own: dict[str, Lock] = {}  # held by its stages

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
        """The layer of a step: the cached one, or what `make` leaves in a staged folder; "" when it makes none.

        say: told once whether it was cached
        before: waits for what making it needs of others; nothing is held meanwhile, so that no two wait for each other
        like: finds the result of a step that came to the same
        base: what a build stands on, which a fresh one takes from the cache too
        """
        found = self._found(step["id"], base)
        if found is None:
            before()
            with self.alone(step):
                found = self._found(step["id"], base)
                if found is None and (base or not self._nonce):
                    found = self._of_an_image(step["id"])
                like = None if self._nonce else like
                if found is None and like is not None:
                    found = like.find(self)
                if found is None:
                    say(False)
                    layer = self._make(step, make, needed, base)
                    if like is not None:
                        like.made(self, layer)
                    return layer
        say(True)
        return found

    @contextlib.contextmanager
    def alone(self, step: RecipeStep) -> Iterator[None]:
        """Holds a step, so that no other build, and no other stage of this one, makes it meanwhile."""
        name = bases.lock_name(step["id"])
        with self._guard:
            own = self._own.setdefault(name, Lock())
        with own, self._shared(name, step):
            yield

    def _shared(self, name: str, step: RecipeStep) -> locks.Lock:
        def waiting(holder: str) -> None:
            self._progress({"kind": "state", "text": f"waiting for {holder}, which makes the same step"})

        command = f"build: {step['text']}"
        return locks.named(self._store.root, name, waiting=waiting, command=command)

    def known(self, name: str) -> str | None:
        """The layer of a step, or of a result by another name, that is in the cache; None otherwise."""
        return self._found(name, base=False)

    def like_of(self, name: str) -> str:
        """What a step that was found or made is like: its own ID in most cases."""
        with self._guard:
            return self._likes.get(name, name)

    def note(self, name: str, layer: str, like: str) -> None:
        """Makes a layer the result of a step, or of another name; like: what that is like, or "" for itself."""
        self._store.put_step(name, layer, {"boot": self._boot, **({"as": like} if like else {})})
        with self._guard:
            self._unsettled.append((name, layer, like))
            if like:
                self._likes[name] = like

    def _found(self, step_id: str, base: bool) -> str | None:
        with self._guard:
            made = self._made.get(step_id)
        return made if made is not None or (self._nonce and not base) else self._cached(step_id)

    def _make(self, step: RecipeStep, make: Callable[[str], None], needed: Callable[[], bool], base: bool) -> str:
        root, layer = self._store.root, ""
        fresh = bool(self._nonce) and not base
        if not fresh:
            self._forget(step["id"])
        if needed():
            staged = layers.stage(root)
            try:
                make(staged)
            except BaseException:
                layers.discard(root, staged)
                raise
            # What is made again lies beside the former, on which containers may be running.
            layer = sha256_hex(f"{step['id']} {self._nonce}".encode()) if fresh else step["id"]
            layers.commit(root, staged, layer)
        self._store.put_step(step["id"], layer, {"boot": self._boot})
        with self._guard:
            self._unsettled.append((step["id"], layer, ""))
            self._made[step["id"]] = layer
        return layer

    def _cached(self, step_id: str) -> str | None:
        """The layer of a step that is in the cache and can be believed; None otherwise."""
        found = self._store.step(step_id)
        if found is None or found["config"].get("boot", self._boot) != self._boot:
            return None
        if found["layer"] and not layers.exists(self._store.root, found["layer"]):
            return None
        like = str(found["config"].get("as", ""))
        with self._guard:
            if like:
                self._likes[step_id] = like
            if "boot" in found["config"]:
                self._unsettled.append((step_id, found["layer"], like))
        if found["layer"]:
            layers.touch(self._store.root, found["layer"])  # what was used last is pruned last
        return found["layer"]

    def _of_an_image(self, step_id: str) -> str | None:
        """The layer of a step that the cache has forgotten, when an image has it: those are recorded when all is whole.

        Never made again then: containers may be running on it.
        """
        if not layers.exists(self._store.root, step_id):
            return None
        if not any(step_id in image["layers"] for image in self._store.images()):
            return None
        self._store.put_step(step_id, step_id, {})
        return step_id

    def _forget(self, step_id: str) -> None:
        """Removes a layer that is on disk without a result that can be believed: a crash may have left it in part."""
        if layers.exists(self._store.root, step_id):
            staged = layers.reserve(self._store.root)
            try:
                layers.remove(self._store.root, step_id, staged)
            finally:
                layers.discard(self._store.root, staged)

    def settle(self) -> None:
        """Makes all new layers last a power cut, and says so in the cache."""
        if any(layer for _, layer, _ in self._unsettled):
            layers.flush(self._store.root)
        for step_id, layer, like in self._unsettled:
            self._store.put_step(step_id, layer, {"as": like} if like else {})

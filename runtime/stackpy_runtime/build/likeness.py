"""A second look for a step's result: by what it stands on and takes, where that came out as it was before.

A step's ID is known before anything is built, so what copies from a stage gets another ID when the stage does, whatever
the stage comes to. Once the stage is there, its files are known too. So each step has, beside its ID, the ID that it is
*like*: the one that it would have if every stage whose files came out the same had not changed. A COPY that takes the
same files to the same place is like the one that took them first, and what stands on it is like what stood on that.
BuildKit does the same with content checksums as further cache keys.

Rows of the cache say it: that of a step has `as`, the ID that it is like, where that is not its own; `like-…` is a COPY
by the content that it takes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime import json_text
from stackpy_runtime.build import copying, recipe, step_inputs
from stackpy_runtime.build.digests import CHUNK, named_hash
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux.files import open_in_root
from stackpy_runtime.store.steps import LIKE

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.caching import Results
    from stackpy_runtime.build.context import Item
    from stackpy_runtime.build.image_files import ImageFiles
    from stackpy_runtime.build.steps import Tree
    from stackpy_runtime.model import RecipeStep, RunMount, Step

# What of a COPY's inputs its content stands for.
_BY_CONTENT = ("from", "sources", "--exclude")


class Likeness:
    """What one step is like.

    before: what the step that it hangs on is like; same: that is the step itself
    like_of: what the end of a stage is like, once it is built
    tree_of: the files of a stage
    """

    def __init__(
        self,
        step: Step,
        resolved: RecipeStep,
        before: str,
        like_of: Callable[[str], str],
        tree_of: Callable[[RunMount | Step], Tree],
        *,
        same: bool,
    ) -> None:
        self._step, self._resolved, self._before, self._same = step, resolved, before, same
        self._like_of, self._tree_of = like_of, tree_of
        self._id, self._key = "", ""

    def find(self, results: Results) -> str | None:
        """The layer of what the step is like, noted as its own; None where there is none. Its stages are built."""
        places = [self._step, *self._step.get("mounts", [])]
        if self._same and not any("from_stage" in place for place in places):
            self._id = self._resolved["id"]  # of ten thousand files it takes 10 ms to find that out
            return None
        inputs = self._inputs()
        self._id = recipe.step_id(self._step["instruction"], self._before, inputs)
        found = results.known(self._id) if self._id != self._resolved["id"] else None
        if found is None and "from_stage" in self._step:
            self._key = self._by_content(inputs)
            found = results.known(self._key) if self._key else None
            if found is not None:
                self._id = results.like_of(self._key)
        if found is not None:
            results.note(self._resolved["id"], found, self._id)
        return found

    def made(self, results: Results, layer: str) -> None:
        """Notes what the step has come to for those that are like it."""
        if self._id != self._resolved["id"]:
            results.note(self._resolved["id"], layer, self._id)
            results.note(self._id, layer, "")
        if self._key:
            results.note(self._key, layer, self._id)

    def _inputs(self) -> dict[str, str]:
        """The step's inputs with what its stages are like."""
        inputs = dict(self._resolved["inputs"])
        if "from_stage" in self._step:
            inputs["from"] = self._like_of(self._step["from_stage"])
        for mount in self._step.get("mounts", []):
            if "from_stage" in mount:
                import json

                name = step_inputs.mount_name(mount)
                said = {**json.loads(inputs[name]), "from": self._like_of(mount["from_stage"])}
                inputs[name] = json_text.dumps(said, sort_keys=True)
        return inputs

    def _by_content(self, inputs: dict[str, str]) -> str:
        """The step by the files that it takes; "" where they cannot be told, which making it will say."""
        tree = self._tree_of(self._step)
        if not tree.layers:
            return ""
        from stackpy_runtime.build.image_files import ImageFiles

        with Merged(tree.layers) as view:
            files = ImageFiles(view, self._step["from_stage"])
            try:
                content = _content(files, self._step)
            finally:
                files.close()
        if not content:
            return ""
        rest = sorted((name, value) for name, value in inputs.items() if name not in _BY_CONTENT)
        return LIKE + named_hash("copy by content", [("after", self._before), ("content", content), *rest])


def _content(files: ImageFiles, step: Step) -> str:
    """A hash of what a COPY takes of a tree: names, modes, owners, attributes, bytes, never times; "" for nothing."""
    sources, problems = files.sources(step)
    if problems:
        return ""
    whole = hashlib.sha256()
    modes, owners = not step_inputs.ignores_modes(step), not step.get("chown")
    for source in sources:
        name = os.path.basename(source.name.rstrip("/"))
        # Of a folder its contents are copied, and what it is called does not count.
        _add(whole, "folder" if source.folder else name, source.under, str(len(sources) > 1))
        for item in source.items:
            _add(whole, item.place, item.kind, f"{item.mode:o}" if modes else "")
            try:
                _add_item(whole, files.descriptor, item, owners)
            except (OSError, KernelError):
                return ""
    return whole.hexdigest()


def _add(whole: hashlib._Hash, *texts: str) -> None:
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        whole.update(b"%d:%b" % (len(data), data))


def _add_item(whole: hashlib._Hash, root: int, item: Item, owners: bool) -> None:
    if item.kind == "file":
        opened = copying.open_file(root, item)
    else:
        flags = os.O_RDONLY | os.O_DIRECTORY if item.kind == "folder" else os.O_PATH
        opened = open_in_root(root, item.real, flags | os.O_NOFOLLOW)
    try:
        status = os.fstat(opened)
        if owners:
            _add(whole, f"{status.st_uid}:{status.st_gid}")
            if item.kind in ("file", "folder"):
                for name in sorted(os.listxattr(opened)):
                    if not name.startswith("trusted."):
                        _add(whole, name, os.getxattr(opened, name).hex())
        if item.kind == "link":
            _add(whole, item.content)
        elif item.kind == "node":
            _add(whole, f"{stat.S_IFMT(status.st_mode)}:{status.st_rdev}")
        elif item.kind == "file":
            data = hashlib.sha256()
            while chunk := os.read(opened, CHUNK):
                data.update(chunk)
            whole.update(data.digest())
    finally:
        os.close(opened)

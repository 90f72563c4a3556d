"""What a COPY step takes from its context: the items, their hashes, and what is wrong with the sources.

Everything is opened beneath descriptors without following links, so that a context that changes under our hands, by
somebody with fewer rights than ours, never brings in a file from elsewhere. Only a link that is itself named as a
source is followed, as Docker does, and only when it stays in the context.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from _thread import allocate_lock

from stackpy_runtime import json_text
from stackpy_runtime.build.ignoring import DockerRules, Rules, read_ignore_file
from stackpy_runtime.build.stat_cache import StatCache
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from stackpy_runtime.build.ignoring import Excluding
    from stackpy_runtime.model import Step

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Stages that are built at the same time share contexts.
_opening = allocate_lock()


class Item(NamedTuple):
    """One file, folder or link to copy.

    name: relative to the context, as the user knows it
    real: relative to the context, without links on the way
    place: relative to where its source goes; "" is the source itself
    mode: permission bits
    content: a file's SHA-256, a link's target, "" for a folder; "" also for a file of an image, which cannot change
    """

    name: str
    real: str
    place: str
    kind: Literal["file", "folder", "link", "node"]
    mode: int
    content: str


class Source(NamedTuple):
    """One thing named by the step, after globs: a file with one item, or a folder with itself and all that is in it.

    under: the folders that --parents keeps of its path
    """

    name: str
    folder: bool
    items: list[Item]
    under: str = ""


class Problem(NamedTuple):
    """Why a source cannot be copied. `line` is the step's."""

    line: str
    message: str
    hint: str


class Context:
    """One context folder while recipes are resolved. Close it.

    path: absolute
    ignore_file: absolute path of what is read instead of its .dockerignore
    copies: folders with what RUN steps are shown of it, by source; `closing` takes them away

    Raises OSError when the folder cannot be opened, InvalidConfig for a bad pattern.
    """

    def __init__(self, path: str, root: str, ignore_file: str = "") -> None:
        self.path = os.path.realpath(path)
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.cache = StatCache.of(root, self.path)
        patterns = read_ignore_file(self.descriptor, ignore_file)
        self._ignore: Excluding | None = DockerRules(patterns, self.cache) if patterns else None
        self.copies: dict[str, str] = {}
        self.closing: list[Callable[[], None]] = []

    def close(self) -> None:
        """Saves what was learnt and closes the folder."""
        self.let_go()
        self.cache.save()
        os.close(self.descriptor)

    def let_go(self) -> None:
        """Takes the copies away; nobody uses the context any more."""
        while self.closing:
            self.closing.pop()()

    # -- sources -----------------------------------------------------------------------------------------------------

    def sources(self, step: Step) -> tuple[list[Source], list[Problem]]:
        """All that the step copies, and all that is wrong with it; the first is incomplete when there is the second.

        As in BuildKit a glob that finds nothing is nothing: `package.json yarn.lock*`.
        """
        found: list[Source] = []
        problems: list[Problem] = []
        rules: Excluding | None = None
        if step.get("exclude"):
            rules = Rules(step["exclude"], self.cache)
        elif step.get("exclude_paths"):
            rules = DockerRules(step["exclude_paths"], self.cache)
        for given in step.get("sources", []):
            # What stands before `/./` is not kept of the path.
            pivot = posixpath.normpath("./" + given.partition("/./")[0].lstrip("/")) if "/./" in given else ""
            written = given
            clean = posixpath.normpath("./" + written.lstrip("/"))
            if clean == ".." or clean.startswith("../"):
                text = f"the source `{written}` leads out of the context `{self.path}`"
                problems.append(Problem(step["line"], text, "copy from a context that holds it: context=…"))
                continue
            globbed = any(letter in written for letter in "*?[")
            names = self._glob(clean) if globbed else [clean]
            before = len(found) + len(problems)
            for name in names:
                start = len(found)
                self._take(name, written, step["line"], rules, found, problems)
                if step.get("parents"):
                    found[start:] = [_with_parents(each, pivot) for each in found[start:]]
            if len(found) + len(problems) == before and not globbed:
                problems.append(self._missing(written, clean, step["line"]))
        return found, problems

    def _missing(self, written: str, clean: str, line: str) -> Problem:
        import difflib

        parent, base = posixpath.split(clean)
        near = difflib.get_close_matches(base, self._names(parent), 1)
        hint = f"did you mean `{posixpath.join(parent, near[0])}`?" if near else "check the path; it is relative to it"
        return Problem(line, f"the source `{written}` is not in {self._shown()}", hint)

    def _shown(self) -> str:
        return f"the context `{self.path}`"

    def _names(self, folder: str) -> list[str]:
        """What is in a folder, links followed, in order; nothing where there is none."""
        try:
            return sorted(os.listdir(os.path.join(self.path, folder)))
        except OSError:
            return []

    def _there(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self.path, name))

    def _real(self, name: str) -> str | None:
        """A path without links on the way; None where it leads out."""
        whole = os.path.realpath(os.path.join(self.path, name))
        real = os.path.relpath(whole, self.path) if whole != self.path else "."
        return None if real.startswith("../") or real == ".." else real

    def _glob(self, pattern: str) -> list[str]:
        from fnmatch import fnmatchcase

        found = [""]
        for part in pattern.split("/"):
            following: list[str] = []
            for parent in found:
                if part == "**":
                    following += [parent, *self._folders_below(parent)]
                elif any(letter in part for letter in "*?["):
                    part = part.replace("[^", "[!")  # Go's filepath.Match
                    names = [name for name in self._names(parent) if fnmatchcase(name, part)]
                    following += [posixpath.join(parent, name) for name in names]
                elif self._there(posixpath.join(parent, part)):
                    following.append(posixpath.join(parent, part))
            found = list(dict.fromkeys(following))
        return [name for name in found if name and not (self._ignore and self._ignored(name))]

    def _folders_below(self, folder: str) -> list[str]:
        found = []
        for name in self._names(folder):
            path = posixpath.join(folder, name)
            if self._real(path) == path and self._names(path):
                found += [path, *self._folders_below(path)]
        return found

    def _ignored(self, name: str) -> bool:
        assert self._ignore is not None
        return self._ignore.excluded(name, os.path.isdir(os.path.join(self.path, name)))

    def _refused(self, name: str, folder: bool) -> bool:
        """Whether .dockerignore leaves nothing of a source."""
        rules = self._ignore
        return bool(rules and name != "." and rules.excluded(name, folder) and (not folder or rules.prunes(name)))

    def _take(
        self, name: str, written: str, line: str, rules: Excluding | None, found: list[Source], problems: list[Problem]
    ) -> None:
        """Adds the source `name` (relative, normal form) to `found`, or what is wrong with it to `problems`."""
        real = self._real(name)
        if real is None:
            text = f"the source `{written}` is a link that leads out of the context `{self.path}`"
            problems.append(Problem(line, text, "copy the file itself, or take a context that holds it"))
            return
        parts = [] if real == "." else real.split("/")
        folder = os.dup(self.descriptor)
        try:
            for part in parts[:-1]:
                following = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = following
            status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False) if parts else os.fstat(folder)
            if self._refused(name, stat.S_ISDIR(status.st_mode)):
                text = f"the source `{written}` is excluded by the .dockerignore of `{self.path}`"
                problems.append(Problem(line, text, "take it out of .dockerignore"))
                return
            if stat.S_ISDIR(status.st_mode):
                inner = os.open(parts[-1], _FOLDER, dir_fd=folder) if parts else os.dup(folder)
                items = [Item(f"{name}/", real, "", "folder", stat.S_IMODE(status.st_mode), "")]
                self._walk(inner, "" if name == "." else name, "" if real == "." else real, "", rules, items)
                found.append(Source(name, True, items))
            else:
                base = posixpath.basename(name)
                if rules and rules.excluded(base, False):
                    found.append(Source(name, False, []))
                    return
                item = self._item(folder, parts[-1], name, real, "", status)
                if item is None:
                    raise OSError(errno.EINVAL, "a socket cannot be copied")
                found.append(Source(name, False, [item]))
        except FileNotFoundError:
            problems.append(self._missing(written, name, line))
        except OSError as error:
            text = f"the source `{error.filename or written}` cannot be read: {(error.strerror or str(error)).lower()}"
            problems.append(Problem(line, text, "only files, folders and links that can be read can be copied"))
        finally:
            os.close(folder)

    def _walk(
        self, descriptor: int, name: str, real: str, place: str, rules: Excluding | None, items: list[Item]
    ) -> None:
        """Adds what is in the folder `descriptor`, which is closed, in the order of names."""
        try:
            with os.scandir(descriptor) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            prefix, real_prefix, place_prefix = (f"{text}/" if text else "" for text in (name, real, place))
            for entry in entries:
                base = entry.name
                path = prefix + base
                folder = entry.is_dir(follow_symlinks=False)
                kept = True
                if self._ignore and self._ignore.excluded(path, folder):
                    if not folder or self._ignore.prunes(path):
                        continue
                    kept = False
                if rules and rules.excluded(place_prefix + base, folder):
                    if not folder or rules.prunes(place_prefix + base):
                        continue
                    kept = False
                status = entry.stat(follow_symlinks=False)
                if not folder:
                    item = self._item(descriptor, base, path, real_prefix + base, place_prefix + base, status)
                    if item is not None:
                        items.append(item)
                    continue
                mode = stat.S_IMODE(status.st_mode)
                below = [Item(f"{path}/", real_prefix + base, place_prefix + base, "folder", mode, "")]
                inner = os.open(base, _FOLDER, dir_fd=descriptor)
                self._walk(inner, path, real_prefix + base, place_prefix + base, rules, below)
                # An excluded folder comes along only for what a later `!` pattern takes back from it.
                if kept or len(below) > 1:
                    items += below
        finally:
            os.close(descriptor)

    def _item(self, folder: int, base: str, name: str, real: str, place: str, status: os.stat_result) -> Item | None:
        """The item of a file or a link; None for a socket, which Docker leaves out too."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            digest = self.cache.sha256(f"{self.path}/{real}", status, base, folder)
            return Item(name, real, place, "file", stat.S_IMODE(mode), digest)
        if stat.S_ISLNK(mode):
            return Item(name, real, place, "link", 0, os.readlink(base, dir_fd=folder))
        if stat.S_ISSOCK(mode):
            return None
        raise OSError(errno.EINVAL, "it is a FIFO or a device", name)


def _with_parents(source: Source, pivot: str) -> Source:
    """A source of a step with --parents, which keeps its path, or what of it stands behind the pivot."""
    name = source.name
    if pivot not in ("", ".") and name.startswith(f"{pivot}/"):
        name = name[len(pivot) + 1 :]
    elif name == pivot:
        name = "."
    under = name if source.folder else posixpath.dirname(name)
    return source._replace(under="" if under == "." else under)


def of_step(step: Step, contexts: dict[str, Context], root: str) -> Context:
    """The context that a step copies from, opened once for all steps that share it; raises as Context does.

    contexts: those that are open; the caller closes them
    """
    folder, ignore_file = step.get("from_context", ""), ""
    if not folder:
        folder, ignore_file = step["context"], step.get("ignore_file", "")
    key = f"{folder}\0{ignore_file}"
    with _opening:
        if key not in contexts:
            contexts[key] = Context(folder, root, ignore_file)
        return contexts[key]


class Walks:
    """What steps have found in their contexts, from when the recipe was made: a build copies that and walks no more.

    What has changed since is seen when it is copied; what has been added since belongs to no recipe.
    """

    def __init__(self) -> None:
        self._found: dict[str, list[Source]] = {}

    def keep(self, step: Step, sources: list[Source]) -> None:
        """Remembers what a step copies."""
        self._found[_walk(step)] = sources

    def of(self, step: Step) -> list[Source] | None:
        """What a step copies; None where nobody has looked."""
        return self._found.get(_walk(step))


def _walk(step: Step) -> str:
    keys = ("from_context", "context", "ignore_file", "sources", "exclude", "exclude_paths", "parents")
    return json_text.dumps([step.get(key) for key in keys])


def inputs(sources: list[Source], any_mode: bool | None = False) -> dict[str, str]:
    """What the copied items contribute to a step's ID, by name.

    any_mode: --chmod gives all of them a mode of its own; their own modes are then nobody's business
    """
    result: dict[str, str] = {}
    for source in sources:
        for item in source.items:
            bits = "" if any_mode else f"{item.mode:o} "
            if item.kind == "file":
                result[item.name] = bits + item.content
            elif item.kind == "link":
                result[item.name] = f"-> {item.content}"
            elif item.place or not any_mode:
                result[item.name] = f"{bits}folder"
    return result

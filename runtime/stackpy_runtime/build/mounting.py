"""What `--mount` of a RUN step shows, found and made ready on the host."""

from __future__ import annotations

import os
import posixpath
import stat
from threading import Lock

from stackpy_runtime.build import caches, copying
from stackpy_runtime.build.caches import Cache
from stackpy_runtime.build.context import inputs, of_step
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.build.settings import absolute
from stackpy_runtime.build.step_inputs import decoded, mount_name
from stackpy_runtime.build.tree import Owner
from stackpy_runtime.errors import InvalidConfig, KernelError, NotFound
from stackpy_runtime.linux import files
from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack

    from stackpy_runtime.build.context import Context
    from stackpy_runtime.build.steps import Place
    from stackpy_runtime.model import RecipeStep, RunMount, Step, StepMount

# Where BuildKit shows an agent that has no target (solver/llbsolver, exec op).
_AGENT = "/run/buildkit/ssh_agent.{}"
_PIPES = "/dev/pipes/"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_MOST_PARTS = 4096  # of a target, links followed

# What one step copies of a context, another of a stage that is built at the same time waits for.
_copying = Lock()


class Shown(NamedTuple):
    """What a step sees beside its layers: mounts, outer before inner, and variables."""

    mounts: list[StepMount]
    environment: dict[str, str]


def _of_context(step: Step, mount: RunMount) -> Step:
    """The COPY step that takes what a mount shows of a context."""
    taken: Step = {
        "instruction": "copy",
        "text": step["text"],
        "line": step["line"],
        "sources": [mount.get("source", ".").lstrip("/") or "."],
    }
    if "from_context" in mount:
        taken["from_context"] = mount["from_context"]
        return taken
    taken["context"] = step["context"]
    if "ignore_file" in step:
        taken["ignore_file"] = step["ignore_file"]
    return taken


def shown(place: Place, step: Step, resolved: RecipeStep, stack: ExitStack) -> Shown:
    """Makes ready what a step shall see; it goes with `stack`.

    Raises InvalidConfig for what is not there, NotFound for a secret or agent that the build was not given, Conflict
    for a file of the context that changed since the recipe was made.
    """
    ready = _Ready(place, step, resolved, stack)
    wanted = [*step.get("mounts", []), *_plain(step)]
    found = [ready.one(mount) for mount in wanted]
    mounts = ready.caches() + [mount for mount in found if mount is not None] + _heredocs(step)
    if mounts:
        with Merged(place.layers) as view:
            for mount in mounts:
                mount["target"] = _real(view.root, mount["target"])
    return Shown(sorted(mounts, key=lambda mount: mount["target"].count("/")), ready.environment)


def _plain(step: Step) -> list[RunMount]:
    return [{"type": "cache", "target": target, "id": target, "sharing": "locked"} for target in step.get("cache", [])]


def _heredocs(step: Step) -> list[StepMount]:
    return [
        {
            "kind": "memory",
            "target": _PIPES + each["name"],
            "read_only": True,
            "file": True,
            "content": decoded(each["content"]),
            "mode": 0o755,
            "executable": True,
        }
        for each in step.get("inline", [])
    ]


class _Ready:
    """The mounts of one step."""

    def __init__(self, place: Place, step: Step, resolved: RecipeStep, stack: ExitStack) -> None:
        self._place, self._step, self._planned, self._stack = place, step, resolved["inputs"], stack
        self._caches: list[tuple[Cache, RunMount]] = []
        self._agents = 0
        self.environment: dict[str, str] = {}

    def one(self, mount: RunMount) -> StepMount | None:
        """One mount; None for a cache, which waits for `caches`, and for what is not wanted by all means."""
        kind = mount["type"]
        if kind == "cache":
            self._caches.append((self._cache(mount), mount))
            return None
        if kind == "tmpfs":
            tmpfs: StepMount = {"kind": "tmpfs", "target": self._target(mount), "read_only": False, "file": False}
            if "size" in mount:
                tmpfs["size"] = mount["size"]
            return tmpfs
        if kind == "secret":
            return self._secret(mount)
        return self._agent(mount) if kind == "ssh" else self._bind(mount)

    def caches(self) -> list[StepMount]:
        """The caches, all held at once."""
        wanted = [cache for cache, _ in self._caches]
        if not wanted:
            return []
        folders = self._stack.enter_context(caches.using(self._place.root, wanted, self._place.output))
        return [self._cache_mount(path, mount) for path, (_, mount) in zip(folders, self._caches, strict=True)]

    def _target(self, mount: RunMount) -> str:
        return absolute(self._place.config, mount.get("target", "")).rstrip("/")

    # caches

    def _cache(self, mount: RunMount) -> Cache:
        plain = Cache(
            mount["id"],
            mount.get("sharing", "shared"),
            mount.get("mode", 0o755),
            (mount.get("uid", 0), mount.get("gid", 0)),
        )
        if not {"from_stage", "from_image", "from_context"} & mount.keys():
            return plain
        source = _inner(mount)

        def fill(target: str) -> None:
            with Merged(self._layers(mount)) as view:
                _copy_folder(view.root, source, target, mount)

        return plain._replace(origin=f"{self._identity(mount)} {source}", fill=fill)

    def _cache_mount(self, path: str, mount: RunMount) -> StepMount:
        result: StepMount = {
            "kind": "folder",
            "target": self._target(mount),
            "read_only": mount.get("readonly", False),
            "file": False,
            "source": path,
        }
        if mount.get("source") and not {"from_stage", "from_image", "from_context"} & mount.keys():
            result["within"] = _inner(mount)
            top = os.open(path, _FOLDER)
            try:
                # Never followed out of the cache, whatever another step makes of it meanwhile (CVE-2024-23651).
                os.close(files.make_folders(top, result["within"]))
            finally:
                os.close(top)
        return result

    # binds

    def _bind(self, mount: RunMount) -> StepMount:
        result: StepMount = {
            "kind": "layers",
            "target": self._target(mount),
            "read_only": mount.get("readonly", True),
            "file": False,
            "within": _inner(mount),
        }
        if not ("from_stage" in mount or "from_image" in mount):
            result["layers"] = [self._context(mount)]
            with Merged(result["layers"]) as view:
                result["file"] = _is_file(view.root, result["within"], mount)
            return result
        result["layers"] = self._layers(mount)
        if not result["layers"]:
            result["layers"] = [f"{self._staged()}/upper"]
        with Merged(result["layers"]) as view:
            result["file"] = _is_file(view.root, result["within"], mount)
        return result

    def _staged(self) -> str:
        staged = layers.stage(self._place.root)
        self._stack.callback(layers.discard, self._place.root, staged)
        return staged

    def _context(self, mount: RunMount) -> str:
        """A folder with what a mount shows of a context: without what is ignored, and root's, as if it was sent."""
        shown = _of_context(self._step, mount)
        try:
            context = of_step(shown, self._place.contexts, self._place.root.path)
        except OSError:
            raise copying.changed(mount.get("from_context") or self._step["context"]) from None
        name = posixpath.normpath(shown["sources"][0])
        with _copying:
            if name not in context.copies:
                context.copies[name] = self._copy(mount, context, shown, name)
            return context.copies[name]

    def _copy(self, mount: RunMount, context: Context, shown: Step, name: str) -> str:
        sources, wrong = context.sources(shown)
        if wrong:
            raise InvalidConfig(wrong[0].message, hint=wrong[0].hint)
        self._compare(mount, inputs(sources))
        root = self._place.root
        staged = layers.stage(root)
        # All steps of the build share it, since nothing is ever written to it.
        context.closing.append(lambda: layers.discard(root, staged))
        with Merged([], staged) as view:
            folder = sources[0].folder
            target = "/" if name == "." else f"/{name}" if folder else f"/{posixpath.dirname(name)}/"
            copying.copy(view.root, context.descriptor, sources, target, None, Owner(0, 0))
        return f"{staged}/upper"

    def _compare(self, mount: RunMount, now: dict[str, str]) -> None:
        """Raises Conflict when what a bind shows is not what the step's ID was made of."""
        if mount["type"] != "bind":
            return
        beginning = f"{mount_name(mount)}: "
        planned = {
            name.removeprefix(beginning): value for name, value in self._planned.items() if name.startswith(beginning)
        }
        if differing := [name for name in {**planned, **now} if planned.get(name) != now.get(name)]:
            raise copying.changed(differing[0])

    def _layers(self, mount: RunMount) -> list[str]:
        if "from_context" in mount:
            return [self._context(mount)]
        return self._place.tree_of(mount).layers

    def _identity(self, mount: RunMount) -> str:
        if "from_context" in mount:
            return mount["from_context"]
        return self._place.tree_of(mount).identity

    # secrets and agents

    def _secret(self, mount: RunMount) -> StepMount | None:
        value = self._place.options.get("secrets", {}).get(mount["id"])
        if value is None:
            if mount.get("required"):
                raise NotFound(
                    f"the build was not given the secret `{mount['id']}`",
                    hint=f"add `--secret id={mount['id']},src=FILE`, or declare it in the stack",
                )
            return None
        if "env" in mount:
            if b"\0" in value:
                raise InvalidConfig(f"the secret `{mount['id']}` has a NUL byte, which no variable can hold")
            self.environment[mount["env"]] = value.decode("utf-8", "surrogateescape")
        if "target" not in mount:
            return None
        return {
            "kind": "memory",
            "target": self._target(mount),
            "read_only": True,
            "file": True,
            "content": value,
            "mode": mount.get("mode", 0o400),
            "uid": mount.get("uid", 0),
            "gid": mount.get("gid", 0),
        }

    def _agent(self, mount: RunMount) -> StepMount | None:
        target = self._target(mount) if "target" in mount else _AGENT.format(self._agents)
        self._agents += 1
        self.environment.setdefault("SSH_AUTH_SOCK", target)
        path = self._place.options.get("ssh", {}).get(mount["id"])
        keys = self._place.options.get("ssh_keys", {}).get(mount["id"])
        if keys:
            from stackpy_runtime.build.key_agents import of_keys

            path = self._stack.enter_context(of_keys(self._place.root, keys))
        if path is None:
            if mount.get("required"):
                raise NotFound(f"the build was not given the agent `{mount['id']}`", hint=f"add `--ssh {mount['id']}`")
            return None
        from stackpy_runtime.build.agents import forwarded

        owner = (mount.get("uid", 0), mount.get("gid", 0))
        source = self._stack.enter_context(forwarded(self._place.root, path, mount.get("mode", 0o600), owner))
        return {"kind": "socket", "target": target, "read_only": False, "file": True, "source": source}


def _real(root: int, path: str) -> str:
    """A target without links of the image on the way, so that its mount point can lie beneath the image's layers.

    Nothing relies on it: the sandbox looks the target up in the container, as whatever it is by then.
    """
    done: list[str] = []
    left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    for _ in range(_MOST_PARTS):
        if not left:
            break
        part = left.pop()
        if part == "..":
            done = done[:-1]
            continue
        link = _link(root, "/".join([*done, part]))
        if link is None:
            done.append(part)
            continue
        if link.startswith("/"):
            done = []
        left += [each for each in reversed(link.split("/")) if each not in ("", ".")]
    else:
        raise InvalidConfig(f"the target `{path}` of a mount leads through too many links of the image")
    return "/" + "/".join(done)


def _link(root: int, path: str) -> str | None:
    """What a link of the image says; None for what is none, or is not there."""
    try:
        descriptor = files.open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
    except KernelError:
        return None
    try:
        return os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def _inner(mount: RunMount) -> str:
    return posixpath.normpath("/" + mount.get("source", "")).lstrip("/") or "."


def _is_file(root: int, path: str, mount: RunMount) -> bool:
    try:
        descriptor = files.open_in_root(root, path, os.O_PATH)
    except KernelError:
        where = mount.get("from_stage") or mount.get("from_image") or "the context"
        raise InvalidConfig(f"`{mount.get('source')}` of a mount is not in `{where}`", hint="check `source`") from None
    try:
        return not stat.S_ISDIR(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _copy_folder(root: int, path: str, target: str, mount: RunMount) -> None:
    from stackpy_runtime.filling import fill

    if _is_file(root, path, mount):
        raise InvalidConfig(f"`{path}` is no folder, and a cache begins with one", hint="check `source`")
    there = files.open_in_root(root, path, _FOLDER)
    try:
        here = os.open(target, _FOLDER)
        try:
            fill(there, here)
        finally:
            os.close(here)
    finally:
        os.close(there)

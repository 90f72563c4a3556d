"""COPY and ADD: from a context, a stage, an image, the recipe itself, an address, a repository."""

from __future__ import annotations

import os
import posixpath

from stackpy_runtime.build import copying, modes, recipe, settings, step_inputs, tree
from stackpy_runtime.build.context import inputs, of_step
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.errors import Conflict, InvalidConfig
from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.context import Context, Source
    from stackpy_runtime.build.modes import Change
    from stackpy_runtime.build.steps import Place
    from stackpy_runtime.build.tree import Owner
    from stackpy_runtime.model import RecipeStep, Step

_INLINE_MODE = 0o644
_DOWNLOADED_MODE = 0o600  # as BuildKit's


class _Adding(NamedTuple):
    """One step under way.

    root: descriptor of the image's merged tree
    behind: for copying.copy
    target: absolute, in the image
    into: whether that is a folder
    owner: what --chown says
    """

    place: Place
    step: Step
    resolved: RecipeStep
    root: int
    behind: Callable[[int], int]
    target: str
    into: bool
    owner: Owner | None
    modes: Change | None


def add(place: Place, step: Step, resolved: RecipeStep, staged: str) -> None:
    """Carries a COPY or ADD out; `staged`/upper is the layer then.

    Raises Conflict when a source changed since the recipe was made, InvalidConfig for what is not there, EngineError
    for what cannot be had.
    """
    target = settings.absolute(place.config, step["target"])
    # With --link the layer is made as if nothing were below it, and so is good for any base.
    below = [] if recipe.hangs_on_nothing(step, resolved["inputs"]) else place.layers
    lists = (step.get("sources"), step.get("inline"), step.get("urls"), step.get("git"))
    several = sum(len(each or ()) for each in lists) > 1
    written = 0
    with Merged(below, staged) as view:
        owner = copying.owner(view.root, step["chown"]) if step.get("chown") else None
        into = target.endswith("/") or several or tree.is_folder(view.root, target)
        # What is behind the view, another source of the same step must not meet.
        behind = copying.nowhere if several else view.behind
        adding = _Adding(place, step, resolved, view.root, behind, target, into, owner, modes.of_step(step))
        if "from_stage" in step or "from_image" in step:
            _from_image(adding)
        elif step.get("sources"):
            written = _from_context(adding)
        for file in step.get("inline", []):
            mode = _INLINE_MODE if adding.modes is None else adding.modes(_INLINE_MODE, False)
            content = step_inputs.decoded(file["content"])
            copying.write_file(view.root, _place(adding, file["name"]), content, mode, owner or tree.ROOT_OWNER)
        for address in step.get("urls", []):
            _from_url(adding, address)
        for address in step.get("git", []):
            _from_git(adding, address)
    if written and not several:
        layers.mark_size(f"{staged}/upper", written)


def _place(adding: _Adding, name: str) -> str:
    return posixpath.join(adding.target, name) if adding.into else adding.target


# --- stages and images ----------------------------------------------------------------------------------------------


def _from_image(adding: _Adding) -> None:
    from stackpy_runtime.build.image_files import ImageFiles

    step = adding.step
    name = step.get("from_stage") or step["from_image"]
    origin = adding.place.tree_of(step)
    if "from_image" in step and origin.identity != adding.resolved["inputs"]["from"]:
        raise Conflict(f"`{name}` is another image than it was when the recipe was made", hint="run it again")
    if not origin.layers:
        raise InvalidConfig(f"there are no files in `{name}` to copy from")
    with Merged(origin.layers) as view:
        files = ImageFiles(view, name)
        try:
            sources, problems = files.sources(step)
            if problems:
                raise InvalidConfig("\n".join(problem.message for problem in problems), hint=problems[0].hint)
            if len(sources) > 1 and not adding.into and not step.get("parents"):
                raise InvalidConfig(
                    f"several sources are copied to `{step['target']}`, which must end with `/`",
                    hint=f"write `{step['target']}/`",
                )
            _tell_of_nothing(adding, sources)
            copying.copy(
                adding.root,
                files.descriptor,
                sources,
                _folder(adding),
                adding.modes,
                adding.owner,
                adding.behind,
            )
        finally:
            files.close()


def _tell_of_nothing(adding: _Adding, sources: list[Source]) -> None:
    if not sources:
        adding.place.output(f"nothing is copied: there is no {' or '.join(adding.step.get('sources', []))}\n")


def _folder(adding: _Adding) -> str:
    return f"{adding.target.rstrip('/')}/" if adding.into else adding.target


# --- the context ----------------------------------------------------------------------------------------------------


def _from_context(adding: _Adding) -> int:
    """Returns the bytes that the layer has got by it, or 0 where that is not known."""
    step, place = adding.step, adding.place
    try:
        context = of_step(step, place.contexts, place.root.path)
    except OSError:
        raise copying.changed(step.get("from_context") or step["context"]) from None
    known = place.walks.of(step)
    if known is not None:
        return _put(adding, context, known)
    sources, _ = context.sources(step)
    now = step_inputs.renamed(inputs(sources, step_inputs.ignores_modes(step)))
    planned = step_inputs.files_of(adding.resolved["inputs"])
    if now != planned:
        differing = [name for name in {**planned, **now} if planned.get(name) != now.get(name)]
        raise copying.changed(differing[0].removeprefix("./"))
    return _put(adding, context, sources)


def _put(adding: _Adding, context: Context, sources: list[Source]) -> int:
    """Copies, and unpacks archives where the step does that."""
    given = len(sources)
    _tell_of_nothing(adding, sources)
    if adding.step["instruction"] == "add" and adding.step.get("unpack", True):
        sources = [source for source in sources if not _unpacked(adding, context.descriptor, source)]
    owner = adding.owner or tree.ROOT_OWNER
    written = copying.copy(
        adding.root,
        context.descriptor,
        sources,
        _folder(adding),
        adding.modes,
        owner,
        adding.behind,
    )
    # Several may name the same file.
    return written if len(sources) == given == 1 else 0


def _unpacked(adding: _Adding, context: int, source: Source) -> bool:
    """Unpacks a source that is an archive; returns whether it was one."""
    if source.folder or not source.items or source.items[0].kind != "file":
        return False
    from stackpy_runtime.build import unpacking

    item = source.items[0]
    descriptor = copying.open_file(context, item)
    try:
        if not unpacking.is_archive(descriptor):
            return False
        with _named(item.name):
            digest = unpacking.unpack(descriptor, adding.root, adding.target, adding.owner)
        if item.content and digest != item.content:
            raise copying.changed(item.name)
        return True
    finally:
        os.close(descriptor)


class _named:
    """Puts an archive's name before what is wrong with it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidConfig):
            raise InvalidConfig(f"`{self._name}` cannot be unpacked: {error.message}", hint=error.hint) from None


# --- addresses ------------------------------------------------------------------------------------------------------


def _from_url(adding: _Adding, address: str) -> None:
    from stackpy_runtime.build import downloads, unpacking

    planned = adding.resolved["inputs"][f"url {address}"]
    with downloads.downloaded(adding.place.root, address, planned) as found:
        if adding.step.get("unpack") and unpacking.is_archive(found.descriptor):
            with _named(address):
                unpacking.unpack(found.descriptor, adding.root, adding.target, adding.owner)
            return
        name = found.name
        if adding.into and not name:
            raise InvalidConfig(f"`{address}` names no file", hint="give the file's name as the destination")
        mode = _DOWNLOADED_MODE if adding.modes is None else adding.modes(_DOWNLOADED_MODE, False)
        owner = adding.owner or tree.ROOT_OWNER
        copying.write_from(adding.root, _place(adding, name), found.descriptor, mode, owner, found.mtime_ns)


def _from_git(adding: _Adding, address: str) -> None:
    from stackpy_runtime.build import repositories
    from stackpy_runtime.build.context import Context, Source

    planned = adding.resolved["inputs"][f"git {address}"]
    with repositories.checked_out(adding.place.root, address, planned, adding.step) as folder:
        context = Context(folder, "", "/dev/null")
        try:
            asked: Step = {**adding.step, "sources": ["."]}
            sources, problems = context.sources(asked)
            if problems:
                raise InvalidConfig(problems[0].message, hint=problems[0].hint)
            sources = [Source(each.name, each.folder, each.items) for each in sources]
            owner = adding.owner or tree.ROOT_OWNER
            copying.copy(adding.root, context.descriptor, sources, adding.target, adding.modes, owner)
        finally:
            context.close()

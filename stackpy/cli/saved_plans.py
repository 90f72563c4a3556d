"""Plans in files: written by `plan --out`, shown by `show`, carried out by `apply FILE`."""

from __future__ import annotations

import os

from stackpy.cli.context import Planned
from stackpy.cli.options import Globals
from stackpy.errors import StackpyError, UsageError
from stackpy.planning import fingerprints
from stackpy.render import saved as files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context, Engine
    from stackpy.planning.plan import Desired, Observation
    from stackpy.planning.targeting import Selection
    from stackpy.project.loader import Loaded
    from stackpy.render.saved import Options, Reading, Saved

_MOST = 12  # things that have moved, of which an error tells


def write(context: Context, path: str, planned: Planned, selection: Selection, *, destroy: bool) -> str:
    """Saves a plan, whole or not at all; returns its digest.

    path: of a file for its owner alone, since a plan tells how a host is laid out
    """
    from stackpy.cli.commands.version import version_text

    options = _options(context, selection, destroy)
    reading = read_now(planned.desired, planned.observation, context.engine(), planned.project)
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    saved = files.Saved(planned.plan, options, reading, version_text(), now)
    content = files.text(saved)
    aside = f"{path}.{os.getpid()}.new"
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError as error:
        if os.path.isdir(path):
            raise StackpyError(f"the plan cannot be written to `{path}`, which is a folder") from None
        raise StackpyError(
            f"the plan cannot be written to `{path}`: {(error.strerror or str(error)).lower()}"
        ) from None
    return files.read(content.encode(), path).digest


def read(path: str) -> Saved:
    """The plan in a file; raises StackpyError that says what is wrong with it."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StackpyError(f"`{path}` cannot be read: {why}", hint="`stackpy plan --out FILE` makes one") from None
    return files.read(content, path)


def adopt_options(context: Context, saved: Saved, path: str) -> None:
    """Makes the options of the plan those of this command; raises UsageError for others."""
    given, options = context.globals, saved.options
    if given.environment and given.environment != options.environment:
        made = f"`-e {options.environment}`" if options.environment else "no `-e`"
        raise UsageError(f"`{path}` was made with {made}, and is applied so", hint="leave out `-e`")
    sets = dict(text.partition("=")[::2] for text in given.sets)
    for name in sets:
        if name not in options.hidden:
            raise UsageError(
                f"`--set {name}` comes too late: `{path}` was made already",
                hint=f"make it again: `stackpy plan --set {name}=VALUE --out {path}`",
            )
    missing = [name for name in options.hidden if name not in sets]
    if missing:
        raise UsageError(
            f"`{path}` was made with `--set {missing[0]}`, whose value is not kept in it, since it may be a secret",
            hint=f"give it again: `stackpy apply --set {missing[0]}=VALUE {path}`",
        )
    merged = {key: getattr(given, key) for key in Globals.__slots__}
    merged |= {
        "environment": options.environment,
        "sets": (*(f"{name}={value}" for name, value in options.sets.items()), *given.sets),
    }
    context.globals = Globals(**merged)


def check_stack(context: Context, saved: Saved, path: str) -> None:
    """Raises StackpyError where the stack here is not the one that the plan is of."""
    from stackpy.errors import StackFileError

    try:
        name = context.load().stack.name
    except StackFileError as error:
        if not any(problem.message.startswith("`--set ") for problem in error.problems):
            raise
        # options that this file does not know: it is another one, or the stack file has changed since
        raise StackpyError(
            f"`{path}` is a plan of stack `{saved.plan.stack}`, and does not fit the stack file here: {error.message}",
            hint=f"go to the folder of `{saved.plan.stack}`, or make the plan again",
        ) from None
    if saved.plan.stack != name:
        raise StackpyError(
            f"`{path}` is a plan of stack `{saved.plan.stack}`, and this is stack `{name}`",
            hint=f"go to the folder of `{saved.plan.stack}`, or name its stack file with -f",
        )


def verified(context: Context, saved: Saved, path: str) -> Planned:
    """The plan of a file, computed again; raises StackpyError that says what has moved since it was made."""
    from stackpy.planning.targeting import Selection

    project, engine = context.load(), context.engine()
    _check_engine(engine, saved, path)
    options = saved.options
    selection = Selection(options.targets, options.excludes, options.replaces)
    planned = context.destruction(selection) if options.destroy else context.plan(selection)
    _check_generation(engine, planned.observation, saved, path)
    reading = read_now(planned.desired, planned.observation, engine, project, saved.reading)
    again = files.AGAIN.format(path=path)
    problems = _moved(saved.reading, reading, planned)
    if problems:
        shown = [f"  {one.address}: {one.text}" for one in problems[:_MOST]]
        if len(problems) > _MOST:
            shown.append(f"  and {len(problems) - _MOST} more")
        raise StackpyError("\n".join([f"`{path}` is out of date, and nothing was changed:", *shown]), hint=again)
    if differs := files.difference(saved.plan, planned.plan):
        raise StackpyError(f"`{path}` is out of date, and nothing was changed: {differs}", hint=again)
    planned.plan = planned.plan._replace(saved=saved.digest)
    return planned


def read_now(
    desired: Desired, observation: Observation, engine: Engine, project: Loaded, before: Reading | None = None
) -> Reading:
    """Fingerprints of what a plan is made from now.

    before: those to compare with, whose salt is used
    """
    declared, actual = (
        fingerprints.desired_values(desired, project.secrets.get),
        fingerprints.actual_values(observation),
    )
    own = engine.plan_key()
    key, salt = own, ""
    if (before is not None and before.salt) or not own:
        salt = before.salt if before is not None else os.urandom(16).hex()
        key = fingerprints.derived_key(declared, actual, bytes.fromhex(salt))
    return files.Reading(
        engine.name,
        engine.root,
        fingerprints.mark("engine", own) if own else "",
        salt,
        fingerprints.mark("check", key),
        fingerprints.marks(declared, key),
        fingerprints.marks(actual, key),
        _sources(project),
    )


def _options(context: Context, selection: Selection, destroy: bool) -> Options:
    from stackpy.planning.hiding import is_sensitive

    sets = dict(text.partition("=")[::2] for text in context.globals.sets)
    hidden = tuple(name for name, value in sets.items() if is_sensitive(f"environment.{name}", value))
    return files.Options(
        context.globals.environment,
        {name: value for name, value in sets.items() if name not in hidden},
        hidden,
        tuple(selection.targets),
        tuple(selection.excludes),
        tuple(selection.replaces),
        destroy,
    )


def _check_engine(engine: Engine, saved: Saved, path: str) -> None:
    made = saved.reading
    own = engine.plan_key()
    if (made.engine, made.root) != (engine.name, engine.root):
        raise StackpyError(
            f"`{path}` was made on the engine {made.engine} in `{made.root}`, and this is {engine.name} in "
            f"`{engine.root}`",
            hint=f"apply it with `--root {made.root}`" if made.engine == engine.name else "",
        )
    if made.key and made.key != (fingerprints.mark("engine", own) if own else ""):
        raise StackpyError(
            f"`{path}` was made on another engine than this one, which is in `{engine.root}` too",
            hint="apply it on the host that it was made on",
        )


def _check_generation(engine: Engine, observation: Observation, saved: Saved, path: str) -> None:
    planned = saved.plan.generation - 1 if saved.plan.changes else saved.plan.generation
    again = files.AGAIN.format(path=path)
    if not saved.plan.changes or observation.generation == planned:
        return
    made = engine.generation(saved.plan.stack, saved.plan.generation)
    if made is not None and made.get("saved") == saved.digest:
        raise StackpyError(
            f"`{path}` has been applied already, at {made.get('time', '')}: it made generation {saved.plan.generation}",
            hint=f"a saved plan is applied once; {again}",
        )
    raise StackpyError(
        f"`{path}` is out of date, and nothing was changed: it was made at generation {planned}, and the stack is at "
        f"{observation.generation}",
        hint=again,
    )


def _moved(before: Reading, now: Reading, planned: Planned) -> list[Any]:
    changed = [
        fingerprints.Moved(name, "the file has changed") for name in before.sources
        if name in now.sources and now.sources[name] != before.sources[name]
    ]  # fmt: skip
    declared = fingerprints.desired_values(planned.desired, planned.project.secrets.get)
    actual = fingerprints.actual_values(planned.observation)
    if before.check != now.check:
        # the key was made of all that was read then: no value can be compared, but what there is can
        bare = fingerprints.without_values
        found = [
            *fingerprints.moved(bare(before.declared), bare(now.declared), declared, declared=True),
            *fingerprints.moved(bare(before.actual), bare(now.actual), actual, declared=False),
        ]
        text = "a value that the stack file sets or reads has changed"
        return [*changed, *found] or [fingerprints.Moved(planned.plan.stack, text)]
    if found := fingerprints.moved(before.declared, now.declared, declared, declared=True):
        return [*changed, *found]
    # a comment in the stack file changes nothing
    return fingerprints.moved(before.actual, now.actual, actual, declared=False)


def _sources(project: Loaded) -> dict[str, str]:
    """The stack file and its modules: what is under version control, unlike what they read."""
    import hashlib

    found = {}
    for path in (*project.inputs.files[:1], *project.inputs.modules):
        try:
            with open(path, "rb") as file:
                found[os.path.relpath(path, project.stack.folder)] = hashlib.sha256(file.read()).hexdigest()[:16]
        except OSError:
            continue  # it was removed since it was loaded; what it declared is compared all the same
    return found

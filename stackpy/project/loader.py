"""Runs a stack file and collects what it declares, or everything that is wrong with it."""

from __future__ import annotations

import gc
import os
import sys

# not lazy: the stack file would import them while no byte code may be written
from stackpy import pins
from stackpy.dsl import assemble, containers, variables  # noqa: F401
from stackpy.dsl.session import STACK_MODULE as MODULE
from stackpy.dsl.session import Session, activate
from stackpy.dsl.values import normal_stack_name
from stackpy.errors import StackFileError, StackpyError
from stackpy.problems import Location
from stackpy.project.inputs import Recorder, Recording
from stackpy.project.reading import FileReader
from stackpy.project.secrets import SecretValues
from stackpy.project.settings import FILE as SETTINGS_FILE
from stackpy.project.settings import settings
from stackpy.project.variables import Given
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType
    from typing import Any

    from stackpy.dsl.specs import StackSpec
    from stackpy.problems import Problem
    from stackpy.project.inputs import Inputs
    from stackpy.project.settings import Settings

    OutputsOf = Callable[[str], tuple[int, Mapping[str, Any]] | None]


class Loaded(NamedTuple):
    """A stack file that was understood.

    secrets: their values on demand (engines/base.py's protocol); inputs: all that the load depended on
    """

    stack: StackSpec
    secrets: SecretValues
    inputs: Inputs
    settings: Settings


def load(
    file: str | None = None,
    *,
    folder: str = "",
    environment: str | None = None,
    sets: Mapping[str, str] | None = None,
    name: str = "",
    outputs_of: OutputsOf | None = None,
) -> Loaded:
    """Reads stackpy.toml and runs the stack file; nothing else is touched.

    file: the stack file, relative to `folder`; stackpy.toml's `file` without it, else stack.py
    folder: the project's; the current one without it
    environment: which [env.NAME] of stackpy.toml to apply
    sets: values of variables from the command line
    outputs_of: another stack's generation and outputs; without it no other stack is known
    name: the stack's where neither stackpy.toml nor the file gives one, instead of the folder's name
    Raises StackFileError with all problems, StackpyError where there is no stack file.
    """
    folder = os.path.abspath(folder or ".")
    recorder = Recorder()
    path, chosen = _find(file, folder, environment, recorder)
    given = Given(chosen, sets or {}, recorder)
    session = Session(given.value, chosen.name, outputs_of or (lambda stack: None))
    # A load makes many objects that stay: looking for garbage among them costs a tenth of its time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _load(path, chosen, session, given, recorder, name)
    finally:
        if collects:
            gc.enable()


def _find(file: str | None, folder: str, environment: str | None, recorder: Recorder) -> tuple[str, Settings]:
    """The stack file and the settings: those beside the file where it was named, else the folder's."""
    toml = os.path.join(folder, SETTINGS_FILE)
    path = ""
    if file:
        path = os.path.normpath(os.path.join(folder, os.path.expanduser(file)))
        if os.path.isdir(path):
            folder, path = path, ""
            toml = os.path.join(folder, SETTINGS_FILE)
        elif os.path.exists(os.path.join(os.path.dirname(path), SETTINGS_FILE)):
            toml = os.path.join(os.path.dirname(path), SETTINGS_FILE)
    try:
        chosen = settings(os.path.dirname(toml), environment)
    except StackFileError as error:
        raise StackFileError(error.problems, (toml,)) from None
    path = path or os.path.normpath(os.path.join(chosen.folder, chosen.file))
    recorder.files.setdefault(path)
    recorder.files.setdefault(toml)
    recorder.files.setdefault(os.path.join(os.path.dirname(path), pins.FILE))
    if not os.path.isfile(path):
        hint = "`stackpy init` writes one, `-f FILE` names another"
        if not file and (above := _above(os.path.dirname(path), chosen.file)):
            hint = f"there is one above: `-f {above}`"
        raise StackpyError(f"no stack file {path}", hint=hint)
    return path, chosen


def _above(folder: str, name: str) -> str:
    """The nearest stack file in a folder above, relative to `folder`; "" where there is none."""
    parts = folder.split(os.sep)
    for up in range(1, len(parts)):
        path = os.path.join(*[os.pardir] * up, name)
        if os.path.isfile(os.path.join(folder, path)):
            return path
    return ""


def _load(path: str, chosen: Settings, session: Session, given: Given, recorder: Recorder, default: str) -> Loaded:
    source = b""
    whole = False
    reader = FileReader(session, recorder)
    before = activate(session)
    try:
        with _Surroundings(os.path.dirname(path), recorder), Recording(recorder):
            try:
                with open(path, "rb") as handle:
                    source = handle.read()
                _run(compile(source, path, "exec", dont_inherit=True), path)
                whole = True
            except (Exception, SystemExit) as error:  # whatever a user's code may raise
                from stackpy.project.failures import explain

                session.report(explain(error, path))
            if chosen.policies:
                from stackpy.project.policies import load_policies

                load_policies(chosen, session)
        name = _name(path, session, default)
        stack = assemble.Assembly(session, reader, os.path.dirname(path), chosen.publish).stack(name, whole=whole)
        if whole:
            given.report_unknown(session)
    finally:
        activate(before)
    inputs = recorder.inputs()
    if session.findings:
        raise StackFileError(_problems(session, path, source), inputs.paths)
    stack = stack._replace(pins=pins.read(stack.folder), registries=chosen.registries)
    if chosen.cache_from or chosen.cache_to:
        stack = stack._replace(cache_from=chosen.cache_from, cache_to=chosen.cache_to)
    if session.policies:
        stack = stack._replace(policies=tuple(session.policies))
    secrets = {spec.name: dict(spec.fields["source"]) for spec in stack.resources.values() if spec.kind == "secret"}
    return Loaded(stack, SecretValues(secrets, stack.folder), inputs, chosen)


def _name(path: str, session: Session, default: str) -> str:
    """The stack's name: that of the settings, of `Stack()`, the caller's, or the folder's."""
    if session.name:
        return session.name
    if session.stack is not None:
        return session.stack[0]
    folder = os.path.basename(os.path.dirname(path))
    name = normal_stack_name(default or folder)
    if not name:
        session.report_at(
            f"the folder's name `{folder}` holds nothing that a stack's name may hold", Location(path, 1),
            'name the stack: Stack("shop")',
        )  # fmt: skip
    return name


def _run(code: CodeType, path: str) -> None:
    module = type(sys)(MODULE)
    module.__file__ = path
    # dataclasses and pickle look a class's module up here
    sys.modules[MODULE] = module
    exec(code, module.__dict__)  # noqa: S102 - running the user's file is what this is for


def _problems(session: Session, path: str, source: bytes) -> list[Problem]:
    """All findings with their places, file by file and from top to bottom, each once."""
    from stackpy.project.locating import Locator  # imports ast

    locator = Locator({path: source})
    problems = list(dict.fromkeys(locator.problem(finding) for finding in session.findings))
    files = {path: 0}
    for problem in problems:
        if problem.location:
            files.setdefault(problem.location.file, len(files))
    nowhere = Location("", 0)
    return sorted(
        problems,
        key=lambda one: (
            files.get((one.location or nowhere).file, len(files)),
            (one.location or nowhere).line,
            (one.location or nowhere).column,
        ),
    )


class _Surroundings:
    """What a stack file expects: modules beside it can be imported, and what it prints leaves stdout clean.

    Its modules are forgotten afterwards, so that the next load reads them anew, and no byte code is written: its
    time stamps have whole seconds, and a file saved twice within one would be taken for unchanged.
    """

    def __init__(self, folder: str, recorder: Recorder) -> None:
        self._folder, self._recorder = folder, recorder

    def __enter__(self) -> None:
        self._known = set(sys.modules)
        self._before = list(sys.path), sys.dont_write_bytecode, sys.stdout
        sys.path.insert(0, self._folder)
        sys.dont_write_bytecode = True
        # what the folder held at an earlier load may be remembered: importlib.invalidate_caches does it for all of them
        sys.path_importer_cache.pop(self._folder, None)
        self._held = _redirect()
        sys.stdout = sys.stderr

    def __exit__(self, *_: object) -> None:
        _restore(self._held)
        sys.path[:], sys.dont_write_bytecode, sys.stdout = self._before
        for name in set(sys.modules) - self._known:
            module = sys.modules[name]
            # a folder without __init__.py is a package that has no file of its own
            files = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", ()))
            if name == MODULE:
                del sys.modules[name]
            elif any(path and self._recorder.is_users(path) for path in files):
                found = (os.path.abspath(path) for path in files if path and not os.path.isdir(path))
                self._recorder.modules.update(found)
                del sys.modules[name]


def _redirect() -> int | None:
    """Sends file descriptor 1 to standard error too: programs that the stack file runs inherit it."""
    try:
        sys.stdout.flush()
        held = os.dup(1)
        os.dup2(2, 1, inheritable=True)
    except (OSError, ValueError, AttributeError):
        return None  # no standard output, or no standard error
    return held


def _restore(held: int | None) -> None:
    if held is not None:
        os.dup2(held, 1, inheritable=True)
        os.close(held)

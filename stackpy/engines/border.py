"""The border between the engine's errors and ours: every call into the engine goes through here."""

from __future__ import annotations

import os

from stackpy.engines.facade import Missing, NoRights, with_output
from stackpy.errors import StackFileError, StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

SUDO = "run it again with sudo"

# What everyone may do who can read the root. The rest changes something, and needs root (rootless comes later).
READING = frozenset(
    "containers container images image networks network volumes volume secrets logs output events consumption "
    "container_processes container_size resolve read_dockerfile built last_recipe recipes fingerprint check "
    "save_images save_layout image_history image_digests differences disk_usage keepings login logout look_up "
    "registry_digest registry_tags published_digest missing_bases bases configure info refuse "
    "image_of cannot_run base_references volume_snapshots containers_named crashes health_log last_crash learned "
    "listening log_attributes written volume_data image_descriptors".split()
)
# Their exit codes are those of what ran in the container, 126 and 127 included.
RUNNING = frozenset({"run", "exec", "attach", "start_attached"})


class Border:
    """The engine's façade, with StackpyError for whatever goes wrong behind it.

    error, missing: the engine's base error and its error for objects that do not exist
    """

    def __init__(self, engine: object, error: type[Exception], missing: type[Exception]) -> None:
        self._engine, self._error, self._missing = engine, error, missing

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._engine, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name not in READING:
                require_rights()
            try:
                result = method(*args, **kwargs)
            except (self._error, PermissionError) as error:
                raise self._translated(name, error) from error
            return self._guarded(name, result) if hasattr(result, "__next__") else result

        setattr(self, name, call)  # found without __getattr__ from now on
        return call

    def _guarded(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from items
        except (self._error, PermissionError) as error:
            raise self._translated(name, error) from error

    def _translated(self, name: str, error: Exception) -> StackpyError:
        problems = getattr(error, "problems", None)
        if problems and os.path.isfile(problems[0].file):
            return _located(problems)
        hint = str(getattr(error, "hint", ""))
        message = str(error)
        if isinstance(error, PermissionError):
            if not isinstance(error, self._error):
                message = f"`{error.filename}`: permission denied" if error.filename else "permission denied"
            hint = hint or SUDO
        kind = StackpyError
        if isinstance(error, PermissionError):
            kind = NoRights
        elif isinstance(error, self._missing):
            kind = Missing
        translated = kind(with_output(message, str(getattr(error, "output", ""))), hint=hint)
        exit_code = getattr(error, "exit_code", None)
        if name in RUNNING and isinstance(exit_code, int):
            translated.exit_code = exit_code
        return translated


def _located(problems: Sequence[Any]) -> StackFileError:
    """What is wrong with a Dockerfile, shown as what is wrong with a stack file."""
    from stackpy.problems import Location, Problem

    return StackFileError(
        [
            Problem(each.message, Location(each.file, each.line), each.hint)
            if each.line
            else Problem(f"{each.file}: {each.message}", None, each.hint)
            for each in problems
        ]
    )


def require_rights() -> None:
    """Raises StackpyError with the remedy when this user cannot run containers."""
    if os.geteuid() != 0:
        raise NoRights("containers are run by root, and this user is not root", hint=SUDO)

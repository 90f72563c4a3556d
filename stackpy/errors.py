"""What can go wrong on the user's side.

    StackpyError          anything shown to the user: message, hint, where
    ├── StackFileError    one or more problems in the stack file or what it uses; `problems` lists them all
    ├── UsageError        a command line that cannot be understood (exit 64)
    ├── LockTimeout       another command holds the stack
    ├── Interrupted       an interrupt ended a change on the way
    └── ApplyFailed       some changes failed; the others were finished

`exit_code` is what the process ends with. Only cli/ prints.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.problems import Location, Problem


class StackpyError(Exception):
    """A user-facing error.

    message: what failed and why, lower case, no final period
    hint: what to do, or ""
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", location: Location | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.location = message, hint, location


class StackFileError(StackpyError):
    """The stack file cannot be used; every independent problem of it is in `problems`.

    paths: the files and folders that were read until then; a change of one is a reason to try again
    """

    def __init__(self, problems: list[Problem], paths: tuple[str, ...] = ()) -> None:
        first = problems[0]
        super().__init__(first.message, hint=first.hint, location=first.location)
        self.problems, self.paths = problems, paths


class UsageError(StackpyError):
    """The command line is wrong."""

    exit_code = 64


class LockTimeout(StackpyError):
    """Another command works on this stack and did not finish in time."""


class Interrupted(StackpyError):
    """An interrupt ended a change between two of its parts; the next apply does the rest."""


class ApplyFailed(StackpyError):
    """One or more changes failed. `failures` maps an address to its error's text."""

    def __init__(self, message: str, *, failures: dict[str, str], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.failures = failures

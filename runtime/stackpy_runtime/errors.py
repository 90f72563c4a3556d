"""What can go wrong in the engine.

    EngineError                  anything below; carries what was done, to what, why, and the remedy
    ├── NotFound (LookupError)   no such container, image, network, volume, secret
    ├── Conflict                 a name, port or address is taken, or an object is in use
    ├── InvalidConfig (ValueError)  a request that no state of the host could satisfy
    ├── Unsupported              this host's kernel or set-up lacks what is needed
    ├── Denied (PermissionError) the caller lacks a right
    ├── KernelError (OSError)    a system call failed where it should not
    ├── ProcessFailed            a build step, probe or hook exited non-zero
    └── EngineUnavailable        keeper or supervisor cannot be reached or started
        └── EngineLost           the supervisor has gone before it answered

Only the command line prints. `code` is the class's stable name on the wire between client and supervisor.
"""

from __future__ import annotations


class EngineError(Exception):
    """An operation on an object of the engine failed.

    message: what failed and why, lower case, no final period
    hint: what to do, or ""
    subject: the object, e.g. `container shop-web-1`, or ""
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.subject = message, hint, subject

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}" if self.subject else self.message

    def to_wire(self) -> dict[str, object]:
        """The form in which the supervisor sends it."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "subject": self.subject}


class NotFound(EngineError, LookupError):
    """The named object does not exist."""

    code = "not-found"


class Conflict(EngineError):
    """A name, a port or an address is taken, or the object is in use."""

    code = "conflict"


class InvalidConfig(EngineError, ValueError):
    """The request contradicts itself or asks for what no host can give."""

    code = "invalid"


class Unsupported(EngineError):
    """This host cannot do it: a kernel feature or a program is missing."""

    code = "unsupported"


class Denied(EngineError, PermissionError):
    """The caller lacks the rights."""

    code = "denied"


class KernelError(EngineError, OSError):
    """A system call failed; `errno` is set and the message names operation, paths and flags."""

    code = "kernel"

    def __init__(self, message: str, *, errno: int = 0, hint: str = "", subject: str = "") -> None:
        EngineError.__init__(self, message, hint=hint, subject=subject)
        self.errno = errno


class ProcessFailed(EngineError):
    """A process that had to succeed did not. exit_code: its status, 128+n for signal n; output: its last lines."""

    code = "process-failed"

    def __init__(
        self, message: str, *, exit_code: int = 1, output: str = "", hint: str = "", subject: str = ""
    ) -> None:
        super().__init__(message, hint=hint, subject=subject)
        self.exit_code, self.output = exit_code, output

    def to_wire(self) -> dict[str, object]:
        return {**super().to_wire(), "exit_code": self.exit_code, "output": self.output}


class EngineUnavailable(EngineError):
    """The engine's processes cannot be started or do not answer."""

    code = "unavailable"


class EngineLost(EngineUnavailable):
    """The supervisor has gone before it answered; what was asked for may be done, or half done and be finished."""


def from_wire(data: dict[str, object]) -> EngineError:
    """The exception that `to_wire` described."""
    kinds: dict[str, type[EngineError]] = {
        kind.code: kind
        for kind in (NotFound, Conflict, InvalidConfig, Unsupported, Denied, KernelError, EngineUnavailable)
    }
    message, hint, subject = (str(data.get(key, "")) for key in ("message", "hint", "subject"))
    if data.get("code") == ProcessFailed.code:
        exit_code = data.get("exit_code")
        return ProcessFailed(
            message,
            exit_code=exit_code if isinstance(exit_code, int) else 1,
            output=str(data.get("output", "")),
            hint=hint,
            subject=subject,
        )
    return kinds.get(str(data.get("code")), EngineError)(message, hint=hint, subject=subject)

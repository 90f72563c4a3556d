"""The part of the engine's façade that runs processes in containers: all that `exec` loads of it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.host.client import Client


class ExecutionVerbs:
    """Of the engine root at `root`; a part of Engine, and whole by itself.

    waiting: told in words when the engine's processes do not come up
    """

    def __init__(self, root: str, *, waiting: Callable[[str], None] = lambda text: None) -> None:
        import os

        self.root = os.path.abspath(root)
        self._waiting = waiting
        self._client: Client | None = None
        self._locks: list[int] = []  # see Engine.hold

    @property
    def client(self) -> Client:
        """The line to the supervisor."""
        if self._client is None:
            from stackpy_runtime.host.client import Client

            self._client = Client(self.root, self._locks, self._waiting)
        return self._client

    def exec(
        self,
        reference: str,
        argv: list[str],
        *,
        stdin: bool,
        tty: bool,
        environment: dict[str, str],
        working_dir: str,
        user: str,
        privileged: bool = False,
        detach: bool = False,
        detach_keys: str | None = None,
    ) -> int | None:
        """Runs a process in a running container on the caller's standard streams; returns its exit code.

        privileged: with every capability that the container's user namespace has
        detach: only begins it, with nothing on its streams; returns 0
        detach_keys: what leaves it, on a terminal, as "ctrl-p,ctrl-q"; then None is returned

        Raises ProcessFailed with Docker's 126 or 127 when it cannot begin.
        """
        from stackpy_runtime.host.exec_client import execute

        keys = b""
        if tty or detach_keys is not None:
            from stackpy_runtime.host.detaching import DEFAULT, sequence

            keys = sequence(DEFAULT if detach_keys is None else detach_keys)
        arguments = {
            "container": reference,
            "argv": argv,
            "stdin": stdin,
            "tty": tty,
            "environment": environment,
            "working_dir": working_dir,
            "user": user,
            "privileged": privileged,
            "detach": detach,
        }
        return execute(self.client, arguments, keys)

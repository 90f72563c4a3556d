"""Processes in containers of our own engine: a part of EmbeddedEngine, and by itself all that `exec` loads of it."""

from __future__ import annotations

import os

from stackpy.engines.border import Border

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.execution_verbs import ExecutionVerbs


class EmbeddedExecutions:
    """Implements `exec` of ContainerEngine.

    root: the engine root's path
    waiting: told in words when the engine's processes do not come up
    """

    def __init__(self, root: str, *, waiting: Callable[[str], None] = lambda text: None) -> None:
        self.root, self._waiting = os.path.abspath(root), waiting
        self._line: Border | None = None

    @property
    def _executions(self) -> ExecutionVerbs:
        """That part of the engine, its errors turned into ours."""
        if self._line is None:
            from stackpy_runtime.errors import EngineError, NotFound
            from stackpy_runtime.execution_verbs import ExecutionVerbs

            self._line = Border(ExecutionVerbs(self.root, waiting=self._waiting), EngineError, NotFound)
        return self._line  # type: ignore[return-value]  # it has every method of it

    def exec(
        self,
        name: str,
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
        """See ContainerEngine."""
        return self._executions.exec(
            name,
            argv,
            stdin=stdin,
            tty=tty,
            environment=environment,
            working_dir=working_dir,
            user=user,
            privileged=privileged,
            detach=detach,
            detach_keys=detach_keys,
        )

"""Processes in containers of our own engine: a part of EmbeddedEngine, and by itself all that `exec` loads of it."""

from __future__ import annotations

import os

from stackpy.engines.border import Border

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.execution_verbs import ExecutionVerbs


class EmbeddedExecutions:
    """Implements `exec` of ContainerEngine. root: the engine root's path"""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self._line: Border | None = None

    @property
    def _executions(self) -> ExecutionVerbs:
        """That part of the engine, its errors turned into ours."""
        if self._line is None:
            from stackpy_runtime.errors import EngineError, NotFound
            from stackpy_runtime.execution_verbs import ExecutionVerbs

            self._line = Border(ExecutionVerbs(self.root), EngineError, NotFound)
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

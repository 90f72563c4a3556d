"""What a command works with: the global options, the stack of this folder, the engine. Everything is found lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stackpy.cli.options import Globals

if TYPE_CHECKING:
    from stackpy.engines.base import ContainerEngine, StackEngine

    class Engine(StackEngine, ContainerEngine, Protocol):
        """An engine that both stacks and single containers can be asked of."""


class Context:
    """The surroundings of one command."""

    def __init__(self, given: Globals) -> None:
        self.globals = given
        self._engine: Engine | None = None

    @property
    def json(self) -> bool:
        """Whether the answer is a JSON document."""
        return self.globals.format == "json"

    def engine(self) -> Engine:
        """The engine that --engine, --root, STACKPY_ROOT and stackpy.toml name."""
        if self._engine is None:
            from stackpy.engines import connect

            self._engine = connect(self.globals.engine, self.globals.root)
        return self._engine

    def stack_name(self) -> str:
        """The name of the stack in this folder, or ""."""
        return ""

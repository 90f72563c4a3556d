"""Components: parts of a stack that are made of several resources, as classes or as functions.

Names of what is declared inside begin with the component's own and a dash, so that the same component can stand in a
stack twice. Plain functions need none of this; a component is also shown as one in graphs, with its documentation.
"""

from __future__ import annotations

from stackpy.dsl.calls import caller
from stackpy.dsl.session import Place, Scope, current
from stackpy.dsl.values import resource_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import ParamSpec, Self, TypeVar

    from stackpy.dsl.resources import Resource

    P = ParamSpec("P")
    R = TypeVar("R")


class Component:
    """A part of a stack as a class: `__init__` declares its resources inside `with self:`.

    class Postgres(Component):
        \"\"\"A database on a volume of its own.\"\"\"

        def __init__(self, name: str, *, version: str = "16") -> None:
            super().__init__(name)
            with self:
                data = Volume("data")
                self.server = Container("server", image=f"postgres:{version}", volumes={data: "/data"})

    Postgres("db") declares volume.db-data and container.db-server.
    """

    name: str = ""
    _scope: Scope | None = None

    def __init__(self, name: str) -> None:
        """Names the component; subclasses call this first."""
        self.name = name
        self._scope = _scope(name, type(self).__name__, type(self).__doc__)

    def __enter__(self) -> Self:
        if self._scope is None:
            kind = type(self).__name__
            place = Place(caller(), f"component `{kind}`")
            place.report(f"component `{kind}` has no name yet", "call `super().__init__(name)` before `with self:`")
            self._scope = Scope("", kind, "", None)
        enter(self._scope)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave()

    @property
    def children(self) -> tuple[Resource, ...]:
        """The resources that it has declared, in their order; those of components inside it too."""
        return () if self._scope is None else tuple(self._scope.children)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def component(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function a component: its first argument is the name, and what it declares is inside.

    @component
    def redis(name: str, *, memory: str = "64m") -> Container:
        \"\"\"A cache that forgets.\"\"\"
        return Container("server", image="redis:7", mem_limit=memory)

    redis("cache") declares container.cache-server.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        name = args[0] if args else kwargs.get("name")
        enter(_scope(name, function.__name__, function.__doc__))
        try:
            return function(*args, **kwargs)
        finally:
            leave()

    call.__name__, call.__qualname__, call.__doc__ = function.__name__, function.__qualname__, function.__doc__
    call.__wrapped__ = function  # type: ignore[attr-defined]  # as functools.wraps does it, which costs 2 ms
    return call


def enter(scope: Scope) -> None:
    """What is declared from now on is inside."""
    session = current()
    if session is not None:
        session.scopes.append(scope)


def leave() -> None:
    """The end of the innermost component."""
    session = current()
    if session is not None and session.scopes:
        session.scopes.pop()


def _scope(name: object, kind: str, doc: str | None) -> Scope:
    """A component inside those that are open."""
    place = Place(caller(("name",)), f"component `{name}`" if isinstance(name, str) else "this component")
    valid = place.item("name").parse(resource_name, name, "") or ""
    session = current()
    outer = session.scopes[-1] if session is not None and session.scopes else None
    full = f"{outer.name}-{valid}" if outer is not None and outer.name else valid
    scope = Scope(full, kind, (doc or "").strip().partition("\n")[0], outer)
    if session is not None:
        for other in session.components:
            if other.name == full and full:
                place.report(f"component `{full}` is declared twice", "give one of them another name")
        session.components.append(scope)
    return scope

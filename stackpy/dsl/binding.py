"""Calls with wrong arguments: reported at the user's line like any other problem, instead of a TypeError."""

from __future__ import annotations

from stackpy.dsl.calls import caller
from stackpy.dsl.session import Place, current
from stackpy.dsl.values import choices, meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

_FEW = 8  # arguments that a hint lists


def checked(subject: str, otherwise: Callable[..., Any] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function of the DSL report arguments that it does not have.

    An unknown keyword is reported and left out; when the call still cannot be made, `otherwise` (called with the
    first positional arguments) gives the result.
    subject: how messages name the function
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        code = function.__code__
        positional = code.co_varnames[: code.co_argcount]
        named = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
        bound = positional[:1] in (("self",), ("cls",))

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except TypeError as error:
                # raised by the call itself, before its body ran?
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise
                reason = error
            place = Place(caller(positional[1:] if bound else positional), subject)
            known = {key: value for key, value in kwargs.items() if key in named}
            names = [name for name in named if name not in ("self", "cls")]
            for key in kwargs:
                if key not in known:
                    place.item(key).report(
                        f"unknown argument `{key}` of {subject}", meant(key, names, _known(names)), key=True
                    )
            if len(known) != len(kwargs):
                session = current()
                if session is not None:
                    session.incomplete = True
                try:
                    return function(*args, **known)  # type: ignore[arg-type]
                except TypeError as error:
                    if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                        raise
                    reason = error
                finally:
                    if session is not None:
                        session.incomplete = False
            place.report(f"{subject} {_explain(str(reason), len(positional) - bound)}")
            if otherwise is None:
                return None  # type: ignore[return-value]
            result: R = otherwise(*args[:1])
            return result

        call.__name__, call.__qualname__ = function.__name__, function.__qualname__
        call.__doc__, call.__wrapped__ = function.__doc__, function  # type: ignore[attr-defined]
        return call

    return decorate


def _known(names: list[str]) -> str:
    return f"it takes {choices(names)}" if 0 < len(names) <= _FEW else ""


def _explain(reason: str, most: int) -> str:
    """What a TypeError of a call means: "Secret.__init__() missing 1 required positional argument: 'name'"."""
    what = reason.partition("() ")[2].replace("'", "`")
    if what.startswith("missing"):
        return f"needs {what.partition(': ')[2]}"
    if what.startswith("takes"):
        plural = "s" if most != 1 else ""
        return f"takes {most or 'no'} argument{plural} without a name, and got more"
    return what

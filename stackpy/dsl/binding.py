"""Calls with wrong arguments: reported at the user's line like any other problem, all at once, instead of a TypeError."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from stackpy.dsl.calls import caller
from stackpy.dsl.session import Place
from stackpy.dsl.values import meant

P = ParamSpec("P")
R = TypeVar("R")


def checked(subject: str, otherwise: Callable[..., R] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function of the DSL report arguments that it does not have.

    An unknown keyword is reported and left out; when the call still cannot be made, `otherwise` (called with the
    first positional arguments) gives the result.
    subject: how messages name the function
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        code = function.__code__  # type: ignore[attr-defined]
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
            for key in kwargs:
                if key not in known:
                    place.item(key).report(
                        f"unknown argument `{key}` of {subject}", meant(key, [n for n in named if n != "self"]), key=True
                    )
            if len(known) != len(kwargs):
                try:
                    return function(*args, **known)  # type: ignore[arg-type]
                except TypeError as error:
                    if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                        raise
                    reason = error
            # "Secret.__init__() missing 1 required positional argument: 'name'"
            what = str(reason).partition("() ")[2].replace("'", "`").removeprefix("takes ")
            place.report(f"{subject}: {what}")
            if otherwise is None:
                return None  # type: ignore[return-value]
            return otherwise(*args[:1])

        call.__name__, call.__qualname__ = function.__name__, function.__qualname__
        call.__doc__, call.__wrapped__ = function.__doc__, function  # type: ignore[attr-defined]
        return call

    return decorate

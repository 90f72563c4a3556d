"""Where a variable's value comes from: --set, then STACKPY_VAR_NAME, then stackpy.toml."""

from __future__ import annotations

import os

from stackpy.dsl.values import meant, nearest
from stackpy.problems import Problem
from stackpy.project.settings import FILE, locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.dsl.session import Session
    from stackpy.project.inputs import Recorder
    from stackpy.project.settings import Settings

PREFIX = "STACKPY_VAR_"


class Given:
    """The values that were given for one load."""

    def __init__(self, settings: Settings, sets: Mapping[str, str], recorder: Recorder) -> None:
        self._settings, self._sets, self._recorder = settings, sets, recorder

    def value(self, name: str) -> tuple[Any, str] | None:
        """A variable's value and where it was given."""
        if name in self._sets:
            return self._sets[name], f"`--set {name}`"
        self._recorder.variables.add(PREFIX + name)
        value = os.environ.get(PREFIX + name)
        if value is not None:
            return value, PREFIX + name
        if name in self._settings.vars:
            return self._settings.vars[name], self._source(name)
        return None

    def report_unknown(self, session: Session) -> None:
        """Reports values for variables that the stack file never asked for.

        A name in stackpy.toml that is not asked for may belong to a branch that was not taken, or to another stack
        file: only one that looks like a slip is a mistake. On the command line each is.
        """
        known = list(session.variables)
        for name in self._sets:
            if name not in session.variables:
                there_is = ", ".join(f"`{one}`" for one in known)
                otherwise = f"there is {there_is}" if known else "the stack file has no variables"
                session.report(
                    Problem(f"`--set {name}`: the stack has no variable `{name}`", None, meant(name, known, otherwise))
                )
        for name in self._settings.vars:
            if name in session.variables or not self._settings.path:
                continue
            unset = [one for one in known if one not in self._settings.vars]
            near = nearest(name, unset)
            if near and _slip(name, near):
                with open(self._settings.path, encoding="utf-8") as file:
                    place = locate(self._settings.path, file.read().splitlines(), self._settings.sources[name])
                what = f"{self._source(name)} sets `{name}`, which the stack file does not ask for"
                session.report_at(what, place, f"did you mean `{near}`?")

    def _source(self, name: str) -> str:
        """How messages name the place of a variable in the settings."""
        return f"[{'.'.join(self._settings.sources[name][:-1])}] in {FILE}"


def _slip(name: str, near: str) -> bool:
    """Whether one name is the other with a letter added, missing, changed, or two changed places."""
    if sorted(name) == sorted(near):
        return True
    short, long = sorted((name, near), key=len)
    if len(long) - len(short) > 1 or any(letter.isdigit() for letter in set(name) ^ set(near)):
        return False
    start = 0
    while start < len(short) and short[start] == long[start]:
        start += 1
    return short[start + (len(short) == len(long)) :] == long[start + 1 :]

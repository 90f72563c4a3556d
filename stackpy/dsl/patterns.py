"""Regular expressions that are compiled when they are first used: thirty of them cost 4 ms, and a file needs a few."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Later:
    """Stands for a pattern; every use of it but the first is one attribute look-up more."""

    def __init__(self, text: str, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._text, self._flags)
        # From now on the methods that patterns are used by are found without coming here.
        for method in ("fullmatch", "match", "search", "sub", "finditer", "findall", "split"):
            self.__dict__[method] = getattr(compiled, method)
        return getattr(compiled, name)


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern `text`, compiled when it is first used."""
    later: Any = _Later(text, flags)  # has what patterns are used by
    return later  # type: ignore[no-any-return]

"""Regular expressions that are compiled when they are first used: thirty of them cost 4 ms, and a file needs a few."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from typing import Any


class _Later:
    """Stands for a pattern; every use of it but the first is one attribute look-up more."""

    def __init__(self, text: str, flags: str) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        import re  # 6 ms, with what it imports

        compiled = re.compile(f"(?{self._flags}){self._text}" if self._flags else self._text)
        # From now on the methods that patterns are used by are found without coming here.
        for method in ("fullmatch", "match", "search", "sub", "finditer", "findall", "split"):
            self.__dict__[method] = getattr(compiled, method)
        return getattr(compiled, name)


def pattern(
    text: str,
    *,
    ascii_only: bool = False,
    dot_all: bool = False,
    ignore_case: bool = False,
    lines: bool = False,
) -> re.Pattern[str]:
    """The pattern `text`, compiled when it is first used.

    ascii_only: `\\d`, `\\w` and `\\s` mean ASCII characters
    dot_all, ignore_case, lines: as re.DOTALL, re.IGNORECASE, re.MULTILINE
    """
    later: Any = _Later(
        text, "a" * ascii_only + "s" * dot_all + "i" * ignore_case + "m" * lines
    )  # has what patterns are used by
    return later  # type: ignore[no-any-return]

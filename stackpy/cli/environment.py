"""-e and --env-file of `run` and `exec`."""

from __future__ import annotations

import os

from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def merged(variables: Sequence[str], files: Sequence[str], ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of the files, then those given one by one; KEY without a value is taken from `ours`, if set there.

    ours: our own environment, unless given
    """
    here = os.environ if ours is None else ours
    found: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(lines(path), 1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                _add(found, line.lstrip(), here, f"{path}:{number}")
    for text in variables:
        _add(found, text, here, f"-e {text.partition('=')[0] or text}")
    return found


def lines(path: str) -> list[str]:
    """The lines of a file; raises StackpyError where it cannot be read."""
    try:
        # With the mark that some editors of Windows put first, which docker takes away too.
        with open(path, encoding="utf-8-sig") as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StackpyError(f"cannot read `{path}`: {why}") from error


def _add(found: dict[str, str], text: str, here: Mapping[str, str], where: str) -> None:
    key, equals, value = text.partition("=")
    if not key or any(character.isspace() for character in key):
        raise UsageError(f"`{where}`: a variable needs a name without spaces", hint="expected KEY=VALUE or KEY")
    if equals:
        found[key] = value
    elif key in here:
        found[key] = here[key]

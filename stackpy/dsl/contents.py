"""What a stack file names outside itself, read through a port, so that this room stays pure."""

from __future__ import annotations

import binascii

from stackpy.dsl.files import DEFAULT_MODE, Template
from stackpy.dsl.values import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from stackpy.dsl.files import Content
    from stackpy.dsl.reader import Reader
    from stackpy.dsl.session import Place

    T = TypeVar("T")


def base64(content: bytes) -> str:
    """Content as specs hold it."""
    return binascii.b2a_base64(content, newline=False).decode()


def missing(reader: Reader, place: Place, path: str, absolute: str, error: OSError | None = None) -> None:
    """Reports a path that cannot be used."""
    # of a path that was given as such there is nothing more to say
    prefix = "" if place.path == ("path",) else f"{place.name}: "
    inside = len(place.path) > 1
    if error is not None and not isinstance(error, FileNotFoundError):
        why = error.strerror or str(error)
        place.report(f"{prefix}cannot read `{path}`: {why[:1].lower()}{why[1:]}", key=inside)
        return
    folder, slash, name = path.rstrip("/").rpartition("/")
    near = nearest(name, reader.neighbours(absolute)) if name else ""
    hint = f"did you mean `{folder}{slash}{near}`?" if near and near != name else f"looked for {_printable(absolute)}"
    place.report(f"{prefix}no such file or folder: `{_printable(path)}`", hint, key=inside)


def attempt(reader: Reader, place: Place, path: str, absolute: str, action: Callable[[], T]) -> T | None:
    """The result of reading `path`; None after reporting why it cannot be read."""
    try:
        return action()
    except OSError as error:
        missing(reader, place, path, absolute, error)
        return None


def read(reader: Reader, place: Place, path: str, absolute: str) -> tuple[bytes, int] | None:
    """A file's content and permission bits; None after reporting why it cannot be read."""
    return attempt(reader, place, path, absolute, lambda: reader.read(absolute))


def resolve(content: Content, reader: Reader) -> dict[str, Any] | None:
    """{"content": base64, "mode": int}; None after reporting."""
    source, place = content.source, content.place
    if isinstance(source, bytes):
        return {"content": base64(source), "mode": DEFAULT_MODE if content.mode is None else content.mode}
    folder = place.call.folder
    if isinstance(source, Template):
        absolute = reader.absolute(folder, source.path)
        text = attempt(
            reader, place, source.path, absolute, lambda: reader.render(folder, source.path, source.variables)
        )
        if text is None:
            return None
        return {"content": base64(text.encode()), "mode": DEFAULT_MODE if content.mode is None else content.mode}
    absolute = reader.absolute(folder, source)
    found = read(reader, place, source, absolute)
    if found is None:
        return None
    mode = (0o755 if found[1] & 0o111 else DEFAULT_MODE) if content.mode is None else content.mode
    return {"content": base64(found[0]), "mode": mode}


def _printable(path: str) -> str:
    """A path on one line."""
    return path if path.isprintable() else ascii(path)[1:-1]

"""Content of files: text, a file beside the stack file, or a template. Nothing is read while the stack file runs."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import keeping, quantities
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.resources import Frozen
from stackpy.dsl.session import Place
from stackpy.dsl.values import Invalid, below_root, show, text, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.calls import Call

DEFAULT_MODE = 0o644
EXPECTED = "text, a `File` or a `template`"


class Template(Frozen):
    """A Jinja2 template and the variables to render it with."""

    __slots__ = ("call", "path", "variables")
    call: Call
    path: str
    variables: dict[str, Any]

    def __init__(self, path: object, variables: dict[str, Any], call: Call) -> None:
        object.__setattr__(self, "call", call)
        object.__setattr__(self, "path", Place(call, "template", ("path",)).parse(text, path, ""))
        object.__setattr__(self, "variables", variables)

    def __repr__(self) -> str:
        return f"template({show(self.path)})"


@checked("template", lambda *_: Template("", {}, caller()))
def template(path: str, /, **variables: Any) -> Template:
    """A file's content from a Jinja2 template; an undefined variable is an error.

    path: relative to the file that says it
    """
    return Template(path, variables, caller(("path",)))


class File(Frozen):
    """A file to be placed into a container or an image."""

    __slots__ = ("call", "mode", "on_change", "source")
    call: Call
    mode: int | None
    on_change: str
    source: str | bytes | Template | None  # a path, the content, or what to render; None: nothing usable was given

    @checked("file")
    def __init__(
        self,
        path: str | Template | None = None,
        *,
        content: str | bytes | None = None,
        mode: int | str | None = None,
        on_change: str | None = None,
    ) -> None:
        """Takes its content from a file (relative to the file that says it), a template, or `content`.

        mode: permission bits; 0o644 without it, or 0o755 for a local file that may be executed
        on_change: what a running container is told when its content changes: a signal ("SIGHUP"), "restart", or nothing
        """
        call = caller(("path",))
        place = Place(call, "this file")
        source: str | bytes | Template | None = None
        if (path is None) == (content is None):
            what = "has neither a path nor content" if path is None else "has both a path and content"
            place.report(f"{place.subject} {what}", "give a path, a template or `content`")
        elif content is not None:
            source = place.item("content").parse(_content, content)
        elif isinstance(path, Template):
            source = path
        else:
            source = place.item("path").parse(text, path)
        object.__setattr__(self, "call", call)
        object.__setattr__(self, "source", source)
        told = "" if on_change is None else place.item("on_change").parse(keeping.on_change, on_change, "")
        object.__setattr__(self, "on_change", told)
        object.__setattr__(self, "mode", None if mode is None else place.item("mode").parse(quantities.mode, mode))

    def __repr__(self) -> str:
        return f"File({self.source!r})" if isinstance(self.source, str | Template) else "File(content=…)"


def _content(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise wrong("text or bytes", value)
    return value


class Content:
    """What a file will hold, and where the user said so."""

    __slots__ = ("mode", "on_change", "place", "source")

    def __init__(self, place: Place, source: str | bytes | Template, mode: int | None, on_change: str = "") -> None:
        self.place, self.source, self.mode, self.on_change = place, source, mode, on_change


def content(place: Place, value: object, mode: int | None = None) -> Content | None:
    """A `files` value: "text" | template(…) | File(…)."""
    if isinstance(value, str | bytes):
        return Content(place, value.encode() if isinstance(value, str) else value, mode)
    if isinstance(value, Template):
        return Content(Place(value.call, "template", ("path",)), value, mode) if value.path else None
    if not isinstance(value, File):
        place.refuse(wrong(EXPECTED, value))
        return None
    source = getattr(value, "source", None)
    if source is None:
        return None
    mode = value.mode if mode is None else mode
    found = content(place, source, mode) if isinstance(source, Template) else None
    found = found or Content(Place(value.call, "this file", ("path",)), source, mode)
    found.on_change = value.on_change
    return found


def files(place: Place, value: object) -> dict[str, Content]:
    """The field `files`: contents by absolute path."""
    if not isinstance(value, Mapping):
        place.refuse(wrong("a mapping of paths to contents", value))
        return {}
    result: dict[str, Content] = {}
    for key, item in value.items():
        inner = place.item(str(key))
        try:
            target = below_root(key)
        except Invalid as invalid:
            inner.report(f"a path in {place.name} {invalid.message}", invalid.hint, key=True)
            continue
        found = content(inner, item)
        if target in result:
            inner.report(f"{place.name} has `{target}` twice", key=True)
        elif found is not None:
            result[target] = found
    return result

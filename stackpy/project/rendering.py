"""Templates: Jinja2 with every undefined variable an error, all of a template's shown at once.

Imported only when a template is rendered: jinja2 costs 50 ms.
"""

from __future__ import annotations

import errno
import os
import sys

import jinja2

from stackpy.dsl.values import meant
from stackpy.problems import Location
from stackpy.project.reading import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy.dsl.session import Session
    from stackpy.project.inputs import Recorder


class Renderer:
    """Renders the templates of one load."""

    def __init__(self, session: Session, recorder: Recorder) -> None:
        self._session, self._recorder = session, recorder
        self._environments: dict[str, jinja2.Environment] = {}

    def render(self, folder: str, path: str, variables: dict[str, Any]) -> str | None:
        """A template's text; None after reporting what is wrong inside it.

        folder: against which the path and the template's own includes are resolved
        Raises OSError when the template itself cannot be read.
        """
        name = os.path.normpath(os.path.join(folder, path))
        try:
            self._read(name)  # an OSError here is the stack file's mistake, not the template's
        except UnicodeDecodeError:
            raise OSError(errno.EILSEQ, "it is not UTF-8 text", name) from None
        problems: list[tuple[str, Location]] = []

        def report(message: str) -> None:
            problems.append((message, _template_line(name)))

        environment = self._environment(folder)
        environment.undefined = _undefined(report, variables)
        text = ""
        try:
            text = environment.get_template(name).render(variables)
        except jinja2.TemplateSyntaxError as error:
            what = error.message or "invalid syntax"
            problems.append((what[:1].lower() + what[1:], Location(error.filename or name, error.lineno)))
        except jinja2.TemplateNotFound as error:
            problems.append((f"no such template: `{error.name}`", _raised_at(error, name)))
        except RecursionError as error:
            problems.append(("templates include each other without end", _raised_at(error, name)))
        except Exception as error:  # a template runs arbitrary filters and methods
            what = str(error) or type(error).__name__
            if not isinstance(error, jinja2.TemplateError):
                what = f"{type(error).__name__}: {what}"
            problems.append((what, _raised_at(error, name)))
        for message, location in dict.fromkeys(problems):
            self._session.report_at(message, location)
        return None if problems else text

    def _environment(self, folder: str) -> jinja2.Environment:
        if folder not in self._environments:

            def load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
                path = os.path.normpath(os.path.join(folder, name))
                try:
                    return self._read(path), path, lambda: False
                except (OSError, UnicodeDecodeError):
                    return None

            # the output is configuration, not HTML: escaping would change it
            self._environments[folder] = jinja2.Environment(  # noqa: S701
                loader=jinja2.FunctionLoader(load), keep_trailing_newline=True, cache_size=0
            )
        return self._environments[folder]

    def _read(self, path: str) -> str:
        self._recorder.files.setdefault(path)
        return read_regular(path)[0].decode()


_OPERATIONS = (
    "__call__ __getitem__ __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __floordiv__ "
    "__rfloordiv__ __mod__ __rmod__ __pow__ __rpow__ __neg__ __pos__"
).split()
_COMPARISONS = "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__ __bool__".split()
# what stands for a value when it is asked for as a certain type
_EMPTY: dict[str, Callable[[], Any]] = {
    "__str__": str, "__iter__": lambda: iter(()), "__len__": int, "__int__": int, "__float__": float,
    **dict.fromkeys(_COMPARISONS, bool),
}  # fmt: skip


def _undefined(report: Callable[[str], None], variables: dict[str, Any]) -> type[jinja2.Undefined]:
    """StrictUndefined that reports and goes on as if it were empty, so that one run finds all undefined variables."""

    def complain(self: Any, *_: Any, **__: Any) -> Any:
        name = self._undefined_name
        if self._undefined_obj is jinja2.utils.missing:
            hint = meant(str(name), variables)
            report(f"undefined variable `{name}`" + (f": {hint}" if hint else ""))
        else:
            report(self._undefined_message.replace("'", "`"))
        return silent

    def empty(value: Callable[[], Any]) -> Callable[..., Any]:
        def answer(self: Any, *_: Any) -> Any:
            complain(self)
            return value()

        return answer

    def attribute(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return complain(self)

    methods: dict[str, Any] = dict.fromkeys(_OPERATIONS, complain)
    methods |= {name: empty(value) for name, value in _EMPTY.items()}
    methods |= {"__getattr__": attribute, "__hash__": object.__hash__}
    silent = _SILENT()
    return type("Undefined", (jinja2.StrictUndefined,), methods)


# what comes of an undefined variable that has been reported
_SILENT = type(
    "Undefined",
    (jinja2.ChainableUndefined,),
    {
        **dict.fromkeys(_OPERATIONS, lambda self, *_, **__: self),
        **{name: lambda self, *_, value=value: value() for name, value in _EMPTY.items()},
        "__hash__": object.__hash__,
    },
)


def _template_line(fallback: str) -> Location:
    """The line of the template that is being rendered now."""
    frame = sys._getframe(1)
    while frame is not None:
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            return Location(template.filename or fallback, template.get_corresponding_lineno(frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return Location(fallback, 1)


def _raised_at(error: BaseException, fallback: str) -> Location:
    """The template's line in an exception's traceback, which Jinja2 has rewritten to template lines."""
    trace, found = error.__traceback__, Location(fallback, 1)
    while trace is not None:
        # jinja2/debug.py marks the frames that it has made up for lines of templates
        if "__jinja_exception__" in trace.tb_frame.f_globals:
            found = Location(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found

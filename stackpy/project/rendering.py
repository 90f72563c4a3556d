"""Templates: Jinja2 with every undefined variable an error, all of a template's shown at once.

Imported only when a template is rendered: jinja2 costs 50 ms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jinja2

from stackpy.dsl.session import Session
from stackpy.dsl.values import meant
from stackpy.errors import Location
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
        self._read(name)  # an OSError here is the stack file's mistake, not the template's
        problems: list[tuple[str, Location]] = []

        def report(message: str) -> None:
            problems.append((message, _template_line(name)))

        environment = self._environment(folder)
        environment.undefined = _undefined(report, variables)
        text = ""
        try:
            text = environment.get_template(name).render(variables)
        except jinja2.TemplateSyntaxError as error:
            problems.append((error.message or "invalid syntax", Location(error.filename or name, error.lineno)))
        except jinja2.TemplateNotFound as error:
            problems.append((f"no such template: `{error.name}`", _raised_at(error, name)))
        except RecursionError as error:
            problems.append(("templates include each other without end", _raised_at(error, name)))
        except Exception as error:  # noqa: BLE001 - a template runs arbitrary filters and methods
            what = str(error) or type(error).__name__
            problems.append((what if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {what}",
                             _raised_at(error, name)))  # fmt: skip
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
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()


def _undefined(report: Callable[[str], None], variables: dict[str, Any]) -> type[jinja2.Undefined]:
    """StrictUndefined that reports and goes on as if it were empty, so that one run finds all undefined variables."""

    class Reported(jinja2.StrictUndefined):
        def _complain(self, *_: Any, **__: Any) -> Any:
            name = self._undefined_name
            if self._undefined_obj is jinja2.utils.missing:
                hint = meant(str(name), variables)
                report(f"undefined variable `{name}`" + (f": {hint}" if hint else ""))
            else:
                report(self._undefined_message.replace("'", "`"))
            return _Silent(name=name)

        def __str__(self) -> str:
            self._complain()
            return ""

        def __iter__(self) -> Iterator[Any]:
            self._complain()
            return iter(())

        def __bool__(self) -> bool:
            self._complain()
            return False

        def __len__(self) -> int:
            self._complain()
            return 0

        def __getattr__(self, name: str) -> Any:
            if name[:2] == "__":
                raise AttributeError(name)
            return self._complain()

        def __eq__(self, _other: object) -> bool:
            self._complain()
            return False

        __call__ = __getitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _complain
        __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __pow__ = __lt__ = __le__ = __gt__ = __ge__ = _complain
        __ne__ = __contains__ = __int__ = __float__ = __neg__ = _complain
        __hash__ = jinja2.StrictUndefined.__hash__

    return Reported


class _Silent(jinja2.ChainableUndefined):
    """What comes of an undefined variable that has been reported."""

    def _self(self, *_: Any, **__: Any) -> Any:
        return self

    __call__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _self
    __mod__ = __rmod__ = __pow__ = __neg__ = _self

    def __lt__(self, _other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__


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
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = Location(template.filename or fallback, trace.tb_lineno)
        trace = trace.tb_next
    return found

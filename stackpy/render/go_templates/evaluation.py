"""Walks a template's nodes over a value; pkg.go.dev/text/template, exec.go."""

from __future__ import annotations

from stackpy.errors import StackpyError
from stackpy.render.go_templates import nodes, printing
from stackpy.render.go_templates.values import NO_VALUE, Method, Struct, kind, true

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from stackpy.render.go_templates.functions import Function

DEPTH = 100  # of templates that include each other; Go's is 100,000, for a stack that grows
_MISSING: Any = object()


class Failed(Exception):
    """What a function or a field said against its operands."""


class _Jump(Exception):
    pass


class _Break(_Jump):
    pass


class _Continue(_Jump):
    pass


class Evaluator:
    """One execution.

    templates: nodes by name
    functions: what may be called, but for `and` and `or`, which evaluate no more than they need
    """

    def __init__(self, templates: Mapping[str, Sequence[Any]], functions: Mapping[str, Function], root: Any) -> None:
        self._templates, self._functions = templates, functions
        self._variables: list[list[Any]] = [["$", root]]
        self._depth = 0
        self.written: list[str] = []

    def walk(self, body: Iterable[Any], dot: Any) -> None:
        """Executes nodes; what they print is in `written`."""
        for node in body:
            if isinstance(node, nodes.Text):
                self.written.append(node.text)
            elif isinstance(node, nodes.Action):
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self.written.append(printing.shown(value))
            elif isinstance(node, nodes.Block):
                mark = len(self._variables)
                try:
                    self._range(node, dot) if node.word == "range" else self._branch(node, dot)
                finally:
                    del self._variables[mark:]
            elif isinstance(node, nodes.Include):
                self._include(node, dot)
            else:
                raise _Break if node.word == "break" else _Continue

    def _branch(self, node: nodes.Block, dot: Any) -> None:
        value = self._pipeline(node.pipeline, dot)
        if true(value):
            self.walk(node.inner, value if node.word == "with" else dot)
        else:
            self.walk(node.otherwise, dot)

    def _range(self, node: nodes.Block, dot: Any) -> None:
        pipeline = node.pipeline
        value = self._pipeline(nodes.Pipeline(pipeline.commands), dot)
        if isinstance(value, int) and not isinstance(value, bool):
            pairs: list[tuple[Any, Any]] = [(index, index) for index in range(value)]
        elif isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, (list, tuple)):
            pairs = list(enumerate(value))
        elif value is None or value is NO_VALUE:
            pairs = []
        else:
            raise _error(pipeline.text, f"`range` goes over lists and maps, not over a {kind(value)}")
        if not pairs:
            self.walk(node.otherwise, dot)
            return
        mark = len(self._variables)
        for key, item in pairs:
            given = (item,) if len(pipeline.variables) == 1 else (key, item)
            for name, each in zip(pipeline.variables, given, strict=False):
                self._set(name, each, pipeline.assigns)
            try:
                self.walk(node.inner, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[mark:]

    def _include(self, node: nodes.Include, dot: Any) -> None:
        if node.name not in self._templates:
            raise StackpyError(f"template: there is no template `{node.name}`")
        if self._depth >= DEPTH:
            raise StackpyError(f"template: `{node.name}` includes itself more than {DEPTH} times")
        value = self._pipeline(node.pipeline, dot) if node.pipeline is not None else NO_VALUE
        outer, self._variables = self._variables, [["$", value]]
        self._depth += 1
        self.walk(self._templates[node.name], value)
        self._depth -= 1
        self._variables = outer

    def _set(self, name: str, value: Any, assigns: bool) -> None:
        if not assigns:
            self._variables.append([name, value])
            return
        self._variable(name)[1] = value

    def _variable(self, name: str) -> list[Any]:
        return next(entry for entry in reversed(self._variables) if entry[0] == name)

    def _pipeline(self, pipeline: nodes.Pipeline, dot: Any) -> Any:
        value = _MISSING
        for command in pipeline.commands:
            value = self._command(command, dot, value)
        for name in pipeline.variables:
            self._set(name, value, pipeline.assigns)
        return value

    def _command(self, command: Sequence[Any], dot: Any, final: Any) -> Any:
        """One command. final: what the one before it hands on, or _MISSING."""
        first, rest = command[0], command[1:]
        if isinstance(first, nodes.Call):
            return self._call(first, rest, dot, final)
        if isinstance(first, (nodes.Path, nodes.Chain)) and first.fields:
            arguments = [self._operand(operand, dot) for operand in rest]
            return self._fields(first, dot, [*arguments, final] if final is not _MISSING else arguments)
        if rest or final is not _MISSING:
            raise _error(first.text, "it is no function and takes no arguments")
        if isinstance(first, nodes.Literal) and first.value is None:
            raise _error(first.text, "`nil` is no command")
        return self._operand(first, dot)

    def _operand(self, operand: Any, dot: Any) -> Any:
        if isinstance(operand, nodes.Literal):
            return operand.value
        if isinstance(operand, nodes.Pipeline):
            return self._pipeline(operand, dot)
        if isinstance(operand, nodes.Call):
            return self._call(operand, (), dot, _MISSING)
        return self._fields(operand, dot, [])

    def _fields(self, path: nodes.Path | nodes.Chain, dot: Any, arguments: Sequence[Any]) -> Any:
        """Follows fields; the last may be a method, which gets the arguments."""
        if isinstance(path, nodes.Chain):
            value = self._pipeline(path.base, dot)
        else:
            value = self._variable(path.variable)[1] if path.variable else dot
        for index, name in enumerate(path.fields):
            last = index == len(path.fields) - 1
            value = _field(value, name, path.text)
            if isinstance(value, Method):
                try:
                    value = value.call(*(arguments if last else ()))
                except TypeError:
                    raise _error(path.text, f"wrong number of arguments for `{name}`") from None
            elif last and arguments:
                raise _error(path.text, f"`{name}` takes no arguments")
        return value

    def _call(self, call: nodes.Call, operands: Sequence[Any], dot: Any, final: Any) -> Any:
        if call.name in ("and", "or"):
            return self._chosen(call, operands, dot, final)
        arguments = [self._operand(operand, dot) for operand in operands]
        if final is not _MISSING:
            arguments.append(final)
        try:
            return self._functions[call.name].call(call.name, arguments)
        except Failed as error:
            raise _error(call.name, str(error)) from None

    def _chosen(self, call: nodes.Call, operands: Sequence[Any], dot: Any, final: Any) -> Any:
        """`and`: the first that is not true, else the last; `or` the other way round."""
        value = _MISSING
        for operand in operands:
            value = self._operand(operand, dot)
            if true(value) == (call.name == "or"):
                return value
        if final is not _MISSING:
            return final
        if value is _MISSING:
            raise _error(call.name, "it needs at least one argument")
        return value


def _field(value: Any, name: str, text: str) -> Any:
    if value is NO_VALUE:
        return NO_VALUE
    if isinstance(value, Struct) and name not in value:
        if name in value.absent:
            return value.absent[name]
        raise _error(text, f"there is no field `{name}`", _near(name, value))
    if isinstance(value, dict):
        return value.get(name, NO_VALUE)
    if value is None:
        raise _error(text, f"what should have `{name}` is nil", "`{{with .A}}{{.B}}{{end}}` prints nothing then")
    hint = ""
    if isinstance(value, (list, tuple)):
        hint = f"`{{{{range .A}}}}{{{{.{name}}}}}{{{{end}}}}` goes over it, `{{{{(index .A 0).{name}}}}}` takes one"
    raise _error(text, f"a {kind(value)} has no field `{name}`", hint)


def _near(name: str, value: Struct) -> str:
    from stackpy.dsl.values import nearest

    close = nearest(name, list(value))
    return f"did you mean `{close}`?" if close else f"it has {', '.join(value)}"


def _error(text: str, what: str, hint: str = "") -> StackpyError:
    return StackpyError(f"template, at `{text}`: {what}", hint=hint)

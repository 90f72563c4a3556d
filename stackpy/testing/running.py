"""Runs the tests of a stack's folder: functions `test_…` without arguments, in files test_*.py and *_test.py."""

from __future__ import annotations

import ast
import os
import sys
import time
import traceback

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    Test = tuple[str, Callable[[], object]]

_SKIPPED = frozenset({"node_modules", "venv", "__pycache__", "site-packages"})
_WIDTH = 200


class Result(NamedTuple):
    """What came of a test: "" or what failed, in lines; seconds that it took."""

    name: str
    failure: str
    seconds: float


def files(folder: str) -> list[str]:
    """The test files of a folder and those below, by name; hidden folders and environments are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        found += [
            os.path.join(place, name)
            for name in sorted(names)
            if name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))
        ]
    return found


def run(path: str, folder: str, wanted: Callable[[str], bool]) -> Iterator[Result]:
    """Runs the tests of one file, as they stand in it.

    folder: of the stack; names are relative to it, and its modules can be imported
    wanted: whether a test of this name is to be run
    """
    label = os.path.relpath(path, folder)
    before = list(sys.path), dict(sys.modules)
    sys.path[:0] = list(dict.fromkeys((os.path.dirname(path), folder)))
    try:
        module: Any = type(sys)(os.path.basename(path).removesuffix(".py"))
        module.__file__ = path
        sys.modules[module.__name__] = module
        try:
            with open(path, "rb") as file:
                tree = _Keeping().visit(ast.parse(file.read(), path))
            exec(compile(tree, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the user's
        except Exception as error:  # whatever it may raise
            yield Result(label, _told(error, path), 0.0)
            return
        for name, function in _tests(module):
            if wanted(f"{label}::{name}"):
                yield _run(f"{label}::{name}", function, path)
    finally:
        sys.path[:] = before[0]
        for name in set(sys.modules) - set(before[1]):
            file_of = getattr(sys.modules[name], "__file__", None) or ""
            if file_of.startswith(f"{folder}/"):
                del sys.modules[name]


class _Keeping(ast.NodeTransformer):
    """Has each `assert` keep what the calls in it have given, so that a failure can tell without calling them again."""

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        """Gives each operand with a call a name."""
        if isinstance(node.test, ast.Compare):
            node.test.left, *node.test.comparators = map(_kept, _operands(node.test))
        elif isinstance(node.test, ast.UnaryOp):
            node.test.operand = _kept(node.test.operand)
        else:
            node.test = _kept(node.test)
        return node


def _operands(test: ast.expr) -> list[ast.expr]:
    if isinstance(test, ast.Compare):
        return [test.left, *test.comparators]
    return [test.operand if isinstance(test, ast.UnaryOp) else test]


def _kept(operand: ast.expr) -> ast.expr:
    if not _is_kept(operand):
        return operand
    target = ast.copy_location(ast.Name(_name_of(operand), ast.Store()), operand)
    return ast.copy_location(ast.NamedExpr(target, operand), operand)


def _is_kept(operand: ast.expr) -> bool:
    """Whether it calls something; comparisons and such that are joined say more by their parts."""
    kinds = (ast.Call, ast.Attribute, ast.Subscript)
    return isinstance(operand, kinds) and any(isinstance(each, ast.Call) for each in ast.walk(operand))


def _name_of(operand: ast.expr) -> str:
    return f"_operand_{operand.lineno}_{operand.col_offset}"


def _tests(module: Any) -> list[Test]:
    """The module's own functions, and methods of its classes Test…, in the order of their lines."""
    found: list[tuple[int, Test]] = []
    for name, value in vars(module).items():
        if name.startswith("test") and hasattr(value, "__code__") and value.__module__ == module.__name__:
            found.append((value.__code__.co_firstlineno, (name, value)))
        elif name.startswith("Test") and isinstance(value, type) and value.__module__ == module.__name__:
            for method, function in vars(value).items():
                if method.startswith("test") and hasattr(function, "__code__"):
                    bound = _bound(value, method)
                    found.append((function.__code__.co_firstlineno, (f"{name}::{method}", bound)))
    return [test for _, test in sorted(found, key=lambda one: one[0])]


def _bound(kind: type, method: str) -> Callable[[], object]:
    return lambda: getattr(kind(), method)()


def _run(name: str, function: Callable[[], object], path: str) -> Result:
    began = time.monotonic()
    try:
        function()
    except Exception as error:  # whatever it may raise
        return Result(name, _told(error, path), time.monotonic() - began)
    return Result(name, "", time.monotonic() - began)


def _told(error: BaseException, path: str) -> str:
    """The user's last line, what it says, and what the names in a failed `assert` held."""
    from stackpy.errors import StackFileError

    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(error)).strip()
    trace = error.__traceback__
    last: TracebackType | None = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            last = trace
        trace = trace.tb_next
    text = str(error)
    if isinstance(error, StackFileError):
        text = "; ".join(problem.message for problem in error.problems)
    elif isinstance(error, KeyError) and error.args:
        text = str(error.args[0])
    what = type(error).__name__ + (f": {text}" if text else "")
    if last is None:
        return what
    lines = [f"{os.path.basename(path)}:{last.tb_lineno}: {what}"]
    statement = _statement(path, last.tb_lineno)
    if statement is not None:
        source, names, operands = statement
        lines += [f"    {line}" for line in source.splitlines()]
        if isinstance(error, AssertionError):
            held = {**last.tb_frame.f_globals, **last.tb_frame.f_locals}
            lines += [f"    {text} = {_shortened(repr(held[name]))}" for name, text in operands.items() if name in held]
            lines += [f"    {name} = {_shortened(text)}" for name, text in _held(names, held)]
    return "\n".join(lines)


def _held(names: list[str], held: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What names, and attributes and items of such, hold; those of functions and modules tell nothing."""
    for name in names:
        try:
            # made of names, attributes, and items under constants alone
            value = eval(name, {"__builtins__": {}}, held)  # noqa: S307 - the user's own test
        except Exception:  # noqa: S112 - what cannot be looked at again is not shown
            continue
        if value is not None and not callable(value) and not isinstance(value, type(sys)):
            yield name, repr(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _statement(path: str, line: int) -> tuple[str, list[str], dict[str, str]] | None:
    """The smallest statement around a line, the names in it, and what was kept of it: its name → what it is of."""
    try:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    if not found:
        return None
    node = min(found, key=lambda one: ((one.end_lineno or one.lineno) - one.lineno, -one.col_offset))
    names = dict.fromkeys(ast.unparse(each) for each in ast.walk(node) if _is_plain(each))
    operands: dict[str, str] = {}
    if isinstance(node, ast.Assert):
        operands = {_name_of(each): ast.unparse(each) for each in _operands(node.test) if _is_kept(each)}
    return ast.get_source_segment(source, node) or "", list(names), operands


def _is_plain(node: ast.AST) -> bool:
    """A name, an attribute of one, or an item under a constant: what can be looked at without running anything."""
    if isinstance(node, ast.Attribute):
        return _is_plain(node.value)
    if isinstance(node, ast.Subscript):
        return _is_plain(node.value) and isinstance(node.slice, ast.Constant)
    return isinstance(node, ast.Name)

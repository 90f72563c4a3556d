"""Turns problems into places in the user's files: line, column and length of what is meant.

Used only when something is wrong, or somebody asks why: parsing the file and decoding position tables cost more than a
load.
"""

from __future__ import annotations

import ast
from itertools import islice

from stackpy.problems import Location, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.dsl.calls import Call
    from stackpy.dsl.session import Finding, Key
    from stackpy.dsl.specs import Spec

    Span = tuple[int, int, int, int]  # line, column, end line, end column; columns in bytes


class Locator:
    """Finds arguments in source files, each of which is parsed once.

    sources: content of files that were read already, by path
    """

    def __init__(self, sources: dict[str, bytes]) -> None:
        self._sources = sources
        self._trees: dict[str, tuple[list[bytes], dict[tuple[int, int], ast.Call]]] = {}
        self._beginning: dict[str, dict[int, list[ast.Call]]] = {}  # calls by the line on which they begin

    def problem(self, finding: Finding | Problem) -> Problem:
        """The finding with its place."""
        if isinstance(finding, Problem):
            return finding
        return Problem(finding.message, self.location(finding.call, finding.path, finding.key), finding.hint)

    def location(self, call: Call, path: tuple[Key, ...] = (), key: bool = False) -> Location:
        """The place of an argument of a call, or of the call where it cannot be told."""
        lines, calls = self._parsed(call.file)
        span = next(islice(call.code.co_positions(), call.instruction // 2, None), (None,) * 4)
        line, end_line, column, end_column = span
        node = calls.get((end_line, end_column)) if end_line is not None and end_column is not None else None
        # `with` stands for all of its body, whose last call may end where it does
        if node is None or (line or 0, column or 0) < (node.lineno, node.col_offset):
            return Location(call.file, call.line)
        return _span(call.file, lines, _argument(node, call, path, key))

    def field(self, call: Location, path: str) -> Location | None:
        """The place of a field of a resource; None where it is not written out in the resource's call.

        call: where that begins; path: as in the reasons of a plan (`environment.MODE`)
        """
        name, _, inner = path.partition(".")
        lines, calls = self._parsed(call.file)
        if call.file not in self._beginning:
            found: dict[int, list[ast.Call]] = {}
            for node in calls.values():
                found.setdefault(node.lineno, []).append(node)
            self._beginning[call.file] = found
        for node in self._beginning[call.file].get(call.line, ()):
            if any(keyword.arg == name for keyword in node.keywords):
                return _span(call.file, lines, _of_field(node, name, inner))
        return None

    def written(self, spec: Spec, path: str) -> Location:
        """The place of a field of a resource, or of the resource's call where that does not say it."""
        return self.field(spec.location, path) or spec.location

    def span(self, file: str, span: Span) -> Location:
        """A place by its positions, of which the first line is shown."""
        return _span(file, self._parsed(file)[0], span)

    def _parsed(self, file: str) -> tuple[list[bytes], dict[tuple[int, int], ast.Call]]:
        if file not in self._trees:
            try:
                content = self._sources[file] if file in self._sources else _read(file)
                tree: ast.AST | None = ast.parse(content)
            except (OSError, SyntaxError, ValueError, RecursionError):
                content, tree = b"", None
            # no two calls end at one place, whereas a method's call begins where its chain does
            nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call)) if tree else ()
            calls = {(node.end_lineno or 0, node.end_col_offset or 0): node for node in nodes}
            self._trees[file] = (content.splitlines(), calls)
        return self._trees[file]


def _read(file: str) -> bytes:
    with open(file, "rb") as handle:
        return handle.read()


def _of(node: ast.AST) -> Span:
    return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]


def _argument(call: ast.Call, where: Call, path: tuple[Key, ...], key: bool) -> Span:
    """The part of a call that `path` means; the called name where it has no such part."""
    function = call.func
    if isinstance(function, ast.Attribute):
        end, column = function.end_lineno or 0, function.end_col_offset or 0
        found: Span = (end, column - len(function.attr.encode()), end, column)
    else:
        found = _of(function)
    if not path:
        return found
    name, *inner = path
    node: ast.AST | None = None
    for keyword in call.keywords:
        if keyword.arg == name and keyword.arg is not None:
            node = keyword.value
            start = keyword.col_offset
            found = (keyword.lineno, start, keyword.lineno, start + len(keyword.arg.encode()))
    if node is None:
        if isinstance(name, str):
            name = where.parameters.index(name) if name in where.parameters else len(call.args)
        # what stands behind a * has no fixed place
        if name >= len(call.args) or any(isinstance(one, ast.Starred) for one in call.args[: name + 1]):
            return found
        node = call.args[name]
        found = _of(node)
    if not key or inner:
        found = _of(node)
    for position, part in enumerate(inner):
        last = position == len(inner) - 1
        if isinstance(node, ast.List | ast.Tuple) and isinstance(part, int) and part < len(node.elts):
            if any(isinstance(one, ast.Starred) for one in node.elts[: part + 1]):
                break
            node = node.elts[part]
        elif isinstance(node, ast.List | ast.Tuple) and isinstance(part, str):
            # ["NAME=value"]
            named = (one for one in node.elts if isinstance(one, ast.Constant) and _begins(one.value, part))
            node = next(named, None)
        elif isinstance(node, ast.Dict):
            index = _entry(node, part)
            if index is None:
                break
            node = node.keys[index] if key and last else node.values[index]
        else:
            break
        if node is None:
            break
        found = _of(node)
    return found


def _of_field(call: ast.Call, name: str, inner: str) -> Span:
    """The keyword, or what it says of `inner`: an entry of a mapping or list, or a keyword of a call in its turn."""
    keyword = next(keyword for keyword in call.keywords if keyword.arg == name)
    value = keyword.value
    if inner and isinstance(value, ast.Call):
        first, _, rest = inner.partition(".")
        if any(one.arg == first for one in value.keywords):
            return _of_field(value, first, rest)
    if inner and isinstance(value, ast.Dict):
        index = _entry(value, inner)
        if index is not None and (found := value.keys[index]) is not None:
            return _of(found)
        for one in value.values:  # {volume: "/path"}
            if isinstance(one, ast.Constant) and one.value == inner:
                return _of(one)
    if inner and isinstance(value, ast.List | ast.Tuple):
        for one in value.elts:
            if isinstance(one, ast.Constant) and (_begins(one.value, inner) or _aims(one.value, inner)):
                return _of(one)
    return (keyword.lineno, keyword.col_offset, keyword.lineno, keyword.col_offset + len(name.encode()))


def _begins(value: object, name: str) -> bool:
    return isinstance(value, str) and value.partition("=")[0] == name


def _aims(value: object, inner: str) -> bool:
    """Whether an entry in Compose's short form means `inner`: `8080:80` means 80/tcp, `./src:/app:ro` means /app."""
    if not isinstance(value, str):
        return False
    return value.rpartition(":")[2] in (inner, inner.removesuffix("/tcp")) or f":{inner}:" in value


def _entry(node: ast.Dict, part: Key) -> int | None:
    """Which entry of a mapping is meant: by its key, or by its number where keys are objects."""
    for index, key in enumerate(node.keys):
        if isinstance(key, ast.Constant) and key.value == part:
            return index
    if isinstance(part, int) and part < len(node.keys) and None not in node.keys[: part + 1]:
        return part
    return None


def _span(file: str, lines: list[bytes], span: Span) -> Location:
    line, column, end_line, end_column = span
    if not 1 <= line <= len(lines):
        return Location(file, line)
    content = lines[line - 1]
    end = end_column if end_line == line else len(content.rstrip())
    before, meant = content[:column].decode(errors="replace"), content[column:end].decode(errors="replace")
    return Location(file, line, len(before) + 1, max(1, len(meant)))

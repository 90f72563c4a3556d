"""What a template is made of, as the parser yields it and the evaluator walks it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Operand = "Literal | Path | Call | Pipeline | Chain"
    Node = "Text | Action | Block | Include | Jump"


class Literal:
    """A constant; `nil` is None."""

    __slots__ = ("text", "value")

    def __init__(self, value: Any, text: str) -> None:
        self.value, self.text = value, text


class Path:
    """`.`, `.A.B`, `$`, `$x.A`: fields from the cursor or from a variable.

    variable: "" for the cursor
    """

    __slots__ = ("fields", "text", "variable")

    def __init__(self, variable: str, fields: Sequence[str]) -> None:
        self.variable, self.fields = variable, tuple(fields)
        self.text = variable + "".join(f".{field}" for field in fields) or "."


class Chain:
    """`(pipeline).A.B`."""

    __slots__ = ("base", "fields", "text")

    def __init__(self, base: Pipeline, fields: Sequence[str]) -> None:
        self.base, self.fields = base, tuple(fields)
        self.text = base.text + "".join(f".{field}" for field in fields)


class Call:
    """The name of a function."""

    __slots__ = ("name", "text")

    def __init__(self, name: str) -> None:
        self.name = self.text = name


class Pipeline:
    """Commands, each of operands, whose results are handed on as the last argument of the next.

    variables: what is declared (`:=`) or, with `assigns`, given another value (`=`)
    """

    __slots__ = ("assigns", "commands", "variables")

    def __init__(self, commands: Sequence[Sequence[Any]], variables: Sequence[str] = (), assigns: bool = False) -> None:
        self.commands, self.variables, self.assigns = commands, tuple(variables), assigns

    @property
    def text(self) -> str:
        """As it may have been written."""
        return "(" + " | ".join(" ".join(operand.text for operand in command) for command in self.commands) + ")"


class Text:
    """What is printed as it is."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Action:
    """A pipeline whose value is printed, unless it goes to a variable."""

    __slots__ = ("pipeline",)

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline


class Block:
    """`if`, `with` or `range`, with what is done else."""

    __slots__ = ("inner", "otherwise", "pipeline", "word")

    def __init__(self, word: str, pipeline: Pipeline, inner: Sequence[Any], otherwise: Sequence[Any]) -> None:
        self.word, self.pipeline, self.inner, self.otherwise = word, pipeline, inner, otherwise


class Include:
    """`template "name" pipeline`."""

    __slots__ = ("name", "pipeline")

    def __init__(self, name: str, pipeline: Pipeline | None) -> None:
        self.name, self.pipeline = name, pipeline


class Jump:
    """`break` or `continue`."""

    __slots__ = ("word",)

    def __init__(self, word: str) -> None:
        self.word = word

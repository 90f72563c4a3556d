"""A template that can be executed."""

from __future__ import annotations

from stackpy.errors import StackpyError
from stackpy.render.go_templates import functions
from stackpy.render.go_templates.evaluation import Evaluator
from stackpy.render.go_templates.parsing import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Template:
    """Go's template with docker's functions.

    Raises UsageError for a text that is no template.
    """

    def __init__(self, text: str) -> None:
        self._templates = parse(text, functions.NAMES)

    def render(self, value: Any, *, as_heads: bool = False) -> str:
        """What it says of a value; raises StackpyError where it asks for what is not there.

        as_heads: the value holds the heads of a table, which functions leave as they are
        """
        evaluator = Evaluator(self._templates, functions.FOR_HEADS if as_heads else functions.FUNCTIONS, value)
        try:
            evaluator.walk(self._templates[""], value)
        except RecursionError:
            raise StackpyError("template: it is nested too deeply") from None
        return "".join(evaluator.written)

"""Tokens → nodes; pkg.go.dev/text/template/parse, parse.go."""

from __future__ import annotations

from stackpy.errors import UsageError
from stackpy.render.go_templates import literals, nodes
from stackpy.render.go_templates.tokens import KEYWORDS, Token, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

    Nodes = list[Any]

_CONSTANTS = {"true": True, "false": False, "nil": None}


def parse(text: str, functions: Collection[str]) -> dict[str, Nodes]:
    """The templates that a text defines, by name; the text's own is called "".

    functions: the names that may be called
    Raises UsageError for what is no template.
    """
    parser = _Parser(text, functions)
    body, _ = parser.block(())
    return {**parser.defined, "": body}


class _Parser:
    def __init__(self, text: str, functions: Collection[str]) -> None:
        self._tokens = list(tokens(text))
        self._position = 0
        self._functions = functions
        self._variables = ["$"]
        self._ranges = 0
        self.defined: dict[str, Nodes] = {}

    def block(self, ends: Sequence[str]) -> tuple[Nodes, str]:
        """Nodes up to one of the words that end them, and that word; it is read, what stands behind it is not."""
        found: Nodes = []
        while token := self._next():
            if token.kind == "text":
                found.append(nodes.Text(token.text))
                continue
            word = self._peek()
            if word is not None and word.kind == "word" and word.text in KEYWORDS:
                self._position += 1
                if word.text in ("end", "else"):
                    if word.text in ends:
                        return found, word.text
                    raise self._error(f"unexpected `{{{{{word.text}}}}}`", word)
                found += self._statement(word)
            else:
                found.append(nodes.Action(self._pipeline("close")))
        if ends:
            raise self._error("`{{end}}` is missing", hint="each `if`, `range`, `with`, `define` and `block` needs one")
        return found, ""

    def _statement(self, word: Token) -> Nodes:
        if word.text in ("if", "with", "range"):
            return [self._control(word.text)]
        if word.text in ("break", "continue"):
            if not self._ranges:
                raise self._error(f"`{word.text}` stands outside of a `range`", word)
            self._close()
            return [nodes.Jump(word.text)]
        name = self._next()
        if name is None or name.kind not in ("string", "raw"):
            raise self._error(f"`{word.text}` needs the name of a template in quotes", name)
        called = literals.string(name)
        if word.text == "template":
            return [nodes.Include(called, self._optional_pipeline())]
        pipeline = self._pipeline("close") if word.text == "block" else None
        if pipeline is None:
            self._close()
        outer, self._variables = self._variables, ["$"]
        self.defined[called], _ = self.block(("end",))
        self._variables = outer
        self._close()
        return [nodes.Include(called, pipeline)] if pipeline is not None else []

    def _control(self, word: str) -> nodes.Block:
        mark = len(self._variables)
        self._ranges += word == "range"
        pipeline = self._pipeline("close", many=word == "range")
        inner, ended = self.block(("end", "else"))
        self._ranges -= word == "range"
        otherwise: Nodes = []
        if ended == "else":
            following = self._peek()
            if following is not None and following.kind == "word" and following.text in ("if", "with"):
                self._position += 1
                otherwise = [self._control(following.text)]
                del self._variables[mark:]
                return nodes.Block(word, pipeline, inner, otherwise)
            self._close()
            otherwise, _ = self.block(("end",))
        self._close()
        del self._variables[mark:]
        return nodes.Block(word, pipeline, inner, otherwise)

    def _optional_pipeline(self) -> nodes.Pipeline | None:
        token = self._peek()
        if token is not None and token.kind == "close":
            self._position += 1
            return None
        return self._pipeline("close")

    def _pipeline(self, end: str, many: bool = False) -> nodes.Pipeline:
        """A pipeline and what ends it: "close" or ")"."""
        declared, assigns = self._declaration(many)
        commands: list[list[Any]] = []
        while True:
            command, ended = self._command(end)
            if not command:
                raise self._error("a value is missing" + (" behind `|`" if commands else ""), self._last())
            if commands and isinstance(command[0], nodes.Literal):
                raise self._error(f"`{command[0].text}` cannot take what is handed to it by `|`")
            commands.append(command)
            if ended:
                break
        if not assigns:
            self._variables += declared
        return nodes.Pipeline(commands, declared, assigns)

    def _declaration(self, many: bool) -> tuple[list[str], bool]:
        start, names = self._position, []
        while (token := self._peek()) is not None and token.kind == "variable":
            names.append(token.text)
            self._position += 1
            mark = self._peek()
            if mark is not None and (mark.kind == "declare" or mark.text == "="):
                if len(names) > (2 if many else 1):
                    raise self._error("too many variables", mark)
                if mark.text == "=":
                    for name in names:
                        self._known(name, token)
                self._position += 1
                return names, mark.text == "="
            if mark is None or mark.text != ",":
                break
            if not many:
                raise self._error("only `range` takes two variables", mark)
            self._position += 1
        self._position = start
        return [], False

    def _command(self, end: str) -> tuple[list[Any], bool]:
        """The operands up to the next `|`, or up to the end of the pipeline: then True."""
        operands: list[Any] = []
        while True:
            token = self._next()
            if token is None:
                raise self._error("an action is not closed")
            if token.kind == end or (token.kind == "mark" and token.text == end):
                return operands, True
            if token.text == "|" and token.kind == "mark":
                return operands, False
            if operands and not token.apart and token.kind != "close":
                raise self._error(f"unexpected `{token.text}` right behind `{operands[-1].text}`", token)
            operands.append(self._operand(token))

    def _operand(self, token: Token) -> Any:
        if token.kind == "field":
            return nodes.Path("", [token.text[1:], *self._fields()])
        if token.kind == "dot":
            return nodes.Path("", [])
        if token.kind == "variable":
            self._known(token.text, token)
            return nodes.Path(token.text, self._fields())
        if token.kind == "mark" and token.text == "(":
            inner = self._pipeline(")")
            fields = self._fields()
            return nodes.Chain(inner, fields) if fields else inner
        if token.kind == "word":
            if token.text in _CONSTANTS:
                return nodes.Literal(_CONSTANTS[token.text], token.text)
            if token.text in self._functions:
                return nodes.Call(token.text)
            raise self._error(f"there is no function `{token.text}`", token, self._hint(token.text))
        if token.kind in ("string", "raw", "number", "character"):
            return nodes.Literal(literals.value(token), token.text)
        raise self._error(f"unexpected `{token.text}`", token)

    def _fields(self) -> list[str]:
        found = []
        while (token := self._peek()) is not None and token.kind == "field" and not token.apart:
            found.append(token.text[1:])
            self._position += 1
        return found

    def _known(self, name: str, token: Token) -> None:
        if name not in self._variables:
            raise self._error(f"there is no variable `{name}`", token)

    def _hint(self, name: str) -> str:
        from stackpy.dsl.values import nearest

        close = nearest(name, sorted(self._functions))
        return f"did you mean `{close}`?" if close else f"a field begins with a dot: `.{name}`"

    def _close(self) -> None:
        token = self._next()
        if token is None or token.kind != "close":
            raise self._error(f"unexpected `{token.text}`" if token else "an action is not closed", token)

    def _peek(self) -> Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _next(self) -> Token | None:
        token = self._peek()
        self._position += token is not None
        return token

    def _last(self) -> Token | None:
        return self._tokens[self._position - 1] if self._position else None

    def _error(self, what: str, token: Token | None = None, hint: str = "") -> UsageError:
        token = token or self._last()
        return UsageError(f"template, line {token.line if token else 1}: {what}", hint=hint)

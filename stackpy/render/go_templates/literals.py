"""Go's constants; go.dev/ref/spec, "Lexical elements"."""

from __future__ import annotations

import re

from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.render.go_templates.tokens import Token

_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\'\""}
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{3})|x(?P<byte>[\da-fA-F]{2})|u(?P<short>[\da-fA-F]{4})|U(?P<long>[\da-fA-F]{8})|(?P<one>.))",
    re.DOTALL,
)


def value(token: Token) -> str | int | float:
    """What a token of kind string, raw, character or number stands for; raises UsageError."""
    if token.kind == "character":
        text = _unescaped(token)
        if len(text) != 1:
            raise UsageError(f"template, line {token.line}: {token.text} is not one character")
        return ord(text)
    return _number(token.text) if token.kind == "number" else string(token)


def string(token: Token) -> str:
    """What a token of kind string or raw stands for."""
    return token.text[1:-1].replace("\r", "") if token.kind == "raw" else _unescaped(token)


def _unescaped(token: Token) -> str:
    def plain(found: re.Match[str]) -> str:
        for name, base in (("octal", 8), ("byte", 16), ("short", 16), ("long", 16)):
            if digits := found[name]:
                return chr(int(digits, base))
        if found["one"] not in _SIMPLE:
            raise UsageError(f"template, line {token.line}: `{found[0]}` is no escape in {token.text}")
        return _SIMPLE[found["one"]]

    try:
        return _ESCAPE.sub(plain, token.text[1:-1])
    except (ValueError, OverflowError):
        raise UsageError(f"template, line {token.line}: no such character in {token.text}") from None


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    sign = -1 if plain.startswith("-") else 1
    digits = plain.lstrip("+-")
    if digits[:2].lower() in ("0x", "0b", "0o"):
        return sign * int(digits, 0)
    if digits.isdigit():
        return sign * int(digits, 8 if re.fullmatch("0[0-7]+", digits) else 10)
    return sign * float(digits)

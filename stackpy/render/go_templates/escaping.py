"""html, js and urlquery; pkg.go.dev/text/template, funcs.go."""

from __future__ import annotations

_HTML = {'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def html(text: str) -> str:
    """For HTML."""
    return "".join(_HTML.get(character, character) for character in text)


def js(text: str) -> str:
    """For a string of JavaScript."""
    return "".join(
        _JS.get(character, character if character.isprintable() else f"\\u{ord(character):04X}") for character in text
    )


def query(text: str) -> str:
    """For the query of a URL."""
    return "".join(
        "+" if character == " " else character if character in _UNRESERVED else _percent(character)
        for character in text
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())

"""Files of environment variables, by the rules of Compose's `env_file`, but that `$` stands for itself."""

from __future__ import annotations

from stackpy.dsl.values import Invalid
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# compose-go dotenv: `export ` may stand before a name, and `:` for `=`
_NAME = pattern(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?P<separator>[=:]?)[ \t]*")
_ESCAPE = pattern(r"\\(?:([abfnrtv\\\"'$])|0([0-7]{1,3}))")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_COMMENT = pattern(r"[ \t]+#[^\n]*")
_REST = pattern(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")


class EnvLine(Invalid):
    """A line of a file is wrong; `line` counts from 1. The message holds nothing of it: it may be a password."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def parse(content: str) -> dict[str, str | None]:
    """Variables by name, in order; None for a name that stands alone and so takes the host's value."""
    content = content.removeprefix("\ufeff").replace("\r\n", "\n")
    if "\0" in content:
        raise EnvLine("a NUL byte", content[: content.index("\0")].count("\n") + 1)
    result: dict[str, str | None] = {}
    position = 0
    while position < len(content):
        end = content.find("\n", position)
        end = len(content) if end < 0 else end
        line = content[position:end]
        if not line.strip() or line.lstrip().startswith("#"):
            position = end + 1
            continue
        number = content.count("\n", 0, position) + 1
        match = _NAME.match(content, position, end)
        if match is None:
            raise EnvLine("expected `NAME=value`", number)
        if not match["separator"]:
            if not _REST.match(content, match.end()):
                raise EnvLine("expected `NAME=value`", number)
            result[match["name"]] = None
            position = end + 1
            continue
        start = match.end()
        quote = content[start : start + 1]
        if quote in ("'", '"') and quote:
            value, position = _quoted(content, start, quote, number)
        else:
            value = _COMMENT.split(" " + content[start:end], maxsplit=1)[0].strip()
            position = end + 1
        result[match["name"]] = value
    return result


def parse_raw(content: str) -> dict[str, str | None]:
    """Variables of a file with `format: raw`: what stands after `=` is the value, quotation marks and all.

    docker/cli kvfile: lines that begin with `#` are comments, a name alone takes the host's value.
    """
    result: dict[str, str | None] = {}
    for number, line in enumerate(content.removeprefix("\ufeff").splitlines(), 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or any(character.isspace() for character in name):
            raise EnvLine("expected `NAME=value`", number)
        if "\0" in value:
            raise EnvLine("a NUL byte", number)
        result[name] = value if equals else None
    return result


def _quoted(content: str, start: int, quote: str, number: int) -> tuple[str, int]:
    end = start + 1
    while end < len(content) and content[end] != quote:
        end += 2 if content[end] == "\\" else 1
    if end >= len(content):
        raise EnvLine(f"a quotation mark {quote} that is never closed", number)
    rest = _REST.match(content, end + 1)
    if rest is None:
        raise EnvLine("text after the closing quotation mark", content.count("\n", 0, end) + 1)
    body = content[start + 1 : end]
    value = body.replace("\\'", "'") if quote == "'" else _ESCAPE.sub(_unescape, body)
    return value, rest.end()


def _unescape(match: re.Match[str]) -> str:
    if match[2]:
        return chr(int(match[2], 8) & 0xFF)
    return _ESCAPED.get(match[1], match[1])

"""Values as Go prints them; pkg.go.dev/fmt."""

from __future__ import annotations

import re

from stackpy.render.go_templates.values import NO_VALUE, Method, NilList, NilMap, Struct, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

_PLAIN_BELOW = 6  # powers of ten from which on `%v` writes an exponent
_VERB = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\*|\d+)?(?P<dot>\.(?P<precision>\*|\d+)?)?(?:\[(?P<index>\d+)\])?(?P<verb>.?)",
    re.DOTALL,
)


def shown(value: Any, named: bool = False) -> str:
    """What an action writes, and `%v`. named: with the names of fields, as `%+v`."""
    if value is NO_VALUE:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return general(value)
    if isinstance(value, Struct):
        parts = [f"{key}:{shown(each, named)}" if named else shown(each) for key, each in value.items()]
        return f"{{{' '.join(parts)}}}"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{shown(value[key], named)}' for key in sorted(value))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(shown(each, named) for each in value)}]"
    return str(value)


def general(value: float, precision: int | None = None, verb: str = "g") -> str:
    """A float as `%v` or `%g` writes it: the shortest that reads back; strconv.FormatFloat."""
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    if precision is not None:
        text = f"{value:.{precision or 1}g}"
    else:
        exponent = int(f"{value:.16e}".partition("e")[2])
        digits = len(repr(value).partition("e")[0].replace(".", "").strip("-0"))
        plain = value == 0 or -5 < exponent < _PLAIN_BELOW
        text = repr(value).removesuffix(".0") if plain else f"{value:.{digits - 1}e}"
    return text.upper() if verb == "G" else text


def joined(values: Sequence[Any]) -> str:
    """`print`: a space between two values of which neither is text."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += shown(value)
    return text


def json_text(value: Any) -> str:
    """Compact JSON as docker's `json` writes it: maps by their keys, structs as they are."""
    import json

    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")  # which JavaScript takes for line ends


def _plain(value: Any) -> Any:
    if value is NO_VALUE or isinstance(value, (NilList, NilMap)):
        return None
    if isinstance(value, Struct):
        return {key: _plain(each) for key, each in value.items() if not isinstance(each, Method)}
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def formatted(form: str, values: Sequence[Any]) -> str:
    """`printf`."""
    written: list[str] = []
    position, used, ordered = 0, 0, True

    def star(text: str | None) -> int | None:
        nonlocal used
        if text != "*":
            return None if text is None else int(text)
        used += 1
        value = values[used - 1] if used <= len(values) else None
        return value if isinstance(value, int) else 0

    for found in _VERB.finditer(form):
        written.append(form[position : found.start()])
        position = found.end()
        verb = found["verb"]
        if verb == "%":
            written.append("%")
            continue
        if not verb:
            written.append("%!(NOVERB)")
            continue
        flags, width = found["flags"], star(found["width"])
        precision = star(found["precision"]) if found["precision"] else (0 if found["dot"] else None)
        if found["index"]:
            used, ordered = int(found["index"]) - 1, False
            if not 0 <= used < len(values):
                written.append(f"%!{verb}(BADINDEX)")
                continue
        if used >= len(values):
            written.append(f"%!{verb}(MISSING)")
            continue
        value = values[used]
        used += 1
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        written.append(_padded(_verb(verb, value, flags, precision), flags, width or 0, value))
    written.append(form[position:])
    if ordered and used < len(values):
        rest = ", ".join(f"{kind(value)}={shown(value)}" for value in values[used:])
        written.append(f"%!(EXTRA {rest})")
    return "".join(written)


def _padded(text: str, flags: str, width: int, value: Any) -> str:
    missing = width - len(text)
    if missing <= 0:
        return text
    if "-" in flags:
        return text + " " * missing
    if "0" in flags:
        sign = text[0] if isinstance(value, (int, float)) and text[:1] in ("+", "-", " ") else ""
        return sign + "0" * missing + text[len(sign) :]
    return " " * missing + text


def _verb(verb: str, value: Any, flags: str, precision: int | None) -> str:
    """One value by one verb; what does not fit is shown as Go shows it."""
    if verb == "T":
        return kind(value)
    if verb == "v":
        if precision is not None and isinstance(value, (str, float)) and "#" not in flags:
            return value[:precision] if isinstance(value, str) else _float("g", value, flags, precision)
        return _go(value) if "#" in flags else "<nil>" if value is NO_VALUE else shown(value, "+" in flags)
    if isinstance(value, Struct):
        return f"{{{' '.join(_verb(verb, each, flags, precision) for each in value.values())}}}"
    if isinstance(value, dict):
        pairs = (
            f"{_verb(verb, key, flags, precision)}:{_verb(verb, value[key], flags, precision)}" for key in sorted(value)
        )
        return f"map[{' '.join(pairs)}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(_verb(verb, each, flags, precision) for each in value)}]"
    if isinstance(value, str):
        form = _TEXT.get(verb)
    elif isinstance(value, bool):
        form = _bool if verb == "t" else None
    elif isinstance(value, int):
        form = _INTEGER.get(verb)
    else:
        form = _float if isinstance(value, float) and verb in "eEfFgG" else None
    if form is None:
        if value is None or value is NO_VALUE:
            return f"%!{verb}(<nil>)"
        return f"%!{verb}({kind(value)}={shown(value)})"
    return form(verb, value, flags, precision)


def _go(value: Any) -> str:
    """`%#v`: as the value would be written in Go."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{quoted(key)}:{_go(value[key])}" for key in sorted(value))
    elif isinstance(value, (list, tuple)):
        inner = ", ".join(map(_go, value))
    else:
        return "<nil>" if value is NO_VALUE else shown(value)
    return f"{kind(value)}{{{inner}}}"


def quoted(text: str) -> str:
    """`%q`: strconv.Quote."""
    written = []
    for character in text:
        if character in _QUOTED:
            written.append(_QUOTED[character])
        elif character.isprintable():
            written.append(character)
        else:
            code = ord(character)
            written.append(
                f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
            )
    return f'"{"".join(written)}"'


_QUOTED = dict(zip('"\\\a\b\f\n\r\t\v', ['\\"', "\\\\", "\\a", "\\b", "\\f", "\\n", "\\r", "\\t", "\\v"], strict=True))


def _text(verb: str, value: str, flags: str, precision: int | None) -> str:
    cut = value if precision is None else value[:precision]
    if verb == "s":
        return cut
    if verb == "q":
        return f"`{cut}`" if "#" in flags and "`" not in cut else quoted(cut)
    digits = cut.encode().hex(" ") if " " in flags else cut.encode().hex()
    return digits.upper() if verb == "X" else digits


def _bool(verb: str, value: bool, flags: str, precision: int | None) -> str:
    return shown(value)


def _integer(verb: str, value: int, flags: str, precision: int | None) -> str:
    if verb == "c":
        return chr(value)
    if verb == "q":
        return f"'{chr(value)}'"
    if verb == "U":
        return f"U+{value:04X}"
    digits = format(abs(value), {"O": "o"}.get(verb, verb)).rjust(precision or 0, "0")
    prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in flags else "0o" if verb == "O" else ""
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    return f"{sign}{prefix}{digits}"


def _float(verb: str, value: float, flags: str, precision: int | None) -> str:
    text = (
        general(value, precision, verb)
        if verb in "gG"
        else format(value, f".{6 if precision is None else precision}{verb}")
    )
    return f"+{text}" if "+" in flags and not text.startswith(("-", "+")) else text


_TEXT: dict[str, Callable[[str, Any, str, int | None], str]] = dict.fromkeys("sqxX", _text)
_INTEGER: dict[str, Callable[[str, Any, str, int | None], str]] = dict.fromkeys("dxXobOcqU", _integer)


def lines(values: Iterable[Any]) -> str:
    """`println`."""
    return " ".join("<nil>" if value is NO_VALUE else shown(value) for value in values) + "\n"

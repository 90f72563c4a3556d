"""JSON by the accelerator that the `json` package itself uses, without the package.

Its import brings `re`, `enum`, `collections` and `functools` along: 8 ms of a plan that takes 30. Where an interpreter
has no `_json`, or one of another shape, the package does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Scan = Callable[[str, int], tuple[Any, int]]

_SPACE = " \t\n\r"


class _Context:
    """What the scanner asks for (Lib/json/decoder.py, JSONDecoder)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> Any:
        """NaN and infinities, which are no JSON."""
        raise ValueError(f"`{name}` is no JSON")


def _package_dumps(document: object, sort_keys: bool) -> str:
    import json

    return json.dumps(document, separators=(",", ":"), sort_keys=sort_keys)


def _refuse(value: object) -> None:
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _encoder(sort_keys: bool) -> Callable[[object, int], tuple[str, ...]]:
    # markers, default, encoder, indent, key_separator, item_separator, sort_keys, skipkeys, allow_nan
    return c_make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", sort_keys, False, False)


try:
    from _json import encode_basestring_ascii, make_scanner
    from _json import make_encoder as c_make_encoder

    _scan: Scan | None = make_scanner(_Context())  # type: ignore[arg-type]  # typeshed means the package's decoder
    _plain, _sorted = _encoder(False), _encoder(True)
except (ImportError, TypeError, AttributeError):  # pragma: no cover - another interpreter than CPython 3.11 to 3.14
    _scan = None


def loads(text: str | bytes) -> Any:
    """The document of a text, in UTF-8 where it is bytes; raises ValueError."""
    if _scan is None:
        import json

        return json.loads(text)
    text = text.decode() if isinstance(text, bytes) else text
    try:
        document, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
    except StopIteration as stop:
        raise ValueError(f"no JSON at character {stop.value}") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"more than one document: there is something after character {end}")
    return document


def dumps(document: object, *, sort_keys: bool = False) -> str:
    """The text of a document, without spaces; keeps the order of keys. Raises TypeError and ValueError."""
    if _scan is None:
        return _package_dumps(document, sort_keys)
    return "".join((_sorted if sort_keys else _plain)(document, 0))

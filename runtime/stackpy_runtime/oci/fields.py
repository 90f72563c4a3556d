"""Reads a JSON document key by key; what is wrong with a value is said with its path: `linux.resources.pids.limit`."""

from __future__ import annotations

from stackpy_runtime.errors import InvalidConfig, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = {str: "a string", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}


class Fields:
    """An object of the document. A key that is null counts as absent, as for those who write such files in Go."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise InvalidConfig(f"{path or 'the document'} is not an object")
        self.value: dict[str, Any] = value
        self.path = path

    def where(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self.value.get(key) is not None

    def _get(self, key: str, kind: type, default: Any) -> Any:
        found = self.value.get(key)
        if found is None:
            return default
        # true is an int for Python, and 1.0 a number for those who write JSON in JavaScript.
        if kind is int and isinstance(found, float) and found.is_integer():
            found = int(found)
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise InvalidConfig(f"{self.where(key)} is not {_KINDS[kind]}")
        return found

    def text(self, key: str, default: str = "") -> str:
        """A string; one with a NUL is refused, since the kernel would cut it short."""
        found: str = self._get(key, str, default)
        return whole(found, self.where(key))

    def needed(self, key: str) -> str:
        """A string that must be there."""
        found = self.text(key)
        if not found:
            raise InvalidConfig(f"{self.where(key)} is missing")
        return found

    def choice(self, key: str, known: dict[str, int]) -> int | None:
        """The number of a name, None when absent; Unsupported for another."""
        if not self.has(key):
            return None
        name = self.text(key)
        if name not in known:
            raise Unsupported(f"{self.where(key)}: `{name}` is not supported", hint=f"one of {', '.join(known)}")
        return known[name]

    def number(self, key: str, *, least: int | None = None, most: int | None = None) -> int | None:
        """A whole number between two others, None when absent."""
        found: int | None = self._get(key, int, None)
        if found is not None and ((least is not None and found < least) or (most is not None and found > most)):
            raise InvalidConfig(f"{self.where(key)}: {found} is not between {least} and {most}")
        return found

    def count(self, key: str, default: int | None = None, most: int = (1 << 32) - 1) -> int:
        """A number from 0 on that must be there unless there is a default."""
        found = self.number(key, least=0, most=most)
        if found is None:
            found = default
        if found is None:
            raise InvalidConfig(f"{self.where(key)} is missing")
        return found

    def flag(self, key: str) -> bool:
        """True or false."""
        return bool(self._get(key, bool, False))

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        found: list[Any] = self._get(key, list, [])
        for index, each in enumerate(found):
            if not isinstance(each, str):
                raise InvalidConfig(f"{self.where(key)}[{index}] is not a string")
            whole(each, f"{self.where(key)}[{index}]")
        return list(found)

    def counts(self, key: str, most: int) -> list[int]:
        """A list of numbers from 0 on."""
        found: list[Any] = self._get(key, list, [])
        for index, each in enumerate(found):
            if not isinstance(each, int) or isinstance(each, bool) or not 0 <= each <= most:
                raise InvalidConfig(f"{self.where(key)}[{index}] is not a number between 0 and {most}")
        return list(found)

    def mapping(self, key: str) -> dict[str, str]:
        """An object whose values are strings."""
        found: dict[str, Any] = self._get(key, dict, {})
        for name, each in found.items():
            if not isinstance(each, str):
                raise InvalidConfig(f"{self.where(key)}.{name} is not a string")
            whole(each, f"{self.where(key)}.{name}")
        return dict(found)

    def object(self, key: str) -> Fields:
        """An object; an empty one when absent."""
        return Fields(self._get(key, dict, {}), self.where(key))

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [Fields(each, f"{self.where(key)}[{n}]") for n, each in enumerate(self._get(key, list, []))]

    def refuse(self, key: str, reason: str) -> None:
        """Raises Unsupported when the key has a value other than an empty one."""
        if self.value.get(key):
            raise Unsupported(f"{self.where(key)}: {reason}")


def whole(text: str, where: str) -> str:
    """The text; InvalidConfig where it holds a NUL."""
    if "\0" in text:
        raise InvalidConfig(f"{where} holds a NUL")
    return text

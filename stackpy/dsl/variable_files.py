"""The fields `env_file` and `label_file`: files of `NAME=value` lines."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import contents, environment, values
from stackpy.dsl.values import meant, one_of, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.reader import Reader
    from stackpy.dsl.session import Place

_KEYS = ("path", "required", "format")


class VariableFile:
    """A file that is named: its place, its path as written, whether it must be there, and whether it is read raw."""

    __slots__ = ("path", "place", "raw", "required")

    def __init__(self, place: Place, path: str, required: bool, raw: bool) -> None:
        self.place, self.path, self.required, self.raw = place, path, required, raw


def env_files(place: Place, value: object) -> list[VariableFile]:
    """A path, or a list of paths and of Compose's mappings {path, required, format}."""
    if not isinstance(value, str | Mapping | list | tuple):
        place.refuse(wrong("a path or a list of paths", value))
        return []
    listed = isinstance(value, list | tuple)
    items = [(place.item(index), item) for index, item in enumerate(value)] if listed else [(place, value)]
    result = []
    for inner, item in items:
        file = _mapping(inner, item) if isinstance(item, Mapping) else _path(inner, item)
        if file is not None:
            result.append(file)
    return result


def label_files(place: Place, value: object) -> list[VariableFile]:
    """A path or a list of paths."""
    listed = isinstance(value, list | tuple)
    items: list[Any] = [(place.item(index), item) for index, item in enumerate(value)] if listed else [(place, value)]  # type: ignore[arg-type, var-annotated]
    return [file for inner, item in items if (file := _path(inner, item)) is not None]


def _path(place: Place, value: object, required: bool = True, raw: bool = False) -> VariableFile | None:
    path = place.parse(values.text, value)
    return None if path is None else VariableFile(place, path, required, raw)


def _mapping(place: Place, item: Mapping[Any, Any]) -> VariableFile | None:
    for key in item:
        if key not in _KEYS:
            place.item(str(key)).report(f"unknown key `{key}` of {place.name}", meant(str(key), _KEYS), key=True)
    required = place.item("required").parse(values.flag, item.get("required", True), True)
    form = place.item("format").parse(one_of("raw"), item["format"]) if item.get("format") else ""
    return _path(place.item("path"), item.get("path"), required is not False, form == "raw")


def read(reader: Reader, file: VariableFile) -> dict[str, str | None]:
    """The variables of a file; {} after reporting what is wrong with it, or where it need not be there and is not."""
    place = file.place
    absolute = reader.absolute(place.call.folder, file.path)
    if not file.required and not reader.exists(absolute):
        return {}
    found = contents.read(reader, place, file.path, absolute)
    if found is None:
        return {}
    name = absolute.rpartition("/")[2]
    try:
        content = found[0].decode()
        return environment.parse_raw(content) if file.raw else environment.parse(content)
    except UnicodeDecodeError:
        place.report(f"{place.name}: `{name}` is not UTF-8 text")
    except environment.EnvLine as wrong_line:
        # the line itself is not shown, as it would be of a place: it may hold a password
        place.report(f"{place.name}: line {wrong_line.line} of `{name}`: {wrong_line.message}")
    return {}

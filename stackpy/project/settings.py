"""stackpy.toml: what a folder says of its stack, and what an environment ([env.NAME]) changes of that."""

from __future__ import annotations

import os

from stackpy.dsl.values import Invalid, meant, show, stack_name
from stackpy.errors import StackFileError
from stackpy.patterns import pattern
from stackpy.problems import Location, Problem
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

FILE = "stackpy.toml"
_IPV4 = pattern(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}", ascii_only=True)


class Settings(NamedTuple):
    """A folder's settings, an environment's applied.

    name: the stack's, or ""; file: the stack file's, relative to the folder; engine: its URL
    vars: values of variables; publish: the host address of published ports that name none
    path: stackpy.toml's, or "" where there is none
    sources: the keys under which each of `vars` stands in the file
    generations_keep: how many generations are kept; None: the engine's default
    cache_keep: bytes to which the build cache keeps; None: the engine's default
    cache_from, cache_to: places of build caches that travel (project/cache_places.py)
    registries: host → mirrors, ca (absolute), insecure
    policies: (level, import path) of what judges plans: "module:function", or "module" for all in it
    """

    folder: str
    environment: str
    path: str = ""
    name: str = ""
    file: str = "stack.py"
    engine: str = "embedded"
    vars: Mapping[str, Any] = {}
    publish: str = "127.0.0.1"
    sources: Mapping[str, tuple[str, ...]] = {}
    cache_keep: int | None = None
    generations_keep: int | None = None
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    registries: Mapping[str, Mapping[str, Any]] = {}
    policies: tuple[tuple[str, str], ...] = ()


def settings(folder: str = "", environment: str | None = None) -> Settings:
    """Reads the settings of a folder (the current one without it).

    environment: which [env.NAME] to apply
    Raises StackFileError with everything that is wrong in the file.
    """
    folder = os.path.abspath(folder or ".")
    path = os.path.join(folder, FILE)
    chosen = environment or ""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if chosen:
            problem = Problem(f"no environment `{chosen}`: there is no {FILE} in {folder}", None,
                              f"`-e {chosen}` needs a table [env.{chosen}] in it")  # fmt: skip
            raise StackFileError([problem]) from None
        return Settings(folder, "")
    except OSError as error:
        raise StackFileError([Problem(f"cannot read {path}: {(error.strerror or str(error)).lower()}")]) from None
    # tomllib costs 8 ms to import, and many stacks have no settings
    import tomllib

    try:
        text = content.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError:
        raise StackFileError([Problem(f"{FILE} is not UTF-8 text", Location(path, 1))]) from None
    except tomllib.TOMLDecodeError as error:
        _refuse(path, content.decode(), str(error))
    return _Reader(path, text).settings(folder, document, chosen)


def _refuse(path: str, text: str, message: str) -> NoReturn:
    import re  # 6 ms; only what is wrong needs it

    match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)", message)
    line, column = (int(match[1]), int(match[2])) if match and match[1] else (max(1, len(text.splitlines())), 0)
    what = message[: match.start()] if match else message
    location = Location(path, line, column, 1 if column else 0)
    raise StackFileError([Problem(what[:1].lower() + what[1:], location)]) from None


class _Reader:
    def __init__(self, path: str, text: str) -> None:
        self._path, self._lines = path, text.splitlines()
        self._problems: list[Problem] = []

    def settings(self, folder: str, document: dict[str, Any], chosen: str) -> Settings:
        """The settings; raises StackFileError with all problems of the file, those of other environments too."""
        environments = document.pop("env", {})
        result = self._table(document, ())
        overrides: dict[str, dict[str, Any]] = {}
        if not isinstance(environments, dict):
            self._report("`env` must be a table of environments", ("env",))
            environments = {}
        for name, table in environments.items():
            if not isinstance(table, dict):
                self._report(f"environment `{name}` must be a table", ("env", name))
                continue
            overrides[name] = self._table(table, ("env", name))
        if chosen and chosen not in environments:
            known = ", ".join(f"`{name}`" for name in environments)
            hint = meant(chosen, environments, f"there is {known}" if known else f"add a table [env.{chosen}]")
            self._problems.append(Problem(f"no environment `{chosen}` in {FILE}", None, hint))
        if self._problems:
            raise StackFileError(sorted(self._problems, key=lambda one: one.location.line if one.location else 0))
        override = overrides.get(chosen, {})
        sources = {name: ("vars", name) for name in result.get("vars", ())}
        sources |= {name: ("env", chosen, "vars", name) for name in override.get("vars", ())}
        variables = {**result.get("vars", {}), **override.get("vars", {})}
        merged = {**result, **override, "vars": variables, "sources": sources}
        return Settings(folder, chosen, self._path, **merged)

    def _table(self, table: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        known = (
            "name",
            "file",
            "engine",
            "vars",
            "network",
            "cache",
            "generations",
            "registries",
            "policies",
            *(() if path else ("env",)),
        )
        for key, value in table.items():
            where = (*path, key)
            if key not in known:
                self._report(f"unknown setting `{'.'.join(where)}`", where, meant(key, known))
            elif key == "name":
                try:
                    result[key] = stack_name(value)
                except Invalid as invalid:
                    self._report(f"`{'.'.join(where)}` {invalid.message}", where, invalid.hint)
            elif key in ("file", "engine"):
                if isinstance(value, str) and value:
                    result[key] = value
                else:
                    self._report(f"`{'.'.join(where)}` must be a string, not {show(value)}", where)
            elif not isinstance(value, dict):
                self._report(f"`{'.'.join(where)}` must be a table", where)
            elif key == "vars":
                result[key] = value
            elif key == "generations":
                result |= self._generations(value, where)
            elif key == "cache":
                result |= self._cache(value, where)
            elif key == "registries":
                result[key] = {host: self._registry(table, (*where, host)) for host, table in value.items()}
            elif key == "policies":
                result[key] = self._policies(value, where)
            else:
                result |= self._network(value, where)
        return result

    def _policies(self, table: Mapping[str, Any], path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """`deny` and `warn`: lists of import paths."""
        found: list[tuple[str, str]] = []
        for key, value in table.items():
            where = (*path, key)
            if key not in ("deny", "warn"):
                self._report(f"unknown setting `{'.'.join(where)}`", where, meant(key, ["deny", "warn"]))
            elif not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
                hint = f'{key} = ["stackpy.policies:no_privileged_containers"]'
                self._report(f"`{'.'.join(where)}` must be a list of import paths, not {show(value)}", where, hint)
            else:
                found += [(key, one) for one in value]
        return tuple(found)

    def _generations(self, table: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        from stackpy.dsl.quantities import at_least_one

        result: dict[str, Any] = {}
        for key, value in table.items():
            where = (*path, key)
            if key != "keep":
                self._report(f"unknown setting `{'.'.join(where)}`", where, meant(key, ["keep"]))
                continue
            try:
                result["generations_keep"] = at_least_one(value)
            except Invalid as invalid:
                self._report(f"`{'.'.join(where)}` {invalid.message}", where, invalid.hint)
        return result

    def _cache(self, table: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        from stackpy.dsl.quantities import size

        result: dict[str, Any] = {}
        for key, value in table.items():
            where = (*path, key)
            if key in ("from", "to"):
                result[f"cache_{key}"] = self._places(value, where)
                continue
            if key != "keep":
                self._report(f"unknown setting `{'.'.join(where)}`", where, meant(key, ["keep", "from", "to"]))
                continue
            try:
                result["cache_keep"] = size(value)
            except Invalid as invalid:
                self._report(f"`{'.'.join(where)}` {invalid.message}", where, invalid.hint)
        return result

    def _places(self, value: object, path: tuple[str, ...]) -> tuple[str, ...]:
        """One place of a build cache, or several; relative folders are beside this file."""
        from stackpy.project import cache_places

        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(one, str) and one.strip() for one in listed):
            what = "a folder or a registry's reference, or a list of them"
            self._report(f"`{'.'.join(path)}` must be {what}, not {show(value)}", path)
            return ()
        return tuple(cache_places.place(one, os.path.dirname(self._path)) for one in listed)

    def _registry(self, table: object, path: tuple[str, ...]) -> dict[str, Any]:
        """What is set of one registry; a relative `ca` is beside this file."""
        name = f'registries."{path[-1]}"'
        if not isinstance(table, dict):
            self._report(f"`{name}` must be a table", path, f"write [{name}]")
            return {}
        result: dict[str, Any] = {}
        for key, value in table.items():
            where = (*path, key)
            if key == "mirrors" and isinstance(value, list) and all(isinstance(one, str) and one for one in value):
                result[key] = value
            elif key == "mirrors":
                self._report(f"`{name}.mirrors` must be a list of hosts or URLs, not {show(value)}", where)
            elif key == "ca" and isinstance(value, str) and value:
                result[key] = os.path.join(os.path.dirname(self._path), value)
            elif key == "ca":
                self._report(f"`{name}.ca` must be the path of a file, not {show(value)}", where)
            elif key == "insecure" and isinstance(value, bool):
                result[key] = value
            elif key == "insecure":
                self._report(f"`{name}.insecure` must be true or false, not {show(value)}", where)
            else:
                self._report(f"unknown setting `{name}.{key}`", where, meant(key, ["mirrors", "ca", "insecure"]))
        return result

    def _network(self, table: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        result = {}
        for key, value in table.items():
            where = (*path, key)
            if key != "publish":
                self._report(f"unknown setting `{'.'.join(where)}`", where, meant(key, ["publish"]))
            elif isinstance(value, str) and _IPV4.fullmatch(value):
                result[key] = value
            else:
                hint = '"0.0.0.0" is all of the host\'s addresses'
                self._report(f"`{'.'.join(where)}` must be an IPv4 address, not {show(value)}", where, hint)
        return result

    def _report(self, message: str, path: tuple[str, ...], hint: str = "") -> None:
        self._problems.append(Problem(message, locate(self._path, self._lines, path), hint))


def locate(file: str, lines: list[str], keys: tuple[str, ...]) -> Location:
    """The line that sets `keys`; tomllib tells no positions, so the usual ways of writing it are looked for."""
    import re

    table: list[str] = []
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            table = [part.strip(" \"'") for part in header[1].split(".")]
            if table == list(keys):
                return Location(file, number, line.index("[") + 1, len(line.strip()))
            continue
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key and [*table, *(part.strip("\"'") for part in key[1].split("."))] == list(keys):
            return Location(file, number, key.start(1) + 1, len(key[1]))
    return Location(file, 1)

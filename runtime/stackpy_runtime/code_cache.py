"""The compiled modules of a package in one file, so that an `import` need not search for them.

A command loads 30 to 150 modules. For each of them Python lists a folder, looks at four names, and opens, checks and
reads a file of its own: 0.1 ms, a third of all that a command does. With the cache it is one look at the source, which
tells whether it is still what was compiled, and one read.

Nothing can be told from the outside but the time. A module whose source or whose folder has changed since is imported
as if there were no cache, and kept anew when the process ends. The loader is Python's own but for where it has the code
from, so that tracebacks, `inspect` and resources find the source. The file lies beside the package's other compiled
modules, whose rules it follows: `-B` and PYTHONDONTWRITEBYTECODE, PYTHONPYCACHEPREFIX, one for each version of Python
and level of optimization; nobody trusts it who does not trust those. Where it cannot be written there is none.

Rejected: a zip file of modules (its importer is slower than a folder), and freezing, which needs a compiler.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader, cache_from_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    State = tuple[int, int, int]  # of a source: when it and its inode changed last, in nanoseconds, and its bytes
    Entry = tuple[int, int, bool, State]  # where its code begins, how long it is, whether a package's; of what source

_HEAD = b"stackpy code 1\n" + MAGIC_NUMBER
_LENGTH = 8  # bytes of the index's length, behind the head


def use(*packages: str) -> Finder:
    """Has the modules of these packages, which can be imported, come from their caches; called once in a process."""
    caches = {}
    for name in packages:
        [*folders] = __import__(name).__path__
        if len(folders) == 1:
            caches[name] = Cache(name, folders[0])
    finder = Finder(caches)
    sys.meta_path.insert(0, finder)
    return finder


class Finder:
    """What `import` asks first: it answers for modules that are in a cache."""

    def __init__(self, caches: dict[str, Cache]) -> None:
        self.caches = caches

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if path is None:
            return None
        cache = self.caches.get(name[: name.index(".")])
        return None if cache is None else cache.find(name, path)

    def keep(self) -> None:
        """Writes what the caches lacked: a process's last act, and none that could fail."""
        for cache in self.caches.values():
            if cache.missed and not sys.dont_write_bytecode:
                try:
                    cache.write()
                except (OSError, KeyboardInterrupt):
                    pass  # the next command does it, or is as slow as this one


class _Loader(SourceFileLoader):
    """Python's own loader, but for where it has the code from."""

    def __init__(self, name: str, path: str, cache: Cache) -> None:
        super().__init__(name, path)
        self._cache = cache

    def get_code(self, fullname: str) -> CodeType | None:
        """The code in the cache; where that has been written anew since, or is damaged, the source's."""
        try:
            return self._cache.code(fullname)
        except (OSError, EOFError, ValueError, TypeError):
            return super().get_code(fullname)


class Cache:
    """The cache of one package, whose modules lie below `folder`."""

    def __init__(self, package: str, folder: str) -> None:
        self.package, self.folder = package, folder
        # Beside the compiled form of the package itself, and named as that.
        beside, _, name = cache_from_source(f"{folder}/__init__.py").rpartition("/")
        self.suffix = name.removeprefix("__init__")
        self.path = f"{beside}/package{self.suffix.removesuffix('.pyc')}.code"
        self.missed: list[str] = []
        self._current: dict[str, bool] = {}  # folders that were looked at
        self._compiled_in: dict[str, str] = {}
        self._read_index()

    def _read_index(self) -> None:
        self.file: State = (0, 0, 0)
        self.first = 0  # where the code begins
        self.folders: dict[str, int] = {}  # of packages, and when what is in them changed last
        self.modules: dict[str, Entry] = {}
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # there is none yet
        try:
            head = os.read(descriptor, len(_HEAD) + _LENGTH)
            if head.startswith(_HEAD):
                length = int.from_bytes(head[len(_HEAD) :], "little")
                self.folders, self.modules = marshal.loads(os.read(descriptor, length))  # noqa: S302 — as a .pyc is
                self.first, self.file = len(head) + length, _identity(os.fstat(descriptor))
        except (OSError, EOFError, ValueError, TypeError):
            pass  # damaged: it will be written anew
        finally:
            os.close(descriptor)

    def find(self, name: str, path: Sequence[str]) -> ModuleSpec | None:
        """The module as it is in the cache, None where it is not, or where its source is another now."""
        folder, source, entry = "", "", self.modules.get(name)
        if entry is not None:
            folder, source = self._places(name, entry[2])
        if entry is None or not self._is_current(folder) or [*path] != [folder] or _state(source) != entry[3]:
            self.missed.append(name)
            return None
        spec = ModuleSpec(name, _Loader(name, source, self), origin=source, is_package=entry[2])
        spec.has_location = True
        inner, _, file = source.rpartition("/")
        spec.cached = f"{self._beside(inner)}{file.removesuffix('.py')}{self.suffix}"
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(inner)
        return spec

    def _beside(self, folder: str) -> str:
        """What the names of the compiled files of a folder begin with: Python would work it out for each of them."""
        known = self._compiled_in.get(folder)
        if known is None:
            named = cache_from_source(f"{folder}/__init__.py")
            known = self._compiled_in[folder] = named.removesuffix(f"__init__{self.suffix}")
        return known

    def _places(self, name: str, is_package: bool) -> tuple[str, str]:
        """The folder in which a module is looked for, and its source."""
        *parents, tail = name.split(".")[1:]
        folder = "/".join((self.folder, *parents))
        return folder, f"{folder}/{tail}/__init__.py" if is_package else f"{folder}/{tail}.py"

    def _is_current(self, folder: str) -> bool:
        """Whether there is what there was: a file that was added could go before another of its name."""
        known = self._current.get(folder)
        if known is None:
            known = self._current[folder] = self.folders.get(folder) == _changed(folder)
        return known

    def code(self, name: str) -> CodeType:
        """A module's code; ValueError when the file is not the one whose index was read."""
        start, length, _, _ = self.modules[name]
        return marshal.loads(self._bytes(self.first + start, length))  # type: ignore[no-any-return]  # noqa: S302

    def _bytes(self, start: int, length: int) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _identity(os.fstat(descriptor)) != self.file:
                raise ValueError("it was written anew")
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)

    def write(self) -> None:
        """Writes the cache with what was missed, and without what is out of date; raises OSError."""
        beside = os.path.dirname(self.path)
        if not os.access(beside, os.W_OK):
            return
        self._read_index()  # what another process has added since stays
        self._current = {folder: changed == _changed(folder) for folder, changed in self.folders.items()}
        found: dict[str, tuple[bool, State, bytes]] = {}
        for name in self.missed:
            if name not in self.modules or not self._holds(name):
                found.update(self._compiled(name))
        if not found:
            return
        for name, (start, length, is_package, state) in self.modules.items():
            if name not in found and self._holds(name):
                found[name] = is_package, state, self._bytes(self.first + start, length)
        self._replace(found)

    def _holds(self, name: str) -> bool:
        entry = self.modules[name]
        folder, source = self._places(name, entry[2])
        return self._is_current(folder) and _state(source) == entry[3]

    def _compiled(self, name: str) -> dict[str, tuple[bool, State, bytes]]:
        """A module that was loaded from its source: with the state of that before it was read once more."""
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None or type(spec.loader) not in (SourceFileLoader, _Loader):
            return {}
        is_package = spec.submodule_search_locations is not None
        folder, source = self._places(name, is_package)
        state, changed = _state(source), _changed(folder)
        if source != spec.origin or state is None or changed is None:
            return {}
        loader = SourceFileLoader(name, source)
        try:
            if _made_after(cache_from_source(source), state):
                code = loader.get_code(name)
            else:
                code = loader.source_to_code(loader.get_data(source), source)
        except (OSError, SyntaxError, ValueError):
            return {}  # it is being edited
        self.folders[folder] = changed
        return {name: (is_package, state, marshal.dumps(code))}

    def _replace(self, found: dict[str, tuple[bool, State, bytes]]) -> None:
        modules: dict[str, Entry] = {}
        end = 0
        for name, (is_package, state, code) in sorted(found.items()):
            modules[name] = end, len(code), is_package, state
            end += len(code)
        used = {self._places(name, False)[0] for name in found}
        index = marshal.dumps(({folder: self.folders[folder] for folder in sorted(used)}, modules))
        aside = f"{self.path}.{os.getpid()}"
        try:
            mode = os.stat(f"{self.folder}/__init__.py").st_mode & 0o666
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with open(descriptor, "wb") as file:
                file.write(_HEAD + len(index).to_bytes(_LENGTH, "little") + index)
                file.writelines(found[name][2] for name in modules)
            os.replace(aside, self.path)
        except BaseException:
            _remove(aside)
            raise


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # it was never made


def _state(source: str) -> State | None:
    try:
        status = os.stat(source)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _made_after(compiled: str, state: State) -> bool:
    """Whether a compiled file can be of no other state than this: Python knows the second of a source and its size."""
    try:
        return os.stat(compiled).st_mtime_ns // 10**9 > state[0] // 10**9
    except OSError:
        return False


def _changed(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return None


def _identity(status: os.stat_result) -> State:
    return status.st_ino, status.st_mtime_ns, status.st_size

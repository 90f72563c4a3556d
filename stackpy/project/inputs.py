"""What a stack file reads while it loads: files, folders, environment variables, modules. `watch` watches them."""

from __future__ import annotations

import os
import sys

from stackpy.dsl.calls import PACKAGE
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Inputs(NamedTuple):
    """All that a load depended on; sorted absolute paths.

    files: files that were read or looked for, the stack file first; folders: those whose whole content counts
    variables: names in the environment; modules: files of the modules beside the stack file
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    variables: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file and folder."""
        return tuple(dict.fromkeys((*self.files, *self.modules, *self.folders)))


class Recorder:
    """Collects the inputs of one load."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self.folders: set[str] = set()
        self.variables: set[str] = set()
        self.modules: set[str] = set()

    def inputs(self) -> Inputs:
        """What was recorded until now."""
        first, *others = self.files or [""]
        files = tuple(path for path in (first, *sorted(others)) if path and path not in self.modules)
        return Inputs(files, tuple(sorted(self.folders)), tuple(sorted(self.variables)), tuple(sorted(self.modules)))

    def opened(self, path: str) -> None:
        """Takes a file that Python code opened, unless it belongs to Python, to us or to the kernel."""
        path = os.path.abspath(path)
        if self.is_users(path) and not path.endswith(".pyc"):
            self.files.setdefault(path)

    def listed(self, path: str) -> None:
        """Takes a folder that Python code listed."""
        path = os.path.abspath(path)
        if self.is_users(path + "/"):
            self.folders.add(path)

    @staticmethod
    def is_users(path: str) -> bool:
        """Whether a path belongs neither to Python and its libraries, nor to us, nor to the kernel."""
        return not path.startswith(_FOREIGN) and "/site-packages/" not in path


_PREFIXES = {f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix)}
_FOREIGN = (PACKAGE, f"{os.path.dirname(os.__file__)}/", "/proc/", "/sys/", "/dev/", *_PREFIXES)
_recorder: Recorder | None = None
_hooked = False
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    recorder = _recorder
    if recorder is None:
        return
    if event == "open":
        path, mode, flags = arguments
        reads = not flags & _WRITING if isinstance(flags, int) else mode is None or "r" in mode
        if reads and isinstance(path, str | bytes | os.PathLike):
            recorder.opened(os.fsdecode(path))
    elif event in ("os.listdir", "os.scandir"):
        # the import system lists every folder of sys.path by listdir
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and not _importing():
            recorder.listed(os.fsdecode(path))


def _importing() -> bool:
    frame = sys._getframe(2)
    return frame.f_code.co_filename.startswith("<frozen importlib")


class Recording:
    """Records what Python code reads until the block ends.

    An audit hook sees open(), io.open() and os.open() alike, in modules too; it cannot be removed again, so there is
    one for the process, which does nothing between loads.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._own = recorder

    def __enter__(self) -> None:
        global _recorder, _hooked
        if not _hooked:
            sys.addaudithook(_hook)
            _hooked = True
        self._environ, self._original = os.environ, type(os.environ)
        self._watched = _watched(self._original)
        self._before, _recorder = _recorder, self._own
        # others hold os.environ itself: changing its class reaches them, putting another object in its place would not
        try:
            self._environ.__class__ = self._watched
        except TypeError:
            pass  # somebody has put a plain dict there

    def __exit__(self, *_: object) -> None:
        global _recorder
        if type(self._environ) is self._watched:
            self._environ.__class__ = self._original
        _recorder = self._before


def _watched(original: Any) -> Any:
    """The class of os.environ, which tells what it is asked for."""

    class Watched(original):  # type: ignore[misc]
        def __getitem__(self, key: str) -> str:
            if _recorder is not None and isinstance(key, str):
                _recorder.variables.add(key)
            value: str = super().__getitem__(key)
            return value

    return Watched
